"""Passed features: what a model of a pipeline gives the next one is what it would give a caller, in the same graph.

An image has 8 bits: rounded, cut to 0 to 255, in the order of channels that its reader takes. An array has the element
type that its model declares. `features/images.py` does the same outside the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..format.description import ColorSpace, FeatureType, Image, Int64, MultiArray
from .onnx_builder import Tensor, element_type

Emit: TypeAlias = Callable[..., Tensor]
"""(kind, dtype, shape, *inputs, **attributes) -> the result of one more node; an input is a Tensor or a constant."""

_FLOAT = np.dtype(np.float32)
_COLORED = (ColorSpace.RGB, ColorSpace.BGR)
# Pillow's weights: 8 bits of R * 19595 + G * 38470 + B * 7471 + 2^15, shifted by 16; and 299, 587, 114 thousandths.
_TO_8_BITS, _TO_FLOAT = (19595, 38470, 7471), (299, 587, 114)


def as_given(emit: Emit, x: Tensor, kind: FeatureType | None) -> Tensor:
    """The tensor of an output as a caller would get it."""
    match kind:
        case Image(color=ColorSpace.GRAYSCALE_FLOAT16):
            return _cast(emit, _cast(emit, x, np.float16), np.float32)
        case Image():
            return _eight_bits(emit, x)
        case MultiArray(dtype=dtype) if x.dtype != object and not np.can_cast(x.dtype, dtype.numpy):
            return _cast(emit, x, dtype.numpy)
        case Int64() if x.dtype.kind == "f":
            return _cast(emit, x, np.int64)
    return x


def recolored(emit: Emit, x: Tensor, given: ColorSpace, taken: ColorSpace) -> Tensor:
    """An image of one color space in another, as Pillow converts it."""
    if given is taken:
        return x
    if given in _COLORED and taken in _COLORED:
        return emit("Gather", x.dtype, x.shape, x, np.array([2, 1, 0]), axis=-3)
    if given in _COLORED:
        return _gray(emit, x, given, taken)
    if given is ColorSpace.GRAYSCALE_FLOAT16:  # Pillow cuts fractions off
        x = emit("Floor", x.dtype, x.shape, _clipped(emit, x))
    return emit("Concat", x.dtype, _channels(x, 3), x, x, x, axis=-3) if taken in _COLORED else x


def channels_of(color: ColorSpace) -> int:
    return 3 if color in _COLORED else 1


def _eight_bits(emit: Emit, x: Tensor) -> Tensor:
    """NaN becomes 0, as in `decode_image`."""
    if x.dtype.kind != "f":
        return _clipped(emit, _cast(emit, x, np.float32))
    number = emit("Where", x.dtype, x.shape, emit("IsNaN", np.bool_, x.shape, x), np.zeros((), x.dtype), x)
    return _clipped(emit, emit("Round", x.dtype, x.shape, number))


def _clipped(emit: Emit, x: Tensor) -> Tensor:
    return emit("Clip", x.dtype, x.shape, x, np.zeros((), x.dtype), np.array(255, x.dtype))


def _gray(emit: Emit, x: Tensor, given: ColorSpace, taken: ColorSpace) -> Tensor:
    shape, whole = _channels(x, 1), taken is ColorSpace.GRAYSCALE
    weights = np.array(_TO_8_BITS if whole else _TO_FLOAT, np.float32).reshape(3, 1, 1)
    if given is ColorSpace.BGR:
        weights = weights[::-1]
    product = emit("Mul", _FLOAT, x.shape, _cast(emit, x, np.float32), weights)
    total = emit("ReduceSum", _FLOAT, shape, product, np.array([-3]), keepdims=1)
    if not whole:
        return emit("Div", _FLOAT, shape, total, np.float32(1000))
    rounded = emit("Add", _FLOAT, shape, total, np.float32(2**15))
    return emit("Floor", _FLOAT, shape, emit("Mul", _FLOAT, shape, rounded, np.float32(2**-16)))


def _channels(x: Tensor, count: int) -> Any:
    return None if x.shape is None else (*x.shape[:-3], count, *x.shape[-2:])


def _cast(emit: Emit, x: Tensor, dtype: Any) -> Tensor:
    return x if x.dtype == dtype else emit("Cast", np.dtype(dtype), x.shape, x, to=element_type(np.dtype(dtype)))
