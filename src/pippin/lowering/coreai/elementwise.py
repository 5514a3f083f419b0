"""Elementwise: lowers functions of one, two or three tensors, with and without broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ...types import DataType
from ..integer_division import floored, truncated_quotient
from ..onnx_builder import Tensor
from ..op_registry import Lowering
from ..ops import activation, elementwise_unary
from ..ops.elementwise_binary import pow as power
from . import spelled_out
from .builder import CoreAIBuilder
from .complex_numbers import Complex, computed
from .registry import lowers, lowers_table

_BROAD = "broadcasting_"
_UNARY = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh",
    "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "log": "Log", "not": "Not", "round": "Round",
    "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh",
}  # fmt: skip
# The ONNX operators for numbers and for booleans.
_ARITHMETIC = {
    "add": ("Add", "Or"), "sub": ("Sub", "Xor"), "mul": ("Mul", "And"), "maximum": ("Max", "Or"),
    "minimum": ("Min", "And"),
}  # fmt: skip
_NUMPY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum}
_SPELLED_OUT: Mapping[str, Callable[[CoreAIBuilder, Any, Any], Any]] = {
    "Add": spelled_out.added,
    "Mul": spelled_out.multiplied,
    "Max": lambda g, x, y: spelled_out.clipped(g, "Max", x, y),
    "Min": lambda g, x, y: spelled_out.clipped(g, "Min", x, y),
}
_BITS = {
    "bitwise_and": ("BitwiseAnd", "And"), "bitwise_or": ("BitwiseOr", "Or"), "bitwise_xor": ("BitwiseXor", "Xor"),
}  # fmt: skip
_LOGICAL = {"and": "And", "or": "Or", "xor": "Xor"}
_GELU = {"none": "EXACT", "tanh": "TANH_APPROXIMATION", "sigmoid": "SIGMOID_APPROXIMATION"}


def _unary(kind: str) -> Lowering:
    def lower(g: CoreAIBuilder, x: Any) -> Any:
        if kind == "Round" and x.dtype.kind in "iu":
            return x
        found = g.emit(kind, x)
        return g.wrapped(found, g.result_type) if kind == "Abs" else found

    return lower


def _arithmetic(row: tuple[str, str]) -> Lowering:
    numbers, booleans = row

    def lower(g: CoreAIBuilder, x: Any, y: Any) -> Any:
        if isinstance(x, Complex) or isinstance(y, Complex):
            return computed(g, numbers, x, y)
        if x.dtype == np.bool_:
            return g.emit(booleans, x, y)
        if not isinstance(x, Tensor) and not isinstance(y, Tensor) and x.dtype.kind in "iu":
            return g.wrapped(_NUMPY[numbers](x, y), g.result_type)
        known = _SPELLED_OUT[numbers](g, x, y) if numbers in _SPELLED_OUT else None
        found = g.emit(numbers, *spelled_out.narrow(g, x, y)) if known is None else known
        return g.wrapped(found, g.result_type)

    return lower


def _bitwise(row: tuple[str, str]) -> Lowering:
    def lower(g: CoreAIBuilder, x: Any, y: Any) -> Any:
        return g.emit(row[1] if x.dtype == np.bool_ else row[0], x, y)

    return lower


def _logical(kind: str) -> Lowering:
    return lambda g, x, y: g.emit(kind, x, y)


lowers_table(_UNARY, _unary)
lowers_table(_ARITHMETIC, _arithmetic, _BROAD)
lowers_table(_BITS, _bitwise, _BROAD)
lowers_table(_LOGICAL, _logical, _BROAD)


@lowers("rsqrt")
def rsqrt(g: CoreAIBuilder, x: Tensor) -> Tensor:
    return g.Reciprocal(g.Sqrt(x))


@lowers("relu")
def relu(g: CoreAIBuilder, input: Tensor) -> Tensor:
    return g.Relu(input) if input.dtype.kind == "f" else g.Max(input, 0)


@lowers("sigmoid")
def sigmoid(g: CoreAIBuilder, input: Tensor) -> Tensor:
    return g.Sigmoid(input)


@lowers("silu")
def silu(g: CoreAIBuilder, input: Tensor) -> Tensor:
    return activation.silu(g, input)


@lowers("gelu")
def gelu(g: CoreAIBuilder, input: Tensor, approximate: str = "none") -> Tensor:
    return activation.gelu(g, input, _GELU[approximate])


@lowers("softmax")
def softmax(g: CoreAIBuilder, input: Tensor, axis: Any) -> Tensor:
    return g.Softmax(input, axis=int(g.known(axis, "axis")))


@lowers("divide", "broadcasting_divide")
def divide(g: CoreAIBuilder, x: Any, y: Any) -> Any:
    """The quotient of integers has no fraction."""
    if x.dtype.kind in "iu":
        return g.wrapped(truncated_quotient(g, x, y), g.result_type)
    known = spelled_out.divided(g, x, y)
    return g.Div(*spelled_out.narrow(g, x, y)) if known is None else known


@lowers("floor_divide", "broadcasting_floor_divide")
def floor_divide(g: CoreAIBuilder, x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu":
        return g.wrapped(floored(g, x, y)[0], g.result_type)
    return g.Floor(g.Div(x, y))


@lowers("modulo", "broadcasting_modulo")
def modulo(g: CoreAIBuilder, x: Any, y: Any) -> Any:
    """The remainder of the division without a fraction; it has the sign of x."""
    if x.dtype.kind not in "iu":
        return g.Mod(x, y, fmod=1)
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        return np.fmod(x, y)
    return g.Sub(x, g.Mul(truncated_quotient(g, x, y), y))


@lowers("pow", "broadcasting_pow")
def pow_(g: CoreAIBuilder, x: Any, y: Any) -> Any:
    return g.wrapped(power(g, x, y), g.result_type)


@lowers("equal", "broadcasting_equal")
def equal(g: CoreAIBuilder, input: Any, other: Any) -> Any:
    return g.Equal(input, other)


@lowers("not_equal", "broadcasting_not_equal")
def not_equal(g: CoreAIBuilder, input: Any, other: Any) -> Any:
    return g.Not(g.Equal(input, other))


@lowers("greater", "broadcasting_greater")
def greater(g: CoreAIBuilder, input: Any, other: Any) -> Any:
    if input.dtype == np.bool_:
        return g.And(input, g.Not(other))
    return g.Greater(input, other)


@lowers("where", "broadcasting_where")
def where(g: CoreAIBuilder, condition: Any, a: Any, b: Any) -> Any:
    known = spelled_out.selected(g, condition, a, b)
    return g.choose(condition, a, b) if known is None else known


@lowers("cast")
def cast(g: CoreAIBuilder, input: Any) -> Any:
    """Floats outside the target's integers become its nearest end, and NaN becomes 0."""
    target = g.result_type
    if target is DataType.BOOL:
        return g.Not(g.Equal(input, g.cast(0, input.dtype))) if input.dtype != np.bool_ else input
    if target in (DataType.FLOAT8E4M3FN, DataType.FLOAT8E5M2) and isinstance(input, Tensor):
        raise UnsupportedOperationError(f"numbers that a prediction computes cannot be rounded to {target.value}")
    if target.is_integer and input.dtype.kind == "f":
        return _saturated(g, input, target)
    if target.is_integer and input.dtype != np.bool_:
        return g.cast(g.wrapped(input, target), g.dtype(target))
    return g.cast(input, g.dtype(target))


