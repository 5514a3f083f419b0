"""Random: lowers draws from distributions. A seed of -1 gives different numbers in each prediction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ProgramError
from ..lower_blocks import Builder
from ..onnx_builder import Tensor, element_type
from ..op_registry import lowers


@lowers("random_uniform")
def random_uniform(g: Builder, shape: Any, low: float = 0.0, high: float = 1.0, seed: int = -1) -> Tensor:
    return g.Add(g.Mul(_drawn(g, shape, seed), g.Sub(high, low)), low)


@lowers("random_normal")
def random_normal(g: Builder, shape: Any, mean: float = 0.0, stddev: float = 1.0, seed: int = -1) -> Tensor:
    """Box-Muller transform (1958) of two uniform numbers; OpenVINO's own RandomNormal has a wrong mean."""
    first, second = g.Split(_drawn(g, g.Concat([2], shape, axis=0), seed), [1, 1], axis=0, outputs=2)
    radius = g.Sqrt(g.Mul(g.Log(g.Sub(1.0, first)), -2.0))
    normal = g.Squeeze(g.Mul(radius, g.Cos(g.Mul(second, 2 * math.pi))), [0])
    return g.Add(g.Mul(normal, stddev), mean)


@lowers("random_bernoulli")
def random_bernoulli(g: Builder, shape: Any, prob: float = 0.5, seed: int = -1) -> Tensor:
    return g.cast(g.Less(_drawn(g, shape, seed), prob), np.float32)


@lowers("random_categorical")
def random_categorical(g: Builder, x: Tensor, mode: str = "logits", size: int = 1, seed: int = -1) -> Tensor:
    """Gumbel-max trick: the argmax of logits + Gumbel noise is a draw from their categorical distribution."""
    if (x.shape or (None,))[-1] == 0:
        raise ProgramError("there are no classes to draw from: the last axis of x has the size 0")
    logits = x if mode == "logits" else g.Log(x)
    leading, classes = g.Slice(g.shape_of(x), [0], [-1]), g.Slice(g.shape_of(x), [-1], [x.rank])
    shape = g.Concat(leading, [int(size)], classes, axis=0)
    drawn = g.Max(_drawn(g, shape, seed), 2.0**-25)  # the logarithm of 0 is infinite
    noise = g.Neg(g.Log(g.Neg(g.Log(drawn))))
    return g.ArgMax(g.Add(g.Unsqueeze(logits, [-2]), noise), axis=-1, keepdims=0)


def _drawn(g: Builder, shape: Any, seed: int) -> Tensor:
    """float32 numbers, uniform in [0, 1)."""
    how: dict[str, Any] = {"dtype": element_type(np.dtype(np.float32)), "seed": None if seed < 0 else float(seed)}
    if isinstance(shape, Tensor):
        return g.RandomUniformLike(g.Expand(np.float32(0), shape), **how)
    return g.RandomUniform(shape=np.asarray(shape, np.int64), **how)
