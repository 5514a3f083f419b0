"""Sections: the parts of an MLIR bytecode file: strings, dialects, types, attributes, resources, properties.

Format: LLVM's documentation, "MLIR Bytecode Format", and `mlir/lib/Bytecode` (Apache-2.0 with LLVM exceptions).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from ...errors import PackageError, UnsupportedVersionError
from ..git_lfs_pointer import POINTER, is_pointer
from .cursor import Cursor, damaged, text_of

MAGIC = b"ML\xefR"
VERSION = 6
"""The one bytecode version of Core AI's files so far."""
DIALECT, DIALECT_VERSION = "aicode", 2
STRINGS, DIALECTS, ATTRIBUTES, ATTRIBUTE_OFFSETS, IR, RESOURCES, RESOURCE_OFFSETS, VERSIONS, PROPERTIES = range(9)
_ALIGNED = 0x80
_BLOB = 0  # a resource of bytes; others are a flag or a string
_NEEDED = {
    STRINGS: "strings",
    DIALECTS: "dialects",
    ATTRIBUTES: "attributes",
    ATTRIBUTE_OFFSETS: "offsets of attributes",
    IR: "operations",
}


@dataclass(slots=True)
class Entry:
    """Where a type or an attribute stands."""

    at: int
    end: int
    custom: bool
    """Whether its dialect encodes it; else it is text."""


@dataclass
class Sections:
    """The tables of one file. Everything that they refer to lies within it."""

    data: memoryview
    strings: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    """The names of operations, without that of the dialect."""
    attributes: list[Entry] = field(default_factory=list)
    types: list[Entry] = field(default_factory=list)
    properties: list[Cursor] = field(default_factory=list)
    resources: list[Cursor | None] = field(default_factory=list)
    """By their number; None for what is no bytes."""
    program: tuple[int, int] = (0, 0)

    def cursor(self, entry: Entry) -> Cursor:
        return Cursor(self.data, entry.at, entry.end)

    @cached_property
    def operations(self) -> Cursor:
        return Cursor(self.data, *self.program)


def read_sections(data: memoryview, name: str) -> Sections:
    """Read the tables. Raises PackageError if it is no MLIR bytecode, UnsupportedVersionError, ProgramError."""
    if is_pointer(data[:64]):
        raise PackageError(f"{name} {POINTER}")
    if data[:4] != MAGIC:
        raise PackageError(f"{name} is no MLIR bytecode: it does not begin with {MAGIC!r}")
    cursor = Cursor(data, 4, len(data))
    version = cursor.number()
    if version != VERSION:
        raise UnsupportedVersionError(f"{name}: MLIR bytecode version {version}; this version reads {VERSION}")
    cursor.text_to_zero()  # the producer
    parts = dict(_parts(cursor))
    for number, what in _NEEDED.items():
        if number not in parts:
            raise damaged(f"it has no section of {what}")
    found = Sections(data)
    found.strings = list(_strings(parts[STRINGS]))
    dialects = _read_dialects(parts[DIALECTS], found, name)
    _read_entries(parts[ATTRIBUTE_OFFSETS], parts[ATTRIBUTES], found, dialects)
    found.program = parts[IR].at, parts[IR].end
    if PROPERTIES in parts:
        found.properties = list(_properties(parts[PROPERTIES]))
    if RESOURCE_OFFSETS in parts:
        found.resources = _resources(parts[RESOURCE_OFFSETS], parts.get(RESOURCES), len(found.strings))
    return found


def read_section(cursor: Cursor) -> tuple[int, Cursor]:
    """The number of the section that begins here, and its contents."""
    number = cursor.byte()
    length = cursor.number()
    if number & _ALIGNED:
        cursor.align(cursor.number())
    return number & ~_ALIGNED, cursor.part(length)


def _parts(cursor: Cursor) -> Iterator[tuple[int, Cursor]]:
    seen = set()
    while cursor.left:
        number, part = read_section(cursor)
        if number in seen or number > PROPERTIES:
            raise damaged(f"section {number} is {'there twice' if number in seen else 'unknown'}")
        seen.add(number)
        yield number, part


def _strings(cursor: Cursor) -> Iterator[str]:
    """Their lengths stand first, the last one's before the others; each string ends with a zero byte."""
    lengths = [cursor.number() for _ in range(cursor.count("strings", 2))]
    for length in reversed(lengths):
        if not length:
            raise damaged("a string has no end")
        yield text_of(cursor.bytes(length)[:-1])


def _read_dialects(cursor: Cursor, found: Sections, name: str) -> list[str]:
    dialects = []
    for _ in range(cursor.count("dialects")):
        number, versioned = cursor.flagged()
        dialects.append(_string(found, number))
        if versioned:
            _, version = read_section(cursor)
            _check_version(dialects[-1], version, name)
    total = cursor.count("names of operations")
    while cursor.left:
        dialect = dialects[cursor.index(len(dialects), "dialect")]
        for _ in range(cursor.count("names of operations")):
            kind = _string(found, cursor.flagged()[0])
            found.kinds.append(kind if dialect == DIALECT else f"{dialect}.{kind}")
    if len(found.kinds) != total:
        raise damaged(f"it announces {total} names of operations and has {len(found.kinds)}")
    return dialects


def _check_version(dialect: str, version: Cursor, name: str) -> None:
    found = version.number()
    if dialect == DIALECT and found != DIALECT_VERSION:
        raise UnsupportedVersionError(
            f"{name}: version {found} of the dialect '{dialect}'; this version reads {DIALECT_VERSION}"
        )


def _string(found: Sections, number: int) -> str:
    if number >= len(found.strings):
        raise damaged(f"it refers to string number {number}, but has {len(found.strings)}")
    return found.strings[number]


def _read_entries(offsets: Cursor, data: Cursor, found: Sections, dialects: list[str]) -> None:
    attributes, types = offsets.count("attributes"), offsets.count("types")
    for entries, total in ((found.attributes, attributes), (found.types, types)):
        while len(entries) < total:
            dialect = dialects[offsets.index(len(dialects), "dialect")]
            group = offsets.count("attributes or types")
            if not 0 < group <= total - len(entries):
                raise damaged(f"a group of {group} attributes or types of {total}")
            for _ in range(group):
                length, custom = offsets.flagged()
                part = data.part(length)
                entries.append(Entry(part.at, part.end, custom and dialect == DIALECT))


def _properties(cursor: Cursor) -> Iterator[Cursor]:
    for _ in range(cursor.count("properties")):
        yield cursor.part(cursor.number())


def _resources(offsets: Cursor, data: Cursor | None, strings: int) -> list[Cursor | None]:
    """The resources of dialects, by their number. Those of other tools come first, and nothing refers to them."""
    found: list[Cursor | None] = []
    foreign = offsets.count("groups of resources")
    group = 0
    while offsets.left:
        offsets.number()  # the dialect, or the name of the tool
        for _ in range(offsets.count("resources")):
            offsets.index(strings, "string")
            length, kind = offsets.number(), offsets.byte()
            if data is None:
                raise damaged("it has names of resources, but no resources")
            part = data.part(length)
            if group >= foreign:
                found.append(_blob(part) if kind == _BLOB else None)
        group += 1
    return found


def _blob(part: Cursor) -> Cursor:
    alignment, length = part.number(), part.number()
    part.align(alignment)
    return part.part(length)
