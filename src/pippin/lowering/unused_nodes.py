"""Unused nodes: removes what no output of a graph needs. ONNX Runtime would compute it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from .lowered_model import PYTHON


def remove_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and constants whose results nothing reads. Registered Python code is always called."""
    needed = {info.name for info in graph.output}
    kept = []
    for node in reversed(graph.node):
        if node.domain == PYTHON or not needed.isdisjoint(node.output):
            kept.append(node)
            needed.update(_read(node))
    if len(kept) < len(graph.node):
        kept.reverse()
        del graph.node[:]
        graph.node.extend(kept)
        for number in reversed(range(len(graph.initializer))):
            if graph.initializer[number].name not in needed:
                del graph.initializer[number]


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node and its branches or loop body read."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from (info.name for info in attribute.g.output)
            for inner in attribute.g.node:
                yield from _read(inner)
