"""Types: parses the types of MIL text, as spelled in iOS 15 to 17 (`tensor<fp32, []>`) and iOS 18 (`fp32`)."""

from __future__ import annotations

from ...types import DataType, DictionaryType, ListType, StateType, TensorType, TupleType, ValueType
from .cursor import Cursor

DTYPES = {member.value: member for member in DataType}
_DEEPEST = 32
_LARGEST = (1 << 63) - 1


def parse_type(cursor: Cursor, depth: int = 0) -> ValueType:
    start = cursor.space()
    if depth > _DEEPEST:
        cursor.refuse(f"a type is nested more than {_DEEPEST} levels deep", start)
    word = cursor.expect_name("a type")
    if word in DTYPES:
        return TensorType(DTYPES[word], ())
    if word not in ("tensor", "list", "tuple", "dict", "state"):
        cursor.refuse(f"expected a type (tensor<...>, list, tuple, dict, state, fp32, ...), found '{word}'", start)
    cursor.expect("<")
    found = _parametric(cursor, word, depth)
    cursor.expect(">")
    return found


def _parametric(cursor: Cursor, word: str, depth: int) -> ValueType:
    match word:
        case "tensor":
            return _tensor(cursor)
        case "list":
            element = parse_type(cursor, depth + 1)
            cursor.expect(",")
            return ListType(element, _size(cursor))
        case "tuple":
            elements = []
            while not cursor.peek(">"):
                elements.append(parse_type(cursor, depth + 1))
                if not cursor.accept(","):
                    break
            return TupleType(tuple(elements))
        case "dict":
            key = parse_type(cursor, depth + 1)
            cursor.expect(",")
            return DictionaryType(key, parse_type(cursor, depth + 1))
    start = cursor.space()
    wrapped = parse_type(cursor, depth + 1)
    if not isinstance(wrapped, TensorType):
        cursor.refuse(f"expected a tensor in a state, found {wrapped}", start)
    return StateType(wrapped)


def _tensor(cursor: Cursor) -> TensorType:
    start = cursor.space()
    word = cursor.expect_name("an element type")
    if word not in DTYPES:
        cursor.refuse(f"expected an element type ({', '.join(DTYPES)}), found '{word}'", start)
    cursor.expect(",")
    cursor.expect("[")
    if cursor.accept("..."):
        cursor.expect("]")
        return TensorType(DTYPES[word], None)
    sizes: list[int | None] = []
    while not cursor.peek("]"):
        sizes.append(_size(cursor))
        if not cursor.accept(","):
            break
    cursor.expect("]", "',' or ")
    return TensorType(DTYPES[word], tuple(sizes))


def _size(cursor: Cursor) -> int | None:
    if cursor.accept("?"):
        return None
    start = cursor.space()
    size = cursor.expect_integer("a size or '?'")
    if not 0 <= size <= _LARGEST:
        cursor.refuse(f"expected a size of 0 or more, found {size}", start)
    return size
