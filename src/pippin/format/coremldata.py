"""Coremldata: reads `coremldata.bin` of a compiled model: its kind and description as a `Model` message.

Little-endian; a string is a uint64 length and bytes. Models compiled from 2017 to 2026 use two layouts:

    A (2017)    uint32 kind | uint64 specification version | 3 x uint64 0 | 3 x uint64 version | class | payload
    B           uint32 kind | 3 x uint64 version | class | uint64 specification version | 3 x uint64 0 | payload

The kind is the field number in the oneof `Type` of `Model.proto`. The class defines the payload. "spec": the whole
`Model` message. "generic": uint64 length, a `ModelDescription`, then a tail that depends on the kind. The class of a
pipeline continues with those of its parts.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NoReturn

from ..errors import PackageError, SpecificationError
from ..support.regular_files import read_regular
from .git_lfs_pointer import POINTER, is_pointer
from .schema import messages

FILE = "coremldata.bin"
_CLASS_AT = {"B": 0x1C, "A": 0x3C}
_VERSION_AT_A = 4
_LONGEST_CLASS = 1 << 16
_ZEROS = 24


class _Reader:
    """Reads the fields of the file in order. Errors name the offset."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data = data
        self.path = path
        self.at = 0

    def number(self, what: str, size: int = 8) -> int:
        return int.from_bytes(self.bytes(size, what), "little")

    def bytes(self, count: int, what: str) -> bytes:
        left = len(self.data) - self.at
        if count > left:
            self.refuse(f"expected {count} bytes for {what}, found {left}: the file is truncated or damaged")
        self.at += count
        return self.data[self.at - count : self.at]

    def refuse(self, what: str) -> NoReturn:
        raise SpecificationError(f"{self.path}, offset {self.at}: {what}")


def read_coremldata(path: Path) -> Any:
    """The `Model` message described by the file. For class "generic" its program, layers or parts are empty.

    Raises PackageError if the file cannot be read, SpecificationError with the offset if it is damaged.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from None
    if is_pointer(data):
        raise SpecificationError(f"{path} {POINTER}")
    reader = _Reader(data, path)
    number = reader.number("the model kind", 4)
    model = messages("Model").Model()
    fields = {field.number: field.name for field in model.DESCRIPTOR.oneofs_by_name["Type"].fields}
    if number not in fields:
        reader.at = 0
        reader.refuse(f"unknown model kind {number}; expected a field number of Model.proto")
    layout = next((name for name, at in _CLASS_AT.items() if _class(reader, at) is not None), None)
    if layout is None:
        reader.at = _CLASS_AT["B"]
        reader.refuse("expected the archive class 'generic' or 'spec'")
    name = _class(reader, _CLASS_AT[layout]) or ""
    if layout == "A":
        reader.at = _VERSION_AT_A
        version = reader.number("the specification version")
        reader.at = _CLASS_AT["A"] + 8 + len(name)
    else:
        reader.at = _CLASS_AT["B"] + 8 + len(name)
        version = reader.number("the specification version")
        if any(reader.bytes(_ZEROS, "three zeros")):
            reader.at -= _ZEROS
            reader.refuse("expected three zeros, found other values")
    if name == "spec":
        return _whole(reader, fields[number])
    return _described(reader, number, fields[number], version)


def _class(reader: _Reader, at: int) -> str | None:
    """The class string at an offset, or None."""
    if at + 8 > len(reader.data):
        return None
    (length,) = struct.unpack_from("<Q", reader.data, at)
    if length > min(_LONGEST_CLASS, len(reader.data) - at - 8):
        return None
    text = reader.data[at + 8 : at + 8 + length]
    found = text == b"spec" or text == b"generic" or text.startswith(b"generic.")
    return text.decode("latin-1") if found else None


def _whole(reader: _Reader, kind: str) -> Any:
    start = reader.at
    model = _parsed(reader, messages("Model").Model, len(reader.data) - reader.at, "a Model message")
    if model.WhichOneof("Type") != kind:
        reader.at = start
        reader.refuse(f"expected a {kind} model, found {model.WhichOneof('Type')}")
    return model


def _described(reader: _Reader, number: int, kind: str, version: int) -> Any:
    description = messages("Model").ModelDescription
    length = reader.number("the description length")
    model = messages("Model").Model(specificationVersion=_version(reader, version))
    model.description.CopyFrom(_parsed(reader, description, length, "a ModelDescription message"))
    getattr(model, kind).SetInParent()
    tail = reader.at
    if kind.startswith("pipeline"):
        count = reader.number("the number of models")
        if count > 1 << 16:
            reader.at = tail
            reader.refuse(f"expected at most 65536 models in a pipeline, found {count}")
        parts = model.pipeline if kind == "pipeline" else getattr(model, kind).pipeline
        for _ in range(count):
            parts.models.add()
        tail = reader.at
    again = reader.number("the model kind")
    if again != number:
        reader.at = tail
        reader.refuse(f"expected model kind {number} as in the header, found {again}")
    return model


def _version(reader: _Reader, version: int) -> int:
    if version >= 1 << 31:
        reader.refuse(f"invalid specification version {version}")
    return version


def _parsed(reader: _Reader, message: Any, length: int, what: str) -> Any:
    from google.protobuf.message import DecodeError

    start = reader.at
    data = reader.bytes(length, what)
    try:
        return message.FromString(data)
    except DecodeError as error:
        reader.at = start
        reader.refuse(f"expected {what}, but these {length} bytes cannot be parsed: {error}")
