"""Slicing: lowers MIL begin / end / stride / masks to ONNX starts, ends and steps, and writes into slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import limits
from ..held_states import MOST_UPDATES, Held, joined, part, updated
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers
from .scatter_gather import bounded

# Longer than any axis. OpenVINO's Select converts integers to float32, which represents these exactly.
_LAST = 1 << 30
_FIRST = -(1 << 30)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Starts, ends and steps for all axes (int64), and the axes that the slice drops."""

    starts: Any
    ends: Any
    steps: np.ndarray
    squeezed: list[int]


def bounds(
    g: Builder,
    rank: int,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Bounds:
    """A masked begin is the first element in the direction of the stride; a masked end is past the last one. An axis in
    `squeeze_mask` takes only the element at `begin`."""
    squeeze = _mask(squeeze_mask, rank)
    steps = np.ones(rank, np.int64) if stride is None else np.array(stride, np.int64)
    steps[squeeze] = 1
    backwards = steps < 0
    starts = _masked(g, begin, _mask(begin_mask, rank) & ~squeeze, np.where(backwards, _LAST, 0))
    ends = _masked(g, end, _mask(end_mask, rank) & ~squeeze, np.where(backwards, _FIRST, _LAST))
    if squeeze.any():
        after = _after(g, starts)
        ends = g.Where(squeeze, after, ends) if _any_tensor(after, ends) else np.where(squeeze, after, ends)
    return Bounds(starts, ends, steps, [int(i) for i in np.flatnonzero(squeeze)])


@lowers("slice_by_index")
def slice_by_index(
    g: Builder,
    x: Tensor | Held,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor | Held:
    if isinstance(x, Held):
        shape, single = x.known_shape, np.flatnonzero(_mask(squeeze_mask, len(x.axes))).tolist()
        if shape is not None and _in_steps_of_1(stride):
            found = part(x, g.bounds.region(shape, begin, end, begin_mask, end_mask, squeeze_mask), single)
            if found is not None:
                return found
        return slice_by_index(g, g.whole(x), begin, end, stride, begin_mask, end_mask, squeeze_mask)
    rank = len(np.shape(x)) if not isinstance(x, Tensor) else x.rank
    b = bounds(g, rank, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    y = g.Slice(x, b.starts, b.ends, np.arange(rank), b.steps)
    return g.Squeeze(y, b.squeezed) if b.squeezed else y


@lowers("slice_by_size")
def slice_by_size(g: Builder, x: Tensor, begin: Any, size: Any) -> Tensor:
    """`size` -1 takes the rest of the axis. If `begin` is negative, it counts from the end of the axis, and so does
    `begin + size`: 0 is that end."""
    starts, sizes = g.cast(begin, np.int64), g.cast(size, np.int64)
    if not _any_tensor(starts, sizes):
        ends = starts + sizes
        return g.Slice(x, starts, np.where((sizes == -1) | ((starts < 0) & (ends >= 0)), _LAST, ends))
    ends = g.Add(starts, sizes)
    whole = g.Equal(sizes, -1)
    if isinstance(starts, Tensor) or (starts < 0).any():
        whole = g.Or(whole, g.And(g.Less(starts, 0), g.GreaterOrEqual(ends, 0)))
    return g.Slice(x, starts, g.Where(whole, np.int64(_LAST), ends))


@lowers("slice_update", since=18)
def slice_update(
    g: Builder,
    x: Tensor | Held,
    update: Tensor | Held,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor | Held:
    rows = _tensor(g, update)
    if isinstance(x, Held) and not x.is_whole:
        x = g.whole(x)
    x = x if isinstance(x, Held) else g.tensor(x)
    shape = x.taken.shape if isinstance(x, Held) else x.static_shape
    if shape is not None and _in_steps_of_1(stride):
        region = g.bounds.region(shape, begin, end, begin_mask, end_mask, squeeze_mask)
        single = np.flatnonzero(_mask(squeeze_mask, len(shape))).tolist()
        rows = g.Unsqueeze(rows, single) if single else rows
        if isinstance(x, Held) and rows.dtype == x.input.dtype and len(x.updates) < MOST_UPDATES:
            return updated(x, region, rows)
        return joined(g, g.whole(x), rows, region)
    full = _tensor(g, x)
    b = bounds(g, full.rank, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    if b.squeezed:
        rows = g.Unsqueeze(rows, b.squeezed)
    if (b.steps == 1).all():
        return _joined(g, full, rows, b, [a for a in range(full.rank) if not _is_whole(full, b, a)])
    where = _positions(g, full, b)
    flat = g.ScatterElements(g.Reshape(full, [-1]), where, g.Reshape(rows, [-1]), axis=0)
    return g.Reshape(flat, g.shape_of(full))


def _positions(g: Builder, x: Tensor, b: Bounds) -> Any:
    """Positions of a slice's elements in the flattened x: the same slice of all positions."""
    if x.static_shape is not None and not _any_tensor(b.starts, b.ends):
        positions = limits.arange(0, math.prod(x.static_shape), dtype=np.int64).reshape(x.static_shape)
        taken = tuple(slice(*axis) for axis in zip(b.starts.tolist(), b.ends.tolist(), b.steps.tolist(), strict=True))
        return positions[taken].reshape(-1)
    size = g.ReduceProd(g.shape_of(x), keepdims=0)
    positions = g.Reshape(g.Range(0, size, 1), g.shape_of(x))
    where = g.Reshape(g.Slice(positions, b.starts, b.ends, np.arange(x.rank), b.steps), [-1])
    return bounded(g, where, size)


def _joined(g: Builder, x: Tensor, update: Tensor, b: Bounds, axes: Sequence[int]) -> Tensor:
    """x with a contiguous slice replaced: joins what precedes it, the update and what follows, axis by axis."""
    if not axes:
        return update
    axis, *rest = axes
    start, end = _element(g, b.starts, axis), _element(g, b.ends, axis)
    middle = update
    if rest:
        middle = _joined(g, g.Slice(x, start, end, [axis], [1]), update, b, rest)
    before = g.Slice(x, [0], start, [axis], [1])
    behind = g.Slice(x, end, [_LAST], [axis], [1])
    return g.Concat(before, middle, behind, axis=axis)


def _element(g: Builder, values: Any, index: int) -> Any:
    return g.Gather(values, [index]) if isinstance(values, Tensor) else np.asarray(values)[[index]]


def _is_whole(x: Tensor, b: Bounds, axis: int) -> bool:
    """Whether the slice is known to take all of an axis."""
    if isinstance(b.starts, Tensor) or isinstance(b.ends, Tensor):
        return False
    size = (x.shape or ())[axis]
    return bool(b.starts[axis] == 0 and (b.ends[axis] == _LAST or (size is not None and b.ends[axis] >= size)))


def _tensor(g: Builder, x: Tensor | Held) -> Tensor:
    return g.tensor(g.whole(x))


def _in_steps_of_1(stride: Any) -> bool:
    return stride is None or bool((np.asarray(stride) == 1).all())


def _mask(mask: Any, rank: int) -> np.ndarray:
    return np.zeros(rank, bool) if mask is None else np.array(mask, bool)


def _masked(g: Builder, values: Any, mask: np.ndarray, replacement: np.ndarray) -> Any:
    values = g.cast(values, np.int64)
    if isinstance(values, Tensor):
        return g.Where(mask, replacement, values) if mask.any() else values
    return np.where(mask, replacement, values)


def _after(g: Builder, starts: Any) -> Any:
    """One past each start; after -1 comes the end of the axis, not 0."""
    if isinstance(starts, Tensor):
        return g.Where(g.Equal(starts, -1), np.int64(_LAST), g.Add(starts, 1))
    return np.where(starts == -1, _LAST, starts + 1)


def _any_tensor(*values: Any) -> bool:
    return any(isinstance(value, Tensor) for value in values)
