"""Elementwise unary: lowers functions applied to each element of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...types import DataType
from ..engine_forms import shifted
from ..held_states import Held
from ..integer_division import integer_power
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Lowering, lowers, lowers_table

_UNARY = {
    "abs": "Abs",
    "acos": "Acos",
    "asin": "Asin",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "logical_not": "Not",
    "round": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
}

# ONNX or ONNX Runtime does not support integers here; they pass through unchanged.
_FLOAT_ONLY = {"Ceil", "Floor", "Round"}

# The ends of int32 in float32, which has no 2**31 - 1.
_LOWEST, _HIGHEST = np.float32(-(2**31)), np.float32(2**31 - 128)


def _unary(onnx_kind: str) -> Lowering:
    def lower(g: Builder, x: Tensor) -> Any:
        if onnx_kind in _FLOAT_ONLY and x.dtype.kind in "iu":
            return x
        return g.emit(onnx_kind, x)

    return lower


lowers_table(_UNARY, _unary)


@lowers("cast")
def cast(g: Builder, x: Tensor | Held, dtype: str) -> Any:
    """A number outside int32 becomes its nearest end and NaN becomes 0, as Apple's processors convert; MIL leaves them
    undefined. Smaller integers keep the lowest bits of that."""
    target = g.dtype(DataType(dtype))
    if isinstance(x, Held):
        return x if x.input.dtype == target and not g.rounds else cast(g, g.whole(x), dtype)
    if x.dtype.kind == "f" and target.kind in "iu" and target.itemsize <= 4:
        whole = _integer(g, x)
        if isinstance(whole, Tensor):
            g.casts[whole.name] = x  # as an index, NaN is not 0
        return g.cast(whole, target)
    return g.cast(x, target)


def _integer(g: Builder, x: Any) -> Any:
    """Floats as int32."""
    if not isinstance(x, Tensor):
        ends = np.iinfo(np.int32)
        return np.clip(np.nan_to_num(np.asarray(x, np.float64), nan=0.0), ends.min, ends.max).astype(np.int32)
    number = g.Where(g.IsNaN(x), g.cast(0, x.dtype), x)
    if x.dtype == np.float16:
        number = g.cast(number, np.float32)
    inside = g.cast(g.Clip(number, _LOWEST, _HIGHEST), np.int32)
    above = g.cast(g.GreaterOrEqual(number, -_LOWEST), np.int32)
    return g.Add(inside, g.Mul(above, np.iinfo(np.int32).max - int(_HIGHEST)))


@lowers("clip")
def clip(g: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return g.Clip(x, g.cast(alpha, x.dtype), g.cast(beta, x.dtype))


@lowers("exp2")
def exp2(g: Builder, x: Tensor) -> Tensor:
    return g.Pow(2.0, x) if x.dtype.kind == "f" else integer_power(g, np.int32(2), x)


@lowers("inverse")
def inverse(g: Builder, x: Tensor, epsilon: float = 1e-4) -> Tensor:
    return g.Reciprocal(_shifted(g, x, epsilon))


@lowers("log")
def log(g: Builder, x: Tensor, epsilon: float = 1e-45) -> Tensor:
    return g.Log(_shifted(g, x, epsilon))


@lowers("rsqrt")
def rsqrt(g: Builder, x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return g.Reciprocal(g.Sqrt(_shifted(g, x, epsilon)))


@lowers("square")
def square(g: Builder, x: Tensor) -> Tensor:
    return g.Mul(x, x)


@lowers("threshold")
def threshold(g: Builder, x: Tensor, alpha: float) -> Tensor:
    return g.Max(x, g.cast(alpha, x.dtype))


def _shifted(g: Builder, x: Tensor, epsilon: float) -> Tensor:
    """x + epsilon; x if epsilon is denormal, which the processor treats as zero."""
    if abs(float(epsilon)) < np.finfo(np.float32).tiny:
        return x
    return shifted(g, x, float(epsilon))
