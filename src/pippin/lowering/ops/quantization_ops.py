"""Quantization: lowers run-time conversion between numbers and 8-bit codes.

code = clip(round(x / scale) + zero_point)        x = scale * (code - zero_point)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...types import DataType
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers


@lowers("quantize", since=17)
def quantize(
    g: Builder, input: Tensor, scale: Any, output_dtype: str, zero_point: Any = None, axis: int | None = None
) -> Tensor:
    dtype = DataType(output_dtype).numpy
    zero = np.zeros(np.shape(scale), dtype) if zero_point is None else np.broadcast_to(zero_point, np.shape(scale))
    return g.QuantizeLinear(input, g.cast(scale, input.dtype), zero.astype(dtype), axis=_axis(axis, scale))


@lowers("dequantize", since=17)
def dequantize(g: Builder, input: Tensor, scale: Any, zero_point: Any = None, axis: int | None = None) -> Tensor:
    input = g.tensor(input)
    zero = None if zero_point is None else np.broadcast_to(zero_point, np.shape(scale)).astype(input.dtype)
    return g.DequantizeLinear(input, scale, zero, axis=_axis(axis, scale))


def _axis(axis: int | None, scale: Any) -> int | None:
    """The axis of a vector of scales; None for a single scale."""
    return None if axis is None or np.ndim(scale) == 0 else int(axis)
