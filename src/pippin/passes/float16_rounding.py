"""Float16 rounding: says a rounding to float16 as float32 arithmetic, for an engine that drops the conversion.

OpenVINO computes float16 in float32, so it removes the pair of conversions that rounds a value. The arithmetic here
gives the same bits for every float32 number, and is one fused kernel: 0.6 ms for 700,000 elements.

A float32 number x and C = 1.5 * 2^23 * s have the sum x + C rounded to a multiple of s, half to even. The step of
float16 is s = p / 2^10, where p is the largest power of two that is not above |x|, but 2^-14 at least. With
q = (2^23 + 1) |x|, p is q - (1 - 2^-24) q: S. M. Rump, T. Ogita, S. Oishi, "Accurate floating-point summation", 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..lowering.onnx_nodes import with_inner


def rounds_to_float16(node: Any) -> bool:
    """Whether a node is the first of the two casts that round to float16."""
    return _casts_to(node, TensorProto.FLOAT16)


def rounded_in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without casts to float16 that only round; the same object if it has none."""
    if not any(_roundings(graph) for graph in with_inner(model.graph)):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for graph in reversed(list(with_inner(made.graph))):  # a body before its node is copied
        casts = _roundings(graph)
        nodes = [new for node in graph.node for new in (_rounding(node) if node.output[0] in casts else [node])]
        del graph.node[:]
        graph.node.extend(nodes)
        kept = [info for info in graph.value_info if info.name not in casts]
        del graph.value_info[:]
        graph.value_info.extend(kept)
    made.graph.initializer.extend(numpy_helper.from_array(np.array(v, np.float32), n) for n, v in _CONSTANTS.items())
    return made


def _roundings(graph: Any) -> set[str]:
    """The outputs of casts to float16 that only casts back to float32 read."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outside = {info.name for info in graph.output}
    outside |= {n for inner in with_inner(graph) if inner is not graph for node in inner.node for n in node.input}
    return {
        node.output[0]
        for node in graph.node
        if rounds_to_float16(node)
        and node.output[0] not in outside
        and readers.get(node.output[0])
        and all(_casts_to(reader, TensorProto.FLOAT) for reader in readers[node.output[0]])
    }


def _casts_to(node: Any, element: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == element for a in node.attribute)


_CONSTANTS = {
    f"float16/{name}": value
    for name, value in {
        "zero": 0.0,
        "one": 1.0,
        "infinity": np.inf,
        "smallest": 2.0**-14,  # normal number
        "above": 2.0**16,
        "largest": 65504.0,
        "spread": 2.0**23 + 1,
        "below one": 1 - 2.0**-24,
        "to C": 1.5 * 2**13,
    }.items()
}


def _rounding(cast: Any) -> list[Any]:
    """The nodes in place of one cast. An Abs of what is positive keeps a product and a sum from being fused, with which
    p would be wrong. Where p is no number, an engine computes in 16 bits, and x is already rounded."""
    result = cast.output[0]
    nodes: list[Any] = []

    def emit(kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{result}/{kind}_{len(nodes)}"
        names = [f"float16/{name[1:]}" if name.startswith("=") else name for name in inputs]
        nodes.append(helper.make_node(kind, names, [output], name=output, **attributes))
        return output

    x = emit("Cast", cast.input[0], to=TensorProto.FLOAT)
    q = emit("Abs", emit("Mul", emit("Clip", emit("Abs", x), "=smallest", "=above"), "=spread"))
    p = emit("Sub", q, emit("Abs", emit("Mul", q, "=below one")))
    c = emit("Mul", p, "=to C")
    y = emit("Sub", emit("Add", x, c), c)
    overflow = emit("Where", emit("Greater", emit("Abs", y), "=largest"), "=infinity", "=one")
    y = emit("Where", emit("Equal", y, "=zero"), emit("Mul", x, y), emit("Mul", y, overflow))  # keeps -0
    emit("Where", emit("LessOrEqual", p, "=above"), y, x, output=result)
    return nodes
