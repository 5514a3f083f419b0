"""Weights: keeps them compressed. The lowered graph has scaled integers as such; tables are found again in the numbers.

A table is no approximation here: weights of at most 256 different numbers are written as those numbers and indices of
1 to 8 bits, whatever they were compressed by. Halves of the output channels may have tables of their own, and so on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .emitter import Emitter, Narrow, Value
from .registry import Node, translates

_LEAST = 2048  # elements; below, a table saves nothing
_BITS = (1, 2, 4, 6, 8)


@translates("DequantizeLinear")
def dequantize(e: Emitter, node: Node, x: Any, scale: Any, zero: Any = None) -> Value:
    scale = node.constant(scale, "scale")
    zero = None if zero is None else node.constant(zero, "zero point")
    rank = len(x.shape)
    if scale.size == 1:
        scale, zero = (None if one is None else one.reshape([1] * rank) for one in (scale, zero))
    elif scale.ndim == 1 and rank > 1:
        shape = [1] * rank
        shape[node.get("axis", 1) % rank] = -1
        scale, zero = (None if one is None else one.reshape(shape) for one in (scale, zero))
    if isinstance(x, Value) or not rank:
        wide = e.cast(x, scale.dtype)
        shifted = wide if zero is None else e.sub(wide, zero.astype(scale.dtype))
        return e.cast(e.mul(shifted, scale), node.dtype)
    scale, zero = _narrow(scale, None if zero is None else zero)
    zero = np.zeros(scale.shape, x.dtype) if zero is None else zero.astype(x.dtype)
    x, zero = (_small(one) for one in (x, zero))
    none = np.zeros(scale.shape, scale.dtype)
    found = e.op("blockwise_shift_scale", x, scale, zero, none, shape=x.shape, dtype=scale.dtype)
    return e.cast(found, node.dtype)


def _small(integers: np.ndarray) -> Any:
    kind = integers.dtype.name
    if kind not in ("int4", "uint4"):
        return integers
    return Narrow(integers.astype(np.int8 if kind == "int4" else np.uint8), kind)


def _narrow(scale: np.ndarray, zero: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The scales without those that are repeated for every index of an axis."""
    for axis in range(scale.ndim):
        first = [one.take([0], axis) for one in (scale, zero) if one is not None]
        every = [one for one in (scale, zero) if one is not None]
        if all((one == low).all() for one, low in zip(every, first, strict=True)):
            scale, zero = first[0], (first[1] if zero is not None else None)
    return scale, zero


def constant(e: Emitter, array: np.ndarray) -> Any:
    """A constant, as a table and indices or as float16 if that says the same in fewer bytes."""
    if array.dtype not in (np.float32, np.float16) or array.size < _LEAST:
        return array
    for bits in _BITS:
        found = _table(array, bits)
        if found is not None:
            indices, table = found
            axis = np.int16(0)
            return e.op("lut_to_dense", indices, table, axis, shape=array.shape, dtype=array.dtype)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    small = (np.abs(half) < np.finfo(np.float16).smallest_normal) & (half != 0)  # Apple's compiler loses them
    if array.dtype == np.float32 and not small.any() and np.array_equal(half.astype(np.float32), array):
        return e.op("cast", half, array.dtype, shape=array.shape, dtype=array.dtype)
    return array


def _table(array: np.ndarray, bits: int) -> tuple[Any, np.ndarray] | None:
    """Indices, and a table for each group of output channels: [groups, 1, ..., entries, 1]."""
    most, rows = 1 << bits, array.shape[0]
    stored = _bits_of(array)
    for groups in [g for g in (1, 2, 4, 8, 16, 32, 64) if rows % g == 0 and array.size // g >= 8 * most]:
        parts = stored.reshape(groups, -1)
        if np.unique(parts[0][: 8 * most]).size > most:
            continue
        found = [np.unique(part, return_inverse=True) for part in parts]
        if max(values.size for values, _ in found) > most:
            continue
        table = np.zeros((groups, most), stored.dtype)
        for number, (values, _) in enumerate(found):
            table[number, : values.size] = values
        indices = np.stack([inverse.reshape(-1) for _, inverse in found]).reshape(array.shape)
        shape = [groups, *[1] * (array.ndim - 1), most, 1]
        indices = indices.astype(np.uint8)
        return (indices if bits == 8 else Narrow(indices, f"uint{bits}")), table.view(array.dtype).reshape(shape)
    return None


def _bits_of(array: np.ndarray) -> np.ndarray:
    """The numbers by their bits, so that -0.0 and NaN stay what they are."""
    return np.ascontiguousarray(array).view(np.uint16 if array.dtype == np.float16 else np.uint32)
