"""Held states: a state that a function reads and writes in parts, followed from one part to the next.

As long as a program only slices a state and updates slices of it, nothing needs the whole state. Its value is then the
graph input and the updates since; a read becomes the slice of the input with the updated rows in it, and the graph
returns the rows of each update instead of the state. The runtime puts them in their places after the prediction, so
that one that fails or is cancelled changes nothing. What else reads the value gets it as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .lowered_model import StateWrite
from .onnx_builder import Tensor
from .regions import Bound, Region, is_same, whole

if TYPE_CHECKING:
    from .lower_blocks import Builder

_LAST = 1 << 30
MOST_UPDATES = 512
"""Updates that are followed; a program with more gets a tensor."""
_MOST_PIECES = 64


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """Rows written to a region of a state; `rows` has all its axes."""

    region: Region
    rows: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A part of a state after some updates. `taken` is the part, of which the axes `dropped` are left out."""

    state: str
    input: Tensor
    updates: tuple[Update, ...]
    taken: Region
    dropped: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        return not self.dropped and not self.taken.partial_axes()

    @property
    def axes(self) -> list[int]:
        """The axes of the state that the value has."""
        return [axis for axis in range(len(self.taken.shape)) if axis not in self.dropped]

    @property
    def known_shape(self) -> tuple[int, ...] | None:
        """The shape of the value; None if it is computed."""
        sizes = []
        for axis in self.axes:
            start, end = self.taken.starts[axis], self.taken.ends[axis]
            if isinstance(start, Tensor) or isinstance(end, Tensor):
                return None
            sizes.append(end - start)
        return tuple(sizes)


def held(name: str, graph_input: Tensor) -> Held | Tensor:
    """The value of a state before the prediction."""
    shape = graph_input.static_shape
    return graph_input if not shape or 0 in shape else Held(name, graph_input, (), whole(shape))


def updated(value: Held, region: Region, rows: Tensor) -> Held:
    return replace(value, updates=(*value.updates, Update(region, rows)))


def part(value: Held, region: Region, squeezed: Sequence[int]) -> Held | None:
    """A slice of a held value; `region` and `squeezed` refer to its own axes. None if it must be computed."""
    starts, ends = list(value.taken.starts), list(value.taken.ends)
    for own, axis in enumerate(value.axes):
        if value.taken.is_whole(axis):
            starts[axis], ends[axis] = region.starts[own], region.ends[own]
        elif not region.is_whole(own):
            start, first, last = starts[axis], region.starts[own], region.ends[own]
            if isinstance(start, Tensor) or isinstance(first, Tensor) or isinstance(last, Tensor):
                return None
            starts[axis], ends[axis] = start + first, start + last
    taken = Region(value.taken.shape, tuple(starts), tuple(ends))
    axes = value.axes
    return replace(value, taken=taken, dropped=tuple(sorted((*value.dropped, *(axes[own] for own in squeezed)))))


def materialized(g: Builder, value: Held) -> Tensor:
    """The tensor of a held value, with the sizes that its region knows: ONNX infers none of a slice with a computed
    bound."""
    found = _read(g, value)
    sizes = tuple(
        a if b is None else b for a, b in zip(found.shape or value.taken.sizes, value.taken.sizes, strict=True)
    )
    found = Tensor(found.name, found.dtype, sizes)
    return g.Squeeze(found, list(value.dropped)) if value.dropped else found


def _read(g: Builder, value: Held, divide: bool = True) -> Tensor:
    taken = value.taken
    updates = [update for update in value.updates if not update.region.apart(taken)]
    if not updates:
        return _slice(g, value.input, taken)
    update = updates[-1]
    open_axes = [axis for axis in range(len(taken.shape)) if not update.region.covers(taken, axis)]
    if len(updates) == 1 and len(open_axes) <= 1 and (rows := _rows(g, update, taken, open_axes)) is not None:
        return rows if not open_axes else _between(g, value.input, taken, update.region, open_axes[0], rows)
    if divide and len(updates) > 1 and (division := _division(updates, taken)):
        axis, pieces = division
        return g.Concat(*(_read(g, replace(value, taken=piece), False) for piece in pieces), axis=axis)
    return _slice(g, _after(g, value), taken)


def _division(updates: Sequence[Update], taken: Region) -> tuple[int, list[Region]] | None:
    """An axis on which several updates lie apart, and the pieces of a read in each of which fewer of them fall.

    Joined one after the other, each update of one of `n` layers would copy all of them.
    """
    for axis in range(len(taken.shape)):
        bounds = [(region.starts[axis], region.ends[axis]) for region in (taken, *(u.region for u in updates))]
        if any(isinstance(bound, Tensor) for pair in bounds for bound in pair):
            continue
        numbers = np.array(bounds, np.int64)
        cuts = np.unique(np.clip(numbers, *numbers[0])).tolist()
        pieces = [_with(taken, axis, *pair) for pair in pairwise(cuts)]
        most = max((sum(not u.region.apart(piece) for u in updates) for piece in pieces), default=len(updates))
        if len(pieces) <= _MOST_PIECES and most < len(updates):
            return axis, pieces
    return None


