"""Interval: the least and the greatest number that a tensor can hold, and what a rule needs to compute it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from onnx import helper

from ..types import Shape

EXACT = 1 << 24
"""Whole numbers up to here are exact in float32."""
MODERATE = 1e30
"""Stands for any finite bound of a float that is not known better."""
LARGE = 1e15
"""A weight from here on may make sums and products of moderate numbers overflow."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""What is smaller may be flushed to zero."""
INF = math.inf
FLOAT32, INT64, BOOL = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)
MOST_READ = 1 << 18
"""Elements; the bounds of larger constants are not computed, unless they can be indices."""

# Of `TensorProto.DataType`. What numpy has no type for is computed in the one beside it.
_DTYPES: Mapping[int, np.dtype[Any]] = {
    number: np.dtype(name)
    for number, name in {
        1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
        11: "float64", 12: "uint32", 13: "uint64", 16: "float32", 21: "uint8", 22: "int8",
    }.items()
}  # fmt: skip


class Interval(NamedTuple):
    """The least and the greatest number that a tensor can hold: of integers exactly, as Python integers."""

    lo: float
    hi: float
    dtype: np.dtype[Any] = FLOAT32
    nan: bool = False
    """Whether it can also hold NaN."""

    @property
    def floats(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def infinite(self) -> bool:
        return math.isinf(self.lo) or math.isinf(self.hi)

    def holds(self, number: float) -> bool:
        return self.lo - SMALLEST <= number <= self.hi + SMALLEST

    def inside(self, lo: float, hi: float) -> bool:
        """Whether every number is."""
        return not self.nan and lo <= self.lo and self.hi <= hi


def dtype_of(number: int) -> np.dtype[Any]:
    """The type of a `TensorProto.DataType`; int64 for what holds no numbers."""
    return _DTYPES.get(number, INT64)


def whole(dtype: np.dtype[Any]) -> Interval:
    """The interval of a tensor of which only the type is known."""
    if dtype.kind in "iu":
        return Interval(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max), dtype)
    return Interval(0, 1, BOOL) if dtype == BOOL else Interval(-INF, INF, dtype, nan=True)


def readable(elements: int, dtype: np.dtype[Any]) -> bool:
    """Whether the bounds of a constant are computed. Only weights are large, and no index is a weight."""
    return elements <= MOST_READ or dtype in (np.int32, np.int64)


def of_array(array: np.ndarray) -> Interval | None:
    """The interval of a constant; None if it holds no numbers."""
    if not array.size or array.dtype.kind not in "iubf":
        return None
    with np.errstate(all="ignore"):
        lo, hi = array.min().item(), array.max().item()
    if array.dtype.kind == "b":
        return Interval(int(lo), int(hi), BOOL)
    return Interval(-INF, INF, array.dtype, nan=True) if lo != lo else Interval(lo, hi, array.dtype)


class Made(NamedTuple):
    """What an operator makes of operands that are not NaN."""

    lo: float
    hi: float
    nan: bool = False


FINITE = Made(-MODERATE, MODERATE)
ANY = Made(-INF, INF, nan=True)


@dataclass(frozen=True, slots=True)
class Step:
    """A node, its operands, and the result that is asked for."""

    node: Any
    x: Sequence[Any]
    """The interval of each operand; None if it is omitted, or not read (`places`)."""
    number: int
    """Of the result."""
    dtype: np.dtype[Any]
    """Of the result."""
    moderate: bool
    """Whether inputs are of moderate size, and sums and products of such numbers finite and without overflow."""
    maker: Callable[[str], Any]
    """The node that makes a value."""
    of: Callable[[str], Interval]
    """The interval of a value that the result is computed from."""
    shapes: Callable[[int], Shape | None]
    """The shape of an operand, by its place."""

    @property
    def given(self) -> list[Interval]:
        return [each for each in self.x if each is not None]

    def attribute(self, name: str, default: Any) -> Any:
        return next((helper.get_attribute_value(a) for a in self.node.attribute if a.name == name), default)


Rule: TypeAlias = Callable[[Step], Made | None]
"""None if only the type of the result is known."""
