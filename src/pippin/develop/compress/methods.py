"""Methods: the ways to store one weight, as Core ML's `constexpr_*` operations have them.

Operations and layouts: "MIL Ops, iOS 16 and iOS 18: constexpr_ops", coremltools' API reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...format.weight_blob import pack_elements
from ...types import DataType
from .palettes import palette

_GROUP = 16  # channels that share a palette
_BLOCK = 32  # elements of a row that share a scale
_INDICES = {
    1: DataType.UINT1,
    2: DataType.UINT2,
    3: DataType.UINT3,
    4: DataType.UINT4,
    6: DataType.UINT6,
    8: DataType.UINT8,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A weight as one operation stores it: the operation, its parameters (array and element type), and the values that
    a device computes with, in float32."""

    method: str
    kind: str
    parameters: Mapping[str, tuple[np.ndarray, DataType]]
    values: np.ndarray

    @property
    def bytes(self) -> int:
        return sum(math.ceil(array.size * dtype.bits / 8) for array, dtype in self.parameters.values())


Method = Callable[[np.ndarray, DataType], Stored | None]
"""(weight in float32, its declared type) -> how it is stored; None if the method does not fit its shape."""


def methods(ios18: bool) -> dict[str, Method]:
    """The methods of a deployment target, by name."""
    found: dict[str, Method] = {"8-bit": _eight_bit(ios18)}
    if ios18:
        found["4-bit, blocks of 32"] = _blocks
        for bits in (6, 4, 3, 2, 1):
            found[f"{bits}-bit palette, groups of 16"] = _grouped(bits)
    for bits in (8, 6, 4, 3, 2, 1) if ios18 else (8, 6, 4, 2, 1):
        found[f"{bits}-bit palette"] = _whole(bits, ios18)
    for percent in (50, 75):
        found[f"{percent} % sparse"] = _sparse(percent, ios18)
    return found


def stored_ways(weight: np.ndarray, dtype: DataType, ios18: bool) -> Iterator[Stored]:
    for name, method in methods(ios18).items():
        found = method(weight, dtype)
        if found is not None:
            yield Stored(name, found.kind, found.parameters, found.values)


def _eight_bit(ios18: bool) -> Method:
    """Symmetric, one scale for each output channel."""

    def store(weight: np.ndarray, dtype: DataType) -> Stored:
        rows = weight.reshape(weight.shape[0], -1)
        scale = (np.maximum(np.abs(rows).max(1), 1e-8) / 127).astype(dtype.numpy)
        codes = np.rint(rows / scale.astype(np.float32)[:, None]).clip(-127, 127).astype(np.int8).reshape(weight.shape)
        ones = (1,) * (weight.ndim - 1)
        values = codes * scale.astype(np.float32).reshape(-1, *ones)
        if ios18:
            made = {"data": (codes, DataType.INT8), "scale": (scale.reshape(-1, *ones), dtype)}
            return Stored("", "constexpr_blockwise_shift_scale", made, values)
        zeros = np.zeros(len(scale), np.int8)
        axis = np.array(0, np.int32)
        made = {
            "quantized_data": (codes, DataType.INT8), "zero_point": (zeros, DataType.INT8), "scale": (scale, dtype),
            "axis": (axis, DataType.INT32),
        }  # fmt: skip
        return Stored("", "constexpr_affine_dequantize", made, values)

    return store


def _blocks(weight: np.ndarray, dtype: DataType) -> Stored | None:
    """Symmetric int4, one scale for each block of 32 along the second axis."""
    if weight.ndim < 2 or weight.shape[1] % _BLOCK:
        return None
    blocked = weight.reshape(weight.shape[0], -1, _BLOCK, *weight.shape[2:])
    axes = (2, *range(3, blocked.ndim))
    scale = (np.maximum(np.abs(blocked).max(axes, keepdims=True), 1e-8) / 7).astype(dtype.numpy)
    codes = np.rint(blocked / scale.astype(np.float32)).clip(-7, 7).astype(np.int8)
    values = (codes * scale.astype(np.float32)).reshape(weight.shape)
    shape = (*scale.shape[:2], *(1,) * (weight.ndim - 2))
    made = {"data": (codes.reshape(weight.shape), DataType.INT4), "scale": (scale.reshape(shape), dtype)}
    return Stored("", "constexpr_blockwise_shift_scale", made, values)


def _whole(bits: int, ios18: bool) -> Method:
    """One palette for the whole weight."""

    def store(weight: np.ndarray, dtype: DataType) -> Stored | None:
        if weight.size < 4 << bits:
            return None
        table, codes = palette(weight.reshape(1, -1), bits)
        table = table.astype(dtype.numpy)
        values = table[0].astype(np.float32)[codes].reshape(weight.shape)
        if ios18:
            made = {
                "indices": (codes.reshape(weight.shape), _INDICES[bits]),
                "lut": (table.reshape(*(1,) * weight.ndim, -1, 1), dtype),
            }
        else:
            packed = np.frombuffer(pack_elements(codes, _INDICES[bits]), np.uint8)
            made = {
                "indices": (packed, DataType.UINT8), "lut": (table.reshape(-1), dtype),
                "shape": (np.array(weight.shape, np.uint32), DataType.UINT32),
            }  # fmt: skip
        return Stored("", "constexpr_lut_to_dense", made, values)

    return store


def _grouped(bits: int) -> Method:
    """A palette for every 16 output channels."""

    def store(weight: np.ndarray, dtype: DataType) -> Stored | None:
        groups = weight.shape[0] // _GROUP
        if weight.shape[0] % _GROUP or groups < 2 or weight.size // groups < 4 << bits:
            return None
        table, codes = palette(weight.reshape(groups, -1), bits)
        table = table.astype(dtype.numpy)
        values = np.take_along_axis(table.astype(np.float32), codes.reshape(groups, -1).astype(np.intp), 1)
        made = {
            "indices": (codes.reshape(weight.shape), _INDICES[bits]),
            "lut": (table.reshape(groups, *(1,) * (weight.ndim - 1), -1, 1), dtype),
        }
        return Stored("", "constexpr_lut_to_dense", made, values.reshape(weight.shape))

    return store


def _sparse(percent: int, ios18: bool) -> Method:
    """The smallest magnitudes become zero."""

    def store(weight: np.ndarray, dtype: DataType) -> Stored:
        order = np.argsort(np.abs(weight).reshape(-1), kind="stable")
        mask = np.ones(weight.size, np.uint8)
        mask[order[: weight.size * percent // 100]] = 0
        kept = weight.reshape(-1)[mask.astype(bool)].astype(dtype.numpy)
        values = np.zeros(weight.size, np.float32)
        values[mask.astype(bool)] = kept
        if ios18:
            made = {"nonzero_data": (kept, dtype), "mask": (mask.reshape(weight.shape), DataType.UINT1)}
        else:
            packed = np.frombuffer(pack_elements(mask, DataType.UINT1), np.uint8)
            made = {
                "nonzero_data": (kept, dtype), "mask": (packed, DataType.UINT8),
                "shape": (np.array(weight.shape, np.uint32), DataType.UINT32),
            }  # fmt: skip
        return Stored("", "constexpr_sparse_to_dense", made, values.reshape(weight.shape))

    return store
