"""MIL writer: writes a `Program` as MIL text, the form of `model.mil` in a compiled model.

Unlike `pretty_print`, it omits and folds nothing: each constant has its operation, its type, and its value or its
location in the weight file. Up to iOS 17 every type is spelled `tensor<...>`; from iOS 18 scalars are plain types.
`parser` reads the text back. Source: the grammar observed in models compiled by Apple. None of them shows the syntax
for blocks of an operation; here they follow its attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ProgramError
from ..types import DataType, DictionaryType, ListType, StateType, TensorType, TupleType, ValueType
from .ir import Argument, Block, Function, Literal, Operation, Program, Value
from .opsets import has_plain_scalars, text_of
from .parser.cursor import is_name, quoted

_INDENT = "    "


def mil_text(program: Program) -> str:
    """The program as MIL text. Raises ProgramError for a name that is not valid in MIL text."""
    plain = any(has_plain_scalars(f.opset) for f in program.functions.values())
    writer = _Writer(plain)
    attributes = writer.attributes(program.attributes)
    lines = [f"program({'1.3' if plain else '1.0'})", *([attributes] if attributes else []), "{"]
    for function in program.functions.values():
        lines += writer.function(function)
    return "\n".join([*lines, "}", ""])


class _Writer:
    def __init__(self, plain: bool) -> None:
        self.plain = plain
        self.types: dict[ValueType, str] = {}

    def function(self, function: Function) -> Iterator[str]:
        inputs = ", ".join(map(self.named, function.inputs))
        start = f"{_INDENT}func {_name(function.name)}<{_name(text_of(function.opset))}>({inputs})"
        attributes = self.attributes(function.attributes)
        yield f"{start} {attributes} {{" if attributes else f"{start} {{"
        yield from self.block(function.block, 3)
        yield f"{_INDENT * 2}}} -> ({_names(function.outputs)});"

    def block(self, block: Block, depth: int) -> Iterator[str]:
        for operation in block.operations:
            yield from self.operation(operation, depth)

    def operation(self, operation: Operation, depth: int) -> Iterator[str]:
        margin = _INDENT * depth
        results = ", ".join(map(self.named, operation.outputs))
        inputs = ", ".join(f"{_name(name)} = {self.bound(bound)}" for name, bound in sorted(operation.inputs.items()))
        call = f"{_name(operation.kind)}({inputs}){self.attributes(operation.attributes)}"
        start = f"{margin}{results} = {call}" if results else margin + call
        if not operation.blocks:
            yield f"{start};"
            return
        yield start
        for number, block in enumerate(operation.blocks):
            yield f"{margin}({', '.join(map(self.named, block.inputs))}) {{"
            yield from self.block(block, depth + 1)
            yield f"{margin}}} -> ({_names(block.outputs)}){';' if number == len(operation.blocks) - 1 else ','}"

    def named(self, value: Value) -> str:
        return f"{self.type(value.type)} {_name(value.name)}"

    def bound(self, bound: tuple[Argument, ...]) -> str:
        parts = [_name(a.name) if isinstance(a, Value) else self.literal(a) for a in bound]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def attributes(self, attributes: Mapping[str, Literal]) -> str:
        if not attributes:
            return ""
        return f"[{', '.join(f'{_name(k)} = {self.literal(v)}' for k, v in sorted(attributes.items()))}]"

    def type(self, kind: ValueType) -> str:
        if kind not in self.types:
            self.types[kind] = self._type(kind)
        return self.types[kind]

    def _type(self, kind: ValueType) -> str:
        match kind:
            case TensorType(dtype, None):
                return f"tensor<{dtype.value}, [...]>"
            case TensorType(dtype, ()) if self.plain:
                return dtype.value
            case TensorType(dtype, shape):
                return f"tensor<{dtype.value}, [{', '.join('?' if d is None else str(d) for d in shape or ())}]>"
            case ListType(element, length):
                return f"list<{self.type(element)}, {'?' if length is None else length}>"
            case TupleType(elements):
                return f"tuple<{', '.join(map(self.type, elements))}>"
            case StateType(wrapped):
                return f"state<{self.type(wrapped)}>"
            case DictionaryType(key, value):
                return f"dict<{self.type(key)}, {self.type(value)}>"
        raise TypeError(kind)

    def literal(self, literal: Literal) -> str:
        kind = self.type(literal.type)
        if literal.file is not None:
            path = f"{self.type(TensorType(DataType.STRING))}({quoted(literal.file)})"
            offset = f"{self.type(TensorType(DataType.UINT64))}({literal.offset})"
            return f"{kind}(BLOBFILE(path = {path}, offset = {offset}))"
        return f"{kind}({_value(literal.value)})"


def _name(name: str) -> str:
    if not is_name(name):
        raise ProgramError(f"name {name!r} is not valid in MIL text")
    return name


def _names(values: tuple[Value, ...]) -> str:
    return ", ".join(_name(value.name) for value in values)


def _value(value: Any) -> str:
    match value:
        case np.ndarray(shape=()):
            return _numerals(value.reshape(1))[0]
        case np.ndarray(shape=(_,)):
            return f"[{', '.join(_numerals(value))}]"
        case np.ndarray() | list():
            return f"[{', '.join(map(_value, value))}]"
        case tuple():
            return f"({', '.join(map(_value, value))})"
        case dict():
            return f"{{{', '.join(f'{{{_value(k)}, {_value(v)}}}' for k, v in value.items())}}}"
        case str():
            return quoted(value)
    return _numerals(np.asarray(value).reshape(1))[0]


def _numerals(row: np.ndarray) -> list[str]:
    """The elements of a row as text, without loss of precision."""
    if row.dtype.kind in "OU":
        return [quoted(str(value)) for value in row]
    if row.dtype.kind == "b":
        return ["true" if value else "false" for value in row.tolist()]
    if row.dtype.kind in "iu":
        return list(map(str, row.tolist()))
    with np.errstate(invalid="ignore"):  # signalling NaNs
        exact = row.astype(np.float64)
    found = [_hexadecimal(value) for value in exact.tolist()]
    for index in np.flatnonzero(np.isnan(exact)):
        found[index] = _not_a_number(row[index : index + 1])
    return found


_TRAILING = re.compile(r"\.?0*p")


def _hexadecimal(value: float) -> str:
    """A float in C99 hexadecimal, without trailing zeros: 0x1.8p-3."""
    text = value.hex()
    return _TRAILING.sub("p", text) if "." in text else text


def _not_a_number(one: np.ndarray) -> str:
    """`nan`, with its bits if they differ from those of the default quiet NaN."""
    (bits,), (usual,) = (a.view(f"u{one.itemsize}") for a in (one, np.array([np.nan], one.dtype)))
    return "nan" if bits == usual else f"nan:{int(bits):#x}"
