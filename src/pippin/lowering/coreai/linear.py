"""Linear: lowers matrix products, convolutions and pooling, which pad nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from .. import limits
from ..onnx_builder import Tensor
from ..ops import conv, linear
from .builder import CoreAIBuilder
from .registry import lowers
from .spelled_out import unpadded


@lowers("batch_matmul", "broadcasting_batch_matmul")
def batch_matmul(g: CoreAIBuilder, x: Any, y: Any) -> Any:
    return g.wrapped(linear.matmul(g, x, y), g.result_type)


@lowers("conv2d", "conv3d")
def convolution(g: CoreAIBuilder, input: Tensor, weight: Any, stride: Any, dilation: Any, groups: Any) -> Tensor:
    steps, gaps = g.known(stride, "stride"), g.known(dilation, "dilation")
    x, before, behind = unpadded(g, input, 0)
    pairs = np.stack([before, behind], axis=1)
    return conv.conv(g, x, weight, None, steps, "custom", pairs, gaps, int(g.known(groups, "groups")))


@lowers("conv_transpose2d", "conv_transpose3d")
def conv_transpose(
    g: CoreAIBuilder, input: Tensor, weight: Any, stride: Any, padding: Any, dilation: Any, output_pad: Any, groups: Any
) -> Tensor:
    steps, gaps, more = (
        [int(n) for n in g.known(value, name)]
        for value, name in ((stride, "stride"), (dilation, "dilation"), (output_pad, "output_pad"))
    )
    cut = [int(n) for n in g.known(padding, "padding").reshape(-1)]
    pads = cut * 2 if len(cut) == len(steps) else [*cut[0::2], *cut[1::2]]
    limits.at_least(1, stride=steps, dilation=gaps, groups=groups)
    count = int(g.known(groups, "groups"))
    # ONNX wants less output padding than stride; what is more is cut off less at the end, as far as that goes.
    fits = [extra < step or extra < gap for extra, step, gap in zip(more, steps, gaps, strict=True)]
    if not all(fits):
        raise UnsupportedOperationError(f"output_pad {more} must be smaller than stride {steps} or dilation {gaps}")
    return g.ConvTranspose(input, weight, strides=steps, dilations=gaps, group=count, pads=pads, output_padding=more)


@lowers("max_pool_2d", "max_pool_3d")
def max_pool(
    g: CoreAIBuilder, input: Tensor, kernel_size: Any, stride: Any, dilation: Any, ceil_mode: Any = False
) -> Tensor:
    kernel, steps, gaps = _window(g, kernel_size, stride, dilation)
    x, pads = _padding(g, input, -math.inf, kernel, gaps)
    x = g.cast(x, np.float64) if x.dtype.kind in "iu" else x
    return g.MaxPool(
        x,
        pads=pads,
        kernel_shape=kernel,
        strides=steps,
        dilations=gaps if max(gaps) > 1 else None,
        ceil_mode=int(bool(g.known(ceil_mode, "ceil_mode"))) or None,
    )


@lowers("sum_pool_2d", "sum_pool_3d")
def sum_pool(g: CoreAIBuilder, input: Tensor, kernel_size: Any, strides: Any, dilation: Any = None) -> Tensor:
    kernel, steps, gaps = _window(g, kernel_size, strides, dilation)
    x = g.cast(input, np.float32) if input.dtype.kind in "iu" else input
    if max(gaps) == 1:
        x, pads = _padding(g, x, 0, kernel, gaps)
        mean = g.AveragePool(x, kernel_shape=kernel, strides=steps, pads=pads, count_include_pad=1 if pads else None)
        return _rounded(g, g.Mul(mean, float(math.prod(kernel))), input)
    # As a convolution of each channel by ones.
    sizes = g.shape_of(x)
    each = g.Reshape(x, g.Concat([-1, 1], g.Slice(sizes, [2], [x.rank]), axis=0))
    summed = g.Conv(each, np.ones((1, 1, *kernel), x.dtype), strides=steps, dilations=gaps)
    back = g.Concat(g.Slice(sizes, [0], [2]), g.Slice(g.Shape(summed), [2], [x.rank]), axis=0)
    return _rounded(g, g.Reshape(summed, back), input)


def _padding(g: CoreAIBuilder, x: Any, fill: float, kernel: list[int], gaps: list[int]) -> tuple[Any, list[int] | None]:
    """What x pads, and the padding, which engines take if no window lies in it as a whole."""
    source, before, behind = unpadded(g, x, fill)
    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, gaps, strict=True)]
    if all(max(pair) < size for pair, size in zip(zip(before, behind, strict=True), reach, strict=True)):
        return source, [*before, *behind] if any(before) or any(behind) else None
    return x, None


def _rounded(g: CoreAIBuilder, x: Tensor, like: Tensor) -> Tensor:
    return g.wrapped(g.cast(g.Round(x), g.dtype(g.result_type)), g.result_type) if like.dtype.kind in "iu" else x


def _window(g: CoreAIBuilder, kernel: Any, strides: Any, dilation: Any) -> tuple[list[int], list[int], list[int]]:
    sizes = [int(n) for n in g.known(kernel, "kernel_size")]
    steps = [int(n) for n in g.known(strides, "stride")]
    gaps = [1] * len(sizes) if dilation is None else [int(n) for n in g.known(dilation, "dilation")]
    limits.at_least(1, kernel_size=sizes, stride=steps, dilation=gaps)
    return sizes, steps, gaps
