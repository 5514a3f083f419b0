"""Elementwise unary: lowers functions applied to each element of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...types import DataType
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


def _unary(onnx_kind: str) -> Lowering:
    def lower(g: Builder, x: Tensor) -> Any:
        if onnx_kind in _FLOAT_ONLY and x.dtype.kind in "iu":
            return x
        return g.emit(onnx_kind, x)

    return lower


lowers_table(_UNARY, _unary)


@lowers("cast")
def cast(g: Builder, x: Tensor, dtype: str) -> Any:
    return g.cast(x, g.dtype(DataType(dtype)))


@lowers("clip")
def clip(g: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return g.Clip(x, g.cast(alpha, x.dtype), g.cast(beta, x.dtype))


@lowers("exp2")
def exp2(g: Builder, x: Tensor) -> Tensor:
    return g.Pow(2.0, x) if x.dtype.kind == "f" else g.Pow(2, x)


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
    return g.Add(x, g.cast(epsilon, x.dtype))
