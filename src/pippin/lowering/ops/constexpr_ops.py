"""Constexpr: weights that are stored compressed. Source of the formats: coremltools' documentation of the operations.

Affine quantization (one scale for a tensor, a channel or a block) is handed to the engine as `DequantizeLinear` on the
integers, so that it can keep them small. Look-up tables and sparse weights are unpacked here, into the element type in
which the table is stored: a float16 table gives float16 weights.
"""

from __future__ import annotations

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
    # Stays in the smaller type it is stored in: the graph casts where it computes.
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
            f"the look-up table has {lut.size} entries; {', '.join(map(str, _INDEX_DTYPES))} are possible"
        )
    sizes = [int(d) for d in np.atleast_1d(shape)]
    unpacked = unpack_elements(indices.tobytes(), dtype, int(np.prod(sizes)))
    return lut[unpacked].reshape(sizes)


@lowers("constexpr_sparse_to_dense", since=16)
def constexpr_sparse_to_dense(g: Builder, nonzero_data: np.ndarray, mask: np.ndarray, shape: Any = None) -> np.ndarray:
    if shape is None:
        bits = np.asarray(mask, bool)
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
    values = (nonzero_data.astype(np.float32) - shifts) * scales
    return data_mask, values.astype(scale.dtype)


def known(g: Builder, value: Any) -> np.ndarray:
    """A compressed weight inside a compressed weight: a table whose entries are quantized themselves."""
    if not isinstance(value, Tensor):
        return np.asarray(value)
    if value.name not in g.computed:
        raise ProgramError(f"'{value.name}' is computed at run time; a constant is needed")
    return g.computed[value.name]()


def to_dense(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The values where the mask is set, in order, zeros elsewhere."""
    if int(mask.sum()) != np.size(values):
        raise ProgramError(f"the mask has {int(mask.sum())} elements set, but there are {np.size(values)} values")
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask] = np.reshape(values, -1)
    return dense


def from_table(indices: np.ndarray, lut: np.ndarray, vector_axis: int | None) -> np.ndarray:
    """Each index replaced by its entry. `lut` is [*groups, entries, vector]: a table for each block of the indices,
    and entries of one number, or of several that lie side by side along `vector_axis`."""
    *groups, _, vector = lut.shape
    if len(groups) != indices.ndim:
        raise ProgramError(f"the look-up table has rank {lut.ndim}, {indices.ndim + 2} is needed")
    # Which table each element of the indices uses, as an open mesh over the axes.
    mesh = [np.arange(size) // max(size // count, 1) for size, count in zip(indices.shape, groups, strict=True)]
    entries = lut[(*np.ix_(*mesh), np.asarray(indices, np.intp))]  # (*indices.shape, vector)
    if vector == 1:
        return entries[..., 0]
    if vector_axis is None:
        raise ProgramError(f"the look-up table has vectors of {vector} numbers, but no vector_axis")
    axis = int(vector_axis) % indices.ndim
    side_by_side = np.moveaxis(entries, -1, axis + 1)
    shape = [d * vector if i == axis else d for i, d in enumerate(indices.shape)]
    return np.ascontiguousarray(side_by_side.reshape(shape))


def declared(g: Builder, name: str) -> DataType | None:
    """The element type that the program declares for an argument: sub-byte integers arrive as bytes."""
    argument = (g.op.inputs.get(name) or (g.op.attributes.get(name),))[0]
    kind = argument.type if argument is not None else None
    return kind.dtype if isinstance(kind, TensorType) else None
