"""Held rows: operations other than slices that read or replace rows of a held state (`held_states.py`).

Each returns None for what is no such rows; then it needs the tensor of the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import limits
from .held_states import MOST_UPDATES, Held, part, updated
from .onnx_builder import Tensor
from .regions import Bound, Region

if TYPE_CHECKING:
    from .lower_blocks import Builder


def sized(g: Builder, x: Held, begin: Any, size: Any) -> Held | None:
    """The slice that starts at `begin`, for known sizes. A start that is computed must be known to be at least 0."""
    shape = x.known_shape
    if shape is None or isinstance(size, Tensor):
        return None
    starts: list[Bound] = []
    ends: list[Bound] = []
    for axis, (count, whole) in enumerate(zip(np.asarray(size).reshape(-1).tolist(), shape, strict=True)):
        start = g.bounds.element(begin, axis)
        if isinstance(start, Tensor):
            if count < 0 or g.interval(start).lo < 0:
                return None
            end = g.bounds.after(start, count)
        else:
            if start < 0 or count < -1:
                return None
            start, end = min(start, whole), whole if count == -1 else min(start + count, whole)
        starts.append(start)
        ends.append(end)
    return part(x, Region(shape, tuple(starts), tuple(ends)), ())


def parts(x: Held, axis: int, sizes: Sequence[int]) -> tuple[Held, ...] | None:
    """What a split makes, for sizes that are known and fill the axis."""
    shape = x.known_shape
    if shape is None or not -len(shape) <= axis < len(shape) or sum(sizes) != shape[axis] or min(sizes) < 1:
        return None
    found, start, axis = [], 0, axis % len(shape)
    for size in sizes:
        starts, ends = [0] * len(shape), list(shape)
        starts[axis], ends[axis] = start, start + size
        piece = part(x, Region(shape, tuple(starts), tuple(ends)), ())
        if piece is None:
            return None
        found.append(piece)
        start += size
    return tuple(found)


def with_element(g: Builder, x: Held, axis: int, indices: Any, updates: Any, negative: bool) -> Held | None:
    """A scatter of one index along an axis."""
    count = _count(indices)
    if count != 1 or not _takes_rows(x, updates):
        return None
    shape = x.taken.shape
    axis = limits.axis(axis, len(shape))
    found = g.inside(indices, np.array([shape[axis]], np.int64), negative)
    return _replaced(g, x, {axis: g.bounds.element(found, 0)}, updates)


def with_elements(g: Builder, x: Held, indices: Any, updates: Any, negative: bool) -> Held | None:
    """A scatter of one index of several numbers, of the first axes."""
    depth = np.shape(indices)[-1] if not isinstance(indices, Tensor) else (indices.shape or (None,))[-1]
    shape = x.taken.shape
    if depth is None or not 0 < depth <= len(shape) or _count(indices) != depth or not _takes_rows(x, updates):
        return None
    found = g.inside(indices, np.array(shape[:depth], np.int64), negative)
    flat = g.Reshape(found, [depth]) if isinstance(found, Tensor) else np.reshape(found, -1)
    return _replaced(g, x, {axis: g.bounds.element(flat, axis) for axis in range(depth)}, updates)


def _count(indices: Any) -> int | None:
    """How many numbers the indices are; None if only the prediction knows."""
    if not isinstance(indices, Tensor):
        return int(np.size(indices))
    return None if indices.static_shape is None else int(np.prod(indices.static_shape))


def _takes_rows(x: Held, updates: Any) -> bool:
    same = isinstance(updates, Tensor) and updates.dtype == x.input.dtype and updates.static_shape is not None
    return same and x.is_whole and not x.dropped and len(x.updates) < MOST_UPDATES


def _replaced(g: Builder, x: Held, places: dict[int, Bound], updates: Tensor) -> Held | None:
    """The state with other rows at one index of some axes, of which negative ones count from the end."""
    shape = x.taken.shape
    rows = tuple(1 if axis in places else size for axis, size in enumerate(shape))
    if np.prod(updates.static_shape or (), dtype=np.int64) != np.prod(rows, dtype=np.int64):
        return None
    starts: list[Bound] = [0] * len(shape)
    ends: list[Bound] = list(shape)
    for axis, place in places.items():
        starts[axis] = g.bounds.index(place, shape[axis])
        ends[axis] = g.bounds.after(starts[axis], 1)
    update = updates if updates.static_shape == rows else g.Reshape(updates, rows)
    return updated(x, Region(shape, tuple(starts), tuple(ends)), update)
