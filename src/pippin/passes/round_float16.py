"""Round to float16: by arithmetic in float32, for an engine that drops a Cast to float16 and back.

Source: Dekker, "A floating-point technique for extending the available precision" (1971): with t = 8193 x, t - (t - x)
is x with 24 - 13 = 11 bits, float16's. Below 2**-14, float16's numbers are multiples of 2**-24. From 65520 on, they are
infinite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CONSTANTS = {
    "split": 2.0**13 + 1, "up": 2.0**24, "down": 2.0**-24, "normal": 2.0**-14, "infinite": 65520.0, "infinity": np.inf,
}  # fmt: skip


def rounds_to_float16(node: Any) -> bool:
    """Whether a node is the first of the two that round to float16."""
    return bool(node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16)


def rounded_by_arithmetic(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without casts to float16 and back; the same object if it has none."""
    if not any(map(rounds_to_float16, _nodes(model.graph))):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _rewrite(made.graph)
    made.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), _constant(name)) for name, value in _CONSTANTS.items()
    )
    return made


def _nodes(graph: Any) -> list[Any]:
    """The nodes of a graph and of its branches and loops."""
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [*graph.node, *(node for one in inner for node in _nodes(one))]


def _rewrite(graph: Any) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rewrite(attribute.g)
    narrow = {node.output[0]: node.input[0] for node in graph.node if rounds_to_float16(node)}
    back = {n.output[0]: narrow[n.input[0]] for n in graph.node if n.op_type == "Cast" and n.input[0] in narrow}
    nodes = []
    for node in graph.node:
        if node.output[0] in back:
            nodes += _rounded(back[node.output[0]], node.output[0])
        elif node.output[0] not in narrow:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _constant(name: str) -> str:
    return f"round to float16/{name}"


def _rounded(x: str, out: str) -> list[Any]:
    split, up, down, normal, infinite, infinity = map(_constant, _CONSTANTS)

    def node(kind: str, inputs: list[str], name: str = "") -> Any:
        return helper.make_node(kind, inputs, [f"{out}/{name}" if name else out], name=f"{out}/{name}" if name else out)

    return [
        node("Mul", [x, split], "wide"),
        node("Sub", [f"{out}/wide", x], "rest"),
        node("Sub", [f"{out}/wide", f"{out}/rest"], "eleven"),
        node("Mul", [x, up], "steps"),
        node("Round", [f"{out}/steps"], "whole"),
        node("Mul", [f"{out}/whole", down], "subnormal"),
        node("Abs", [x], "size"),
        node("Less", [f"{out}/size", normal], "small"),
        node("Where", [f"{out}/small", f"{out}/subnormal", f"{out}/eleven"], "finite"),
        node("Less", [f"{out}/size", infinite], "fits"),
        node("Mul", [x, infinity], "endless"),
        node("Where", [f"{out}/fits", f"{out}/finite", f"{out}/endless"]),
    ]
