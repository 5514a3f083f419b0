"""Cursor: reads numbers, strings and bytes of MLIR bytecode, and never past their end.

Format of a number: LLVM's documentation, "MLIR Bytecode Format", section "Variable Width Integers".
"""

from __future__ import annotations

from ...errors import ProgramError

_ALL = 9  # bytes of a number that does not fit seven bytes
_LONGEST = 1 << 12  # bytes of a name that has no length before it
PADDING = 0xCB
DEEPEST = 128
"""Regions in regions, and attributes in attributes; programs have fewer than ten."""


class Cursor:
    """A position in `data`, up to `end`. Raises ProgramError for everything that would lie behind it."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: memoryview, at: int, end: int) -> None:
        if not 0 <= at <= end <= len(data):
            raise damaged(f"bytes {at} to {end} are asked for, but the file has {len(data)}")
        self.data, self.at, self.end = data, at, end

    @property
    def left(self) -> int:
        return self.end - self.at

    def byte(self) -> int:
        if self.at >= self.end:
            raise damaged(f"it ends at byte {self.end} within a number")
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """A number without a sign, below 2 to the 64."""
        first = self.byte()
        if first & 1:
            return first >> 1
        if not first:
            return int.from_bytes(self.bytes(_ALL - 1), "little")
        more = (first & -first).bit_length() - 1
        return (first | int.from_bytes(self.bytes(more), "little") << 8) >> more + 1

    def signed(self) -> int:
        found = self.number()
        return (found >> 1) ^ -(found & 1)

    def flagged(self) -> tuple[int, bool]:
        """A number whose lowest bit is a flag."""
        found = self.number()
        return found >> 1, bool(found & 1)

    def count(self, what: str, bytes_each: int = 1) -> int:
        """A number of things that follow, each of which takes at least so many bytes."""
        found = self.number()
        if found * bytes_each > self.left:
            raise damaged(f"it announces {found} {what} in its last {self.left} bytes")
        return found

    def index(self, length: int, what: str) -> int:
        found = self.number()
        if found >= length:
            raise damaged(f"it refers to {what} number {found}, but has {length}")
        return found

    def bytes(self, length: int) -> memoryview:
        if length > self.left:
            raise damaged(f"{length} bytes are announced at byte {self.at}, but {self.left} are left")
        self.at += length
        return self.data[self.at - length : self.at]

    def part(self, length: int) -> Cursor:
        """A cursor for the next bytes, which this one passes over."""
        self.bytes(length)
        return Cursor(self.data, self.at - length, self.at)

    def part_of(self) -> Cursor:
        """A cursor for all that is left, which this one does not pass over."""
        return Cursor(self.data, self.at, self.end)

    def align(self, alignment: int) -> None:
        """Pass over the padding up to a multiple of `alignment`."""
        if not alignment or alignment & alignment - 1:
            raise damaged(f"{alignment} is no alignment; it must be a power of two")
        if any(byte != PADDING for byte in self.bytes(-self.at % alignment)):
            raise damaged(f"the padding before byte {self.at} is not padding")

    def text_to_zero(self) -> str:
        """A string that ends with a zero byte."""
        length = bytes(self.data[self.at : min(self.end, self.at + _LONGEST)]).find(0)
        if length < 0:
            raise damaged("a string does not end")
        text = text_of(self.bytes(length))
        self.at += 1
        return text


def text_of(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "backslashreplace")


def damaged(reason: str) -> ProgramError:
    return ProgramError(f"the program is damaged: {reason}")
