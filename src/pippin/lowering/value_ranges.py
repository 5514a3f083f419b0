"""Value ranges: bounds of integers that follow from the graph, so that an index proven to be inside needs no check.

A range is (lowest, highest), both possible. Floats have none, because a float may be NaN, unless they were integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from .onnx_builder import Graph, Made, Tensor

Range: TypeAlias = tuple[int, int]

# Steps from an index back to where its range is known; longer chains are checked at each prediction.
_STEPS = 24
# OpenVINO computes int64 as int32. Sums that leave it wrap.
_INT32 = (-(2**31), 2**31 - 1)
# Integers that float32 holds exactly.
_EXACT = 2**24


def value_range(g: Graph, t: Tensor) -> Range | None:
    """The range of a tensor's elements: that of its type if nothing else is known; None for floats."""
    return _Ranges(g).of(t)


@dataclass(slots=True)
class _Ranges:
    g: Graph
    known: dict[str, Range | None] = field(default_factory=dict)

    def of(self, t: Tensor, steps: int = _STEPS) -> Range | None:
        if t.name not in self.known:
            self.known[t.name] = self._found(t, steps)
        return self.known[t.name]

    def _found(self, t: Tensor, steps: int) -> Range | None:
        whole = _of_type(t.dtype)
        if t.name in self.g.initializers:
            return _of_array(self.g.initializers[t.name]) or whole
        made = self.g.makers.get(t.name)
        rule = _RULES.get(made.node.op_type) if made is not None and steps else None
        if made is None or rule is None:
            return whole
        found = rule(_Step(self, made, t, steps - 1))
        if found is None or whole is None:
            return found or whole
        inside = whole[0] <= found[0] and found[1] <= whole[1]
        return found if inside else whole


@dataclass(frozen=True, slots=True)
class _Step:
    """One node on the way back, and the result that is asked for."""

    ranges: _Ranges
    made: Made
    result: Tensor
    steps: int

    def operand(self, index: int) -> Range | None:
        """The range of an operand; None if it has none or is omitted."""
        operands = self.made.operands
        t = operands[index] if index < len(operands) else None
        return None if t is None else self.ranges.of(t, self.steps)

    @property
    def operands(self) -> list[Range] | None:
        """The ranges of all operands; None if one of them has none."""
        found = [self.operand(i) for i in range(len(self.made.operands))]
        known = [each for each in found if each is not None]
        return known if len(known) == len(found) else None

    def attribute(self, name: str, default: int) -> int:
        return next((int(a.i) for a in self.made.node.attribute if a.name == name), default)


def _of_type(dtype: np.dtype[Any]) -> Range | None:
    if dtype == np.bool_:
        return 0, 1
    return (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) if dtype.kind in "iu" else None


def _of_array(array: np.ndarray) -> Range | None:
    if not array.size or array.dtype.kind not in "iubf":
        return None
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and not (low >= -_EXACT and high <= _EXACT):  # NaN, too
        return None
    return int(np.floor(low)), int(np.ceil(high))


def _same(s: _Step) -> Range | None:
    return s.operand(0)


def _cast(s: _Step) -> Range | None:
    found = s.operand(0)
    if found is None or (s.result.dtype.kind == "f" and not -_EXACT <= found[0] <= found[1] <= _EXACT):
        return None
    return found


def _position(s: _Step) -> Range | None:
    """ArgMax, ArgMin and TopK's second result: positions on one axis."""
    if s.made.node.op_type == "TopK" and s.result.name != s.made.node.output[1]:
        return s.operand(0)
    shape = s.made.operands[0].shape if s.made.operands[0] is not None else None
    axis = s.attribute("axis", -1 if s.made.node.op_type == "TopK" else 0)
    size = shape[axis] if shape else None
    return (0, size - 1) if size else None


def _non_zero(s: _Step) -> Range | None:
    shape = s.made.operands[0].static_shape if s.made.operands[0] is not None else None
    return (0, max(*shape, 1) - 1) if shape else None