def _after(g: Builder, value: Held) -> Tensor:
    """The whole state after the updates. What was made of the first ones for another read is used again."""
    full, updates = value.input, list(value.updates)
    todo: list[Update] = []
    while updates and id(updates[-1]) not in g.states_after:
        todo.append(updates.pop())
    if updates:
        full = g.states_after[id(updates[-1])][1]
    for update in reversed(todo):
        full = joined(g, full, update.rows, update.region)
        if not g.nested:
            g.states_after[id(update)] = update, full
    return full


def _rows(g: Builder, update: Update, taken: Region, open_axes: Sequence[int]) -> Tensor | None:
    """The rows of an update that a read takes, all of them on the open axis; None if that is not known."""
    region = update.region
    starts, ends = [0] * len(taken.shape), [_LAST] * len(taken.shape)
    for axis in range(len(taken.shape)):
        first, start, end, last = region.starts[axis], taken.starts[axis], taken.ends[axis], region.ends[axis]
        if axis in open_axes:
            if not taken.covers(region, axis) and not _ends_with(taken, region, axis):
                return None
        elif not (region.covers(taken, axis) and taken.covers(region, axis)):
            if any(isinstance(bound, Tensor) for bound in (first, start, end, last)):
                return None
            starts[axis], ends[axis] = start - first, end - first  # type: ignore[operator]
    return update.rows if not any(starts) and set(ends) == {_LAST} else _sliced(g, update.rows, starts, ends)


def _ends_with(taken: Region, region: Region, axis: int) -> bool:
    """Whether a read from 0 ends where the update ends, or at the end of the axis: then it takes all its rows."""
    end = taken.ends[axis]
    return is_same(taken.starts[axis], 0) and (is_same(end, region.ends[axis]) or is_same(end, taken.shape[axis]))


def _between(g: Builder, x: Tensor, taken: Region, written: Region, axis: int, rows: Tensor) -> Tensor:
    """What a read takes before the updated rows, these, and what it takes after them."""
    before = _with(taken, axis, taken.starts[axis], written.starts[axis])
    behind = _with(taken, axis, written.ends[axis], taken.ends[axis])
    parts = [] if _is_empty(before, axis) else [_slice(g, x, before)]
    parts.append(rows)
    parts += [] if _is_empty(behind, axis) else [_slice(g, x, behind)]
    return parts[0] if len(parts) == 1 else g.Concat(*parts, axis=axis)


def _with(region: Region, axis: int, start: Any, end: Any) -> Region:
    starts, ends = list(region.starts), list(region.ends)
    starts[axis], ends[axis] = start, end
    return Region(region.shape, tuple(starts), tuple(ends))


def _is_empty(region: Region, axis: int) -> bool:
    start, end = region.starts[axis], region.ends[axis]
    return is_same(start, end) or (not isinstance(start, Tensor) and not isinstance(end, Tensor) and start >= end)


def _slice(g: Builder, x: Tensor, region: Region) -> Tensor:
    axes = region.partial_axes()
    if not axes:
        return x
    return g.Slice(
        x,
        vector(g, [region.starts[axis] for axis in axes]),
        vector(g, [region.ends[axis] for axis in axes]),
        np.array(axes, np.int64),
    )


def _sliced(g: Builder, x: Tensor, starts: Sequence[int], ends: Sequence[int]) -> Tensor:
    return g.Slice(x, np.array(starts, np.int64), np.array(ends, np.int64), np.arange(len(starts)))


def vector(g: Builder, bounds: Sequence[Any]) -> Any:
    if not any(isinstance(bound, Tensor) for bound in bounds):
        return np.array(bounds, np.int64)
    parts = [bound if isinstance(bound, Tensor) else np.array([bound], np.int64) for bound in bounds]
    return parts[0] if len(parts) == 1 else g.Concat(*parts, axis=0)


def joined(g: Builder, x: Tensor, update: Tensor, region: Region, axes: Sequence[int] | None = None) -> Tensor:
    """x with a region replaced: joins what precedes it, the update and what follows, axis by axis."""
    axes = region.partial_axes() if axes is None else axes
    if not axes:
        return update
    axis, *rest = axes
    start, end = (vector(g, [bound]) for bound in (region.starts[axis], region.ends[axis]))
    middle = joined(g, g.Slice(x, start, end, [axis]), update, region, rest) if rest else update
    parts = [] if _number(region.starts[axis]) == 0 else [g.Slice(x, [0], start, [axis])]
    parts.append(middle)
    parts += [] if _number(region.ends[axis]) == region.shape[axis] else [g.Slice(x, end, [_LAST], [axis])]
    return g.Concat(*parts, axis=axis)


def _number(bound: Any) -> int | None:
    return None if isinstance(bound, Tensor) else int(bound)


def writes_of(g: Builder, value: Held) -> tuple[list[StateWrite], list[Tensor]]:
    """The updates as the runtime makes them, and the graph outputs that they need."""
    writes: list[StateWrite] = []
    outputs: dict[str, Tensor] = {}

    def returned(bounds: Sequence[Bound]) -> tuple[int | str, ...]:
        for bound in bounds:
            if isinstance(bound, Tensor):
                outputs[g.returned(bound).name] = g.returned(bound)
        return tuple(g.returned(bound).name if isinstance(bound, Tensor) else bound for bound in bounds)

    for number, update in enumerate(value.updates):
        rows = g.named(update.rows, f"{value.state}/rows{number}")
        outputs[rows.name] = rows
        region = update.region
        writes.append(StateWrite(value.state, rows.name, returned(region.starts), returned(region.ends)))
    return writes, list(outputs.values())
