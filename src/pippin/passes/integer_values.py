"""Integer values: the types, constants and intervals of an ONNX graph, as `exact_integers.py` asks for them.

Values below 2**24 are exact in float32, so what only sees those needs no other form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from onnx import helper, numpy_helper

from ..lowering.interval import whole
from ..lowering.intervals import Intervals
from ..lowering.onnx_builder import Tensor
from ..lowering.onnx_nodes import bodies

Range: TypeAlias = tuple[int, int]
BOOL = np.dtype(np.bool_)
_LARGEST = 512  # elements; larger constants are not kept


@dataclass(slots=True)
class Values:
    """The values of a graph by name."""

    tensors: dict[str, Tensor]
    constants: dict[str, np.ndarray]
    """Small constants."""
    fixed: set[str]
    """Values that depend on constants only."""
    stored: dict[str, Any]
    """All constants, as `TensorProto`s."""
    makers: dict[str, Any] = field(default_factory=dict)
    intervals: Intervals = field(init=False)

    def __post_init__(self) -> None:
        self.intervals = Intervals(self.makers.get, self.stored, self._operand)

    @classmethod
    def of(cls, nodes: Iterable[Any], initializers: Iterable[Any], types: Mapping[str, Any]) -> Values:
        values = cls({}, {}, set(), {})
        for info in types.values():
            values.declare(info)
        for stored in initializers:
            values.fixed.add(stored.name)
            values.stored[stored.name] = stored
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(stored.data_type))
            values.tensors[stored.name] = Tensor(stored.name, dtype, tuple(stored.dims))
            if math.prod(stored.dims) <= _LARGEST and not stored.external_data:
                values.constants[stored.name] = numpy_helper.to_array(stored)
        values.read(nodes)
        return values

    def inside(self, nodes: Iterable[Any], types: Mapping[str, Any]) -> Values:
        """The values of a branch or loop body of this graph."""
        values = Values(dict(self.tensors), self.constants, set(self.fixed), self.stored, dict(self.makers))
        inner = {name for node in nodes for name in node.output}
        values.intervals.values.update((n, i) for n, i in self.intervals.values.items() if n not in inner)
        for info in types.values():
            values.declare(info)
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
        """Add these nodes, which are in order."""
        for node in nodes:
            self.makers.update(dict.fromkeys(node.output, node))
            if node.input and not bodies(node) and all(name in self.fixed for name in node.input if name):
                self.fixed.update(node.output)

    def range(self, name: str) -> Range:
        """The range of an integer or boolean; that of its type if nothing else is known."""
        dtype = self.tensors[name].dtype
        found = self.intervals.of(name, dtype)
        if found.dtype != dtype:
            found = whole(dtype)
        return int(found.lo), int(found.hi)

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

    def _operand(self, node: Any, place: int) -> Tensor | None:
        return self.tensors.get(node.input[place]) if place < len(node.input) else None
