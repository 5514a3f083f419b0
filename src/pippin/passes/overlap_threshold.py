"""Overlap threshold: boxes are suppressed by an overlap above the threshold, for an engine that does so at it.

OpenVINO suppresses a box whose overlap is the threshold or more. So it gets the next float32 number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Between half a step and a whole one for any mantissa, so that the sum is rounded to the next number.
_STEP = np.array([0.51 * 2.0**-23], np.float32)
_SMALLEST = np.array([np.finfo(np.float32).tiny], np.float32)


def exclusive_overlap(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the next thresholds; the same object if it suppresses no boxes."""
    if not any(map(_suppresses, model.graph.node)):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes: list[Any] = []
    for node in made.graph.node:
        if _suppresses(node):
            nodes += _next(node, made.graph)
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def _suppresses(node: Any) -> bool:
    return bool(node.op_type == "NonMaxSuppression" and len(node.input) > 3 and node.input[3])


def _next(node: Any, graph: Any) -> list[Any]:
    """The nodes that compute the next threshold; the node then reads it."""
    base, threshold = f"{node.name or node.output[0]}/next", node.input[3]
    constant = next((tensor for tensor in graph.initializer if tensor.name == threshold), None)
    node.input[3] = base
    if constant is not None:
        after = np.nextafter(numpy_helper.to_array(constant), np.float32(np.inf))
        graph.initializer.append(numpy_helper.from_array(np.maximum(after, _SMALLEST), base))
        return []
    graph.initializer.extend(
        numpy_helper.from_array(v, f"{base}/{n}") for n, v in (("by", _STEP), ("least", _SMALLEST))
    )
    made = [("Mul", [threshold, f"{base}/by"], f"{base}/step"), ("Add", [threshold, f"{base}/step"], f"{base}/sum"),
            ("Max", [f"{base}/sum", f"{base}/least"], base)]  # fmt: skip
    return [helper.make_node(kind, inputs, [output], name=output) for kind, inputs, output in made]
