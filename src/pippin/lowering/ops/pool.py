"""Pool: lowers pooling: the mean, maximum or Euclidean norm over a sliding window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers
from .window_padding import Padding, padding, per_axis, spatial


@lowers("max_pool")
def max_pool(
    g: Builder,
    x: Tensor,
    kernel_sizes: Any,
    pad_type: str,
    strides: Any = None,
    pad: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    kernel, steps, pads, extra, ceil = _window(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return g.MaxPool(x, kernel_shape=kernel, strides=steps, ceil_mode=ceil, **_with(pads, extra).attributes)


@lowers("avg_pool")
def avg_pool(
    g: Builder,
    x: Tensor,
    kernel_sizes: Any,
    pad_type: str,
    strides: Any = None,
    pad: Any = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    kernel, steps, pads, extra, ceil = _window(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    if any(extra) and not exclude_padding_from_average:
        # The padding counts, but not what ceil_mode adds after it.
        x, pads = _padded(g, x, pads), Padding([0] * len(kernel), [0] * len(kernel))
        exclude_padding_from_average = True
    return g.AveragePool(
        x,
        kernel_shape=kernel,
        strides=steps,
        ceil_mode=ceil,
        count_include_pad=int(not exclude_padding_from_average),
        **_with(pads, extra).attributes,
    )


@lowers("l2_pool")
def l2_pool(
    g: Builder,
    x: Tensor,
    kernel_sizes: Any,
    pad_type: str,
    strides: Any = None,
    pad: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    kernel, steps, pads, extra, ceil = _window(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    square = g.Mul(x, x)
    pads = _with(pads, extra)
    mean = g.AveragePool(
        square, kernel_shape=kernel, strides=steps, ceil_mode=ceil, count_include_pad=1, **pads.attributes
    )
    return g.Sqrt(g.Mul(mean, float(math.prod(kernel))))


def _window(
    x: Tensor, kernel_sizes: Any, strides: Any, pad_type: str, pad: Any, ceil_mode: bool
) -> tuple[list[int], list[int], Padding, list[int], int | None]:
    """Kernel, strides, padding, what ceil_mode adds after it, and ONNX's own `ceil_mode` for unknown sizes."""
    sizes = spatial(x)
    kernel, steps = per_axis(kernel_sizes, len(sizes)), per_axis(strides, len(sizes))
    limits.at_least(1, kernel_sizes=kernel, strides=steps)
    pads = padding(x, pad_type, pad, kernel, steps, [1] * len(sizes))
    none = [0] * len(sizes)
    if not ceil_mode or pads.auto:
        return kernel, steps, pads, none, None
    if None in sizes:
        return kernel, steps, pads, none, 1
    extra = []
    for size, k, step, before, behind in zip(sizes, kernel, steps, pads.before, pads.behind, strict=True):
        count = -(-((size or 0) + before + behind - k) // step) + 1
        if (count - 1) * step >= (size or 0) + before:  # a window must start before the trailing padding
            count -= 1
        extra.append(max((count - 1) * step + k - ((size or 0) + before + behind), 0))
    return kernel, steps, pads, extra, None


def _with(pads: Padding, extra: list[int]) -> Padding:
    if pads.auto:
        return pads
    return Padding(pads.before, [b + e for b, e in zip(pads.behind, extra, strict=True)])


def _padded(g: Builder, x: Tensor, pads: Padding) -> Tensor:
    amounts = np.array([0, 0, *pads.before, 0, 0, *pads.behind], np.int64)
    return g.Pad(x, amounts, g.cast(0, x.dtype)) if amounts.any() else x
