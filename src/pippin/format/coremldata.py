"""Coremldata: `coremldata.bin`, what Apple's compiler keeps of a model beside its program: kind and description.

Little-endian; a string is uint64 length and bytes. Two layouts were seen, in models compiled from 2017 to 2026:

    A (2017)    uint32 kind | uint64 specification version | 3 x uint64 0 | 3 x uint64 version | class | payload
    B           uint32 kind | 3 x uint64 version | class | uint64 specification version | 3 x uint64 0 | payload

The kind is the number of the field in the oneof `Type` of `Model.proto`. The class says what the payload is: "spec",
the whole `Model` message; "generic", uint64 length and a `ModelDescription`, then a tail by the kind. A pipeline's
class goes on with those of its parts.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NoReturn

from ..errors import PackageError, SpecificationError
from .git_lfs_pointer import POINTER, is_pointer
from .schema import messages

FILE = "coremldata.bin"
_CLASS_AT = {"B": 0x1C, "A": 0x3C}
_VERSION_AT_A = 4
_LONGEST_CLASS = 1 << 16
_ZEROS = 24


class _Reader:
    """Takes the fields of the file in order; an error says where."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data = data
        self.path = path
        self.at = 0

    def number(self, what: str, size: int = 8) -> int:
        return int.from_bytes(self.bytes(size, what), "little")

    def bytes(self, count: int, what: str) -> bytes:
        left = len(self.data) - self.at
        if count > left:
            self.refuse(f"found {left} bytes, but {count} of {what} were expected: it is truncated or damaged")
        self.at += count
        return self.data[self.at - count : self.at]

    def refuse(self, what: str) -> NoReturn:
        raise SpecificationError(f"{self.path}, offset {self.at}: {what}")


def read_coremldata(path: Path) -> Any:
    """The `Model` message that the file describes; its program, layers or parts are left empty for "generic" ones.

    Raises PackageError where the file cannot be read, SpecificationError naming the offset where it is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from None
    if is_pointer(data):
        raise SpecificationError(f"{path}: {POINTER}")
    reader = _Reader(data, path)
    number = reader.number("the kind of the model", 4)
    model = messages("Model").Model()
    fields = {field.number: field.name for field in model.DESCRIPTOR.oneofs_by_name["Type"].fields}
    if number not in fields:
        reader.at = 0
        reader.refuse(f"found the kind of model {number}, but a field number of Model.proto was expected")
    layout = next((name for name, at in _CLASS_AT.items() if _class(reader, at) is not None), None)
    if layout is None:
        reader.at = _CLASS_AT["B"]
        reader.refuse("found no class of an archive, but 'generic' or 'spec' was expected")
    name = _class(reader, _CLASS_AT[layout]) or ""
    if layout == "A":
        reader.at = _VERSION_AT_A
        version = reader.number("the specification version")
        reader.at = _CLASS_AT["A"] + 8 + len(name)
    else:
        reader.at = _CLASS_AT["B"] + 8 + len(name)
        version = reader.number("the specification version")
        if any(reader.bytes(_ZEROS, "zeros")):
            reader.at -= _ZEROS
            reader.refuse("found other numbers, but three zeros were expected")
    if name == "spec":
        return _whole(reader, fields[number])
    return _described(reader, number, fields[number], version)


def _class(reader: _Reader, at: int) -> str | None:
    """The class that is written at an offset; None where none is."""
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
        reader.refuse(f"found a {model.WhichOneof('Type')} model, but a {kind} was expected")
    return model


def _described(reader: _Reader, number: int, kind: str, version: int) -> Any:
    description = messages("Model").ModelDescription
    length = reader.number("the length of the description")
    model = messages("Model").Model(specificationVersion=_version(reader, version))
    model.description.CopyFrom(_parsed(reader, description, length, "a ModelDescription message"))
    getattr(model, kind).SetInParent()
    tail = reader.at
    if kind.startswith("pipeline"):
        count = reader.number("the number of models")
        if count > 1 << 16:
            reader.at = tail
            reader.refuse(f"found {count} models, but a pipeline of fewer was expected")
        parts = model.pipeline if kind == "pipeline" else getattr(model, kind).pipeline
        for _ in range(count):
            parts.models.add()
        tail = reader.at
    again = reader.number("the kind of the model")
    if again != number:
        reader.at = tail
        reader.refuse(f"found the kind of model {again}, but {number} was expected, as at its beginning")
    return model


def _version(reader: _Reader, version: int) -> int:
    if version >= 1 << 31:
        reader.refuse(f"found the specification version {version}, but a small number was expected")
    return version


def _parsed(reader: _Reader, message: Any, length: int, what: str) -> Any:
    from google.protobuf.message import DecodeError

    start = reader.at
    data = reader.bytes(length, what)
    try:
        return message.FromString(data)
    except DecodeError as error:
        reader.at = start
        reader.refuse(f"found {length} bytes that are not {what}, which was expected ({error})")
