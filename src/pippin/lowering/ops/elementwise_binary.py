"""Elementwise binary: lowers functions of two tensors, with broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Lowering, lowers, lowers_table

_BINARY = {
    "add": "Add",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_xor": "Xor",
    "maximum": "Max",
    "minimum": "Min",
    "mul": "Mul",
    "sub": "Sub",
}


def _binary(onnx_kind: str) -> Lowering:
    return lambda g, x, y: g.emit(onnx_kind, x, y)


lowers_table(_BINARY, _binary)


@lowers("not_equal")
def not_equal(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    return g.Not(g.Equal(x, y))


@lowers("pow")
def pow(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    # Engines have a fast kernel for a square but not for a general power.
    if not isinstance(y, Tensor) and np.ndim(y) == 0 and y == 2 and isinstance(x, Tensor):
        return g.Mul(x, x)
    return g.Pow(x, y)


@lowers("real_div")
def real_div(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """True division. For integers, the cast to the declared integer type then truncates the result."""
    if x.dtype.kind in "iu":
        return g.Div(g.cast(x, np.float32), g.cast(y, np.float32))
    return g.Div(x, y)


@lowers("floor_div")
def floor_div(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype.kind == "f":
        return g.Floor(g.Div(x, y))
    # ONNX integer division truncates; subtracting mod, which has the divisor's sign, makes it exact.
    return g.Div(g.Sub(x, mod(g, x, y)), y)


@lowers("mod")
def mod(g: Builder, x: Tensor, y: Tensor) -> Any:
    if x.dtype.kind == "f":
        return g.Sub(x, g.Mul(g.Floor(g.Div(x, y)), y))
    # Both engines agree on the truncated remainder; adjust it to the divisor's sign.
    rest = g.Mod(x, y, fmod=1)
    wrong_sign = g.And(g.Not(g.Equal(rest, 0)), g.Xor(g.Less(rest, 0), g.Less(y, 0)))
    return g.Where(wrong_sign, g.Add(rest, y), rest)
