"""Saved states: a state in a file, for the model that made it.

    magic, version (uint32), length of the header (uint32), header (JSON), CRC-32 of the data (uint32), data

The header has the hash of the model and the name, dtype and shape of each array; the data are the arrays one after the
other, in C order. All numbers are little-endian. Nothing in a file is believed: it must be what the model declares.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import StateError
from ..lowering.lowered_model import Port
from ..support.atomic_write import atomic_write
from ..support.regular_files import exists

_MAGIC = b"PIPPIN STATE\n"
_VERSION = 1
_LONGEST_HEADER = 1 << 20
_NUMBER = struct.Struct("<I")


def save(
    path: str | os.PathLike[str], content: str, ports: Mapping[str, Port], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a state; `arrays` in the declared dtypes. Raises StateError."""
    header = json.dumps({"model": content, "states": _described(ports)}, separators=(",", ":")).encode()
    data = [_little_endian(array) for array in arrays.values()]
    checksum = 0
    for array in data:
        checksum = zlib.crc32(array, checksum)
    try:
        with atomic_write(Path(path)) as temporary, temporary.open("xb") as file:
            file.write(_MAGIC + _NUMBER.pack(_VERSION) + _NUMBER.pack(len(header)) + header + _NUMBER.pack(checksum))
            for array in data:
                file.write(array)
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: the state cannot be written: {getattr(error, 'strerror', None) or error}") from None


def load(path: str | os.PathLike[str], content: str, ports: Mapping[str, Port]) -> dict[str, np.ndarray]:
    """The arrays that `save` wrote, in the declared dtypes. Raises StateError for another file, a damaged one, or
    another model's state."""
    try:
        if not exists(Path(path)):
            raise StateError(f"{path} does not exist")
        with Path(path).open("rb") as file:
            return _read(file, str(path), content, ports)
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: the state cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _read(file: BinaryIO, path: str, content: str, ports: Mapping[str, Port]) -> dict[str, np.ndarray]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise StateError(f"{path} is not a saved state")
    version = _number(file, path)
    if version != _VERSION:
        raise StateError(f"{path} has version {version} of the format; this version of Pippin reads {_VERSION}")
    length = _number(file, path)
    header = _header(file.read(length) if length <= _LONGEST_HEADER else b"", path)
    if header.get("states") != _described(ports):
        raise StateError(
            f"{path}: its states do not fit the model: it has {_shown(header.get('states'))}, the model"
            f" {_shown(_described(ports))}"
        )
    if header.get("model") != content:
        raise StateError(f"{path}: the state was made by another model, or by another version of this one")
    checksum, found = _number(file, path), 0
    arrays = {}
    for name, port in ports.items():
        array = np.empty(port.state_shape, port.type.dtype.numpy.newbyteorder("<"))
        if file.readinto(_bytes(array)) != array.nbytes:  # type: ignore[attr-defined]
            raise StateError(f"{path} is damaged: it ends too early")
        found = zlib.crc32(_bytes(array), found)
        arrays[name] = array.astype(port.type.dtype.numpy, copy=False)
    if found != checksum or file.read(1):
        raise StateError(f"{path} is damaged: its data are not what was written")
    return arrays


def _number(file: BinaryIO, path: str) -> int:
    data = file.read(_NUMBER.size)
    if len(data) != _NUMBER.size:
        raise StateError(f"{path} is damaged: it ends too early")
    return int(_NUMBER.unpack(data)[0])


def _header(data: bytes, path: str) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise StateError(f"{path} is damaged: its header cannot be read")
    return header


def _described(ports: Mapping[str, Port]) -> list[Any]:
    return [[name, port.type.dtype.value, list(port.state_shape)] for name, port in ports.items()]


def _shown(states: Any) -> str:
    """States in a message; from a file they may be anything."""
    text = ", ".join(f"{name} {dtype}{shape}" for name, dtype, shape in states) if _is_list(states) else "none"
    return text if len(text) <= 300 else text[:300] + "..."


def _is_list(states: Any) -> bool:
    return isinstance(states, list) and all(isinstance(state, list) and len(state) == 3 for state in states)


def _little_endian(array: np.ndarray) -> memoryview:
    return _bytes(np.ascontiguousarray(array, array.dtype.newbyteorder("<")))


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
