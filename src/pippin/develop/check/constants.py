"""Constants: those of a program that float16 cannot hold: infinite ones, masks that become so, epsilons that are 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ...format.asset import Asset
from ...program.ir import Argument, Literal, Operation, Value
from ...program.protobuf_reader import read_program
from ...types import DataType, TensorType
from .finding import Finding

LARGEST = 65504.0
SMALLEST = 2.0**-24
"""The smallest number of float16 above 0; coremltools writes it for any smaller epsilon."""
NORMAL = 2.0**-14
"""The smallest normal number of float16. The Neural Engine may take a smaller one for 0."""

_MASK = "mask with a number that float16 holds, such as -40000, or keep the operation in float32"
_EPSILON = "use 1e-4, or keep the operation in float32"
_IN_FLOAT16 = {
    "epsilon of 0": ", which float16 makes 0",
    "subnormal epsilon": ", below the normal numbers of float16, which the Neural Engine may take for 0",
}
# An infinite bound is none.
_BOUNDED = frozenset(
    {"clip", "equal", "greater", "greater_equal", "less", "less_equal", "maximum", "minimum", "not_equal"}
)
_TINY = 1e-38  # the default epsilon of log is the smallest float32, which adds nothing
# Operations that add their epsilon to what must not be 0.
_WITH_EPSILON = frozenset(
    {"batch_norm", "instance_norm", "inverse", "l2_norm", "layer_norm", "local_response_norm", "log", "rsqrt"}
)
# What follows an epsilon that was added or set as a lower bound by hand.
_DIVIDES = frozenset({"inverse", "log", "pow", "real_div", "rsqrt", "sqrt"})
_GUARDS = frozenset({"add", "maximum", "clip"})


def constant_findings(asset: Asset, precision: str, function: str | None = None) -> list[Finding]:
    """The findings in a program's constants; none for other kinds of models."""
    if asset.submodels:
        return [finding for part in asset.submodels for finding in constant_findings(part, precision)]
    if asset.specification.WhichOneof("Type") != "mlProgram":
        return []
    name = asset.description.function(function).name
    block = next(f.block for f in read_program(asset).functions.values() if f.name == name)
    operations = list(block.walk())
    constants = {o.name: o.attributes["val"] for o in operations if o.kind == "const" and "val" in o.attributes}
    readers: dict[str, list[Operation]] = {}
    for operation in operations:
        for argument in _arguments(operation):
            if isinstance(argument, Value):
                readers.setdefault(argument.name, []).append(operation)
    return [
        finding
        for operation in operations
        if not operation.constant
        for rule in (_infinite, _epsilon, _guard)
        for finding in rule(operation, constants, readers, precision == "float16")
    ]


Found = Iterator[Finding]
Rule = Callable[[Operation, Mapping[str, Literal], Mapping[str, list[Operation]], bool], Found]


def _infinite(operation: Operation, constants: Any, readers: Any, all_half: bool) -> Found:
    """An operand that is infinite, or becomes so when it is cast to float16."""
    if operation.kind in _BOUNDED:
        return
    to_half = operation.kind == "cast" and _is_half(operation)
    for argument in _arguments(operation):
        array = _array(argument, constants)
        if array is None or array.dtype.kind != "f" or not array.size:
            continue
        with np.errstate(invalid="ignore"):
            infinite, large = np.isinf(array).any(), (np.abs(array) > LARGEST).any()
        name = argument.name if isinstance(argument, Value) else ""
        if infinite:
            where = f"its constant '{name}'" if name else "a constant of it"
            yield Finding(
                "infinite constant", operation.name, operation.kind,
                f"{where} holds infinity: a row of it alone makes softmax NaN, and 0 times it is NaN", _MASK,
            )  # fmt: skip
        elif large and (to_half or all_half):
            value = float(array.flat[np.abs(array).argmax()])
            yield Finding(
                "mask beyond float16", operation.name, operation.kind,
                f"the constant {value:.4g} becomes infinite in float16, whose largest number is 65504", _MASK,
            )  # fmt: skip


def _epsilon(operation: Operation, constants: Any, readers: Any, all_half: bool) -> Found:
    if operation.kind not in _WITH_EPSILON or not (all_half or _is_half(operation)):
        return
    arguments = operation.inputs.get("epsilon")
    array = _array(arguments[0], constants) if arguments else None
    if array is None or array.size != 1 or (operation.kind == "log" and 0 < float(array) < _TINY):
        return
    rule = _too_small(float(array))
    if rule:
        text = f"its epsilon is {float(array):.3g}{_IN_FLOAT16[rule]}"
        yield Finding(rule, operation.name, operation.kind, text, _EPSILON)


def _guard(operation: Operation, constants: Any, readers: Any, all_half: bool) -> Found:
    """x + 0 or max(x, 0) before a division: a small number that float16 made 0."""
    if operation.kind not in _GUARDS or not (all_half or _is_half(operation)):
        return
    followers = [reader for output in operation.outputs for reader in readers.get(output.name, ())]
    divided = [
        r for r in followers if r.kind in _DIVIDES and (r.kind != "real_div" or _divisor(r) in _names(operation))
    ]
    if not divided:
        return
    names = ("alpha",) if operation.kind == "clip" else ("x", "y")
    for argument in (each for name in names for each in operation.inputs.get(name, ())):
        array = _array(argument, constants)
        rule = _too_small(float(array)) if array is not None and array.dtype.kind == "f" and array.size == 1 else ""
        if rule and array is not None:
            then = ", ".join(f"'{reader.name}' ({reader.kind})" for reader in divided)
            text = f"{float(array):.3g} guards {then}{_IN_FLOAT16[rule]}"
            yield Finding(rule, operation.name, operation.kind, text, _EPSILON)


def _too_small(epsilon: float) -> str:
    if abs(epsilon) < SMALLEST / 2:
        return "epsilon of 0"
    return "subnormal epsilon" if abs(epsilon) < NORMAL else ""


def _divisor(operation: Operation) -> str:
    (argument,) = operation.inputs["y"]
    return argument.name if isinstance(argument, Value) else ""


def _names(operation: Operation) -> set[str]:
    return {output.name for output in operation.outputs}


def _arguments(operation: Operation) -> Iterator[Argument]:
    for arguments in operation.inputs.values():
        yield from arguments


def _is_half(operation: Operation) -> bool:
    return any(isinstance(o.type, TensorType) and o.type.dtype is DataType.FLOAT16 for o in operation.outputs)


def _array(argument: Argument, constants: Mapping[str, Literal]) -> np.ndarray | None:
    """The array of an operand that is constant; None if it is computed."""
    literal = argument if isinstance(argument, Literal) else constants.get(argument.name)
    if literal is None or isinstance(literal.value, str | list | dict):
        return None
    return np.asarray(literal.value)
