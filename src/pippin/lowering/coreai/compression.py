"""Compression: lowers scaled integers, lookup tables and sparse weights, and the numbers that scale them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from ...types import DataType
from .. import limits
from ..onnx_builder import Tensor
from ..ops.constexpr_ops import from_table, to_dense
from ..ops.dequantize import blockwise, expanded, per_axis
from .builder import CoreAIBuilder
from .registry import lowers


@dataclass(frozen=True, slots=True)
class Sparse:
    """Values at the places of a mask."""

    values: np.ndarray
    mask: np.ndarray


@lowers("blockwise_shift_scale")
def blockwise_shift_scale(g: CoreAIBuilder, data: Any, scale: Any, offset1: Any, offset2: Any = 0) -> Any:
    """scale * (data - offset1) + offset2, with one of each for a block of elements."""
    steps, shift = g.known(scale, "scale"), g.known(offset2, "offset2")
    zero = g.known(g.stored("offset1", offset1), "offset1")
    if isinstance(data, Tensor):
        shape = data.static_shape
        if shape is None:
            raise UnsupportedOperationError("'data' must have sizes that are known before the prediction")
        difference = g.Sub(g.cast(data, g.dtype(g.result_type)), expanded(zero, shape).astype(g.dtype(g.result_type)))
        found: Any = g.Mul(difference, expanded(steps, shape).astype(g.dtype(g.result_type)))
        return g.Add(found, expanded(shift, shape).astype(found.dtype)) if shift.any() else found
    stored, declared = g.stored("data", data), g.declared_type("data")
    if zero.dtype.kind not in "iu":
        zero = zero.astype(np.float32)
    found = blockwise(g, stored, steps, zero if zero.astype(np.float32).any() else None, declared)
    if not shift.any():
        return found
    return g.Add(found, expanded(shift, stored.shape).astype(g.dtype(g.result_type)))


@lowers("dequantize")
def dequantize(g: CoreAIBuilder, input: Any, scale: Any, offset1: Any, offset2: Any, axis: Any) -> Any:
    """(input - offset1) * scale + offset2"""
    place = g.known(axis, "axis")
    if not isinstance(input, Tensor) and not isinstance(scale, Tensor) and not isinstance(offset1, Tensor):
        stored = g.stored("input", input)
        along = int(place) % stored.ndim if place.ndim == 0 else 0
        found = per_axis(g, stored, scale, g.stored("offset1", offset1), along)
    else:
        x = g.cast(input, g.dtype(g.result_type))
        shifted = g.Sub(x, g.cast(_aligned(g, offset1, place, x), x.dtype))
        found = g.Mul(shifted, g.cast(_aligned(g, scale, place, x), x.dtype))
    if isinstance(offset2, Tensor) or np.any(offset2):
        rank = found.rank if isinstance(found, Tensor) else np.ndim(found)
        return (
            g.Add(found, _aligned(g, offset2, place, found if isinstance(found, Tensor) else g.tensor(found)))
            if rank
            else found
        )
    return found


@lowers("quantize")
def quantize(g: CoreAIBuilder, input: Any, scale: Any, offset1: Any, offset2: Any, axis: Any) -> Any:
    """clip(round((input - offset2) / scale) + offset1)"""
    target, place = g.result_type, g.known(axis, "axis")
    if not target.is_integer:
        raise UnsupportedOperationError(f"numbers that a prediction computes cannot be rounded to {target.value}")
    floats = scale.dtype if scale.dtype.kind == "f" else np.dtype(np.float32)
    x = g.cast(g.tensor(input), floats)
    shifted = g.Sub(x, g.cast(_aligned(g, offset2, place, x), floats))
    scaled = g.Round(g.Div(shifted, g.cast(_aligned(g, scale, place, x), floats)))
    low, high = _ends(target)
    whole = g.Add(scaled, g.cast(_aligned(g, offset1, place, x), floats))
    return g.cast(g.Clip(whole, g.cast(low, floats), g.cast(high, floats)), g.dtype(target))


def _ends(dtype: DataType) -> tuple[int, int]:
    if dtype.value.startswith("u"):
        return 0, (1 << dtype.bits) - 1
    return -(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1


def _aligned(g: CoreAIBuilder, values: Any, axis: np.ndarray, x: Tensor) -> Any:
    """One number, or one for each index of the axis, shaped to be broadcast against x."""
    if not values.shape:
        return values
    shape = [1] * x.rank
    shape[limits.axis(axis.reshape(-1)[0], x.rank)] = -1
    return g.Reshape(values, shape) if isinstance(values, Tensor) else np.reshape(values, shape)


@lowers("symmetric_quantization_statistics")
def symmetric_statistics(g: CoreAIBuilder, input: Tensor, range: Any, axis: Any) -> Tensor:
    least, most = _extremes(g, input, axis)
    low, high = g.known(range, "range").astype(np.float64)
    return g.Mul(g.Max(g.Abs(most), g.Abs(least)), g.cast(np.asarray(2 / (high - low)), least.dtype))


@lowers("asymmetric_quantization_statistics")
def asymmetric_statistics(g: CoreAIBuilder, input: Tensor, range: Any, axis: Any) -> tuple[Tensor, Any]:
    least, most = _extremes(g, input, axis)
    least, most = g.Min(least, 0.0), g.Max(most, 0.0)
    ends = g.known(range, "range")
    low, high = (np.asarray(end, least.dtype) for end in ends)
    scale = g.Div(g.Sub(most, least), high - low)
    place = g.Div(least, scale)
    zero = g.Sub(low, place if g.declared_type("range").is_float else g.Round(place))
    return scale, g.Clip(zero, low, high)


def _extremes(g: CoreAIBuilder, x: Tensor, axis: Any) -> tuple[Tensor, Tensor]:
    kept = limits.axis(g.known(axis, "axis"), x.rank)
    others = [number for number in range(x.rank) if number != kept]
    values = x if x.dtype.kind == "f" else g.cast(x, np.float32)
    return g.ReduceMin(values, others, keepdims=0), g.ReduceMax(values, others, keepdims=0)


@lowers("lut_to_dense")
def lut_to_dense(g: CoreAIBuilder, indices: Any, lut: Any, axis: Any = 0) -> Any:
    table = g.known(lut, "lut")
    place = int(g.known(axis, "axis"))
    return from_table(g.known(indices, "indices"), table, place)


@lowers("build_sparse_with_bitmask")
def build_sparse(g: CoreAIBuilder, values: Any, bitmask: Any) -> Sparse:
    return Sparse(g.known(values, "values"), g.known(bitmask, "bitmask").astype(bool))


@lowers("sparse_with_bitmask_to_dense")
def sparse_to_dense(g: CoreAIBuilder, input: Any) -> np.ndarray:
    sparse = _sparse(input)
    return to_dense(sparse.values, sparse.mask)


@lowers("lut_to_sparse_with_bitmask")
def lut_to_sparse(g: CoreAIBuilder, indices: Any, lut: Any, axis: Any = 0) -> Sparse:
    sparse, table, along = _sparse(indices), g.known(lut, "lut"), int(g.known(axis, "axis"))
    dense = from_table(to_dense(sparse.values, sparse.mask), table, along)
    mask = np.repeat(sparse.mask, table.shape[-1], axis=along) if table.shape[-1] > 1 else sparse.mask
    return Sparse(dense[mask], mask)


def _sparse(value: Any) -> Sparse:
    if not isinstance(value, Sparse):
        raise ProgramError("its operand must be a sparse tensor")
    return value
