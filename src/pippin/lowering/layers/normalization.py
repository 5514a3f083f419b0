"""Normalization: lowers layers that normalize mean, variance, length or sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .weights import weights


@layer("batchnorm")
def batchnorm(n: Network, p: Any, x: Tensor) -> Any:
    """Per channel of [.., C, H, W]. Mean and variance are stored, or computed for each image or over all images."""
    x, shape = n.tensor(x), (int(p.channels),)
    by_channel = [int(p.channels), 1, 1]
    gamma, beta = (weights(w, shape, name).reshape(by_channel) for w, name in ((p.gamma, "gamma"), (p.beta, "beta")))
    if p.computeMeanVar:
        axes = [-2, -1] if p.instanceNormalization else [*range(x.rank - 3), x.rank - 2, x.rank - 1]
        return n.Add(n.Mul(standardized(n, x, axes, p.epsilon), gamma), beta)
    mean, variance = (weights(w, shape).reshape(by_channel) for w in (p.mean, p.variance))
    factor = gamma / np.sqrt(variance + np.float32(p.epsilon))
    return n.Add(n.Mul(x, factor), beta - mean * factor)


@layer("mvn")
def mvn(n: Network, p: Any, x: Tensor) -> Any:
    axes = [-3, -2, -1] if p.acrossChannels else [-2, -1]
    if p.normalizeVariance:
        return standardized(n, x, axes, p.epsilon)
    return n.Sub(x, n.ReduceMean(x, np.array(axes, np.int64), keepdims=1))


def standardized(n: Network, x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over `axes`."""
    which = np.array(axes, np.int64)
    centred = n.Sub(x, n.ReduceMean(x, which, keepdims=1))
    variance = n.ReduceMean(n.Mul(centred, centred), which, keepdims=1)
    result: Tensor = n.Div(centred, n.Sqrt(n.Add(variance, np.float32(epsilon))))
    return result


@layer("l2normalize")
def l2_normalize(n: Network, p: Any, x: Tensor) -> Any:
    axes = np.array([-3, -2, -1], np.int64)
    return n.Div(x, n.Sqrt(n.Add(n.ReduceSumSquare(x, axes, keepdims=1), np.float32(p.epsilon))))


@layer("lrn")
def lrn(n: Network, p: Any, x: Tensor) -> Any:
    numbers = {"size": int(p.localSize), "alpha": float(p.alpha), "beta": float(p.beta), "k": float(p.k)}
    return n.as_images(x, lambda image: n.mil("local_response_norm", x=image, **numbers))


@layer("softmax")
def softmax(n: Network, p: Any, x: Tensor) -> Any:
    x = n.tensor(x)
    return n.Softmax(x, axis=-3 if x.rank >= 3 else -1)


@layer("softmaxND")
def softmax_nd(n: Network, p: Any, x: Any) -> Any:
    return n.Softmax(x, axis=int(p.axis))


@layer("layerNormalization")
def layer_normalization(n: Network, p: Any, x: Any) -> Any:
    shape = [int(d) for d in p.normalizedShape]
    axes = list(range(-len(shape), 0))
    gamma, beta = weights(p.gamma, shape, "gamma"), weights(p.beta, shape, "beta")
    return n.Add(n.Mul(standardized(n, n.tensor(x), axes, p.eps), gamma), beta)
