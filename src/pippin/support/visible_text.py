r"""Visible text: writes characters that act instead of being seen as escapes such as `\x1b` and `\u202e`.

A name in a model file may hold terminal escapes, line breaks, or marks that reverse the text after them. Printed raw,
they colour, move, hide or reorder what people read; written out, they are only ugly.
"""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), marks of direction, invisible spaces and joiners, line separators, lone surrogates
# (bytes of a file name that are not UTF-8) and tags. The joiners U+200C and U+200D belong to ordinary words and emoji.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# First characters by which a spreadsheet takes a cell for a formula. Source: OWASP, "CSV Injection".
_FORMULA = re.compile(r"[=+@\t\r-]")


def visible(text: str, lines: bool = False) -> str:
    """`text` with hidden characters as escapes; with `lines`, line breaks and tabs stay."""
    return _HIDDEN.sub(_kept_lines if lines else _escaped, text)


def cut(text: str, longest: int) -> str:
    """`text`, or the beginning of a long one and how long it is: a name in a file may have a million characters."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text):,} characters)"


def quoted(text: str, longest: int = 60) -> str:
    """`text` in quotes on one line, hidden characters as escapes, the end of a long one left out."""
    return repr(text if len(text) <= longest else f"{text[:longest]}...")


def spreadsheet_cell(text: str) -> str:
    """`text` for a cell of a CSV file: what a spreadsheet would take for a formula starts with an apostrophe."""
    if not _FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return _SHORT.get(found[0]) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _kept_lines(found: re.Match[str]) -> str:
    return found[0] if found[0] in "\n\t" else _escaped(found)