def _saturated(g: CoreAIBuilder, x: Any, target: DataType) -> Any:
    low, high = _ends(target)
    if not isinstance(x, Tensor):
        whole = np.trunc(np.nan_to_num(np.asarray(x, np.float64), nan=0.0))
        return np.clip(whole, float(low), float(high)).astype(g.dtype(target))
    if target.bits == 32 and low:
        return elementwise_unary.cast(g, x, "int32")
    if target.bits < 32:
        limited = g.Clip(g.Where(g.IsNaN(x), g.cast(0, x.dtype), x), g.cast(low, x.dtype), g.cast(high, x.dtype))
        return g.cast(limited, g.dtype(target))
    inside = g.Clip(g.Where(g.IsNaN(x), g.cast(0, x.dtype), x), _below(low, x.dtype), _below(high, x.dtype))
    return g.cast(inside, g.dtype(target))


def _ends(dtype: DataType) -> tuple[int, int]:
    if dtype.value.startswith("u"):
        return 0, min((1 << dtype.bits) - 1, (1 << 63) - 1)
    return -(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1


def _below(end: int, dtype: np.dtype[Any]) -> np.ndarray:
    """The nearest float that does not lie outside."""
    found = np.asarray(end, dtype)
    return np.nextafter(found, np.asarray(0, dtype)) if int(found) > end > 0 else found
