"""Segmentation: a lowered model in, segments to compile out, each with its device and the engines that may run it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..devices import ComputeDevice
from ..engines import Engine, engine_named, python_engine
from ..lowering.lowered_model import PYTHON, Lowered
from ..lowering.unbounded_loops import unbounded_loops
from ..passes.nonfinite import exposure, find
from .candidates import cannot_run
from .exactness import refusals
from .leading_part import Split, split
from .nonfinite import EXACT
from .segment import Unit, cut, estimate, machine, partition


@dataclass(frozen=True, slots=True)
class UncompiledSegment:
    """A segment before compilation, with its device and the engines that may run it."""

    device: str
    engines: tuple[Engine, ...]
    model: onnx.ModelProto
    nodes: frozenset[str] | None
    """The names of its nodes; None for the whole model."""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    leading: bool = False
    """Whether it is the network in front of what another engine runs: it reads the model's own inputs."""
    threads: int | None = None
    """How many threads it gets; None leaves that to the configuration."""

    @property
    def judged(self) -> bool:
        """Whether its candidates can be measured and compared: its inputs have samples."""
        return self.nodes is None or self.leading

    def results(self, lowered: Lowered) -> list[str]:
        """The outputs that it is judged by."""
        return [port.tensor for port in lowered.outputs] if self.nodes is None else list(self.outputs)

    def read(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The inputs of the model that it reads."""
        return arrays if self.nodes is None else {name: arrays[name] for name in self.inputs}


def planned_segments(
    lowered: Lowered,
    engines: Sequence[Engine],
    devices: Sequence[ComputeDevice],
    declined: Mapping[str, Mapping[str, str]],
    calibration: Path | None,
) -> list[UncompiledSegment]:
    """One segment if there is one device and an engine runs the whole model, or two if another engine runs nearly all
    of it; otherwise the cheapest partition."""
    unsupported = set.intersection(*(set(why) for why in declined.values())) if declined else set()
    if unsupported:
        raise cannot_run({name: next(iter(why.values())) for name, why in declined.items()})
    kinds = [d.kind for d in devices]
    whole = [engine for engine in engines if not declined[engine.name]]
    if kinds == ["cpu"] and not whole and (pieces := _cut_at_python(lowered, engines, declined)):
        return pieces
    if kinds == ["cpu"] and whole and len(whole) < len(engines) and (found := split(lowered, engines, declined)):
        return _leading_and_rest(found, lowered.model.graph.node, whole)
    if kinds == ["cpu"] and whole:
        return [UncompiledSegment("cpu", tuple(whole), lowered.model, None)]
    reachable: dict[str, dict[str, str]] = {
        d.kind: {e.name: e.version for e in engines if e.name in d.engines} for d in devices
    }
    units = machine(reachable, calibration, devices[0].name).units
    if python_engine() in engines:
        units = (*units, Unit(python_engine().name))
    problem = estimate(lowered.model, units, [declined[unit.engine] for unit in units])
    assignment = partition(problem)
    if math.isinf(assignment.cost):
        raise cannot_run({name: next(iter(why.values())) for name, why in declined.items() if why})
    used = set(assignment.units[:-1])  # the last entry is the caller
    if len(used) == 1:
        unit = units[used.pop()]
        same = [e for e in whole if e.name in reachable[unit.device]] or [engine_named(unit.engine)]
        return [UncompiledSegment(unit.device, tuple(same), lowered.model, None)]
    planned = []
    for segment in cut(lowered.model, assignment.units[:-1]):
        unit = units[segment.unit]
        names = frozenset(lowered.model.graph.node[i].name for i in segment.nodes)
        engine = engine_named(unit.engine)
        planned.append(UncompiledSegment(unit.device, (engine,), segment.model, names, segment.inputs, segment.outputs))
    return planned


def _leading_and_rest(found: Split, nodes: Sequence[Any], whole: Sequence[Engine]) -> list[UncompiledSegment]:
    """The network with all engines that can run it, and the rest on one thread of an engine that runs the whole."""
    parts = (found.leading, found.rest)
    names = [frozenset(nodes[i].name for i in part.nodes) for part in parts]
    first, second = parts
    return [
        UncompiledSegment("cpu", found.engines, first.model, names[0], first.inputs, first.outputs, leading=True),
        UncompiledSegment("cpu", tuple(whole), second.model, names[1], second.inputs, second.outputs, threads=1),
    ]


def _cut_at_python(
    lowered: Lowered, engines: Sequence[Engine], declined: Mapping[str, Mapping[str, str]]
) -> list[UncompiledSegment]:
    """Segments for a model that only has to be cut at its Python nodes; empty if no engine runs the rest."""
    python = python_code(lowered)
    rest = tuple(e for e in engines if e is not python_engine() and declined[e.name].keys() == python.keys())
    if not python or not rest:
        return []
    nodes = lowered.model.graph.node
    planned = []
    for segment in cut(lowered.model, [int(node.name in python) for node in nodes]):
        names = frozenset(nodes[i].name for i in segment.nodes)
        runs = (python_engine(),) if segment.unit else rest
        planned.append(UncompiledSegment("cpu", runs, segment.model, names, segment.inputs, segment.outputs))
    return planned


def python_code(lowered: Lowered) -> dict[str, str]:
    """The nodes implemented in Python, with the reason why other engines do not run them."""
    nodes = lowered.model.graph.node
    return {node.name: "implemented in Python" for node in nodes if node.domain == PYTHON}


def declined_nodes(lowered: Lowered, engines: Sequence[Engine], pixels: set[str]) -> dict[str, dict[str, str]]:
    """What each engine must not run: {engine: {node name: reason}}."""
    known, python = find(lowered.model, pixels), python_code(lowered)
    graph = lowered.model.graph
    loops = unbounded_loops(graph) if any(engine.stops_in_loops for engine in engines) else {}
    return {
        engine.name: {
            **refusals(exposure(graph, known, engine.misjudges, pixels), engine),
            **engine.declined(lowered),
            **_unfamiliar(lowered, engine),
            **python,
            **({} if engine.stops_in_loops else _not_stopped(loops, engine)),
        }
        for engine in engines
    }


def _unfamiliar(lowered: Lowered, engine: Engine) -> dict[str, str]:
    """What an engine was not compared on, in a graph that no lowering made. One whose kernels are checked gets none."""
    if lowered.unfamiliar is None or engine.name == EXACT:
        return {}
    if engine.thorough:
        return {node.name: f"{engine.name} is only given models of Core ML" for node in lowered.model.graph.node[:1]}
    return {name: f"{operator}: {engine.name} was not compared on it" for name, operator in lowered.unfamiliar.items()}


def _not_stopped(loops: Mapping[str, str], engine: Engine) -> dict[str, str]:
    """Loops that an engine runs in a child process if it is the only one."""
    return {name: f"{loop}: {engine.name} cannot be stopped inside a loop" for name, loop in loops.items()}
