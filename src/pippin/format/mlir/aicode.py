"""aicode: the types and attributes of Core AI's dialect, as files encode them.

The dialect is not documented. Its encodings were found by writing each type and attribute with Apple's `coreai-core`
1.0.0b3 and comparing the bytes with the text that its parser prints; the notes (docs/notes/coreai.md) tell how.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ...errors import UnsupportedOperationError
from .cursor import DEEPEST, Cursor, damaged
from .sections import Entry, Sections

_BITMASK = 21  # the attribute of a sparse tensor
DYNAMIC = -(1 << 63)
"""The size of an axis that only a prediction knows."""
_TENSOR, _ENCODED, _FUNCTION, _HANDLE, _TOKEN, _SYMBOL = 2, 3, 30, 31, 32, 33
# Element types by their number; the names are those of the dialect.
ELEMENTS = {
    4: "bool", 5: "float64", 6: "float32", 7: "float16", 8: "bfloat16", 9: "float8E5M2", 10: "float8E4M3FN",
    11: "complex_float64", 12: "complex_float32", 13: "complex_float16", 14: "complex_bfloat16",
    15: "complex_float8E5M2", 16: "complex_float8E4M3FN", 17: "sint64", 18: "sint32", 19: "sint16", 20: "sint8",
    21: "sint4", 22: "sint2", 23: "uint64", 24: "uint32", 25: "uint16", 26: "uint8", 27: "uint4", 28: "uint2",
    29: "uint1", 36: "uint6", 37: "uint3", 38: "tfloat32", 46: "float4E2M1FN", 47: "float8E8M0FN",
}  # fmt: skip


class Tensor(NamedTuple):
    element: str
    shape: tuple[int | None, ...]
    sparse: bool = False


class Handle(NamedTuple):
    """A state, as an argument."""

    tensor: Tensor


class Function(NamedTuple):
    inputs: tuple[Type, ...]
    outputs: tuple[Type, ...]


class Other(NamedTuple):
    """A type by its name or number: a token, an image."""

    name: str


Type: TypeAlias = Tensor | Handle | Function | Other
TOKEN = Other("token")


@dataclass(slots=True)
class Numbers:
    """The bytes of a constant, where they are mapped. A `splat` repeats one element."""

    data: Cursor
    splat: bool = False
    packed: bool = True
    """Whether elements of fewer than eight bits share bytes."""


class Enumerated(NamedTuple):
    """A value of a list, such as a padding mode."""

    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """A name with values: an entry of a dictionary, or an attribute of another dialect."""

    name: str
    values: tuple[Any, ...]


class Attributes:
    """Decodes the types and attributes of one file when they are asked for."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self._types: dict[int, Type] = {}
        self._depth = 0

    def type(self, number: int) -> Type:
        if number not in self._types:
            self._types[number] = self._nested(self._type, self._entry(self.sections.types, number, "type"))
        return self._types[number]

    def attribute(self, number: int) -> Any:
        """The value of an attribute; None for one that says nothing that a prediction needs."""
        return self._nested(self._attribute, self._entry(self.sections.attributes, number, "attribute"))

    def _entry(self, entries: list[Entry], number: int, what: str) -> Entry:
        if number >= len(entries):
            raise damaged(f"it refers to {what} number {number}, but has {len(entries)}")
        return entries[number]

    def _nested(self, read: Callable[[Entry], Any], entry: Entry) -> Any:
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise damaged(f"its types or attributes are nested more than {DEEPEST} deep, or in a circle")
            return read(entry)
        finally:
            self._depth -= 1

    def _type(self, entry: Entry) -> Type:
        if not entry.custom:
            return Other(f"type of another dialect at byte {entry.at}")
        cursor = self.sections.cursor(entry)
        kind = cursor.number()
        if kind in ELEMENTS:
            return Tensor(ELEMENTS[kind], ())
        if kind in (_TENSOR, _ENCODED):
            shape = tuple(_size(cursor.signed()) for _ in range(cursor.count("axes")))
            element = self.type(cursor.number())
            if not isinstance(element, Tensor) or element.shape:
                raise damaged("the elements of a tensor have no element type")
            return Tensor(element.element, shape, kind == _ENCODED and self._is_sparse(cursor.number()))
        if kind == _HANDLE:
            inner = self.type(cursor.number())
            if not isinstance(inner, Tensor):
                raise UnsupportedOperationError(f"a state of {inner}; only tensors can be states")
            return Handle(inner)
        if kind == _FUNCTION:
            outputs = tuple(self.type(cursor.number()) for _ in range(cursor.count("types")))
            return Function(tuple(self.type(cursor.number()) for _ in range(cursor.count("types"))), outputs)
        return TOKEN if kind == _TOKEN else Other(_OTHER_TYPES.get(kind, f"type {kind}"))

    def _is_sparse(self, number: int) -> bool:
        """Whether the encoding of a tensor leaves elements out; others say where hardware keeps it."""
        return self.sections.cursor(self._entry(self.sections.attributes, number, "attribute")).number() == _BITMASK

    def _attribute(self, entry: Entry) -> Any:
        if not entry.custom:
            return None
        cursor = self.sections.cursor(entry)
        kind = cursor.number()
        if kind in _ENUMERATIONS:
            names = _ENUMERATIONS[kind]
            return Enumerated(names[cursor.index(len(names), "value of an enumeration")])
        read = _READERS.get(kind)
        return read(self, cursor) if read else None

    def string(self, cursor: Cursor) -> str:
        return self.sections.strings[cursor.index(len(self.sections.strings), "string")]

    def many(self, cursor: Cursor) -> tuple[Any, ...]:
        return tuple(self.attribute(cursor.number()) for _ in range(cursor.count("attributes")))

    def resource(self, cursor: Cursor) -> Numbers:
        found = self.sections.resources[cursor.index(len(self.sections.resources), "resource")]
        if found is None:
            raise damaged("a constant refers to a resource that has no bytes")
        return Numbers(found)


