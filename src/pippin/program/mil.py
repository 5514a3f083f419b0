"""Mil: a whole program in Core ML's own text form, as it stands in the `model.mil` of a compiled model.

Unlike `text`, which is for reading, nothing is left out or folded: each constant has its operation, its type, and its
value or its place in the weight file. Up to iOS 17 every type is spelled `tensor<...>`; iOS 18 writes scalars plainly.
Source: the grammar observed in models that Apple compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..types import DataType, ListType, StateType, TensorType, TupleType, ValueType
from .ir import Argument, Block, Function, Literal, Operation, Program, Value

_INDENT = "    "
_PLAIN_SCALARS_SINCE = 18


def mil_text(program: Program) -> str:
    """The program as MIL text."""
    plain = max((_release(f.opset) for f in program.functions.values()), default=0) >= _PLAIN_SCALARS_SINCE
    writer = _Writer(plain)
    attributes = writer.attributes(program.attributes)
    lines = [f"program({'1.3' if plain else '1.0'})", *([attributes] if attributes else []), "{"]
    for function in program.functions.values():
        lines += [_INDENT + line for line in writer.function(function)]
    return "\n".join([*lines, "}", ""])


def _release(opset: str) -> int:
    """The iOS release of an operation set: "CoreML7" is that of iOS 17."""
    digits = int("".join(filter(str.isdigit, opset)) or 0)
    return digits if opset.lower().startswith("ios") else digits + 10


class _Writer:
    def __init__(self, plain: bool) -> None:
        self.plain = plain

    def function(self, function: Function) -> Iterator[str]:
        inputs = ", ".join(map(self.named, function.inputs))
        yield f"func {function.name}<ios{_release(function.opset)}>({inputs}) {{"
        yield from self.block(function.block)
        yield f"}} -> ({_names(function.outputs)});"

    def block(self, block: Block) -> Iterator[str]:
        for operation in block.operations:
            for line in self.operation(operation):
                yield _INDENT * 2 + line

    def operation(self, operation: Operation) -> Iterator[str]:
        results = ", ".join(map(self.named, operation.outputs))
        inputs = ", ".join(f"{name} = {self.bound(bound)}" for name, bound in sorted(operation.inputs.items()))
        call = f"{operation.kind}({inputs}){self.attributes(operation.attributes)}"
        start = f"{results} = {call}" if results else call
        if not operation.blocks:
            yield f"{start};"
            return
        yield start
        for number, block in enumerate(operation.blocks):
            yield f"({', '.join(map(self.named, block.inputs))}) {{"
            yield from self.block(block)
            yield f"}} -> ({_names(block.outputs)}){';' if number == len(operation.blocks) - 1 else ','}"

    def named(self, value: Value) -> str:
        return f"{self.type(value.type)} {value.name}"

    def bound(self, bound: tuple[Argument, ...]) -> str:
        parts = [a.name if isinstance(a, Value) else self.literal(a) for a in bound]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def attributes(self, attributes: Mapping[str, Literal]) -> str:
        return f"[{', '.join(f'{k} = {self.literal(v)}' for k, v in sorted(attributes.items()))}]" if attributes else ""

    def type(self, kind: ValueType) -> str:
        match kind:
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
        return f"dict<{self.type(kind.key)}, {self.type(kind.value)}>"

    def literal(self, literal: Literal) -> str:
        kind = self.type(literal.type)
        if literal.file is not None:
            path = f'{self.type(TensorType(DataType.STRING))}("{literal.file}")'
            offset = f"{self.type(TensorType(DataType.UINT64))}({literal.offset})"
            return f"{kind}(BLOBFILE(path = {path}, offset = {offset}))"
        if isinstance(literal.value, dict):
            return f"{kind}({{{', '.join(f'{{{_scalar(k)}, {_scalar(v)}}}' for k, v in literal.value.items())}}})"
        return f"{kind}({_elements(literal.value)})"


def _names(values: tuple[Value, ...]) -> str:
    return ", ".join(value.name for value in values)


def _elements(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.shape == ():
        return _scalar(value[()])
    if isinstance(value, np.ndarray | list | tuple):
        return "[" + ", ".join(map(_elements, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | np.integer):
        return str(int(value))
    return _hexadecimal(float(value))


def _hexadecimal(value: float) -> str:
    """A float as C99 writes it exactly, without trailing zeros: 0x1.8p-3."""
    if not np.isfinite(value):
        return str(value)
    digits, exponent = value.hex().split("p")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}p{exponent}"
