"""Stable sorts: TopK in a form in which equal elements keep their order, for an engine that returns them in any.

OpenVINO has a stable TopK, which takes as many steps as the axis has elements times those that are returned; for short
axes its engine chooses that (`stable_kernel`). For long ones, the sort stays as it is, and a second one puts equal
elements in order: its numbers, (run of equal elements, place), all differ. Of the elements that equal the last one
returned, the first are chosen before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper

from ..lowering.onnx_nodes import attributes, values_read
from .value_types import value_types

_STEPS = 1 << 12
"""Steps of the stable kernel, some 40 ns each, up to which it is chosen."""
_FEW = 5
"""Elements for which the other kernel takes as many steps."""
_TO_THE_END = (1 << 63) - 1


def stable_kernel(size: int | None, count: int | None) -> bool:
    """Whether the stable kernel is fast enough for `count` elements of an axis of this size, if they are known."""
    return count is not None and (count <= _FEW or (size is not None and size * count <= _STEPS))


def stable_sorts(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in which each TopK whose places are used is stable, but for those that the stable kernel computes; the
    same object if there are none."""
    if not any(node.op_type == "TopK" for node in model.graph.node):
        return model
    types = value_types(model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    used = {info.name for info in model.graph.output}.union(*map(values_read, model.graph.node))
    makers = {name: node for node in model.graph.node for name in node.output}
    nodes: list[Any] = []
    constants: list[Any] = []
    for node in model.graph.node:
        places = node.output[1] if node.op_type == "TopK" and len(node.output) > 1 else ""
        size, count = _sizes(node, types, stored) if places in used else (None, None)
        if places not in used or stable_kernel(size, count):
            nodes.append(node)
        else:
            sort = _Sort(node, takes_all(node, makers) if None in (size, count) else size == count)
            nodes += sort.nodes
            constants += sort.constants
    if not constants:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(constants)
    return made


def _sizes(node: Any, types: Mapping[str, Any], stored: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The size of the axis and the elements that are returned; None for what is not known."""
    axis = attributes(node).get("axis", -1)
    sizes = [_size(types, name, axis) for name in (node.input[0], node.output[0])]
    count = stored.get(node.input[1])
    return sizes[0], int(onnx.numpy_helper.to_array(count).item()) if count is not None else sizes[1]


def _size(types: Mapping[str, Any], name: str, axis: int) -> int | None:
    info = types.get(name)
    dims = info.type.tensor_type.shape.dim if info is not None and info.type.tensor_type.HasField("shape") else ()
    if not -len(dims) <= axis < len(dims):
        return None
    return dims[axis].dim_value if dims[axis].WhichOneof("value") == "dim_value" else None


def takes_all(node: Any, makers: Mapping[str, Any]) -> bool:
    """Whether as many elements are returned as the axis has, whose size is not known."""
    maker = makers.get(node.input[1])
    if maker is not None and maker.op_type == "Gather":
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type == "Shape" and maker.input[0] == node.input[0]


class _Sort:
    """The nodes that stand for one TopK, whose names start with its own."""

    def __init__(self, node: Any, whole: bool) -> None:
        """`whole`: whether all elements are returned."""
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._base = f"{node.name or node.output[0]}/stable"
        given = attributes(node)
        self._axis, self._largest = given.get("axis", -1), given.get("largest", 1)
        x, count = node.input
        if whole:
            values, places = self._sorted(x, count, node.output[0])
            self._in_order(values, places, x, node.output[1])
            return
        chosen = self._chosen(x, count)
        among = self("GatherElements", x, chosen, axis=self._axis)
        values, order = self._sorted(among, count, node.output[0])
        self("GatherElements", chosen, self._in_order(values, order, among), axis=self._axis, output=node.output[1])

    def __call__(self, kind: str, *inputs: str, output: str = "", outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{self._base}/{len(self.nodes)}" + (f"/{i}" if i else "") for i in range(outputs)]
        names[0] = output or names[0]
        name = f"{self._base}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names if outputs > 1 else names[0]

    def _integers(self, *values: int, dtype: int = TensorProto.INT64, scalar: bool = False) -> str:
        name = f"{self._base}/constant{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, dtype, [] if scalar else [len(values)], values))
        return name

    def _int32(self, x: str) -> str:
        made: str = self("Cast", x, to=TensorProto.INT32)
        return made

    def _sorted(self, x: str, count: str, output: str = "", largest: int | None = None) -> Any:
        """The values and their places, in which equal elements have any order."""
        largest = self._largest if largest is None else largest
        return self("TopK", x, count, output=output, outputs=2, axis=self._axis, largest=largest, sorted=1)

    def _size(self, x: str) -> str:
        """The size of the axis: int64, of shape (1)."""
        made: str = self("Gather", self("Shape", x), self._integers(self._axis))
        return made

    def _running(self, x: str) -> str:
        made: str = self("CumSum", x, self._integers(self._axis, scalar=True))
        return made

    def _in_order(self, values: str, places: str, of: str, output: str = "") -> str:
        """The places on the axis of `of`, those of equal values ascending."""
        axis = self._integers(self._axis)
        before = self("Slice", values, self._integers(0), self._integers(-1), axis)
        behind = self("Slice", values, self._integers(1), self._integers(_TO_THE_END), axis)
        rises = self._int32(self("Not", self("Equal", before, behind)))
        first = self("Slice", self._int32(places), self._integers(0), self._integers(1), axis)
        first = self("Mul", first, self._integers(0, dtype=TensorProto.INT32))
        runs = self._running(self("Concat", first, rises, axis=self._axis))
        keys = self("Add", self("Mul", runs, self._int32(self._size(of))), self._int32(places))
        order = self._sorted(keys, self._size(values), largest=0)[1]
        made: str = self("GatherElements", places, order, axis=self._axis, output=output)
        return made

    def _chosen(self, x: str, count: str) -> str:
        """The places of the elements to return, ascending: those beyond the last of them, then the first equal ones."""
        axis = self._integers(self._axis)
        values = self._sorted(x, count)[0]
        last = self("ReduceMin" if self._largest else "ReduceMax", values, axis, keepdims=1)
        beyond = self("Greater" if self._largest else "Less", x, last)
        equal = self("Equal", x, last)
        room = self("Sub", self._int32(count), self("ReduceSum", self._int32(beyond), axis, keepdims=1))
        number = self._running(self._int32(equal))
        first = self("And", equal, self("Not", self("Greater", number, room)))
        chosen = self._int32(self("Or", beyond, first))
        one = self._integers(1, dtype=TensorProto.INT32)
        position = self._running(self("Add", self("Mul", chosen, self._integers(0, dtype=TensorProto.INT32)), one))
        left = self("Sub", self("Add", self._int32(self._size(x)), one), position)
        places: str = self._sorted(self("Mul", chosen, left), count, largest=1)[1]
        return places


LIMIT = math.isqrt((1 << 31) - 1)
"""Elements of an axis up to which the numbers of the second sort fit into 32 bits."""
