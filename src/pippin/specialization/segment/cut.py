"""Cut: splits a lowered model into segments, each an ONNX model for one unit, in execution order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from ...errors import UnsupportedOperationError
from ...lowering.onnx_nodes import values_read
from ...passes.value_types import value_types


@dataclass(frozen=True, slots=True)
class Segment:
    """Operations for one unit, with the names of their input and output values."""

    unit: int
    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[int, ...]


def run_numbers(model: onnx.ModelProto, units: Sequence[int]) -> list[tuple[int, int]]:
    """(run, unit) of each node; the nodes with the same run and unit form a segment.

    A node's run number is the largest number of unit changes on any path to it, so a segment reads only from earlier
    runs and from itself.
    """
    runs: list[tuple[int, int]] = []
    producers: dict[str, int] = {}
    for number, node in enumerate(model.graph.node):
        run = 0
        for name in values_read(node):
            if name in producers:
                before, unit = runs[producers[name]]
                run = max(run, before if unit == units[number] else before + 1)
        runs.append((run, units[number]))
        producers.update((name, number) for name in node.output)
    return runs


def cut(model: onnx.ModelProto, units: Sequence[int]) -> list[Segment]:
    """The segments for an assignment of nodes to units, in execution order. Raises UnsupportedOperationError if ONNX
    cannot infer the type of a value that crosses segments."""
    return _segments(model, run_numbers(model, units))


def cut_in_two(model: onnx.ModelProto, later: Sequence[int]) -> list[Segment]:
    """Two segments, 0 and 1, for nodes of which those of the second are 1, with all that depends on them. Raises what
    `cut` raises."""
    return _segments(model, [(place, place) for place in later])


def between(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """The segment that `cut` made, found again by the names of its inputs and outputs."""
    needed = set(outputs)
    inside: list[int] = []
    for node in reversed(model.graph.node):
        inside.append(int(bool(needed.intersection(node.output))))
        needed.update(set(values_read(node)) - set(inputs) if inside[-1] else ())
    parts = _segments(model, [(place, place) for place in reversed(inside)])
    return next(part.model for part in parts if part.unit)


def _segments(model: onnx.ModelProto, runs: Sequence[tuple[int, int]]) -> list[Segment]:
    groups: dict[tuple[int, int], list[int]] = {}
    for number, key in enumerate(runs):
        groups.setdefault(key, []).append(number)
    producer_run = {name: runs[i] for i, node in enumerate(model.graph.node) for name in node.output}
    inputs_of_model = {info.name for info in model.graph.input}
    needed = {info.name for info in model.graph.output}
    for i, node in enumerate(model.graph.node):
        needed |= {name for name in values_read(node) if name in producer_run and producer_run[name] != runs[i]}
    types = value_types(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    segments: list[Segment] = []
    for key in sorted(groups):
        nodes = [model.graph.node[i] for i in groups[key]]
        inner = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in values_read(node) if name not in inner)
        inputs = [name for name in read if name in inputs_of_model or name in producer_run]
        outputs = [name for node in nodes for name in node.output if name in needed]
        if missing := [name for name in (*inputs, *outputs) if name not in types]:
            raise UnsupportedOperationError(
                f"cannot cut the model at '{missing[0]}': its type is not known before a prediction"
            )
        part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, producer_name="pippin")
        part.graph.name = f"{model.graph.name}_{len(segments)}"
        part.graph.node.extend(nodes)
        part.graph.input.extend(types[name] for name in inputs)
        part.graph.output.extend(types[name] for name in outputs)
        part.graph.initializer.extend(weights[name] for name in read if name in weights)
        segments.append(Segment(key[1], part, tuple(inputs), tuple(outputs), tuple(groups[key])))
    return segments