def _counted(s: _Step) -> Range | None:
    """Range, upwards."""
    found = s.operands
    if found is None or found[2][0] < 1:
        return None
    (first, _), (_, limit), _ = found
    return first, max(limit - 1, first)


def _clip(s: _Step) -> Range | None:
    found, low, high = s.operand(0), s.operand(1), s.operand(2)
    if found is None or s.result.dtype.kind == "f":
        return None
    first, last = found
    if low is not None:
        first, last = max(first, low[0]), max(last, low[1])
    if high is not None:
        first, last = min(first, high[0]), min(last, high[1])
    return first, last


def _least(pick: Callable[..., int]) -> Callable[[_Step], Range | None]:
    def rule(s: _Step) -> Range | None:
        found = s.operands
        if found is None or s.result.dtype.kind == "f":
            return None
        return pick(low for low, _ in found), pick(high for _, high in found)

    return rule


def _arithmetic(compute: Callable[[int, int], int]) -> Callable[[_Step], Range | None]:
    """An operation that is monotonic in each operand: its extremes are at the ends of their ranges."""

    def rule(s: _Step) -> Range | None:
        found = s.operands
        if found is None:
            return None
        ends = [compute(a, b) for a in found[0] for b in found[-1]]
        largest = (-_EXACT, _EXACT) if s.result.dtype.kind == "f" else _INT32
        return (min(ends), max(ends)) if largest[0] <= min(ends) and max(ends) <= largest[1] else None

    return rule


def _modulo(s: _Step) -> Range | None:
    divisor = s.operand(1)
    if divisor is None or divisor[0] < 1 or s.result.dtype.kind == "f":
        return None
    most = divisor[1] - 1
    return (-most if s.attribute("fmod", 0) else 0), most


def _where(s: _Step) -> Range | None:
    condition, chosen, other = s.operand(0), s.operand(1), s.operand(2)
    if condition == (1, 1):
        return chosen
    if condition == (0, 0):
        return other
    return None if chosen is None or other is None else (min(chosen[0], other[0]), max(chosen[1], other[1]))


def _compared(always: Callable[[Range, Range], bool], never: Callable[[Range, Range], bool]) -> Any:
    def rule(s: _Step) -> Range:
        found = s.operands
        if found is None:
            return 0, 1
        return (1, 1) if always(*found) else (0, 0) if never(*found) else (0, 1)

    return rule


def _joined(s: _Step) -> Range | None:
    found = s.operands
    return None if not found else (min(low for low, _ in found), max(high for _, high in found))


# Operators whose results are elements of their first operand; rounding changes none that was an integer.
_PICKING = (
    "Compress", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "ReverseSequence",
    "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Floor", "Ceil", "Round",
)  # fmt: skip

_RULES: Mapping[str, Callable[[_Step], Range | None]] = {
    **dict.fromkeys(_PICKING, _same),
    "Add": _arithmetic(lambda a, b: a + b),
    "ArgMax": _position,
    "ArgMin": _position,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _joined,
    "Greater": _compared(lambda a, b: a[0] > b[1], lambda a, b: a[1] <= b[0]),
    "GreaterOrEqual": _compared(lambda a, b: a[0] >= b[1], lambda a, b: a[1] < b[0]),
    "Less": _compared(lambda a, b: a[1] < b[0], lambda a, b: a[0] >= b[1]),
    "LessOrEqual": _compared(lambda a, b: a[1] <= b[0], lambda a, b: a[0] > b[1]),
    "Max": _least(max),
    "Min": _least(min),
    "Mod": _modulo,
    "Mul": _arithmetic(lambda a, b: a * b),
    "NonZero": _non_zero,
    "Range": _counted,
    "Shape": lambda s: (0, _INT32[1]),
    "Sub": _arithmetic(lambda a, b: a - b),
    "TopK": _position,
    "Where": _where,
}
