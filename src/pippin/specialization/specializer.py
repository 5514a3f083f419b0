"""Specializer: read, lower, segment, compile, measure: one function of a model for the devices that it may use."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from ..configuration import Configuration
from ..devices import ComputeDevice, cpu, devices_of
from ..engines import Compiled, Engine, Settings, all_engines, engine_named, python_engine
from ..errors import ConfigurationError, EngineError, PippinError
from ..format.asset import Asset
from ..format.description import FunctionDescription
from ..lowering.external_data import readable
from ..lowering.lower_model import lower_model
from ..lowering.lowered_model import PYTHON, Lowered
from ..segment import Unit, cut, estimate, machine, partition
from ..types import DataType
from . import custom_model_operator as custom_model_operator  # which adds an operator to the Python engine
from .artifacts import CompiledSegment, adapted, folder_of, join
from .candidates import Choice, Trial, candidates, cannot_run, choose, settle
from .compute_plan import ComputePlan, PlannedSegment
from .concurrency import ConcurrencyChoice, choose_concurrency
from .planned_operations import planned_operations
from .progress import Stages
from .sample_inputs import example_inputs

_SEEDS = (0, 1)


class SegmentArtifacts:
    """What further forms of the segments are made from: the artifacts, once these lie in the cache; else the models."""

    def __init__(self, models: Sequence[onnx.ModelProto]) -> None:
        self._models = list(models)
        self._folder: Path | None = None

    def stored(self, folder: Path) -> None:
        self._folder = folder
        self._models.clear()

    def load(self, number: int, engine: Engine, settings: Settings) -> Compiled:
        if self._folder is not None:
            return engine.load(folder_of(self._folder, number), settings)
        with readable(engine.prepared(self._models[number])) as source:
            return engine.compile(source, settings)


@dataclass(frozen=True, slots=True)
class Specialized:
    lowered: Lowered
    segments: tuple[CompiledSegment, ...]
    compiled: Compiled
    plan: ComputePlan
    artifacts: SegmentArtifacts
    unsaved: str = ""
    """Why its artifacts could not be written, where they were to be."""


@contextmanager
def sources(model: onnx.ModelProto, engines: Sequence[Engine]) -> Iterator[dict[str, bytes | Path]]:
    """What each engine reads the model from, by its name: after the passes that it needs."""
    with ExitStack() as stack:
        made: list[tuple[onnx.ModelProto, bytes | Path]] = []
        found = {}
        for engine in engines:
            prepared = engine.prepared(model)
            known = next((source for other, source in made if other is prepared), None)
            if known is None:
                known = stack.enter_context(readable(prepared))
                made.append((prepared, known))
            found[engine.name] = known
        yield found


def lower_function(asset: Asset, configuration: Configuration) -> Lowered:
    """The ONNX model of the configured function, before any engine sees it."""
    description = asset.description.function(configuration.function_name)
    try:
        precision = np.float16 if configuration.precision == "float16" else np.float32
        return lower_model(asset, description, precision)
    except PippinError as error:
        error.add_note(f"in {asset.name}")
        raise


def specialize(
    asset: Asset, configuration: Configuration, stages: Stages, folder: Path | None = None, kept: Path | None = None
) -> Specialized:
    """Specialize one function of a model; the artifacts are written into `folder`, for `load_artifacts`; the measured
    speed of the devices is kept in the file `kept`.

    Raises the errors of FormatError, UnsupportedError, ConfigurationError and CompilationError, and
    SpecializationCancelled.
    """
    engines = _engines(configuration.engine, configuration.hints.specialization_strategy == "fast_prediction")
    with stages.stage("lower"):
        function = asset.description.function(configuration.function_name)
        lowered = lower_function(asset, configuration)
    with stages.stage("segment"):
        devices = devices_of(configuration.compute_units)
        python = _python_code(lowered)
        declined = {engine.name: {**engine.declined(lowered), **python} for engine in engines}
        if python:
            engines = [*engines, python_engine()]
            declined[python_engine().name] = dict(python_engine().declined(lowered))
        planned = _planned_segments(lowered, engines, devices, declined, kept)
    made: list[tuple[CompiledSegment, Choice, ConcurrencyChoice]] = []
    unsaved = ""
    for number, segment in enumerate(planned):
        stages.tell("compile", number, len(planned))
        with sources(segment.model, segment.engines) as readable_by:
            choice = _choose(segment, readable_by, function, configuration, lowered, stages, folder)
            concurrency = _concurrency(segment, choice, readable_by, function, lowered, configuration, stages)
            best = concurrency.best
            settle(choice, best, configuration.hints.specialization_strategy)
            if folder is not None and not unsaved:
                with stages.stage("store"):
                    unsaved = _saved(best, readable_by[best.engine.name], folder_of(folder, number))
        made.append((_compiled_segment(segment, concurrency), choice, concurrency))
    compiled_segments = tuple(segment for segment, _, _ in made)
    outputs = [info.name for info in lowered.model.graph.output]
    artifacts = SegmentArtifacts([segment.model for segment in planned])
    compiled = join([(segment, _adapted(n, segment, concurrency, artifacts))
                     for n, (segment, _, concurrency) in enumerate(made)], outputs)  # fmt: skip
    plan = ComputePlan(
        function=function.name,
        segments=tuple(map(_described, compiled_segments, planned)),
        candidates=tuple(row.described() for _, choice, more in made for row in (*choice.tried, *more.tried)),
        operations=planned_operations(lowered, compiled_segments, [s.nodes for s in planned], declined),
        precision=_sixteen(configuration, lowered)[1],
        stages=dict(stages.seconds),
    )
    return Specialized(lowered, compiled_segments, compiled, plan, artifacts, unsaved)


@dataclass(frozen=True, slots=True)
class Planned:
    """A segment before it is compiled: the engines that may run it, on one device."""

    device: str
    engines: tuple[Engine, ...]
    model: onnx.ModelProto
    nodes: frozenset[str] | None
    """The names of its nodes; None where it is the whole model."""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def _saved(best: Trial, source: bytes | Path, folder: Path) -> str:
    """Write an artifact; returns why it could not be written, which costs the cache, not the load."""
    try:
        if best.artifact is None:
            folder.mkdir(mode=0o700)
        else:
            best.artifact.rename(folder)
        for other in folder.parent.glob("candidate*"):
            shutil.rmtree(other)
        assert best.compiled is not None
        best.engine.save(source, best.compiled, best.settings, folder)
    except (OSError, RuntimeError, EngineError) as error:
        return f"{best.engine.name} could not write its artifact: {error}"
    return ""


def _engines(name: str | None, thorough: bool) -> list[Engine]:
    if name is None:
        return [e for e in all_engines().values() if e.installed and (thorough or not e.thorough)]
    if name not in all_engines():
        raise ConfigurationError(f"no engine '{name}' (there are: {', '.join(all_engines())})")
    engine = all_engines()[name]
    if not engine.installed:
        raise ConfigurationError(f"the engine '{name}' is not installed (pip install {engine.package})")
    return [engine]


def _planned_segments(
    lowered: Lowered,
    engines: Sequence[Engine],
    devices: Sequence[ComputeDevice],
    declined: Mapping[str, Mapping[str, str]],
    kept: Path | None,
) -> list[Planned]:
    """The model in one piece where there is one device and an engine for all of it; else as the partition says."""
    everywhere = set.intersection(*(set(why) for why in declined.values())) if declined else set()
    if everywhere:
        raise cannot_run({name: next(iter(why.values())) for name, why in declined.items()})
    kinds = [d.kind for d in devices]
    whole = [engine for engine in engines if not declined[engine.name]]
    if kinds == ["cpu"] and not whole and (around := _around_python(lowered, engines, declined)):
        return around
    if kinds == ["cpu"] and whole:
        return [Planned("cpu", tuple(whole), lowered.model, None)]
    reachable: dict[str, dict[str, str]] = {
        d.kind: {e.name: e.version for e in engines if e.name in d.engines} for d in devices
    }
    units = machine(reachable, kept, devices[0].name).units
    if python_engine() in engines:
        units = (*units, Unit(python_engine().name))
    problem = estimate(lowered.model, units, [declined[unit.engine] for unit in units])
    found = partition(problem)
    if math.isinf(found.cost):
        raise cannot_run({name: next(iter(why.values())) for name, why in declined.items() if why})
    used = set(found.units[:-1])  # the last one is the caller
    if len(used) == 1:
        unit = units[used.pop()]
        same = [e for e in whole if e.name in reachable[unit.device]] or [engine_named(unit.engine)]
        return [Planned(unit.device, tuple(same), lowered.model, None)]
    planned = []
    for segment in cut(lowered.model, found.units[:-1]):
        unit = units[segment.unit]
        names = frozenset(lowered.model.graph.node[i].name for i in segment.nodes)
        engine = engine_named(unit.engine)
        planned.append(Planned(unit.device, (engine,), segment.model, names, segment.inputs, segment.outputs))
    return planned


def _python_code(lowered: Lowered) -> dict[str, str]:
    """The nodes that are Python code, with the reason why other engines do not run them."""
    nodes = lowered.model.graph.node
    return {node.name: "it is Python code" for node in nodes if node.domain == PYTHON}


def _around_python(
    lowered: Lowered, engines: Sequence[Engine], declined: Mapping[str, Mapping[str, str]]
) -> list[Planned]:
    """The segments of a model on the CPU that is cut at its Python code alone; none where no engine runs the rest."""
    python = _python_code(lowered)
    rest = tuple(e for e in engines if e is not python_engine() and declined[e.name].keys() == python.keys())
    if not python or not rest:
        return []
    nodes = lowered.model.graph.node
    planned = []
    for segment in cut(lowered.model, [int(node.name in python) for node in nodes]):
        names = frozenset(nodes[i].name for i in segment.nodes)
        runs = (python_engine(),) if segment.unit else rest
        planned.append(Planned("cpu", runs, segment.model, names, segment.inputs, segment.outputs))
    return planned


def _choose(
    segment: Planned,
    readable_by: Mapping[str, bytes | Path],
    function: FunctionDescription,
    configuration: Configuration,
    lowered: Lowered,
    stages: Stages,
    folder: Path | None,
) -> Choice:
    strategy = configuration.hints.specialization_strategy
    wanted, _ = _sixteen(configuration, lowered)
    whole = segment.nodes is None
    if strategy == "fast_load" or not whole:  # a piece cannot be judged alone
        wanted = wanted if wanted in ("float16", "bfloat16") and whole else ""
    threads = configuration.threads or (lowered.threads and min(lowered.threads, cpu.cores()))
    rows = candidates(list(segment.engines), segment.device, threads, wanted, strategy == "fast_prediction")
    if wanted not in ("", "auto") and strategy == "fast_load":
        rows.sort(key=lambda row: row.settings.precision != wanted)
    names = [port.tensor for port in lowered.outputs]
    return choose(
        rows,
        readable_by,
        lambda: [example_inputs(function, lowered, seed) for seed in _SEEDS],
        strategy if whole else "fast_load",
        wanted or "float32",
        stages,
        names,
        folder,
    )


def _concurrency(
    segment: Planned, choice: Choice, readable_by: Mapping[str, bytes | Path], function: FunctionDescription,
    lowered: Lowered, configuration: Configuration, stages: Stages,
) -> ConcurrencyChoice:  # fmt: skip
    if segment.nodes is not None:  # a piece cannot be judged alone
        return ConcurrencyChoice(choice.best)
    strategy = configuration.hints.specialization_strategy
    several = lowered.threads is not None and lowered.threads > 1
    return choose_concurrency(
        choice, readable_by, lambda: [example_inputs(function, lowered)], strategy, stages, several
    )


def _compiled_segment(planned: Planned, concurrency: ConcurrencyChoice) -> CompiledSegment:
    best = concurrency.best
    return CompiledSegment(best.engine.name, best.settings, planned.inputs, planned.outputs, concurrency.settings)


def _adapted(
    number: int, segment: CompiledSegment, concurrency: ConcurrencyChoice, artifacts: SegmentArtifacts
) -> Compiled:
    """What was compiled, with its other forms; those that are not made yet are loaded when they are first of use."""
    best = concurrency.best
    assert best.compiled is not None
    return adapted(
        best.compiled, segment.concurrent_settings, partial(artifacts.load, number, best.engine), concurrency.made
    )


def _sixteen(configuration: Configuration, lowered: Lowered) -> tuple[str, str]:
    """Which 16-bit precisions may be tried ("auto", one by name, or "" for none), and why, for people."""
    if configuration.precision == "float32":
        return "", "float32, as configured"
    if configuration.precision == "bfloat16":
        return "bfloat16", "bfloat16 where an engine has it, as configured"
    if configuration.precision == "float16":
        return "", "float16 itself, as configured"
    if lowered.computes == {DataType.FLOAT16}:
        return "auto", "declared float16: 16 bits where 40 dB are kept"
    if DataType.FLOAT16 in lowered.computes:
        return "", "float32: the program computes partly in float32"
    return "", "float32, as declared"


def _described(segment: CompiledSegment, planned: Planned) -> PlannedSegment:
    settings = segment.settings
    return PlannedSegment(
        settings.device,
        segment.engine,
        engine_named(segment.engine).version,
        settings.precision,
        settings.threads,
        len(planned.model.graph.node),
        tuple(s.streams or 1 for s in segment.concurrent_settings),
    )
