"""Operations: walks the operations, regions and blocks of an MLIR bytecode file.

The regions of an operation that use nothing from outside them are only read when they are asked for: the body that
describes a known operation in simpler ones never is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .cursor import DEEPEST, Cursor, damaged
from .sections import IR, Sections, read_section

ATTRIBUTES, RESULTS, OPERANDS, SUCCESSORS, REGIONS, USE_ORDERS, PROPERTIES = (1 << bit for bit in range(7))
_LEAST = 3  # bytes of an operation: name, flags, location


@dataclass(slots=True)
class RawBlock:
    arguments: tuple[tuple[int, int], ...]
    """The number of each value and that of its type."""
    operations: list[RawOperation]


@dataclass(slots=True)
class RawOperation:
    """One operation. Values, types, attributes and properties are numbers."""

    kind: str
    location: int
    properties: int | None = None
    results: tuple[tuple[int, int], ...] = ()
    """The number of each value and that of its type."""
    operands: tuple[int, ...] = ()
    isolated: bool = False
    """Whether its regions number their values from 0."""
    _regions: Callable[[], list[list[RawBlock]]] | None = field(default=None, repr=False)

    @property
    def regions(self) -> list[list[RawBlock]]:
        """The blocks of each region; read when asked for."""
        return self._regions() if self._regions else []


def read_operations(sections: Sections) -> list[RawOperation]:
    """The operations at the top. Raises ProgramError, then or when regions are asked for."""
    cursor = sections.operations
    reader = _Reader(sections, 0)
    count, has_arguments = cursor.flagged()
    if has_arguments or count > cursor.left // _LEAST:
        raise damaged(f"it begins with {count} operations in {cursor.left} bytes")
    return [reader.operation(cursor) for _ in range(count)]


class _Reader:
    """Reads the operations of one scope: values are numbered through, from that of an isolated region down."""

    def __init__(self, sections: Sections, depth: int) -> None:
        if depth > DEEPEST:
            raise damaged(f"its regions are nested more than {DEEPEST} deep")
        self._sections, self._depth = sections, depth
        self._known = 0  # values of the regions that are being read
        self._next = 0

    def operation(self, cursor: Cursor) -> RawOperation:
        kinds = self._sections.kinds
        kind = kinds[cursor.index(len(kinds), "name of an operation")]
        flags = cursor.byte()
        found = RawOperation(kind, cursor.index(len(self._sections.attributes), "attribute"))
        if flags & ATTRIBUTES:
            cursor.index(len(self._sections.attributes), "attribute")  # of other dialects: Core AI's are properties
        if flags & PROPERTIES:
            found.properties = cursor.index(len(self._sections.properties), "properties")
        if flags & RESULTS:
            types = [self._type(cursor) for _ in range(cursor.count("results"))]
            found.results = tuple((self._new(), number) for number in types)
        if flags & OPERANDS:
            found.operands = tuple(cursor.index(self._known, "value") for _ in range(cursor.count("operands")))
        if flags & (SUCCESSORS | USE_ORDERS):
            raise damaged(f"'{kind}' has successors or orders of uses, which Core AI's programs do not have")
        if flags & REGIONS:
            count, found.isolated = cursor.flagged()
            if count > cursor.left:
                raise damaged(f"'{kind}' announces {count} regions in {cursor.left} bytes")
            found._regions = self._isolated(cursor, count) if found.isolated else self._inside(cursor, count)
        return found

    def _isolated(self, cursor: Cursor, count: int) -> Callable[[], list[list[RawBlock]]]:
        number, part = read_section(cursor)
        if number != IR:
            raise damaged(f"a region is in section {number}, not in {IR}")

        def read() -> list[list[RawBlock]]:
            inner, at = _Reader(self._sections, self._depth + 1), Cursor(part.data, part.at, part.end)
            return [inner.region(at) for _ in range(count)]

        return read

    def _inside(self, cursor: Cursor, count: int) -> Callable[[], list[list[RawBlock]]]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise damaged(f"its regions are nested more than {DEEPEST} deep")
        found = [self.region(cursor) for _ in range(count)]
        self._depth -= 1
        return lambda: found

    def region(self, cursor: Cursor) -> list[RawBlock]:
        blocks = cursor.count("blocks")
        if not blocks:
            return []
        outer, at = self._known, self._next
        values = cursor.count("values")
        self._next, self._known = outer, outer + values
        found = [self._block(cursor) for _ in range(blocks)]
        if self._next != self._known:
            raise damaged(f"a region announces {values} values and has {self._next - outer}")
        self._next, self._known = at, outer
        return found

    def _block(self, cursor: Cursor) -> RawBlock:
        count, has_arguments = cursor.flagged()
        arguments: list[tuple[int, int]] = []
        if has_arguments:
            for _ in range(cursor.count("arguments of a block")):
                number, located = cursor.flagged()
                if number >= len(self._sections.types):
                    raise damaged(f"it refers to type number {number}, but has {len(self._sections.types)}")
                arguments.append((self._new(), number))
                if located:
                    cursor.index(len(self._sections.attributes), "attribute")
            if cursor.byte():
                raise damaged("a block has orders of uses, which Core AI's programs do not have")
        if count > cursor.left // _LEAST:
            raise damaged(f"a block announces {count} operations in {cursor.left} bytes")
        return RawBlock(tuple(arguments), [self.operation(cursor) for _ in range(count)])

    def _type(self, cursor: Cursor) -> int:
        return cursor.index(len(self._sections.types), "type")

    def _new(self) -> int:
        if self._next >= self._known:
            raise damaged(f"more values are defined than the {self._known} that are announced")
        self._next += 1
        return self._next - 1
