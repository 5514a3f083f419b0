"""Accurate tails: another form of functions whose small values an engine cuts to 0, where their values reach an output.

Probabilities are compared with each other and printed, so that 5.6e-9 is not 0 there. In the middle of a network, where
sums follow, an absolute error of 1e-8 is float32's own, and the engine's kernel is faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

from .value_types import value_types

# They pass small values on: what they read matters as much as what they make.
_PASSES = frozenset({
    "ArgMax", "ArgMin", "Cast", "Clip", "Concat", "Div", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
    "Identity", "Log", "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "ScatterElements", "ScatterND", "Slice", "Split", "Squeeze", "Tile", "TopK", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip

LARGE = 4096
"""Elements from which it pays to look whether the accurate form of a sigmoid is needed."""

_Emit = Callable[..., str]


def accurate_tails(model: onnx.ModelProto, functions: Collection[str]) -> onnx.ModelProto:
    """The model with these functions in an accurate form at its outputs; the same object if there are none."""
    tails = tails_of(model.graph, functions)
    if not tails:
        return model
    large = _large(model, tails)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes: list[Any] = []
    for node in made.graph.node:
        nodes += (
            _in_form(node, node.output[0] in large)
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


def _large(model: onnx.ModelProto, tails: Collection[str]) -> set[str]:
    """Those of more elements than a branch is worth, or of an unknown number."""
    types = value_types(model)
    sizes = {name: types[name].type.tensor_type.shape.dim for name in tails if name in types}
    counts = {
        name: math.prod(dim.dim_value if dim.dim_value else LARGE for dim in dims) for name, dims in sizes.items()
    }
    return {name for name in tails if counts.get(name, LARGE) >= LARGE}


def _in_form(node: Any, large: bool) -> list[Any]:
    nodes: list[Any] = []
    emit = _emitter(nodes, f"{node.name or node.output[0]}/accurate", node.input[0])
    form = _where_needed if large and node.op_type == "Sigmoid" else _FORMS[node.op_type]
    form(emit, node.input[0], node.output[0])
    return nodes


def _emitter(nodes: list[Any], base: str, like: str) -> _Emit:
    """A function that appends nodes; numbers get the type of `like`."""

    def emit(kind: str, *inputs: str | float, outputs: list[str] | None = None, **attributes: Any) -> str:
        names = [emit("CastLike", _number(value), like) if isinstance(value, float) else value for value in inputs]
        name = f"{base}/{len(nodes)}"
        nodes.append(helper.make_node(kind, names, outputs or [name], name=name, **attributes))
        return outputs[0] if outputs else name

    def _number(value: float) -> str:
        name = f"{base}/{len(nodes)}"
        tensor = helper.make_tensor("value", TensorProto.FLOAT, [], [value])
        nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        return name

    return emit


def _sigmoid(emit: _Emit, x: str, y: str) -> None:
    """e^x / (1 + e^x); from 80 on it is 1, and e^x is far from infinity."""
    power = emit("Exp", emit("Min", x, 80.0))
    emit("Div", power, emit("Add", power, 1.0), outputs=[y])


def _where_needed(emit: _Emit, x: str, y: str) -> None:
    """A sigmoid in its accurate form, which takes ten times as long, if a result is below 6e-6. The engine's own has an
    absolute error of 1e-7."""
    below = emit("Less", emit("ReduceMin", x, keepdims=0), -12.0)
    tail: list[Any] = []
    _sigmoid(_emitter(tail, f"{y}/tail", x), x, f"{y}/tail")
    plain = [helper.make_node("Sigmoid", [x], [f"{y}/plain"], name=f"{y}/plain")]
    emit("If", below, outputs=[y], then_branch=_branch(tail, y), else_branch=_branch(plain, y))


def _branch(nodes: Sequence[Any], name: str) -> Any:
    """A branch with the result of its last node."""
    (result,) = nodes[-1].output
    return helper.make_graph(nodes, f"{name}/branch", [], [helper.make_empty_tensor_value_info(result)])


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
