"""Scatter and gather: lowers reads and writes of elements by index.

The result of an index outside the axis is undefined in MIL; here it is an error of the prediction (`index_checks.py`).
A negative index counts from the end, except with `validate_indices`, which came with iOS 17: there it is outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from .. import held_rows, limits
from ..held_states import Held
from ..integer_division import truncated_quotient
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers

# `sub` adds the negated updates, and `div` divides by the product of the updates.
_REDUCTIONS = {"update": "none", "add": "add", "sub": "add", "mul": "mul", "div": "mul", "max": "max", "min": "min"}


@lowers("gather")
def gather(
    g: Builder, x: Tensor, indices: Any, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    x = g.tensor(x)
    axis = limits.axis(axis, x.rank)
    batch = limits.batch(batch_dims, axis, len(indices.shape))
    found = g.inside(indices, _sizes(g, x, [axis]), not validate_indices)
    if batch == 0:
        return g.Gather(x, found, axis=axis)
    _check_batch(g, x, indices, batch)
    order = [*range(batch), axis, *(i for i in range(batch, x.rank) if i != axis)]
    taken = g.GatherND(_transposed(g, x, order), _unsqueezed(g, found), batch_dims=batch)
    # Axes of `taken`: batch, indices, those of x before the axis, those after it.
    picked = len(indices.shape) - batch
    before = axis - batch
    axes = list(range(taken.rank))
    back = axes[:batch] + axes[batch + picked : batch + picked + before] + axes[batch : batch + picked]
    return _transposed(g, taken, back + axes[batch + picked + before :])


@lowers("gather_along_axis")
def gather_along_axis(g: Builder, x: Tensor, indices: Any, axis: int = 0, validate_indices: bool = False) -> Tensor:
    x = g.tensor(x)
    return g.GatherElements(x, g.inside(indices, _sizes(g, x, [axis]), not validate_indices), axis=axis)


@lowers("gather_nd")
def gather_nd(g: Builder, x: Tensor, indices: Any, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    x = g.tensor(x)
    batch = limits.batch(batch_dims, x.rank, len(indices.shape) - 1)
    sizes = _sizes(g, x, _addressed(x, _depth(g, indices), batch))
    _check_batch(g, x, indices, batch)
    return g.GatherND(x, g.inside(indices, sizes, not validate_indices), batch_dims=batch)


@lowers("scatter")
def scatter(
    g: Builder,
    data: Tensor | Held,
    indices: Any,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor | Held:
    if isinstance(data, Held) and mode == "update":
        found = held_rows.with_element(g, data, axis, indices, updates, not validate_indices)
        if found is not None:
            return found
    data = g.tensor(g.whole(data))
    axis = limits.axis(axis, data.rank)
    spots = g.inside(indices, _sizes(g, data, [axis]), not validate_indices)
    updates = _shaped(g, updates, data, (axis, axis + 1), g.shape_of(spots))
    if mode == "update" and axis == 0:
        return g.ScatterND(data, _unsqueezed(g, spots), updates)
    aligned = _reshaped(g, spots, [-1 if i == axis else 1 for i in range(data.rank)])
    return _scatter(g, data, _expanded(g, aligned, g.shape_of(updates)), updates, axis, mode)


@lowers("scatter_along_axis")
def scatter_along_axis(
    g: Builder,
    data: Tensor,
    indices: Any,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    data = g.tensor(data)
    spots = g.inside(indices, _sizes(g, data, [axis]), not validate_indices)
    return _scatter(g, data, spots, updates, int(axis), mode)


@lowers("scatter_nd")
def scatter_nd(
    g: Builder, data: Tensor | Held, indices: Any, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor | Held:
    updates = g.tensor(updates)
    if isinstance(data, Held) and mode == "update":
        rows = held_rows.with_elements(g, data, indices, updates, not validate_indices)
        if rows is not None:
            return rows
    data = g.tensor(g.whole(data))
    depth = _depth(g, indices)
    sizes = _sizes(g, data, _addressed(data, depth))
    found = g.inside(indices, sizes, not validate_indices)
    count = g.shape_of(found)
    updates = _shaped(
        g, updates, data, (0, depth), g.Slice(count, [0], [-1]) if isinstance(count, Tensor) else count[:-1]
    )
    if mode == "update":
        return g.ScatterND(data, found, updates)
    # ONNX Runtime's ScatterND loses updates if several threads update one element; its ScatterElements does not.
    rest = _sizes(g, data, range(depth, data.rank))
    flat, values = (g.Reshape(t, _joined(g, np.array([-1]), rest)) for t in (data, updates))
    rows = _rows(g, found, sizes)
    spots = _expanded(g, _reshaped(g, rows, [-1] + [1] * (data.rank - depth)), g.shape_of(values))
    return g.Reshape(_scatter(g, flat, spots, values, 0, mode), g.shape_of(data))


def _check_batch(g: Builder, x: Tensor, indices: Any, batch: int) -> None:
    """The first `batch` sizes of both must agree, which OpenVINO does not compare. Known ones are compared at load."""
    shapes = zip(x.shape or (), g.tensor(indices).shape or (), strict=False)
    unknown = [axis for axis, pair in enumerate([*shapes][:batch]) if None in pair]
    if unknown:
        own, given = (g.Gather(g.Shape(g.tensor(t)), np.array(unknown)) for t in (x, indices))
        g.refuse(g.Not(g.Equal(own, given)), given, "the indices have another batch than x, which has")


def bounded(g: Builder, indices: Any, sizes: Any) -> Any:
    """Clamp indices (int64) to [-size, size). `sizes` broadcasts against their last axis."""
    if not isinstance(sizes, Tensor):
        first, last = -sizes, sizes - 1
        if not isinstance(indices, Tensor):
            return np.clip(indices, first, last)
    else:
        first, last = g.Neg(sizes), g.Sub(sizes, 1)
    return g.Max(g.Min(indices, last), first)


def _rows(g: Builder, indices: Any, sizes: Any) -> Any:
    """Positions, in the flattened first axes, of the elements that indices (..., axes) select."""
    if _depth(g, indices) == 1:
        return indices
    indices = g.cast(indices, np.int64)
    if not _any_tensor(indices, sizes):
        return np.ravel_multi_index(tuple(np.moveaxis(indices % sizes, -1, 0)), tuple(sizes))
    ends = g.Max(sizes, 1) if isinstance(sizes, Tensor) else np.maximum(sizes, 1)
    return _row_major(g, g.Mod(indices, ends), sizes)


def _row_major(g: Builder, indices: Any, sizes: Any) -> Any:
    rows: Any = None
    for axis in range(_depth(g, indices)):
        index = g.Gather(indices, np.int64(axis), axis=-1)
        size = g.Gather(sizes, [axis]) if isinstance(sizes, Tensor) else sizes[axis : axis + 1]
        rows = index if rows is None else g.Add(g.Mul(rows, size), index)
    return rows


def _scatter(g: Builder, data: Tensor, indices: Any, updates: Any, axis: int, mode: str) -> Tensor:
    if mode not in _REDUCTIONS:
        raise UnsupportedOperationError(f"mode must be one of {', '.join(_REDUCTIONS)}, got '{mode}'")
    if mode == "sub":
        updates = g.Neg(updates)
    if mode == "div":
        ones = g.Expand(g.cast(1, data.dtype), g.shape_of(data))
        divisors = g.ScatterElements(ones, indices, updates, axis=axis, reduction="mul")
        return g.Div(data, divisors) if data.dtype.kind == "f" else truncated_quotient(g, data, divisors)
    found = g.ScatterElements(data, indices, updates, axis=axis, reduction=_REDUCTIONS[mode])
    if mode not in ("max", "min") or data.dtype.kind != "f":
        return found
    # Of a number and a NaN, ONNX Runtime makes a number.
    given, new = (g.cast(g.IsNaN(g.tensor(values)), np.int32) for values in (data, updates))
    seen = g.ScatterElements(given, indices, new, axis=axis, reduction="max")
    return g.Where(g.Greater(seen, 0), np.nan, found)


def _shaped(g: Builder, updates: Any, data: Tensor, axes: tuple[int, int], spots: Any) -> Tensor:
    """Updates in the shape that they must have: that of the data, with `spots` in place of the axes from the first of
    `axes` to before the second. OpenVINO does not compare the shapes, and reads past the end of smaller updates; a
    Reshape fails instead."""
    updates = g.tensor(updates)
    if updates.static_shape is not None and data.static_shape is not None and not isinstance(spots, Tensor):
        return updates  # compared at load
    before, behind = (_sizes(g, data, part) for part in (range(axes[0]), range(axes[1], data.rank)))
    return g.reshaped(updates, _joined(g, before, spots, behind), allowzero=1)


def _depth(g: Builder, indices: Any) -> int:
    """Number of axes that an index of gather_nd or scatter_nd addresses."""
    return g.tensor(indices).static_size(-1)


def _addressed(x: Tensor, depth: int, batch: int = 0) -> range:
    """The axes that an index of `depth` numbers selects from."""
    if batch + depth > x.rank:
        raise ProgramError(f"an index of {depth} numbers needs as many axes, but there are {x.rank - batch}")
    return range(batch, batch + depth)


def _sizes(g: Builder, x: Tensor, axes: Sequence[int]) -> Any:
    """Sizes of these axes: int64, of shape (axes)."""
    sizes = [(x.shape or ())[axis] for axis in axes]
    if None not in sizes:
        return np.array(sizes, np.int64)
    if len(sizes) == 1:
        (axis,) = (axis % x.rank for axis in axes)
        return g.Shape(x, start=axis, end=axis + 1)
    return g.Gather(g.Shape(x), np.array(axes, np.int64))


def _joined(g: Builder, *sizes: Any) -> Any:
    return g.Concat(*sizes, axis=0) if _any_tensor(*sizes) else np.concatenate(sizes)


def _reshaped(g: Builder, x: Any, shape: Sequence[int]) -> Any:
    return g.Reshape(x, shape) if isinstance(x, Tensor) else np.reshape(x, shape)


def _unsqueezed(g: Builder, x: Any) -> Any:
    """x with an extra last axis."""
    return g.Unsqueeze(x, [-1]) if isinstance(x, Tensor) else np.asarray(x)[..., None]


def _expanded(g: Builder, x: Any, shape: Any) -> Any:
    return g.Expand(x, shape) if _any_tensor(x, shape) else np.broadcast_to(x, shape)


def _transposed(g: Builder, x: Tensor, order: list[int]) -> Tensor:
    return x if order == sorted(order) else g.Transpose(x, perm=order)


def _any_tensor(*values: Any) -> bool:
    return any(isinstance(value, Tensor) for value in values)
