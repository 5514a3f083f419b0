"""Constexpr: lowers compressed weights. Source of the formats: coremltools' documentation of the operations.

Affine quantization (one scale per tensor, channel or block) becomes `DequantizeLinear` on the integers, so the engine
can keep them small. Lookup tables and sparse weights are unpacked here, to the stored element type: a float16 table
yields float16 weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ProgramError
from ...format.weight_blob import unpack_elements
from ...types import DataType, TensorType
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers
from .dequantize import blockwise, expanded, per_axis, unpacked

_INDEX_DTYPES = {2: DataType.UINT1, 4: DataType.UINT2, 16: DataType.UINT4, 64: DataType.UINT6, 256: DataType.UINT8}


@lowers("constexpr_affine_dequantize", since=16)
def constexpr_affine_dequantize(g: Builder, quantized_data: Any, zero_point: Any, scale: Any, axis: int) -> Any:
    return per_axis(g, quantized_data, scale, zero_point, int(axis))


@lowers("constexpr_blockwise_shift_scale", since=18)
def constexpr_blockwise_shift_scale(g: Builder, data: Any, scale: Any, offset: Any = None) -> Any:
    found = blockwise(g, data, scale, offset, declared(g, "data"))
    if isinstance(found, Tensor):
        g.computed[found.name] = lambda: unpacked(data, scale, offset)
    return found


@lowers("constexpr_cast", since=16)
def constexpr_cast(g: Builder, source_val: Any, output_dtype: str) -> Any:
    # Keeps the smaller stored type; the graph casts it where it is used.
    return source_val


@lowers("constexpr_lut_to_dense", since=16)
def constexpr_lut_to_dense(
    g: Builder, indices: np.ndarray, lut: Any, shape: Any = None, vector_axis: int | None = None
) -> np.ndarray:
    if shape is None:
        return from_table(indices, known(g, lut), vector_axis)
    dtype = _INDEX_DTYPES.get(lut.size)
    if dtype is None:
        raise ProgramError(
            f"the lookup table must have one of {', '.join(map(str, _INDEX_DTYPES))} entries, got {lut.size}"
        )
    sizes = [int(d) for d in np.atleast_1d(shape)]
    unpacked = unpack_elements(indices.tobytes(), dtype, int(np.prod(sizes)))
    return lut[unpacked].reshape(sizes)


@lowers("constexpr_sparse_to_dense", since=16)
def constexpr_sparse_to_dense(g: Builder, nonzero_data: np.ndarray, mask: np.ndarray, shape: Any = None) -> Any:
    if shape is None:
        bits = np.asarray(mask, bool)
        integers = g.sparse_integers.get(id(nonzero_data))
        if integers is not None:
            return integers.dense(g, nonzero_data, bits)
    else:
        sizes = [int(d) for d in np.atleast_1d(shape)]
        bits = unpack_elements(mask.tobytes(), DataType.UINT1, int(np.prod(sizes))).reshape(sizes).astype(bool)
    return to_dense(nonzero_data, bits)


@lowers("constexpr_lut_to_sparse", since=18)
def constexpr_lut_to_sparse(
    g: Builder,
    indices_mask: np.ndarray,
    indices_nonzero_data: np.ndarray,
    lut: Any,
    vector_axis: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    mask, lut = np.asarray(indices_mask, bool), known(g, lut)
    dense = from_table(to_dense(indices_nonzero_data, mask), lut, vector_axis)
    if lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], axis=int(vector_axis or 0))
    return mask.astype(np.uint8), dense[mask]


@lowers("constexpr_sparse_blockwise_shift_scale", since=18)
def constexpr_sparse_blockwise_shift_scale(
    g: Builder, data_mask: np.ndarray, nonzero_data: np.ndarray, scale: np.ndarray, offset: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    mask = np.asarray(data_mask, bool)
    scales = expanded(scale, mask.shape)[mask].astype(np.float32)
    shifts = 0 if offset is None else expanded(offset, mask.shape)[mask].astype(np.float32)
    values = ((nonzero_data.astype(np.float32) - shifts) * scales).astype(scale.dtype)
    g.sparse_integers[id(values)] = SparseIntegers(values, nonzero_data, scale, offset, declared(g, "nonzero_data"))
    return data_mask, values


@dataclass(frozen=True, slots=True)
class SparseIntegers:
    """Scaled integers of which some are missing, so that `constexpr_sparse_to_dense` can keep the integers."""

    values: np.ndarray
    """The numbers; held here, so that no other array gets their identity."""
    data: np.ndarray
    scale: np.ndarray
    offset: Any
    dtype: DataType | None

    def dense(self, g: Builder, values: np.ndarray, mask: np.ndarray) -> Any:
        """The integers with zero points in the gaps, scaled; the numbers, if the zero points are no integers."""
        zero = np.zeros((), self.data.dtype) if self.offset is None else expanded(np.asarray(self.offset), mask.shape)
        gaps = np.broadcast_to(zero, mask.shape)[~mask]
        if np.any(gaps.astype(self.data.dtype) != gaps):
            return to_dense(values, mask)
        codes = to_dense(self.data, mask)
        codes[~mask] = gaps
        found = blockwise(g, codes, self.scale, self.offset, self.dtype)
        if isinstance(found, Tensor):
            g.computed[found.name] = lambda: to_dense(values, mask)
        return found


def known(g: Builder, value: Any) -> np.ndarray:
    """The value of a constant that may itself be compressed: the entries of a lookup table can be quantized."""
    if not isinstance(value, Tensor):
        return np.asarray(value)
    if value.name not in g.computed:
        raise ProgramError(f"'{value.name}' must be a constant, but it is computed at run time")
    return g.computed[value.name]()


def to_dense(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The values, in order, where the mask is set; zeros elsewhere."""
    if int(mask.sum()) != np.size(values):
        raise ProgramError(f"the mask sets {int(mask.sum())} elements, but there are {np.size(values)} values")
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask] = np.reshape(values, -1)
    return dense


def from_table(indices: np.ndarray, lut: np.ndarray, vector_axis: int | None) -> np.ndarray:
    """Replace each index by its table entry.

    `lut` is [*groups, entries, vector]: one table per block of indices. An entry is one number, or a vector laid out
    along `vector_axis`.
    """
    *groups, _, vector = lut.shape
    if len(groups) != indices.ndim:
        raise ProgramError(f"the lookup table must have rank {indices.ndim + 2}, got {lut.ndim}")
    # The table that each index uses, as an open mesh over the axes.
    mesh = [np.arange(size) // max(size // count, 1) for size, count in zip(indices.shape, groups, strict=True)]
    entries = lut[(*np.ix_(*mesh), np.asarray(indices, np.intp))]  # (*indices.shape, vector)
    if vector == 1:
        return entries[..., 0]
    if vector_axis is None:
        raise ProgramError(f"the lookup table has vectors of {vector} numbers, but vector_axis is missing")
    axis = int(vector_axis) % indices.ndim
    side_by_side = np.moveaxis(entries, -1, axis + 1)
    shape = [d * vector if i == axis else d for i, d in enumerate(indices.shape)]
    return np.ascontiguousarray(side_by_side.reshape(shape))


def declared(g: Builder, name: str) -> DataType | None:
    """The declared element type of an argument; sub-byte integers arrive as bytes."""
    argument = (g.op.inputs.get(name) or (g.op.attributes.get(name),))[0]
    kind = argument.type if argument is not None else None
    return kind.dtype if isinstance(kind, TensorType) else None
