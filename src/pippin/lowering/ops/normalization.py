"""Normalization: lowers normalization over a batch, an instance, a layer or neighboring channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers


@lowers("batch_norm")
def batch_norm(
    g: Builder,
    x: Tensor,
    mean: np.ndarray,
    variance: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    gamma, beta = _scale_and_shift(g, x, np.shape(mean), gamma, beta)
    numbers = [g.tensor(v, x.dtype) for v in (gamma, beta, mean, variance)]
    return g.BatchNormalization(x, *numbers, epsilon=epsilon)


@lowers("instance_norm")
def instance_norm(
    g: Builder,
    x: Tensor,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    channels = (x.shape or ())[1]
    if channels is None and gamma is None and beta is None:  # a default scale would need the channel count
        return _standardized(g, x, range(2, x.rank), epsilon)
    given = beta if gamma is None else gamma
    size = (channels or 0,) if given is None else np.shape(given)
    gamma, beta = _scale_and_shift(g, x, size, gamma, beta)
    if x.rank > 2 and all(size == 1 for size in (x.shape or ())[2:]):
        # Each number is its own mean. ONNX Runtime would find a rest of it, and divide that by the root of epsilon.
        column = [-1] + [1] * (x.rank - 2)
        shift = g.Reshape(beta, column) if isinstance(beta, Tensor) else np.reshape(beta, column)
        return g.Add(g.Sub(x, x), shift)
    return g.InstanceNormalization(x, g.tensor(gamma, x.dtype), g.tensor(beta, x.dtype), epsilon=epsilon)


@lowers("l2_norm")
def l2_norm(g: Builder, x: Tensor, epsilon: float = 1e-6) -> Tensor:
    square = g.ReduceSumSquare(x, [-3, -2, -1], keepdims=1)
    return g.Div(x, g.Sqrt(g.Add(square, g.cast(epsilon, x.dtype))))


@lowers("layer_norm")
def layer_norm(
    g: Builder,
    x: Tensor,
    axes: Sequence[int] | None = None,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    rank = x.rank
    normalized = sorted(limits.axes(range(rank) if axes is None else np.atleast_1d(axes), rank))
    sizes = [(x.shape or ())[a] for a in normalized]
    if normalized == list(range(rank - len(normalized), rank)) and None not in sizes:
        # ONNX Runtime 1.32 crashes if the shift is omitted.
        gamma, beta = _scale_and_shift(g, x, tuple(d or 0 for d in sizes), gamma, beta)
        scale, shift = g.tensor(gamma, x.dtype), g.tensor(beta, x.dtype)
        return g.LayerNormalization(x, scale, shift, axis=normalized[0] - rank, epsilon=epsilon)
    y = _standardized(g, x, normalized, epsilon)
    if gamma is not None:
        y = g.Mul(y, _aligned(gamma, normalized, rank))
    if beta is not None:
        y = g.Add(y, _aligned(beta, normalized, rank))
    return y


@lowers("local_response_norm")
def local_response_norm(
    g: Builder, x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    limits.at_least(1, size=size)
    numbers = {"size": size, "alpha": alpha, "beta": beta, "bias": k}
    if x.rank == 4:
        return g.LRN(x, **numbers)
    # The engines support images only: merge the axes after the channels into one.
    leading = g.Slice(g.shape_of(x), [0], [2])
    image = g.Reshape(x, g.Concat(leading, [-1, 1], axis=0))
    return g.Reshape(g.LRN(image, **numbers), g.shape_of(x))


def _standardized(g: Builder, x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over these axes."""
    which = np.array(list(axes), np.int64)
    centred = g.Sub(x, g.ReduceMean(x, which, keepdims=1))
    variance = g.ReduceMean(g.Mul(centred, centred), which, keepdims=1)
    return g.Div(centred, g.Sqrt(g.Add(variance, g.cast(epsilon, x.dtype))))


def _scale_and_shift(
    g: Builder, x: Tensor, size: tuple[int, ...], gamma: np.ndarray | None, beta: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    return (
        limits.full(size, 1, x.dtype) if gamma is None else gamma,
        limits.full(size, 0, x.dtype) if beta is None else beta,
    )


def _aligned(values: np.ndarray, axes: Sequence[int], rank: int) -> np.ndarray:
    """Values over some axes of a tensor, reshaped to broadcast against it."""
    sizes = iter(np.shape(values))
    return np.reshape(values, [next(sizes) if i in axes else 1 for i in range(rank)])
