"""Elementwise binary: lowers functions of two tensors, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..engine_forms import hard_swish, instance_norm, rms_norm, unrepeated
from ..integer_division import floored, integer_power, truncated_quotient
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Lowering, lowers, lowers_table
from ..size_quotients import known_quotient

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
    "sub": "Sub",
}


def _binary(onnx_kind: str) -> Lowering:
    return lambda g, x, y: g.emit(onnx_kind, *unrepeated(g, x, y))


lowers_table(_BINARY, _binary)


@lowers("mul")
def mul(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    form = hard_swish(g, x, y) or rms_norm(g, x, y)
    return g.Mul(*unrepeated(g, x, y)) if form is None else form


@lowers("not_equal")
def not_equal(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    return g.Not(g.Equal(x, y))


@lowers("pow")
def pow(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype.kind in "iu" and y.dtype.kind in "iu":
        return integer_power(g, x, y)
    if not isinstance(y, Tensor) and np.ndim(y) == 0 and isinstance(x, Tensor) and float(y) in _POWERS:
        return _POWERS[float(y)](g, x)
    return g.Pow(x, y)


# Engines have a fast kernel for these but not for a general power. Of -inf and -0.0, OpenVINO makes what the roots
# make, as torch does; so does numpy of -inf to the power of 0.5.
_POWERS: Mapping[float, Callable[[Builder, Tensor], Tensor]] = {
    2.0: lambda g, x: g.Mul(x, x),
    0.5: lambda g, x: g.Sqrt(x),
    -0.5: lambda g, x: g.Reciprocal(g.Sqrt(x)),
}


@lowers("real_div")
def real_div(g: Builder, x: Tensor, y: Tensor) -> Any:
    """True division. The quotient of integers is truncated."""
    if x.dtype.kind in "iu" and isinstance(y, Tensor) and (known := known_quotient(g, x, y)) is not None:
        return known
    if x.dtype.kind in "iu":
        return truncated_quotient(g, x, y)
    normal = instance_norm(g, x, y)
    return g.Div(*unrepeated(g, x, y)) if normal is None else normal


@lowers("floor_div")
def floor_div(g: Builder, x: Tensor, y: Tensor) -> Any:
    if x.dtype.kind in "iu":
        return floored(g, x, y)[0]
    quotient = g.Floor(g.Div(x, y))
    if not isinstance(x, Tensor) and np.isfinite(x).all():
        by_infinity = quotient
    else:  # as numpy: infinity has no remainder, unless it is divided by 0
        infinite = g.Equal(g.Abs(x), np.inf)
        if isinstance(y, Tensor):
            infinite = g.And(infinite, g.Not(g.Equal(y, 0.0)))
        elif not np.all(y):
            infinite = g.And(infinite, np.asarray(y) != 0)
        by_infinity = g.Where(infinite, np.nan, quotient)
    if not isinstance(y, Tensor) and np.isfinite(y).all():
        return by_infinity
    # -1 / infinity is a negative zero, but below 0 the floor is -1.
    below = g.And(g.Equal(g.Abs(y), np.inf), g.Less(g.Mul(x, g.Sign(y)), 0.0))
    return g.Where(g.And(below, g.Less(g.Abs(x), np.inf)), -1.0, by_infinity)


@lowers("mod")
def mod(g: Builder, x: Tensor, y: Tensor) -> Any:
    if x.dtype.kind in "iu":
        return floored(g, x, y)[1]
    rest = g.Sub(x, g.Mul(g.Floor(g.Div(x, y)), y))
    if not isinstance(y, Tensor) and np.isfinite(y).all():
        return rest
    # The formula gives NaN for a finite x and an infinite y, whose remainder is x, or y if their signs differ.
    by_infinity = g.Where(g.Less(g.Mul(x, g.Sign(y)), 0.0), y, x)
    infinite = g.And(g.Equal(g.Abs(y), np.inf), g.Less(g.Abs(x), np.inf))
    return g.Where(infinite, by_infinity, rest)
