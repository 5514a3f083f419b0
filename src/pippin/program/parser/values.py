"""Values: parses the constants of MIL text, `type(value)`. Long arrays are decoded in bulk.

The value in parentheses is untyped: a scalar, a string, [..] for a tensor or a list, (..) for a tuple,
{{key, value}, ..} for a dictionary; or BLOBFILE(path = .., offset = ..), a record of a weight file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...types import DataType, DictionaryType, ListType, StateType, TensorType, TupleType, ValueType
from ..blob_constants import Weights, is_fixed, read_record
from ..ir import Literal
from .cursor import Cursor
from .numbers import BadNumber, decode
from .types import parse_type

_NUMERALS = re.compile(r"[^\"(){};=<>]*")
_NUMERAL = re.compile(r"[^\s,\[\]]+")
_LIST_PUNCTUATION = b"[],"
_NOT_PUNCTUATION = bytes(set(range(256)) - set(_LIST_PUNCTUATION))
_SPACE_AND_BRACKETS = str.maketrans("", "", " \t\r\n[]")
_NUMERAL_HERE = re.compile(r"[^\s,()\[\]{}<>=\"';]*")
_ROW = re.compile(r"\[[^\[\]\"(){};=<>]*\]?|")
_IS_NUMERAL = np.ones(256, np.bool_)
_IS_NUMERAL[np.frombuffer(b" \t\r\n,[]", np.uint8)] = False
_LONG = 4096
_DEEPEST = 16


def parse_literal(cursor: Cursor, weights: Weights | None) -> Literal:
    """Parse a constant preceded by its type."""
    kind = parse_type(cursor)
    cursor.expect("(")
    found = _blob(cursor, kind, weights) if cursor.accept("BLOBFILE") else Literal(kind, parse_value(cursor, kind))
    cursor.expect(")")
    return found


def _blob(cursor: Cursor, kind: ValueType, weights: Weights | None) -> Literal:
    start = cursor.space()
    if not is_fixed(kind):
        cursor.refuse(f"a constant of type {kind} cannot be in a weight file: it needs a fixed shape", start)
    cursor.expect("(")
    found: dict[str, Any] = {}
    for number, (name, dtype) in enumerate((("path", DataType.STRING), ("offset", DataType.UINT64))):
        if number:
            cursor.expect(",")
        cursor.expect(name)
        cursor.expect("=")
        at = cursor.space()
        literal = parse_literal(cursor, None)
        if literal.type != TensorType(dtype, ()):
            cursor.refuse(f"expected the {name} as {TensorType(dtype, ())}, found {literal.type}", at)
        found[name] = literal.value
    cursor.expect(")")
    assert isinstance(kind, TensorType)
    path, offset = found["path"], int(found["offset"])
    return Literal(kind, partial(read_record, weights), path, offset)


def parse_value(cursor: Cursor, kind: ValueType, depth: int = 0) -> Any:
    """Parse the value in the parentheses of a constant of this type."""
    start = cursor.space()
    if depth > _DEEPEST:
        cursor.refuse(f"a value is nested more than {_DEEPEST} levels deep", start)
    match kind:
        case TensorType(DataType.STRING, shape):
            return _strings(cursor, shape)
        case TensorType():
            return _numbers(cursor, kind)
        case ListType(element, length):
            cursor.expect("[")
            found = _separated(cursor, "]", lambda: parse_value(cursor, element, depth + 1))
            if length is not None and len(found) != length:
                cursor.refuse(f"expected {length} elements in a constant of type {kind}, found {len(found)}", start)
            return found
        case TupleType(elements):
            return _tuple(cursor, elements, depth)
        case DictionaryType():
            return _dictionary(cursor, kind, depth)
        case StateType():
            cursor.refuse(f"a constant cannot be of type {kind}", start)
    raise TypeError(kind)


def _separated(cursor: Cursor, end: str, element: Callable[[], Any]) -> list[Any]:
    found = []
    while not cursor.peek(end):
        found.append(element())
        if not cursor.accept(","):
            break
    cursor.expect(end, "',' or ")
    return found


def _tuple(cursor: Cursor, elements: tuple[ValueType, ...], depth: int) -> tuple[Any, ...]:
    cursor.expect("(")
    found = []
    for number, element in enumerate(elements):
        if number:
            cursor.expect(",")
        found.append(parse_value(cursor, element, depth + 1))
    cursor.expect(")")
    return tuple(found)


def _dictionary(cursor: Cursor, kind: DictionaryType, depth: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {}

    def pair() -> None:
        cursor.expect("{")
        at = cursor.space()
        key = parse_value(cursor, kind.key, depth + 1)
        key = key.item() if isinstance(key, np.ndarray) and key.shape == () else key
        if not isinstance(key, str | int):
            cursor.refuse(f"dictionary keys must be strings or integers, got {kind.key}", at)
        if key in found:
            cursor.refuse(f"key {key!r} is in a dictionary twice", at)
        cursor.expect(",")
        found[key] = parse_value(cursor, kind.value, depth + 1)
        cursor.expect("}")

    cursor.expect("{")
    _separated(cursor, "}", pair)
    return found


def _strings(cursor: Cursor, shape: tuple[int | None, ...] | None) -> Any:
    if shape == ():
        return cursor.expect_string()
    start = cursor.space()
    rank = None if shape is None else len(shape)

    def nested(depth: int) -> Any:
        if depth == rank or (rank is None and cursor.peek('"')) or depth > _DEEPEST:
            return cursor.expect_string()
        cursor.expect("[")
        return _separated(cursor, "]", lambda: nested(depth + 1))

    rows = nested(0)
    found = _sizes(rows)
    flat: list[Any] = [rows]
    for _ in found:
        flat = [element for row in flat for element in row]
    if len(flat) != math.prod(found) or not _fits(found, shape):
        cursor.refuse(f"expected strings of shape {_shown(shape)}, found {list(found)}", start)
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(found)


def _sizes(rows: Any) -> tuple[int, ...]:
    sizes = []
    while isinstance(rows, list):
        sizes.append(len(rows))
        if not rows:
            break
        rows = rows[0]
    return tuple(sizes)


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...] | None) -> bool:
    """Whether the shapes match. In an empty array, the sizes after the first 0 are unknown."""
    if shape is None:
        return True
    if 0 in found:
        return len(found) <= len(shape)
    return len(found) == len(shape) and all(d in (None, f) for d, f in zip(shape, found, strict=True))


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return "any" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


def _numbers(cursor: Cursor, kind: TensorType) -> np.ndarray:
    """Parse an array, or a scalar of shape (), decoding the whole run of numerals in bulk."""
    start = cursor.space()
    rank = None if kind.shape is None else len(kind.shape)
    run = (_NUMERAL_HERE if rank == 0 else _ROW if rank == 1 else _NUMERALS).match(cursor.text, start)
    assert run is not None
    text = _balanced(run[0])
    shape = kind.shape if kind.shape is not None and None not in kind.shape else _inferred(cursor, text, start, kind)
    fixed = tuple(int(d) for d in shape if d is not None)
    count = math.prod(fixed)
    if not _has_structure(text, fixed) or (_is_loose(text, count) and _numerals(text) != count):
        _explain_structure(cursor, text, start, fixed, kind)
    try:
        found = decode(text.translate(_SPACE_AND_BRACKETS), count, kind.dtype)
    except BadNumber as error:
        if _numerals(text) != count:
            _explain_structure(cursor, text, start, fixed, kind)
        numerals = list(_NUMERAL.finditer(text))
        at = numerals[error.index].start() if error.index < len(numerals) else 0
        cursor.refuse(error.reason, start + at)
    cursor.at = start + len(text)
    return found.reshape(fixed)


def _balanced(run: str) -> str:
    """The run up to the bracket that closes the first one; the whole run if it is unclosed."""
    if not run.startswith("["):
        return run
    if run.count("[") == 1:
        end = run.find("]")
        return run[: end + 1] if end >= 0 else run
    depth = 0
    for found in re.finditer(r"[\[\]]", run):
        depth += 1 if found[0] == "[" else -1
        if depth == 0:
            return run[: found.end()]
    return run


def _has_structure(text: str, shape: tuple[int, ...]) -> bool:
    """Whether brackets and commas are those of an array of this shape."""
    if not shape:
        return text != ""
    if not text.startswith("[") or math.prod(shape) > len(text):
        return False
    return text.encode("latin-1", "replace").translate(None, _NOT_PUNCTUATION) == _skeleton(shape)


def _is_loose(text: str, count: int) -> bool:
    """Whether a comma may be missing or a numeral superfluous although the brackets are right: if whitespace follows
    anything but a comma."""
    return count == 0 or text.count(" ") != text.count(", ") or any(space in text for space in "\t\r\n")


def _numerals(text: str) -> int:
    """The number of numerals in an array."""
    if len(text) < _LONG:
        return len(_NUMERAL.findall(text))
    inside = _IS_NUMERAL[np.frombuffer(text.encode("latin-1", "replace"), np.uint8)]
    return int(np.count_nonzero(inside[1:] > inside[:-1]))


def _skeleton(shape: tuple[int, ...]) -> bytes:
    row = b""
    for number, size in enumerate(reversed(shape)):
        if number and len(row) * size > 1 << 32:
            return b""
        row = b"[" + (row + b",") * (size - 1) + row + b"]" if size else b"[]"
    return row


def _inferred(cursor: Cursor, text: str, start: int, kind: TensorType) -> tuple[int, ...]:
    """The shape of an array whose type has unknown sizes."""
    if len(text) - len(text.lstrip("[")) > _DEEPEST:
        cursor.refuse(f"a value is nested more than {_DEEPEST} levels deep", start)
    sizes = []
    row = text
    while row.startswith("["):
        inner = _balanced(row)[1:-1].strip()
        sizes.append(_top_level(inner))
        row = _balanced(inner) if inner.startswith("[") else ""
    found = tuple(sizes)
    if not _fits(found, kind.shape):
        cursor.refuse(f"expected a value of shape {_shown(kind.shape)}, found {list(found)}", start)
    return found


def _top_level(inner: str) -> int:
    """The number of elements of a row, from its commas outside nested rows."""
    if not inner:
        return 0
    depth, count = 0, 1
    for character in inner:
        depth += (character == "[") - (character == "]")
        count += depth == 0 and character == ","
    return count


def _explain_structure(cursor: Cursor, text: str, start: int, shape: tuple[int, ...], kind: TensorType) -> None:
    """Raise an error at the first position where an array differs from its shape."""
    cursor.at = start

    def row(depth: int) -> None:
        if depth == len(shape):
            numeral = _NUMERAL.match(cursor.text, cursor.space())
            if numeral is None:
                cursor.fail(f"a number of type {kind.dtype.value}")
            cursor.at = numeral.end()
            return
        at = cursor.space()
        cursor.expect("[")
        found = len(_separated(cursor, "]", lambda: row(depth + 1)))
        if found != shape[depth]:
            cursor.refuse(f"expected {shape[depth]} elements in a row of {kind}, found {found}", at)

    row(0)
    cursor.fail("')'")
