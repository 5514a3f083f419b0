"""Constants: lowers layers that create a tensor: stored constants, fills, ranges and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import limits
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .weights import weights


@layer("loadConstant")
def load_constant(n: Network, p: Any) -> Any:
    array = weights(p.data, p.shape, "the constant")
    return array.reshape((1,) * (5 - array.ndim) + array.shape)


@layer("loadConstantND")
def load_constant_nd(n: Network, p: Any) -> Any:
    return weights(p.data, p.shape, "the constant")


@layer("fillLike")
def fill_like(n: Network, p: Any, x: Any) -> Any:
    return n.filled(n.shape_of(x), p.value)


@layer("fillStatic")
def fill_static(n: Network, p: Any) -> Any:
    return limits.full(p.targetShape, p.value, np.float32)


@layer("fillDynamic")
def fill_dynamic(n: Network, p: Any, shape: Any) -> Any:
    return n.filled(_vector(n, shape), p.value)


@layer("broadcastToLike")
def broadcast_to_like(n: Network, p: Any, x: Any, like: Any) -> Any:
    return _broadcast(n, x, n.shape_of(like))


@layer("broadcastToStatic")
def broadcast_to_static(n: Network, p: Any, x: Any) -> Any:
    return _broadcast(n, x, limits.integers(p.targetShape))


@layer("broadcastToDynamic")
def broadcast_to_dynamic(n: Network, p: Any, x: Any, shape: Any) -> Any:
    return _broadcast(n, x, _vector(n, shape))


def _vector(n: Network, shape: Any) -> Any:
    """A shape input as a vector of rank 1."""
    sizes = n.integers(shape)
    return n.Reshape(sizes, [-1]) if isinstance(sizes, Tensor) else np.reshape(sizes, -1)


def _broadcast(n: Network, x: Any, shape: Any) -> Any:
    return n.Expand(x, shape)


@layer("rangeStatic")
def range_static(n: Network, p: Any) -> Any:
    return limits.arange(p.startValue, p.endValue, p.stepSizeValue, np.float32)


@layer("rangeDynamic")
def range_dynamic(n: Network, p: Any, end: Any, start: Any = None, step: Any = None) -> Any:
    """The numbers from start up to, but excluding, end. Inputs are scalars or arrays of one number."""
    given = (np.float32(p.startValue) if start is None else start, end)
    begin, last, by = (_number(n, v) for v in (*given, np.float32(p.stepSizeValue) if step is None else step))
    if not any(isinstance(v, Tensor) for v in (begin, last, by)):
        return limits.arange(begin, last, by, np.float32)
    return n.mil("range_1d", end=last, start=begin, step=by)


def _number(n: Network, x: Any) -> Any:
    return n.Reshape(x, np.zeros(0, np.int64)) if isinstance(x, Tensor) else np.float32(np.reshape(x, -1)[0])


@layer("randomNormalLike", "randomNormalStatic", "randomNormalDynamic")
def random_normal(n: Network, p: Any, given: Any = None) -> Any:
    mean, deviation = np.float32(p.mean), np.float32(p.stdDev)
    return n.mil("random_normal", shape=_shape(n, p, given), mean=mean, stddev=deviation, seed=int(p.seed))


@layer("randomUniformLike", "randomUniformStatic", "randomUniformDynamic")
def random_uniform(n: Network, p: Any, given: Any = None) -> Any:
    low, high = np.float32(p.minVal), np.float32(p.maxVal)
    return n.mil("random_uniform", shape=_shape(n, p, given), low=low, high=high, seed=int(p.seed))


@layer("randomBernoulliLike", "randomBernoulliStatic", "randomBernoulliDynamic")
def random_bernoulli(n: Network, p: Any, given: Any = None) -> Any:
    return n.mil("random_bernoulli", shape=_shape(n, p, given), prob=np.float32(p.prob), seed=int(p.seed))


def _shape(n: Network, p: Any, given: Any) -> Any:
    """The output shape: that of an input, the one stored in the layer, or the input itself."""
    kind = n.layer.WhichOneof("layer")
    if kind.endswith("Like"):
        return n.shape_of(given)
    return limits.integers(p.outputShape) if kind.endswith("Static") else n.integers(given)


@layer("categoricalDistribution")
def categorical_distribution(n: Network, p: Any, x: Any) -> Any:
    x = n.tensor(x)
    if not p.isLogits:
        x = n.Add(x, np.float32(p.eps))
    mode = "logits" if p.isLogits else "probs"
    if p.isLogits and p.temperature not in (0, 1):
        x = n.Div(x, np.float32(p.temperature))
    return n.mil("random_categorical", x=x, mode=mode, size=int(p.numSamples), seed=int(p.seed))
