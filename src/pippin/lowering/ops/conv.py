"""Conv: lowers convolution and transposed convolution over 1 to 3 spatial axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers
from .window_padding import Padding, padding, per_axis, spatial


@lowers("conv")
def conv(
    g: Builder,
    x: Tensor,
    weight: Any,
    bias: Any = None,
    strides: Any = None,
    pad_type: str = "valid",
    pad: Any = None,
    dilations: Any = None,
    groups: int = 1,
) -> Tensor:
    x = g.tensor(x)
    count = len(spatial(x))
    strides, dilations = per_axis(strides, count), per_axis(dilations, count)
    limits.at_least(1, groups=groups, strides=strides, dilations=dilations)
    pads = padding(x, pad_type, pad, weight.shape[2:], strides, dilations)
    return g.Conv(x, weight, _bias(g, x, bias), strides=strides, dilations=dilations, group=groups, **pads.attributes)


@lowers("conv_quantized")
def conv_quantized(
    g: Builder,
    x: Tensor,
    weight: np.ndarray,
    quantization_type: str,
    quant_scale: np.ndarray,
    quant_bias: np.ndarray,
    nbits: int = 8,
    bias: Any = None,
    strides: Any = None,
    pad_type: str = "valid",
    pad: Any = None,
    dilations: Any = None,
    groups: int = 1,
) -> Tensor:
    """weight = quantized * scale + bias, per tensor or output channel. For `lut`, scale is the lookup table."""
    scale, shift = (np.asarray(v, np.float32) for v in (quant_scale, quant_bias))
    if quantization_type == "lut":
        dense = scale.reshape(-1)[np.asarray(weight, np.int64)]
    else:
        per_channel = [v.reshape(-1, *[1] * (weight.ndim - 1)) if v.size > 1 else v for v in (scale, shift)]
        dense = weight.astype(np.float32) * per_channel[0] + per_channel[1]
    return conv(g, x, dense, bias, strides, pad_type, pad, dilations, groups)


@lowers("conv_transpose")
def conv_transpose(
    g: Builder,
    x: Tensor,
    weight: Any,
    bias: Any = None,
    pad: Any = None,
    output_shape: Any = None,
    pad_type: str = "valid",
    strides: Any = None,
    dilations: Any = None,
    groups: int = 1,
) -> Tensor:
    x = g.tensor(x)
    sizes = spatial(x)
    strides, dilations = per_axis(strides, len(sizes)), per_axis(dilations, len(sizes))
    limits.at_least(1, groups=groups, strides=strides, dilations=dilations)
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    if output_shape is None:
        cut = _cut(pad_type, pad, reach, strides)
    else:
        cut = _cut_to(sizes, np.asarray(output_shape)[-len(sizes) :], pad_type, pad, reach, strides)
    # A negative cut means the result is too small: output_padding adds elements at the end.
    return g.ConvTranspose(
        x,
        weight,
        _bias(g, x, bias),
        strides=strides,
        dilations=dilations,
        group=groups,
        pads=[*cut.before, *(max(b, 0) for b in cut.behind)],
        output_padding=[max(-b, 0) for b in cut.behind],
    )


def _cut(pad_type: str, pad: Any, reach: list[int], strides: list[int]) -> Padding:
    """The elements cut off the full result; "same" leaves size * stride elements."""
    if pad_type == "custom":
        pairs = np.zeros((len(reach), 2), int) if pad is None else np.reshape(pad, (-1, 2)).astype(int)
        return Padding(pairs[:, 0].tolist(), pairs[:, 1].tolist())
    if pad_type == "valid":
        return Padding([0] * len(reach), [0] * len(reach))
    totals = [r - s for r, s in zip(reach, strides, strict=True)]
    return _halves(totals, pad_type)


def _cut_to(
    sizes: tuple[int | None, ...], wanted: np.ndarray, pad_type: str, pad: Any, reach: list[int], strides: list[int]
) -> Padding:
    """The elements cut off so that the output has the requested sizes."""
    if None in sizes:
        raise UnsupportedOperationError("output_shape requires input sizes that are known before the prediction")
    full = [((n or 0) - 1) * s + r for n, s, r in zip(sizes, strides, reach, strict=True)]
    totals = [f - int(w) for f, w in zip(full, wanted, strict=True)]
    if pad_type.startswith("same"):
        return _halves(totals, pad_type)
    before = _cut(pad_type, pad, reach, strides).before
    return Padding(before, [t - b for t, b in zip(totals, before, strict=True)])


def _halves(totals: list[int], pad_type: str) -> Padding:
    less = [max(t, 0) // 2 for t in totals]
    more = [t - part for t, part in zip(totals, less, strict=True)]
    return Padding(more, less) if pad_type == "same_lower" and min(totals) >= 0 else Padding(less, more)


def _bias(g: Builder, x: Tensor, bias: Any) -> Tensor | None:
    return None if bias is None else g.tensor(bias, None if isinstance(bias, np.ndarray) else x.dtype)
