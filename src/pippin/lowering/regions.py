"""Regions: what a slice takes of each axis, as far as it is known at lowering.

Converters write the begin and end of a slice as a vector that joins constants and one or two computed numbers. As a
whole it is computed; each of its elements is followed back here, so that axes taken whole and constant indices are
known, and two slices that end at the same number are known to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .index_checks import CheckedGraph
from .onnx_builder import Graph, Tensor

Bound: TypeAlias = "int | Tensor"
"""An index of an axis, 0 to its size; computed ones are int64 tensors of shape (1,)."""

# Steps from an element back to what computes it.
_STEPS = 32
_KEEP_ORDER = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True, slots=True)
class Region:
    """The start and end of each axis of a tensor with a known shape."""

    shape: tuple[int, ...]
    starts: tuple[Bound, ...]
    ends: tuple[Bound, ...]

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The elements of each axis; None if computed."""
        pairs = zip(self.starts, self.ends, strict=True)
        return tuple(None if isinstance(a, Tensor) or isinstance(b, Tensor) else max(b - a, 0) for a, b in pairs)

    def is_whole(self, axis: int) -> bool:
        return is_same(self.starts[axis], 0) and is_same(self.ends[axis], self.shape[axis])

    def partial_axes(self) -> list[int]:
        return [axis for axis in range(len(self.shape)) if not self.is_whole(axis)]

    def apart(self, other: Region) -> bool:
        """Whether the two are known to have no element in common."""
        return any(
            _before(end, start) or _before(other_end, other_start)
            for start, end, other_start, other_end in zip(other.starts, self.ends, self.starts, other.ends, strict=True)
        )

    def covers(self, other: Region, axis: int) -> bool:
        """Whether this is known to take all of an axis that the other takes."""
        start, end, inner, last = self.starts[axis], self.ends[axis], other.starts[axis], other.ends[axis]
        return _not_after(start, inner) and _not_after(last, end)


def whole(shape: tuple[int, ...]) -> Region:
    return Region(shape, (0,) * len(shape), shape)


def is_same(a: Bound, b: Bound) -> bool:
    """Whether two bounds are known to be equal."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and a.name == b.name
    return a == b


def _before(a: Bound, b: Bound) -> bool:
    return not isinstance(a, Tensor) and not isinstance(b, Tensor) and a <= b


def _not_after(a: Bound, b: Bound) -> bool:
    return is_same(a, b) or _before(a, b)


class Bounds:
    """The bounds of a graph's slices; equal ones are one tensor."""

    def __init__(self, graph: CheckedGraph) -> None:
        self._g = graph
        self._made: dict[tuple[Any, ...], Tensor] = {}

    def region(
        self, shape: tuple[int, ...], begin: Any, end: Any, begin_mask: Any, end_mask: Any, squeeze_mask: Any
    ) -> Region:
        """The region of a MIL slice with steps of 1. Negative indices count from the end. Those outside are clipped,
        except of the axes in the squeeze mask: they are indices of elements, which must exist."""
        starts: list[Bound] = []
        ends: list[Bound] = []
        for axis, size in enumerate(shape):
            single = _set(squeeze_mask, axis)
            open_start, open_end = _set(begin_mask, axis) and not single, _set(end_mask, axis) and not single
            start = 0 if open_start else self.element(begin, axis)
            if single:
                starts.append(self.index(self._inside(start, size), size))
                ends.append(self.after(starts[-1], 1))
            else:
                starts.append(self.index(start, size))
                ends.append(size if open_end else self.index(self.element(end, axis), size))
        return Region(shape, tuple(starts), tuple(ends))

    def _inside(self, index: Bound, size: int) -> Bound:
        """The index of an element, which must lie on its axis."""
        given = index if isinstance(index, Tensor) else np.array([index], np.int64)
        found = self._g.inside(given, np.array([size], np.int64))
        return found if isinstance(found, Tensor) else int(found[0])

    def after(self, start: Bound, count: int) -> Bound:
        """The end of `count` elements."""
        if not isinstance(start, Tensor):
            return start + count
        return self._once(("after", start.name, count), lambda: self._g.Add(start, count))

    def index(self, index: Bound, size: int) -> Bound:
        """An index counted from 0, for one that may count from the end."""
        if not isinstance(index, Tensor):
            return min(max(index + size if index < 0 else index, 0), size)
        if self._g.interval(index).lo >= 0:
            return index
        g, given = self._g, index
        return self._once(
            ("index", index.name, size), lambda: g.Max(g.Where(g.Less(given, 0), g.Add(given, size), given), 0)
        )

    def element(self, values: Any, place: int) -> Bound:
        """One element of a vector: a number if it is known, else an int64 tensor of shape (1,)."""
        if not isinstance(values, Tensor):
            return int(np.asarray(values).reshape(-1)[place])
        found, at = followed(self._g, values, place)
        if found is None:
            return at
        g = self._g

        def made() -> Any:
            count = 1 if found.shape == () else None if found.shape is None else found.shape[0]
            return g.cast(g.Reshape(found, [1]) if count == 1 else g.Gather(found, [at]), np.int64)

        return self._once(("element", found.name, at), made)

    def _once(self, key: tuple[Any, ...], make: Any) -> Tensor:
        if self._g.nested:  # what a branch computes cannot be used outside
            return self._made.get(key) or make()
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _set(mask: Any, axis: int) -> bool:
    return mask is not None and bool(np.asarray(mask).reshape(-1)[axis])


