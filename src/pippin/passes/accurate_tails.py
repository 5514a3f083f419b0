"""Accurate tails: another form of functions whose small values an engine cuts to 0, where their values reach an output.

Probabilities are compared with each other and printed, so that 5.6e-9 is not 0 there. In the middle of a network, where
sums follow, an absolute error of 1e-8 is float32's own, and the engine's kernel is faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper

# They pass small values on: what they read matters as much as what they make.
_PASSES = frozenset({
    "ArgMax", "ArgMin", "Cast", "Clip", "Concat", "Div", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
    "Identity", "Log", "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "ScatterElements", "ScatterND", "Slice", "Split", "Squeeze", "Tile", "TopK", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip

_Emit = Callable[..., str]


def accurate_tails(model: onnx.ModelProto, functions: Collection[str]) -> onnx.ModelProto:
    """The model with these functions in an accurate form at its outputs; the same object if there are none."""
    tails = tails_of(model.graph, functions)
    if not tails:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes: list[Any] = []
    for node in made.graph.node:
        nodes += (
            _in_form(node)
            if node.output and node.output[0] in tails
            else [onnx.NodeProto.FromString(node.SerializeToString())]
        )
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def tails_of(graph: Any, functions: Collection[str]) -> set[str]:
    """The results of these functions that reach an output."""
    makers = {name: node for node in graph.node for name in node.output}
    todo, seen, found = [info.name for info in graph.output], set(), set()
    while todo:
        name = todo.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in functions:
            found.add(name)
        elif node.op_type in _PASSES and not _gated(node, makers):
            todo += [operand for operand in node.input if operand]
    return found


def _gated(node: Any, makers: Mapping[str, Any]) -> bool:
    """x * f(x): an activation, such as silu."""
    gates = (makers.get(name) for name in node.input)
    return node.op_type == "Mul" and any(
        gate is not None and gate.input and gate.input[0] in node.input for gate in gates
    )


def _in_form(node: Any) -> list[Any]:
    nodes: list[Any] = []
    base = f"{node.name or node.output[0]}/accurate"

    def emit(kind: str, *inputs: str | float, outputs: list[str] | None = None, **attributes: Any) -> str:
        names = [
            emit("CastLike", _number(value), node.input[0]) if isinstance(value, float) else value for value in inputs
        ]
        name = f"{base}/{len(nodes)}"
        nodes.append(helper.make_node(kind, names, outputs or [name], name=name, **attributes))
        return outputs[0] if outputs else name

    def _number(value: float) -> str:
        name = f"{base}/{len(nodes)}"
        tensor = helper.make_tensor("value", TensorProto.FLOAT, [], [value])
        nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        return name

    _FORMS[node.op_type](emit, node.input[0], node.output[0])
    return nodes


def _sigmoid(emit: _Emit, x: str, y: str) -> None:
    """e^x / (1 + e^x); from 80 on it is 1, and e^x is far from infinity."""
    power = emit("Exp", emit("Min", x, 80.0))
    emit("Div", power, emit("Add", power, 1.0), outputs=[y])


def _softplus(emit: _Emit, x: str, y: str) -> None:
    """log(1 + e^x) by its series below -5."""
    small = emit("Less", x, -5.0)
    power = emit("Exp", emit("Where", small, x, -5.0))
    bracket = emit("Sub", 1.0, emit("Mul", power, emit("Sub", 0.5, emit("Mul", power, 1 / 3))))
    emit("Where", small, emit("Mul", power, bracket), emit("Softplus", x), outputs=[y])


def _erf(emit: _Emit, x: str, y: str) -> None:
    """Its series near 0."""
    small = emit("Less", emit("Abs", x), 0.25)
    near = emit("Where", small, x, 0.25)
    square = emit("Mul", near, near)
    series = emit("Mul", square, emit("Sub", 1 / 10, emit("Mul", square, 1 / 42)))
    series = emit("Sub", 1.0, emit("Mul", square, emit("Sub", 1 / 3, series)))
    emit("Where", small, emit("Mul", emit("Mul", near, 2 / math.sqrt(math.pi)), series), emit("Erf", x), outputs=[y])


_FORMS: Mapping[str, Callable[[_Emit, str, str], None]] = {"Erf": _erf, "Sigmoid": _sigmoid, "Softplus": _softplus}
