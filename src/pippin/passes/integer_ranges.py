"""Integer ranges: the lowest and highest value that each integer of an ONNX graph can have, as far as the graph shows.

Values below 2**24 are exact in float32, so what only sees those needs no other form (`exact_integers.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from onnx import helper, numpy_helper

from ..lowering.onnx_builder import Tensor

Range: TypeAlias = tuple[int, int]
BOOL = np.dtype(np.bool_)
_LARGEST = 512  # elements; larger constants are not read


@dataclass(slots=True)
class Values:
    """The values of a graph by name."""

    tensors: dict[str, Tensor]
    constants: dict[str, np.ndarray]
    """Small constants."""
    fixed: set[str]
    """Values that depend on constants only."""
    ranges: dict[str, Range]

    @classmethod
    def of(cls, nodes: Iterable[Any], initializers: Iterable[Any], types: Mapping[str, Any]) -> Values:
        values = cls({}, {}, set(), {})
        for info in types.values():
            values.declare(info)
        for stored in initializers:
            values.fixed.add(stored.name)
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(stored.data_type))
            values.tensors[stored.name] = Tensor(stored.name, dtype, tuple(stored.dims))
            if math.prod(stored.dims) <= _LARGEST and not stored.external_data:
                array = values.constants[stored.name] = numpy_helper.to_array(stored)
                if array.size and array.dtype.kind in "iu":
                    values.ranges[stored.name] = int(array.min()), int(array.max())
        values.read(nodes)
        return values

    def declare(self, info: Any) -> None:
        kind = info.type.tensor_type
        if not kind.elem_type:
            return
        shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in kind.shape.dim)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        self.tensors[info.name] = Tensor(info.name, dtype, shape if kind.HasField("shape") else None)

    def read(self, nodes: Iterable[Any]) -> None:
        """The ranges of the results of these nodes, which are in order."""
        for node in nodes:
            if node.input and all(name in self.fixed for name in node.input if name):
                self.fixed.update(node.output)
            rule = _RULES.get(node.op_type)
            for name in node.output if rule is not None else ():
                result = self.tensors.get(name)
                if rule is None or result is None or result.dtype.kind not in "iu":
                    continue
                found, whole = rule(self, node, name), whole_range(result.dtype)
                if found is not None and whole[0] <= found[0] and found[1] <= whole[1]:
                    self.ranges[name] = found

    def range(self, name: str) -> Range:
        """The range of an integer or boolean; that of its type if nothing else is known."""
        return self.ranges.get(name) or whole_range(self.tensors[name].dtype)

    def below(self, limit: int, *names: str) -> bool:
        """Whether all these values are above -limit and below limit."""
        return all(-limit < low and high < limit for low, high in map(self.range, names))

    def integers(self, name: str) -> bool:
        return name in self.tensors and self.tensors[name].dtype.kind in "iu"

    def count(self, name: str, axes: Iterable[int]) -> int | None:
        """The elements along these axes; None if unknown."""
        shape = self.tensors[name].shape
        sizes = None if shape is None else [shape[axis] for axis in axes]
        return None if sizes is None or None in sizes else math.prod(size or 0 for size in sizes)


def whole_range(dtype: np.dtype[Any]) -> Range:
    return (0, 1) if dtype == BOOL else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


_Rule: TypeAlias = Callable[[Values, Any, str], Range | None]


def _union(*places: int) -> _Rule:
    """A result whose elements are elements of the operands at these places, or of all."""

    def rule(values: Values, node: Any, name: str) -> Range | None:
        names = [node.input[i] for i in places if i < len(node.input)] if places else node.input
        if not all(n in values.tensors and values.tensors[n].dtype.kind in "iub" for n in names):
            return None
        found = [values.range(n) for n in names]
        return min(low for low, _ in found), max(high for _, high in found)

    return rule


def _ends(compute: Callable[[int, int], int]) -> _Rule:
    """A function of two integers that is monotonic in each: its extremes are at the ends of their ranges."""

    def rule(values: Values, node: Any, name: str) -> Range:
        (a, b), (c, d) = (values.range(n) for n in node.input)
        found = [compute(x, y) for x in (a, b) for y in (c, d)]
        return min(found), max(found)

    return rule


def _extreme(pick: Callable[..., int]) -> _Rule:
    def rule(values: Values, node: Any, name: str) -> Range:
        found = [values.range(n) for n in node.input]
        return pick(low for low, _ in found), pick(high for _, high in found)

    return rule


def _clip(values: Values, node: Any, name: str) -> Range:
    low, high = values.range(node.input[0])
    for place, pick in ((1, max), (2, min)):
        if place < len(node.input) and node.input[place]:
            first, last = values.range(node.input[place])
            low, high = pick(low, first), pick(high, last)
    return low, high


def _abs(values: Values, node: Any, name: str) -> Range:
    low, high = values.range(node.input[0])
    return 0, max(-low, high)


def _quotient(values: Values, node: Any, name: str) -> Range:
    low, high = values.range(node.input[0])
    most = max(-low, high)
    return (0 if low >= 0 and values.range(node.input[1])[0] >= 0 else -most), most


def _position(values: Values, node: Any, name: str) -> Range | None:
    """A place on an axis: that of ArgMax, ArgMin, or the second result of TopK."""
    if node.op_type == "TopK" and name != node.output[1]:
        return values.range(node.input[0]) if values.integers(node.input[0]) else None
    sizes = values.tensors[node.input[0]].static_shape if node.input[0] in values.tensors else None
    return None if sizes is None else (0, max(*sizes, 1))


_MOVES = (
    "Compress", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "ReverseSequence",
    "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "ReduceMax", "ReduceMin",
)  # fmt: skip
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(_MOVES, _union(0)),
    "Abs": _abs,
    "Add": _ends(lambda a, b: a + b),
    "ArgMax": _position,
    "ArgMin": _position,
    "Cast": _union(0),
    "Clip": _clip,
    "Concat": _union(),
    "Div": _quotient,
    "Max": _extreme(max),
    "Min": _extreme(min),
    "Mul": _ends(lambda a, b: a * b),
    "NonZero": _position,
    "Range": _union(0, 1),
    "Shape": lambda values, node, name: (0, 2**31 - 1),
    "Sub": _ends(lambda a, b: a - b),
    "TopK": _position,
    "Where": _union(1, 2),
}
