"""Unbounded loops: finds loops that may take forever, so that they are run where they can be stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from onnx import numpy_helper

from .onnx_nodes import bodies

MOST_TURNS = 1000
"""Turns of a loop, those of the loops around it included, up to which it counts as bounded."""


def unbounded_loops(graph: Any) -> dict[str, str]:
    """The nodes that are or contain such a loop: {node name: "a loop of ..."}."""
    return dict(_unbounded(graph, {}, 1))


def _unbounded(graph: Any, outer: Mapping[str, Any], around: float) -> Iterator[tuple[str, str]]:
    constants = {**outer, **{tensor.name: tensor for tensor in graph.initializer}}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        if not bodies(node):
            continue
        turns = around * _turns(node, constants) if node.op_type == "Loop" else around
        reason = None
        if turns > MOST_TURNS:
            reason = "a loop of " + ("an unknown number of" if math.isinf(turns) else f"{turns:,.0f}") + " turns"
        for body in bodies(node):
            if reason is None:
                reason = next((inner for _, inner in _unbounded(body, constants, turns)), None)
        if reason is not None:
            yield node.name or node.output[0], reason


def _turns(node: Any, constants: Mapping[str, Any]) -> float:
    limit = constants.get(node.input[0])
    return math.inf if limit is None else max(int(numpy_helper.to_array(limit).reshape(-1)[0]), 0)
