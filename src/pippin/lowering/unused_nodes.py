"""Unused nodes: removes what no output of a graph needs. ONNX Runtime would compute it."""

from __future__ import annotations

import onnx

from .lowered_model import PYTHON
from .onnx_nodes import values_read


def remove_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and constants whose results nothing reads. Registered Python code is always called."""
    needed = {info.name for info in graph.output}
    kept = []
    for node in reversed(graph.node):
        if node.domain == PYTHON or not needed.isdisjoint(node.output):
            kept.append(node)
            needed.update(values_read(node))
    if len(kept) < len(graph.node):
        kept.reverse()
        del graph.node[:]
        graph.node.extend(kept)
        for number in reversed(range(len(graph.initializer))):
            if graph.initializer[number].name not in needed:
                del graph.initializer[number]