def followed(g: Graph, values: Tensor, place: int) -> tuple[Tensor | None, int]:
    """Where an element of a vector comes from: another vector and a place in it, or None and the constant."""
    for _ in range(_STEPS):
        constant = g.initializers.get(values.name)
        if constant is not None:
            return None, int(constant.reshape(-1)[place])
        made = g.makers.get(values.name)
        rule = _RULES.get(made.node.op_type) if made is not None else None
        step = rule(g, values, made.operands, place) if rule is not None and made is not None else None
        if step is None:
            break
        if isinstance(step, int):
            return None, step
        values, place = step
    return values, place


def _is_vector(t: Tensor | None) -> bool:
    return t is not None and t.shape is not None and len(t.shape) <= 1


def _moved(g: Graph, values: Tensor, operands: Sequence[Any], place: int) -> Any:
    return (operands[0], place) if _is_vector(operands[0]) and _is_vector(values) else None


def _cast(g: Graph, values: Tensor, operands: Sequence[Any], place: int) -> Any:
    source = operands[0].dtype
    exact = source.kind in "iu" and values.dtype.kind in "iu" and np.can_cast(source, values.dtype)
    return (operands[0], place) if exact else None


def _joined(g: Graph, values: Tensor, operands: Sequence[Any], place: int) -> Any:
    for operand in operands:
        count = operand.shape[0] if operand.shape else None
        if count is None:
            return None
        if place < count:
            return operand, place
        place -= count
    return None


def _gathered(g: Graph, values: Tensor, operands: Sequence[Any], place: int) -> Any:
    data, indices = operands[:2]
    at = g.initializers.get(indices.name)
    if at is None or not _is_vector(data) or not data.shape or data.shape[0] is None or at.ndim > 1:
        return None
    index = int(at.reshape(-1)[place])
    return (data, index + data.shape[0] if index < 0 else index) if -data.shape[0] <= index < data.shape[0] else None


def _chosen(g: Graph, values: Tensor, operands: Sequence[Any], place: int) -> Any:
    condition = g.initializers.get(operands[0].name)
    if condition is None or condition.ndim > 1:
        return None
    taken = operands[1] if condition.reshape(-1)[place if condition.size > 1 else 0] else operands[2]
    if not _is_vector(taken) or (taken.shape and taken.shape[0] is None):
        return None
    return taken, place if taken.shape and taken.shape[0] > 1 else 0


def _sliced(g: Graph, values: Tensor, operands: Sequence[Any], place: int) -> Any:
    """A vector's slice by constants, without a stride."""
    data, *given = operands
    constants = [None if t is None else g.initializers.get(t.name) for t in given]
    if not _is_vector(data) or not data.shape or data.shape[0] is None or any(c is None for c in constants[:2]):
        return None
    starts, steps = constants[0], constants[3] if len(constants) > 3 else np.ones(1)
    if starts is None or starts.size != 1 or steps is None or steps.reshape(-1)[0] != 1:
        return None
    start = int(starts.reshape(-1)[0])
    return data, min(max(start + data.shape[0] if start < 0 else start, 0), data.shape[0]) + place


def _size(g: Graph, values: Tensor, operands: Sequence[Any], place: int) -> Any:
    made = g.makers[values.name]
    shape = operands[0].shape
    return None if made.node.attribute or shape is None else shape[place]


_RULES: dict[str, Any] = {
    **dict.fromkeys(_KEEP_ORDER, _moved),
    "Cast": _cast,
    "Concat": _joined,
    "Gather": _gathered,
    "Shape": _size,
    "Slice": _sliced,
    "Where": _chosen,
}
