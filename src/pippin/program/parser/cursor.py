"""Cursor: a position in a text read from left to right; its errors name line and column."""

from __future__ import annotations

import re
from typing import NoReturn

from ...errors import ProgramError

# A name is any run of non-separators, so names from other tools ("conv/1:0") are valid.
# Whitespace is spelled out instead of \s: a class of single characters compiles to a table, and half of a statement
# is names.
_SPACES = r"\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SEPARATORS = rf"{_SPACES},()\[\]{{}}<>=\"';?"
NAME = rf"[^{_SEPARATORS}+0-9-][^{_SEPARATORS}]*"
STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(NAME)
_STRING = re.compile(STRING, re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]+")
_TOKEN = re.compile(rf"{STRING}|[^{_SEPARATORS}]+|->|.", re.DOTALL)
_ESCAPE = re.compile(r"\\(u\{([0-9a-fA-F]{1,6})\}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", '"': '"', "\\": "\\", "'": "'"}
_SHOWN = 40


class Cursor:
    """`at` is an offset in `text`. Methods that take a token skip leading whitespace and move `at` past the token."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.at = 0

    def space(self) -> int:
        """Skip whitespace and return the offset of the next token."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return self.at

    def peek(self, token: str) -> bool:
        return self.text.startswith(token, self.space())

    def accept(self, token: str) -> bool:
        if not self.peek(token):
            return False
        self.at += len(token)
        return True

    def expect(self, token: str, else_expected: str = "") -> None:
        if not self.accept(token):
            self.fail(f"{else_expected}'{token}'")

    def expect_name(self, what: str) -> str:
        return self._expect(_NAME, what)

    def expect_integer(self, what: str) -> int:
        start = self.space()
        found = self._expect(_INTEGER, what)
        if len(found) > 20:
            self.refuse(f"number {found[:_SHOWN]} has too many digits", start)
        return int(found)

    def expect_string(self) -> str:
        start = self.space()
        found = _STRING.match(self.text, start)
        if found is None:
            if self.text.startswith('"', start):
                self.refuse("unterminated string: expected '\"'", start)
            self.fail("a string")
        self.at = found.end()
        return self._unescaped(found[0][1:-1], start)

    def fail(self, expected: str) -> NoReturn:
        """Raise an error: the next token is not the expected one."""
        self.refuse(f"expected {expected}, found {self.found()}", self.at)

    def found(self) -> str:
        """The next token, human-readable."""
        token = _TOKEN.match(self.text, self.space())
        if token is None:
            return "the end of the text"
        shown = token[0] if len(token[0]) <= _SHOWN else f"{token[0][:_SHOWN]}..."
        return repr(shown)

    def refuse(self, what: str, at: int) -> NoReturn:
        raise ProgramError(f"{self.name}, {place(self.text, at)}: {what}")

    def _expect(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self.text, self.space())
        if found is None:
            self.fail(what)
        self.at = found.end()
        return found[0]

    def _unescaped(self, raw: str, start: int) -> str:
        if "\\" not in raw:
            return raw

        def replaced(found: re.Match[str]) -> str:
            code = int(found[2], 16) if found[2] else -1
            if code > 0x10FFFF or 0xD800 <= code < 0xE000 or (code < 0 and found[1] not in _ESCAPED):
                self.refuse(f"unknown escape '{found[0]}' in a string", start + 1 + found.start())
            return chr(code) if found[2] else _ESCAPED[found[1]]

        return _ESCAPE.sub(replaced, raw)


def place(text: str, at: int) -> str:
    """Line and column of an offset, both counted from 1."""
    before = text.rfind("\n", 0, at)
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - before}"


def quoted(value: str) -> str:
    """A string literal that `expect_string` reads back."""
    if not _SPECIAL.search(value):
        return f'"{value}"'
    return f'"{_SPECIAL.sub(_escaped, value)}"'


_SPECIAL = re.compile(r'[\\"\x00-\x1f\x7f\u0085\u2028\u2029]')
_LETTERS = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _escaped(found: re.Match[str]) -> str:
    return _LETTERS.get(found[0]) or f"\\u{{{ord(found[0]):x}}}"


def is_name(value: str) -> bool:
    """Whether this is a valid name for a value, an operation or a parameter in MIL text."""
    return _NAME.fullmatch(value) is not None
