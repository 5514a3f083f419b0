"""Dequantize: lowers scaled integers to ONNX DequantizeLinear, per tensor, channel or block."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProgramError
from ...types import DataType
from ..lower_blocks import Builder


def per_axis(g: Builder, data: np.ndarray, scale: Any, zero_point: Any, axis: int) -> Any:
    """scale * (data - zero_point), with one scale, or one per index of `axis`."""
    scale, zero = np.asarray(scale), np.asarray(zero_point)
    if scale.size == 1 and zero.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    else:
        count = max(scale.size, zero.size)
        scale, zero = np.broadcast_to(scale.reshape(-1), count), np.broadcast_to(zero.reshape(-1), count)
    if not _fits(zero, data.dtype):
        aligned = [-1 if i == axis % data.ndim else 1 for i in range(data.ndim)] if scale.ndim else []
        return _computed(data, scale.reshape(aligned), zero.reshape(aligned))
    return g.DequantizeLinear(data, _scale(g, scale), zero.astype(data.dtype), axis=axis if scale.ndim else None)


def blockwise(g: Builder, data: np.ndarray, scale: np.ndarray, offset: Any, dtype: DataType | None) -> Any:
    """scale * (data - offset), with one scale per block of `data.shape / scale.shape` elements.

    `dtype` is the declared type of the data; 4-bit integers are stored one per byte.
    """
    if data.ndim != scale.ndim or any(d % s for d, s in zip(data.shape, scale.shape, strict=True)):
        raise ProgramError(f"scales of shape {scale.shape} cannot divide data of shape {data.shape} into blocks")
    stored = _stored_as(data, dtype)
    zero: Any = np.zeros(scale.shape, np.int8) if offset is None else np.asarray(offset)
    if stored is None or not _fits(zero, data.dtype):
        return unpacked(data, scale, offset)
    data, zero = data.astype(stored), None if offset is None else zero.astype(data.dtype).astype(stored)
    varying = [i for i, count in enumerate(scale.shape) if count > 1]
    if not varying:
        return g.DequantizeLinear(data, _scale(g, scale.reshape(())), None if zero is None else zero.reshape(()))
    if len(varying) == 1 and scale.shape[varying[0]] == data.shape[varying[0]]:
        return g.DequantizeLinear(
            data, _scale(g, scale.reshape(-1)), None if zero is None else zero.reshape(-1), axis=varying[0]
        )
    # ONNX supports blocks along one axis; along the others, repeat the scale for each element.
    axis = max(range(data.ndim), key=lambda i: data.shape[i] // scale.shape[i] if scale.shape[i] > 1 else 0)
    shape = tuple(scale.shape[i] if i == axis else d for i, d in enumerate(data.shape))
    return g.DequantizeLinear(
        data,
        _scale(g, expanded(scale, shape)),
        # OpenVINO requires zero points for blocks.
        np.zeros(shape, stored) if zero is None else expanded(zero, shape),
        axis=axis,
        block_size=data.shape[axis] // scale.shape[axis],
    )


def unpacked(data: np.ndarray, scale: np.ndarray, offset: Any) -> np.ndarray:
    """The result of `blockwise`, computed now."""
    zero: Any = np.zeros(scale.shape, np.int8) if offset is None else np.asarray(offset)
    return _computed(data, expanded(scale, data.shape), expanded(zero, data.shape))


def expanded(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Repeat one value per block to one value per element."""
    for axis, (count, size) in enumerate(zip(values.shape, shape, strict=True)):
        if count != size:
            values = np.repeat(values, size // count, axis=axis)
    return values


def _scale(g: Builder, scale: np.ndarray) -> np.ndarray:
    """The scales in the type of the result."""
    return scale.astype(g.float16 if scale.dtype == np.float16 else scale.dtype)


def _fits(zero: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Whether the data's integer type can hold the zero points exactly."""
    if dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    values = zero.astype(np.float64)
    return bool(np.all((values == np.rint(values)) & (values >= limits.min) & (values <= limits.max)))


def _stored_as(data: np.ndarray, dtype: DataType | None) -> np.dtype[Any] | None:
    """The type in which ONNX stores the integers; None if the data are not integers."""
    if dtype in (DataType.INT4, DataType.UINT4):
        import ml_dtypes

        name: Any = getattr(ml_dtypes, dtype.value)
        return np.dtype(name)
    return data.dtype if data.dtype.kind in "iu" else None


def _computed(data: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    values = (data.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)
    return values.astype(scale.dtype)