def _size(number: int) -> int | None:
    if number != DYNAMIC and number < 0:
        raise damaged(f"an axis has the size {number}")
    return None if number == DYNAMIC else number


def _integer(attributes: Attributes, cursor: Cursor) -> int:
    width, unsigned = cursor.number(), cursor.byte()
    if not 0 < width <= 64:
        raise damaged(f"an integer has {width} bits")
    bits = (cursor.byte() if width <= 8 else cursor.signed()) & (1 << width) - 1
    return bits if unsigned or not bits >> width - 1 else bits - (1 << width)


def _float(attributes: Attributes, cursor: Cursor) -> float:
    width = cursor.number()
    if width not in _FLOATS:
        raise damaged(f"a float has {width} bits")
    code, as_integer = _FLOATS[width]
    bits = cursor.signed() & (1 << width) - 1
    return float(struct.unpack(code, struct.pack(as_integer, bits))[0])


def _dense(attributes: Attributes, cursor: Cursor) -> Numbers:
    splat = bool(cursor.byte())
    return Numbers(cursor.part(cursor.number()), splat, packed=False)


def _named(attributes: Attributes, cursor: Cursor) -> Named:
    return Named(attributes.string(cursor), attributes.many(cursor))


def _dictionary(attributes: Attributes, cursor: Cursor) -> dict[str, Any]:
    entries = [entry for entry in attributes.many(cursor) if isinstance(entry, Named)]
    return {entry.name: entry.values[0] if len(entry.values) == 1 else entry.values for entry in entries}


def _symbol(attributes: Attributes, cursor: Cursor) -> tuple[str, ...]:
    return tuple(attributes.string(cursor) for _ in range(cursor.count("names")))


def _located(attributes: Attributes, cursor: Cursor) -> Mapping[str, Any]:
    """What debug information says of an operation by name, such as the modules that it came from. Where the source
    lies on its author's disk is passed over."""
    cursor.number(), cursor.number()  # the source and its scope
    for _ in range(cursor.count("locations")):
        cursor.number()  # where it was inlined
    entries = [entry for entry in attributes.many(cursor) if isinstance(entry, Named)]
    return {entry.name: entry.values[0] for entry in entries}


_FLOATS = {16: ("<e", "<H"), 32: ("<f", "<I"), 64: ("<d", "<Q")}
_OTHER_TYPES = {_SYMBOL: "symbol"}
_ENUMERATIONS = {
    17: ("circular", "constant", "reflect", "replicate", "symmetric"),
    19: ("none", "tanh", "sigmoid"),
    20: ("update", "add", "sub", "mul", "div", "max", "min"),
    25: ("sum", "product", "min", "max"),
    43: ("linear", "nearest_neighbor"),
}
LOCATION = 40
_READERS: Mapping[int, Callable[[Attributes, Cursor], Any]] = {
    1: lambda attributes, cursor: attributes.string(cursor),
    2: _integer,
    3: _float,
    4: lambda attributes, cursor: attributes.type(cursor.number()),
    5: lambda attributes, cursor: attributes.many(cursor),
    6: _dense,
    7: lambda attributes, cursor: attributes.resource(cursor),
    9: _named,
    14: _symbol,
    16: lambda attributes, cursor: attributes.attribute(cursor.number()),
    33: lambda attributes, cursor: attributes.attribute(cursor.number()),
    35: lambda attributes, cursor: Named(attributes.string(cursor), (attributes.attribute(cursor.number()),)),
    LOCATION: _located,
    45: _dictionary,
}
