"""Non-finite origin: finds the operation of a graph that makes the first NaN or infinity of an output.

One run counts the NaN and the infinities of every float tensor, in an exact compilation that fuses nothing. From the
outputs back, along the tensors that hold such a value, the first node that reads none of them made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..engines import Compiled
from ..lowering.lowered_model import Lowered, source_of
from ..lowering.onnx_nodes import bodies, values_read
from ..lowering.weight_arrays import array_of
from ..passes.value_types import value_types
from ..support.cancellation import Stop
from .exactness import compile_exact

Value = Literal["NaN", "infinity"]

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
_COUNTS: tuple[tuple[Value, str], ...] = (("NaN", "IsNaN"), ("infinity", "IsInf"))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the first NaN or infinity of an output arises."""

    value: Value
    name: str
    """The operation of the program or layer of the network; the input, if it came from outside."""
    kind: str
    """Its kind, such as `log`; "input" for an input."""
    weight: bool = False
    """Whether a weight of the file holds the value already."""
    cause: Origin | None = None
    """Where the infinity arises of which the operation made a NaN."""

    def __str__(self) -> str:
        where = f"the input '{self.name}'" if self.kind == "input" else f"'{self.name}' ({self.kind})"
        if self.kind == "input":
            return f"{self.value} is in {where}"
        if self.weight:
            return f"{self.value} is in a weight of {where}"
        first = f"the first {self.value} is made by {where}"
        return first if self.cause is None else f"{first}, of infinity: {self.cause}"


@dataclass
class Watched:
    """A compiled function that counts in each run what is not finite. `origin` is that of the last run."""

    lowered: Lowered
    origin: Origin | None = None
    _compiled: Compiled = field(init=False)
    _counts: dict[str, tuple[str, Value]] = field(init=False)
    """{graph output: (tensor, value counted)}"""

    def __post_init__(self) -> None:
        model, self._counts = _counted(self.lowered.model)
        self._compiled = compile_exact(replace(self.lowered, model=model))

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        arrays = self._compiled.run(inputs, stop, into)
        found: dict[Value, set[str]] = {"NaN": set(), "infinity": set()}
        for output, (tensor, value) in self._counts.items():
            if arrays.pop(output):
                found[value].add(tensor)
        for name, array in inputs.items():
            if array.dtype.kind == "f":
                found["NaN"].update([name] if np.isnan(array).any() else [])
                found["infinity"].update([name] if np.isinf(array).any() else [])
        self.origin = _Trace(self.lowered, found).origin()
        return arrays


def _counted(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, tuple[str, Value]]]:
    """The model with the counts of each float tensor among its outputs, each right after its tensor, which then need
    not stay in memory."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    types = value_types(model)
    nodes: list[Any] = []
    counts: dict[str, tuple[str, Value]] = {}
    for node in model.graph.node:
        nodes.append(node)
        for name in node.output:
            info = types.get(name)
            if info is None or info.type.tensor_type.elem_type not in _FLOATS:
                continue
            base = f"pippin/watched/{len(counts)}"
            nodes.append(helper.make_node("Cast", [name], [f"{base}/wide"], f"{base}/wide", to=TensorProto.DOUBLE))
            for value, operator in _COUNTS:
                output = f"{base}/{operator}"
                nodes.append(helper.make_node(operator, [f"{base}/wide"], [f"{output}/where"], f"{output}/where"))
                cast = helper.make_node("Cast", [f"{output}/where"], [f"{output}/ones"], f"{output}/ones", to=1)
                nodes += [cast, helper.make_node("ReduceSum", [f"{output}/ones"], [output], output, keepdims=0)]
                made.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
                counts[output] = name, value
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made, counts


class _Trace:
    """The way back from the outputs to the node that made a value."""

    def __init__(self, lowered: Lowered, found: Mapping[Value, set[str]]) -> None:
        self._lowered, self._found = lowered, found
        self._kinds = {source.name: source.kind for source in lowered.sources}
        self._nodes = list(lowered.model.graph.node)
        self._makers = {name: number for number, node in enumerate(self._nodes) for name in node.output if name}
        self._weights = {tensor.name: tensor for tensor in lowered.model.graph.initializer}

    def origin(self) -> Origin | None:
        outputs = [port.tensor for port in self._lowered.outputs]
        outputs += [info.name for info in self._lowered.model.graph.output if info.name not in outputs]
        return self._from(outputs, "NaN") or self._from(outputs, "infinity")

    def _from(self, ends: list[str], value: Value) -> Origin | None:
        """The first origin of the value among what these tensors are computed from; None if they do not hold it."""
        holding = self._found[value]
        todo, seen = [name for name in ends if name in holding], set(ends)
        first: list[int] = []
        while todo:
            name = todo.pop()
            number = self._makers.get(name)
            if number is None:
                return Origin(value, name, "input")
            read = [each for each in values_read(self._nodes[number]) if each in holding]
            first += [] if read else [number]
            todo += [each for each in read if each not in seen]
            seen.update(read)
        return self._made_by(self._nodes[min(first)], value) if first else None

    def _made_by(self, node: Any, value: Value) -> Origin:
        name = source_of(node.name, self._kinds)
        kind = self._kinds.get(name, node.op_type)
        inner = [tensor for body in bodies(node) for tensor in body.initializer]
        stored = [self._weights[each] for each in values_read(node) if each in self._weights]
        weight = any(_holds(tensor, value) for tensor in (*stored, *inner, *_constants(node)))
        cause = self._from(values_read(node), "infinity") if value == "NaN" and not weight else None
        return Origin(value, name or node.name, kind, weight, cause)


def _constants(node: Any) -> list[Any]:
    return [attribute.t for attribute in node.attribute if attribute.HasField("t")]


def _holds(tensor: Any, value: Value) -> bool:
    if tensor.data_type not in _FLOATS:
        return False
    array = array_of(tensor).astype(np.float32)
    return bool(np.isnan(array).any() if value == "NaN" else np.isinf(array).any())
