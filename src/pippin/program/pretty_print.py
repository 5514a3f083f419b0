"""Pretty print: formats a program for reading, in the style of `model.mil`.

    func main<CoreML7>(tensor<fp32, [1, 3]> x) {
        tensor<fp32, [1, 3]> y = relu(x = x);
    } -> (y);

Short constants are inlined where they are used. Longer ones keep their own line, with type and weight file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from .ir import Argument, Block, Function, Literal, Operation, Program, Value

_SHORT = 8
_INDENT = "    "


def program_text(program: Program, function: str | None = None) -> str:
    """The program, or one of its functions. Raises ConfigurationError if the function does not exist."""
    if function is not None and function not in program.functions:
        raise ConfigurationError(f"no function '{function}' (it has: {', '.join(program.functions)})")
    shown = program.functions.values() if function is None else [program.functions[function]]
    body = "\n\n".join(_indented("\n".join(_function(f))) for f in shown)
    return f"program({program.version}) {{\n{body}\n}}"


def _function(function: Function) -> Iterator[str]:
    inputs = ", ".join(f"{value.type} {value.name}" for value in function.inputs)
    yield f"func {function.name}<{function.opset}>({inputs}) {{"
    yield from _block(function.block, {})
    yield f"}} -> ({', '.join(value.name for value in function.outputs)});"


def _block(block: Block, outer: Mapping[str, str]) -> Iterator[str]:
    """The lines of a block, indented. Short constants are inlined into the lines that use them."""
    short = dict(outer)
    for operation in block.operations:
        if operation.kind == "const" and (brief := _brief(operation.attributes.get("val"))) is not None:
            short[operation.name] = brief
            continue
        for line in _operation(operation, short):
            yield _INDENT + line


def _operation(operation: Operation, short: Mapping[str, str]) -> Iterator[str]:
    results = ", ".join(f"{value.type} {value.name}" for value in operation.outputs)
    arguments = ", ".join(f"{name} = {_bound(bound, short)}" for name, bound in sorted(operation.inputs.items()))
    literals = {name: value for name, value in operation.attributes.items() if name != "name"}
    attributes = ", ".join(f"{name} = {_literal(value)}" for name, value in sorted(literals.items()))
    call = f"{operation.kind}({arguments}){f'[{attributes}]' if attributes else ''}"
    yield f"{results} = {call}" + (";" if not operation.blocks else "") if results else f"{call};"
    for number, block in enumerate(operation.blocks):
        inputs = ", ".join(f"{value.type} {value.name}" for value in block.inputs)
        yield f"({inputs}) {{"
        yield from _block(block, short)
        end = ";" if number == len(operation.blocks) - 1 else ""
        yield f"}} -> ({', '.join(value.name for value in block.outputs)}){end}"


def _bound(bound: tuple[Argument, ...], short: Mapping[str, str]) -> str:
    names = [short.get(a.name, a.name) if isinstance(a, Value) else _literal(a) for a in bound]
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _literal(literal: Literal) -> str:
    brief = _brief(literal)
    if brief is not None:
        return brief
    return f'{literal.type}("{literal.file}")' if literal.file else f"{literal.type}(...)"


def _brief(literal: Literal | None) -> str | None:
    """A short value as text; None for a long value or one in a weight file, which is not read."""
    if literal is None or literal.file is not None:
        return None
    value = literal.value
    if isinstance(value, np.ndarray):
        return _numbers(value) if value.size <= _SHORT else None
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_scalar, value))}]" if len(value) <= _SHORT else None
    return _scalar(value)


def _numbers(value: np.ndarray) -> str:
    if value.shape == ():
        return _scalar(value[()])
    return "[" + ", ".join(_numbers(np.asarray(row, value.dtype)) for row in value) + "]"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, np.floating):
        return f"{float(value):.7g}"
    return str(value)


def _indented(text: str) -> str:
    return "\n".join(_INDENT + line for line in text.splitlines())
