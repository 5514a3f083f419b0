"""Elementwise: lowers layers that compute each element independently and broadcast several inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ..layer_registry import layer, layer_table
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .weights import weights

# Layer name to the equivalent MIL operation; neither has parameters.
_UNARY = {
    kind: kind
    for kind in (
        *("ceil", "floor", "sign", "round", "exp2", "erf"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "atanh"),
    )
}
_BINARY = {
    "addBroadcastable": "add",
    "subtractBroadcastable": "sub",
    "multiplyBroadcastable": "mul",
    "divideBroadcastable": "real_div",
    "floorDivBroadcastable": "floor_div",
    "modBroadcastable": "mod",
    "powBroadcastable": "pow",
    "maxBroadcastable": "maximum",
    "minBroadcastable": "minimum",
}
_COMPARISONS = {
    "equal": "Equal",
    "lessThan": "Less",
    "lessEqual": "LessOrEqual",
    "greaterThan": "Greater",
    "greaterEqual": "GreaterOrEqual",
}
_LOGICAL = {"logicalAnd": "And", "logicalOr": "Or", "logicalXor": "Xor"}


def _unary(kind: str) -> Callable[..., Any]:
    return lambda n, p, x: n.mil(kind, x=x)


def _binary(kind: str) -> Callable[..., Any]:
    return lambda n, p, *x: reduce(lambda a, b: n.mil(kind, x=a, y=b), x)


def _comparison(kind: str) -> Callable[..., Any]:
    """With one input, the second operand is `alpha`."""
    return lambda n, p, x, y=None: n.emit(kind, x, np.float32(p.alpha) if y is None else y)


def _logical(kind: str) -> Callable[..., Any]:
    return lambda n, p, x, y: n.emit(kind, n.truth(x), n.truth(y))


layer_table(_UNARY, _unary)
layer_table(_BINARY, _binary)
layer_table(_COMPARISONS, _comparison)
layer_table(_LOGICAL, _logical)


@layer("acosh")
def acosh(n: Network, p: Any, x: Tensor) -> Any:
    return n.Acosh(x)


@layer("asinh")
def asinh(n: Network, p: Any, x: Tensor) -> Any:
    return n.Asinh(x)


@layer("notEqual")
def not_equal(n: Network, p: Any, x: Tensor, y: Any = None) -> Any:
    return n.Not(n.Equal(x, np.float32(p.alpha) if y is None else y))


@layer("logicalNot")
def logical_not(n: Network, p: Any, x: Tensor) -> Any:
    return n.Not(n.truth(x))


@layer("whereBroadcastable")
def where(n: Network, p: Any, condition: Tensor, a: Any, b: Any) -> Any:
    return n.Where(n.truth(condition), a, b)


@layer("clip")
def clip(n: Network, p: Any, x: Tensor) -> Any:
    return n.mil("clip", x=x, alpha=np.float32(p.minVal), beta=np.float32(p.maxVal))


@layer("clampedReLU")
def clamped_relu(n: Network, p: Any, x: Tensor) -> Any:
    return n.mil("clamped_relu", x=n.tensor(x), alpha=np.float32(p.alpha), beta=np.float32(p.beta))


@layer("gelu")
def gelu(n: Network, p: Any, x: Tensor) -> Any:
    return n.mil("gelu", x=n.tensor(x), mode=p.GeluMode.Name(p.mode))


@layer("unary")
def unary(n: Network, p: Any, x: Tensor) -> Any:
    """A function of x * scale + shift; `epsilon` keeps logarithms and divisions away from zero."""
    x = n.Add(n.Mul(x, np.float32(p.scale or 1.0)), np.float32(p.shift)) if p.scale not in (0, 1) or p.shift else x
    epsilon, alpha = np.float32(p.epsilon), np.float32(p.alpha)
    match p.Operation.Name(p.type):
        case "SQRT":
            return n.Sqrt(x)
        case "RSQRT":
            return n.mil("rsqrt", x=n.tensor(x), epsilon=epsilon)
        case "INVERSE":
            return n.mil("inverse", x=n.tensor(x), epsilon=epsilon)
        case "POWER":
            return n.mil("pow", x=x, y=alpha)
        case "EXP":
            return n.Exp(x)
        case "LOG":
            return n.mil("log", x=n.tensor(x), epsilon=epsilon)
        case "ABS":
            return n.Abs(x)
    return n.Max(x, alpha)  # THRESHOLD


@layer("add")
def add(n: Network, p: Any, *x: Tensor) -> Any:
    return n.Add(x[0], np.float32(p.alpha)) if len(x) == 1 else reduce(n.Add, x)


@layer("multiply")
def multiply(n: Network, p: Any, *x: Tensor) -> Any:
    return n.Mul(x[0], np.float32(p.alpha)) if len(x) == 1 else reduce(n.Mul, x)


@layer("average")
def average(n: Network, p: Any, *x: Tensor) -> Any:
    return n.Div(reduce(n.Add, x), np.float32(len(x)))


@layer("max")
def maximum(n: Network, p: Any, *x: Tensor) -> Any:
    return reduce(n.Max, x)


@layer("min")
def minimum(n: Network, p: Any, *x: Tensor) -> Any:
    return reduce(n.Min, x)


@layer("dot")
def dot(n: Network, p: Any, x: Tensor, y: Tensor) -> Any:
    """The dot product over channels; with `cosineSimilarity`, of channels normalized to length 1."""
    channel = np.array([-3], np.int64)
    product = n.ReduceSum(n.Mul(x, y), channel, keepdims=1)
    if not p.cosineSimilarity:
        return product
    return n.Div(product, n.Mul(n.ReduceL2(x, channel, keepdims=1), n.ReduceL2(y, channel, keepdims=1)))


@layer("scale")
def scale(n: Network, p: Any, x: Tensor) -> Any:
    y = n.Mul(x, by_channel(weights(p.scale, p.shapeScale, "scale")))
    return n.Add(y, by_channel(weights(p.bias, p.shapeBias, "bias"))) if p.hasBias else y


@layer("bias")
def bias(n: Network, p: Any, x: Tensor) -> Any:
    return n.Add(x, by_channel(weights(p.bias, p.shape, "bias")))


def by_channel(values: np.ndarray) -> np.ndarray:
    """Reshape [C] to broadcast over [..., C, H, W]; [C, H, W] is unchanged."""
    if values.ndim not in (1, 3):
        raise UnsupportedOperationError(f"the constant must have the shape [C] or [C, H, W], got {values.shape}")
    return values.reshape(-1, 1, 1) if values.ndim == 1 else values
