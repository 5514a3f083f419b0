"""Cut: a lowered model becomes segments, each a model of its own for one unit, in an order in which they can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from ..errors import UnsupportedOperationError
from .cost_model import read_by, typed


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of operations on one unit; its inputs and outputs are the graph's values, by name."""

    unit: int
    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[int, ...]


def run_numbers(model: onnx.ModelProto, units: Sequence[int]) -> list[tuple[int, int]]:
    """For each node (run, unit): nodes of one run and unit make a segment.

    The run of a node counts how often the unit changes on the way to it, so that what a segment reads comes from
    earlier runs, or from its own.
    """
    runs: list[tuple[int, int]] = []
    makers: dict[str, int] = {}
    for number, node in enumerate(model.graph.node):
        run = 0
        for name in read_by(node):
            if name in makers:
                before, unit = runs[makers[name]]
                run = max(run, before if unit == units[number] else before + 1)
        runs.append((run, units[number]))
        makers.update((name, number) for name in node.output)
    return runs


def cut(model: onnx.ModelProto, units: Sequence[int]) -> list[Segment]:
    """The segments for an assignment of the nodes, in order. Raises UnsupportedOperationError where a value that
    crosses between two segments has no type that ONNX infers."""
    runs = run_numbers(model, units)
    groups: dict[tuple[int, int], list[int]] = {}
    for number, key in enumerate(runs):
        groups.setdefault(key, []).append(number)
    made = {name: runs[i] for i, node in enumerate(model.graph.node) for name in node.output}
    given = {info.name for info in model.graph.input}
    asked = {info.name for info in model.graph.output}
    for i, node in enumerate(model.graph.node):
        asked |= {name for name in read_by(node) if name in made and made[name] != runs[i]}
    types = typed(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    segments: list[Segment] = []
    for key in sorted(groups):
        nodes = [model.graph.node[i] for i in groups[key]]
        inner = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in read_by(node) if name not in inner)
        inputs = [name for name in read if name in given or name in made]
        outputs = [name for node in nodes for name in node.output if name in asked]
        if missing := [name for name in (*inputs, *outputs) if name not in types]:
            raise UnsupportedOperationError(f"'{missing[0]}' has no type that is known before a prediction")
        part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, producer_name="pippin")
        part.graph.name = f"{model.graph.name}_{len(segments)}"
        part.graph.node.extend(nodes)
        part.graph.input.extend(types[name] for name in inputs)
        part.graph.output.extend(types[name] for name in outputs)
        part.graph.initializer.extend(weights[name] for name in read if name in weights)
        segments.append(Segment(key[1], part, tuple(inputs), tuple(outputs), tuple(groups[key])))
    return segments
