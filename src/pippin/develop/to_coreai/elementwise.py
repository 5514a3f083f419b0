"""Elementwise: arithmetic, comparisons and activations. What Core AI has no operation for is spelled in others."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from .emitter import Emitter, Value
from .registry import TRANSLATIONS, Node, translates

_UNARY = {
    "Abs": "abs_", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh", "Atan": "atan",
    "Atanh": "atanh", "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Log": "log", "Not": "not_",
    "Relu": "relu", "Round": "round_", "Sigmoid": "sigmoid", "Sin": "sin", "Sinh": "sinh", "Sqrt": "sqrt",
    "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip
_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "And": "and_", "Or": "or_", "Xor": "xor", "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "Pow": "pow",
}  # fmt: skip


def _row(name: str, kind: str, binary: bool) -> None:
    def unary(e: Emitter, node: Node, x: Value) -> Value:
        return e.op(name, x)

    def two(e: Emitter, node: Node, x: Any, y: Any) -> Value:
        return e.op(f"broadcasting_{name}", x, e.cast(y, x.dtype), dtype=node.dtype)

    TRANSLATIONS[kind] = two if binary else unary


for _kind, _name in _UNARY.items():
    _row(_name, _kind, False)
for _kind, _name in _BINARY.items():
    _row(_name.rstrip("_"), _kind, True)


@translates("Div")
def divide(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    if node.dtype.kind == "f":
        return e.divide(x, y)
    # ONNX rounds integers toward zero, Core AI's floor_divide down.
    quotient = e.binary("floor_divide", x, y)
    rest = e.sub(x, e.mul(quotient, y))
    apart = e.op("broadcasting_and", e.binary("not_equal", rest, 0, dtype=bool), e.greater(0, quotient), dtype=bool)
    return e.add(quotient, e.cast(apart, node.dtype))


@translates("Mod")
def modulo(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    if node.get("fmod"):
        return e.binary("modulo", x, y)
    return e.sub(x, e.mul(e.binary("floor_divide", x, y), y))


@translates("Floor")
def floor(e: Emitter, node: Node, x: Value) -> Value:
    # Apple's runtime has NaN for a divided infinity.
    down = e.binary("floor_divide", x, 1.0)
    return e.where(e.equal(e.op("abs_", x), math.inf), x, down)


@translates("Ceil")
def ceil(e: Emitter, node: Node, x: Value) -> Value:
    return e.mul(floor(e, node, e.mul(x, -1.0)), -1.0)


@translates("Neg")
def negative(e: Emitter, node: Node, x: Value) -> Value:
    return e.mul(x, -1)


@translates("Reciprocal")
def reciprocal(e: Emitter, node: Node, x: Value) -> Value:
    return e.divide(1, x)


@translates("Sign")
def sign(e: Emitter, node: Node, x: Value) -> Value:
    return e.where(e.greater(x, 0), 1, e.where(e.greater(0, x), -1, x))


@translates("Max")
def maximum(e: Emitter, node: Node, *values: Any) -> Any:
    return reduce(e.maximum, values)


@translates("Min")
def minimum(e: Emitter, node: Node, *values: Any) -> Any:
    return reduce(e.minimum, values)


@translates("Sum")
def total(e: Emitter, node: Node, *values: Any) -> Any:
    return reduce(e.add, values)


@translates("Mean")
def mean(e: Emitter, node: Node, *values: Any) -> Value:
    return e.divide(reduce(e.add, values), len(values))


@translates("Clip")
def clip(e: Emitter, node: Node, x: Value, low: Any = None, high: Any = None) -> Value:
    x = x if low is None else e.maximum(x, low)
    return x if high is None else e.minimum(x, high)


@translates("Where")
def where(e: Emitter, node: Node, condition: Any, x: Any, y: Any) -> Value:
    return e.where(condition, x, y)


@translates("Greater")
def greater(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    return e.greater(x, y)


@translates("Less")
def less(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    return e.greater(y, x)


@translates("Equal")
def equal(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    if (x.dtype if isinstance(x, Value) else y.dtype) == np.bool_:
        return e.op("not_", e.op("broadcasting_xor", x, y, dtype=bool))
    return e.equal(x, y)


def _either(e: Emitter, x: Value, y: Value) -> Value:
    return e.op("broadcasting_or", x, y, dtype=bool)


@translates("GreaterOrEqual")
def greater_or_equal(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    return _either(e, e.greater(x, y), e.equal(x, y))


@translates("LessOrEqual")
def less_or_equal(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    return _either(e, e.greater(y, x), e.equal(x, y))


@translates("IsNaN")
def is_nan(e: Emitter, node: Node, x: Value) -> Value:
    return e.binary("not_equal", x, x, dtype=bool)


@translates("IsInf")
def is_infinite(e: Emitter, node: Node, x: Value) -> Value:
    return e.equal(e.op("abs_", x), math.inf)


@translates("Cast")
def cast(e: Emitter, node: Node, x: Any) -> Any:
    if isinstance(x, Value) and node.dtype == np.bool_:
        return e.binary("not_equal", x, 0, dtype=bool)
    return e.op("cast", x, node.dtype, shape=node.shape, dtype=node.dtype) if _large(x) else e.cast(x, node.dtype)


def _large(x: Any) -> bool:
    """Whether a constant is kept in its narrow type and cast where it is used."""
    return isinstance(x, np.ndarray) and x.size > 1024


@translates("CastLike")
def cast_like(e: Emitter, node: Node, x: Any, like: Any) -> Any:
    return e.cast(x, node.dtype)


# Activations.


@translates("LeakyRelu")
def leaky_relu(e: Emitter, node: Node, x: Value) -> Value:
    alpha = node.get("alpha", 0.01)
    if 0 <= alpha <= 1:
        return e.maximum(x, e.mul(x, alpha))
    return e.where(e.greater(x, 0), x, e.mul(x, alpha))


@translates("PRelu")
def prelu(e: Emitter, node: Node, x: Value, slope: Any) -> Value:
    return e.where(e.greater(0, x), e.mul(x, slope), x)


def _exponential(e: Emitter, x: Value, alpha: float, scale: float = 1.0) -> Value:
    below = e.mul(e.sub(e.op("exp", e.minimum(x, 0.0)), 1.0), alpha * scale)
    return e.where(e.greater(x, 0.0), e.mul(x, scale) if scale != 1 else x, below)


@translates("Elu")
def elu(e: Emitter, node: Node, x: Value) -> Value:
    return _exponential(e, x, node.get("alpha", 1.0))


@translates("Selu")
def selu(e: Emitter, node: Node, x: Value) -> Value:
    return _exponential(
        e, x, node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    )


@translates("Softplus")
def softplus(e: Emitter, node: Node, x: Value) -> Value:
    tail = e.op("log", e.add(e.op("exp", e.mul(e.op("abs_", x), -1.0)), 1.0))
    return e.add(e.op("relu", x), tail)


@translates("Softsign")
def softsign(e: Emitter, node: Node, x: Value) -> Value:
    return e.divide(x, e.add(e.op("abs_", x), 1.0))


def hard_sigmoid(e: Emitter, x: Value, alpha: float, beta: float) -> Value:
    return e.minimum(e.maximum(e.add(e.mul(x, alpha), beta), 0.0), 1.0)


@translates("HardSigmoid")
def scaled_sigmoid(e: Emitter, node: Node, x: Value) -> Value:
    return hard_sigmoid(e, x, node.get("alpha", 0.2), node.get("beta", 0.5))


@translates("HardSwish")
def hard_swish(e: Emitter, node: Node, x: Value) -> Value:
    return e.mul(x, hard_sigmoid(e, x, 1 / 6, 0.5))


@translates("Gelu")
def gelu(e: Emitter, node: Node, x: Value) -> Value:
    return e.op("gelu", x, approximate=node.get("approximate", "none"))


@translates("Mish")
def mish(e: Emitter, node: Node, x: Value) -> Value:
    return e.mul(x, e.op("tanh", softplus(e, node, x)))


@translates("ThresholdedRelu")
def thresholded_relu(e: Emitter, node: Node, x: Value) -> Value:
    return e.where(e.greater(x, node.get("alpha", 1.0)), x, 0.0)


@translates("QuantizeLinear")
def quantize(e: Emitter, node: Node, x: Value, scale: Any, zero: Any = None) -> Value:
    ends = np.iinfo(node.dtype)
    scale, zero = (None if one is None else _along(node, one, x.rank) for one in (scale, zero))
    whole = e.op("round_", e.divide(x, scale))
    whole = whole if zero is None else e.add(whole, e.cast(zero, x.dtype))
    return e.cast(e.minimum(e.maximum(whole, float(ends.min)), float(ends.max)), node.dtype)


def _along(node: Node, value: Any, rank: int) -> np.ndarray:
    value = node.constant(value, "scale")
    if value.size == 1:
        return value.reshape(())
    shape = [1] * rank
    shape[node.get("axis", 1)] = -1
    return value.reshape(shape)
