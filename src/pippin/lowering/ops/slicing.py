"""Slicing: lowers MIL begin / end / stride / masks to ONNX starts, ends and steps, and writes into slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from ...errors import ProgramError
from .. import held_rows, limits
from ..held_states import MOST_UPDATES, Held, joined, part, updated, vector
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers
from ..regions import Bound, Region
from .scatter_gather import bounded

# Longer than any axis. OpenVINO's Select converts integers to float32, which represents these exactly.
_LAST = 1 << 30
_FIRST = -(1 << 30)
_COUNTS = "a size must be -1 (the rest) or at least 0, got"


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


def _before_the_first(g: Builder, x: Any, b: Bounds) -> Bounds:
    """The bounds of axes that run backwards as numpy means them: a begin before the first element takes nothing, where
    ONNX starts at that element, and an end far behind the last one too, where ONNX Runtime runs to the first one."""
    backwards = b.steps < 0
    if not backwards.any() or not isinstance(x, Tensor):
        return b
    ends = g.Min(b.ends, np.int64(_LAST)) if isinstance(b.ends, Tensor) else np.minimum(b.ends, _LAST)
    if not isinstance(b.starts, Tensor) and (b.starts[backwards] >= -1).all():
        return replace(b, ends=ends)
    sizes = g.shape_of(x)
    outside = g.Less(g.Add(b.starts, sizes), 0) if _any_tensor(b.starts, sizes) else b.starts + sizes < 0
    if _any_tensor(outside, ends):
        outside = g.And(outside, backwards) if isinstance(outside, Tensor) else outside & backwards
        return replace(b, ends=g.Where(outside, np.int64(_LAST), ends))
    return replace(b, ends=np.where(outside & backwards, _LAST, ends))


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
    _check_lengths(rank, begin=begin, end=end)
    _check_squeezed(g, x, begin, _mask(squeeze_mask, rank))
    b = _before_the_first(g, x, bounds(g, rank, begin, end, stride, begin_mask, end_mask, squeeze_mask))
    y = g.Slice(x, b.starts, b.ends, np.arange(rank), b.steps)
    return g.Squeeze(y, b.squeezed) if b.squeezed else y


def _check_lengths(rank: int, **given: Any) -> None:
    """Raises ProgramError unless each has a number for every axis, as far as that is known."""
    for name, values in given.items():
        length = values.static_shape if isinstance(values, Tensor) else np.shape(values)
        if length is not None and length != (rank,):
            raise ProgramError(f"'{name}' must have {rank} numbers, one for each axis of x, got the shape {[*length]}")


def _check_squeezed(g: Builder, x: Any, begin: Any, squeeze: np.ndarray) -> None:
    """The begins of squeezed axes are indices of elements, which must lie on them: OpenVINO drops an empty axis."""
    axes = np.flatnonzero(squeeze)
    if not isinstance(x, Tensor) or not axes.size:
        return
    if not isinstance(begin, Tensor):
        where = np.asarray(begin, np.int64)
        known = [axis for axis in axes if (x.shape or ())[axis] is not None]
        for axis in known:
            g.inside(where[[axis]], np.array([x.static_size(axis)], np.int64))
        axes = np.setdiff1d(axes, known)
        if axes.size:
            g.inside(where[axes][None], g.Gather(g.Shape(x), axes))
        return
    sizes = g.shape_of(x)
    g.inside(g.Gather(begin, axes), g.Gather(sizes, axes) if isinstance(sizes, Tensor) else sizes[axes])


@lowers("slice_by_size")
def slice_by_size(g: Builder, x: Tensor | Held, begin: Any, size: Any) -> Tensor | Held:
    """`size` -1 takes the rest of the axis. If `begin` is negative, it counts from the end of the axis, and so does
    `begin + size`: 0 is that end."""
    if isinstance(x, Held):
        return held_rows.sized(g, x, begin, size) or slice_by_size(g, g.whole(x), begin, size)
    starts, sizes = g.cast(begin, np.int64), g.cast(size, np.int64)
    if not isinstance(x, Tensor):
        x = g.tensor(x)
    _check_lengths(x.rank, begin=begin, size=size)
    begins, counts = ([g.bounds.element(v, axis) for axis in range(x.rank)] for v in (starts, sizes))
    ends = [_end(g, *place) for place in zip(begins, counts, strict=True)]
    whole = {axis for axis in range(x.rank) if (begins[axis], ends[axis]) == (0, _LAST)}
    computed = {axis for axis in range(x.rank) if isinstance(begins[axis], Tensor) or isinstance(ends[axis], Tensor)}
    # On their own, so that OpenVINO sees the sizes that are known.
    for axes in (sorted(set(range(x.rank)) - whole - computed), sorted(computed)):
        if axes:
            x = g.Slice(x, vector(g, [begins[a] for a in axes]), vector(g, [ends[a] for a in axes]), axes)
    return x


def _end(g: Builder, start: Bound, size: Bound) -> Bound:
    """The end of one axis. Sizes that are known stay so: OpenVINO needs them for the shape of the result."""
    if not isinstance(size, Tensor) and size <= -1:
        if size < -1:
            raise ProgramError(f"{_COUNTS} {size}")
        return _LAST
    if not isinstance(start, Tensor) and not isinstance(size, Tensor):
        return _LAST if start < 0 <= start + size else start + size
    rest = []
    if isinstance(size, Tensor):
        g.refuse(g.Less(size, -1), size, _COUNTS)
        size = g.Min(size, np.int64(_LAST))  # OpenVINO adds in 32 bits
        rest.append(g.Equal(size, -1))
    end: Tensor = g.Add(start, size)
    if (not isinstance(start, Tensor) and start < 0) or (isinstance(start, Tensor) and g.interval(start).lo < 0):
        rest.append(g.And(g.Less(start, 0), g.GreaterOrEqual(end, 0)))
    return g.Where(reduce(g.Or, rest), np.int64(_LAST), end) if rest else end


@lowers("slice_update", since=18)
def slice_update(
    g: Builder,
    x: Tensor | Held,
    update: Tensor,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor | Held:
    rows = g.tensor(update)
    x = x if isinstance(x, Held) and x.is_whole else _tensor(g, x)
    shape = x.taken.shape if isinstance(x, Held) else x.static_shape
    if shape is not None and _in_steps_of_1(stride):
        region = g.bounds.region(shape, begin, end, begin_mask, end_mask, squeeze_mask)
        single = np.flatnonzero(_mask(squeeze_mask, len(shape))).tolist()
        found = _with_region(g, x, g.Unsqueeze(rows, single) if single else rows, region)
        if found is not None:
            return found
    full = _tensor(g, x)
    b = _before_the_first(g, full, bounds(g, full.rank, begin, end, stride, begin_mask, end_mask, squeeze_mask))
    return _with_slice(g, full, g.Unsqueeze(rows, b.squeezed) if b.squeezed else rows, b)


def _with_region(g: Builder, x: Tensor | Held, rows: Tensor, region: Region) -> Tensor | Held | None:
    """x with other rows in a region; None if only the prediction knows whether they fit, and nothing checks it."""
    fits = _fits(rows, region.sizes)
    if isinstance(x, Held) and rows.dtype == x.input.dtype and len(x.updates) < MOST_UPDATES:
        return updated(x, region, rows)  # the runtime checks it
    return joined(g, g.whole(x), rows, region) if fits else None


def _with_slice(g: Builder, x: Tensor, rows: Tensor, b: Bounds) -> Tensor:
    fits = _fits(rows, _sizes(x, b))
    _check_not_larger(rows, x)
    if (b.steps == 1).all():
        if not fits:
            rows, b = _fitting(g, x, rows, b)
        return _joined(g, x, rows, b, [a for a in range(x.rank) if not _is_whole(x, rows, a)])
    where = _positions(g, x, b)
    flat = g.ScatterElements(g.Reshape(x, [-1]), where, g.Reshape(rows, [-1]), axis=0)
    return g.Reshape(flat, g.shape_of(x))


def _fits(rows: Tensor, sizes: Sequence[int | None]) -> bool:
    """Whether the rows are known to have the sizes of a slice. Raises ProgramError if they are known not to."""
    if rows.rank != len(sizes):
        raise ProgramError(f"the update has {rows.rank} axes (squeezed ones included), x has {len(sizes)}")
    given = rows.shape or ()
    if any(None not in pair and pair[0] != pair[1] for pair in zip(sizes, given, strict=True)):
        raise ProgramError(f"the update has the shape {list(given)}, but the slice {list(sizes)}")
    return None not in (*sizes, *given)


def _sizes(x: Tensor, b: Bounds) -> tuple[int | None, ...]:
    """The elements that a slice takes of each axis; None if only the prediction knows."""
    if x.static_shape is None or _any_tensor(b.starts, b.ends):
        return (None,) * x.rank
    places = zip(b.starts.tolist(), b.ends.tolist(), b.steps.tolist(), strict=True)
    return tuple(len(range(*slice(*place).indices(n))) for place, n in zip(places, x.static_shape, strict=True))


def _check_not_larger(rows: Tensor, x: Tensor) -> None:
    sizes, given = x.static_shape, rows.static_shape
    if sizes is not None and given is not None and any(m > n for m, n in zip(given, sizes, strict=True)):
        raise ProgramError(f"the update {list(given)} is larger than x {list(sizes)}")


def _fitting(g: Builder, x: Tensor, update: Tensor, b: Bounds) -> tuple[Tensor, Bounds]:
    """The update and bounds that fit together whatever the numbers are, as OpenVINO writes past the end of what does
    not; a prediction with an update of other sizes than its slice is refused afterwards."""
    sizes, given = g.shape_of(x), g.shape_of(update)
    wanted = g.Shape(g.Slice(x, b.starts, b.ends, np.arange(x.rank), b.steps))
    wrong = g.Not(g.Equal(given, wanted))
    g.refuse(wrong, wanted, "the update does not have the sizes of the slice; one of the slice's is")
    if x.static_shape is None or update.static_shape is None:
        update = g.Slice(update, np.zeros(x.rank, np.int64), sizes, np.arange(x.rank))
        given = g.Shape(update)
    starts = g.Where(g.Less(b.starts, 0), g.Add(b.starts, sizes), b.starts)
    starts = g.Max(g.Min(starts, g.Sub(sizes, given)), np.int64(0))
    return update, replace(b, starts=starts, ends=g.Add(starts, given))


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


def _is_whole(x: Tensor, update: Tensor, axis: int) -> bool:
    """Whether the update is known to replace all of an axis."""
    size = (x.shape or ())[axis]
    return size is not None and size == (update.shape or ())[axis]


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
