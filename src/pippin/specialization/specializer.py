"""Specializer: lowers one function of a model, cuts it into segments, and compiles and measures each for its device."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from ..configuration import Configuration
from ..devices import ComputeDevice, cpu, devices_of
from ..engines import Compiled, Engine, Settings, all_engines, engine_named, python_engine
from ..errors import ConfigurationError, EngineError, PippinError, UnsupportedOperationError
from ..format.asset import Asset
from ..format.description import FunctionDescription
from ..lowering.external_data import readable
from ..lowering.lower_model import lower_model
from ..lowering.lowered_model import PYTHON, Lowered
from ..lowering.unbounded_loops import unbounded_loops
from ..passes.nonfinite import exposure, find
from ..segment import Unit, cut, estimate, machine, partition
from ..types import DataType
from . import custom_model_operator as custom_model_operator  # registers its operator
from .artifacts import CompiledSegment, artifact_folder, join_segments, with_variants
from .budget import Budget
from .candidates import NO_ENGINE, Choice, Trial, candidates, cannot_run, choose, discard_losers
from .compute_plan import ComputePlan, PlannedSegment
from .concurrency import ConcurrencyChoice, choose_concurrency
from .degenerate import degenerate_inputs, difference
from .exactness import compile_exact, guarded_model, refusals
from .nonfinite import EXACT, Exact, Guard
from .planned_operations import planned_operations
from .progress import Stages
from .sample_inputs import example_inputs, image_tensors

_SEEDS = (0, 1)


class SegmentArtifacts:
    """Loads variants of the segments: from the cached artifacts once stored, before that from the ONNX models."""

    def __init__(self, models: Sequence[onnx.ModelProto]) -> None:
        self._models = list(models)
        self._folder: Path | None = None

    def stored(self, folder: Path) -> None:
        self._folder = folder
        self._models.clear()

    def load(self, number: int, engine: Engine, settings: Settings) -> Compiled:
        if self._folder is not None:
            return engine.load(artifact_folder(self._folder, number), settings)
        with readable(engine.prepared(self._models[number])) as source:
            return engine.compile(source, settings)


@dataclass(frozen=True, slots=True)
class Specialized:
    """The result of `specialize`."""

    lowered: Lowered
    segments: tuple[CompiledSegment, ...]
    compiled: Compiled
    plan: ComputePlan
    artifacts: SegmentArtifacts
    unsaved: str = ""
    """Why the artifacts could not be written; "" if they were, or need not be."""


@contextmanager
def sources(
    model: onnx.ModelProto, engines: Sequence[Engine], models: Mapping[str, onnx.ModelProto] | None = None
) -> Iterator[dict[str, bytes | Path]]:
    """The model as each engine reads it, by engine name, after the passes the engine needs. `models` has those of
    engines that read another one."""
    with ExitStack() as stack:
        prepared_sources: list[tuple[onnx.ModelProto, bytes | Path]] = []
        by_engine = {}
        for engine in engines:
            prepared = engine.prepared((models or {}).get(engine.name, model))
            known = next((source for other, source in prepared_sources if other is prepared), None)
            if known is None:
                known = stack.enter_context(readable(prepared))
                prepared_sources.append((prepared, known))
            by_engine[engine.name] = known
        yield by_engine


def lower_function(asset: Asset, configuration: Configuration) -> Lowered:
    """Lower the configured function to ONNX, independent of engine."""
    description = asset.description.function(configuration.function_name)
    try:
        precision = np.float16 if configuration.precision == "float16" else np.float32
        return lower_model(asset, description, precision)
    except PippinError as error:
        error.add_note(f"in {asset.name}")
        raise


def specialize(
    asset: Asset,
    configuration: Configuration,
    stages: Stages,
    folder: Path | None = None,
    calibration: Path | None = None,
    exact: Compiled | None = None,
) -> Specialized:
    """Specialize one function of a model. The artifacts are written to `folder`, for `load_artifacts`; the measured
    speed of the devices is kept in the file `calibration`. `exact` runs predictions that hold NaN or infinity, if the
    engine is not exact itself; by default, it is made from the lowered model, which then stays in memory.

    Raises FormatError, UnsupportedError, ConfigurationError, CompilationError or SpecializationCancelled.
    """
    try:
        return _specialize(asset, configuration, stages, folder, calibration, exact)
    except UnsupportedOperationError as error:
        if configuration.engine is None or not str(error).startswith(NO_ENGINE):
            raise
        raise _named_engine_fails(configuration.engine, str(error), lower_function(asset, configuration)) from None


def _named_engine_fails(name: str, message: str, lowered: Lowered) -> UnsupportedOperationError:
    """The error for a model that the engine named in the configuration cannot run: says which one can."""
    reason = message.partition(f"{name}: ")[2]
    others = [engine for engine in all_engines().values() if engine.installed and engine.name != name]
    able = next((engine.name for engine in others if _can_run(engine, lowered)), None)
    advice = (
        f"{able} can: choose engine='{able}', or name no engine" if able else "no other installed engine can either"
    )
    return UnsupportedOperationError(f"{name} cannot run this model: {reason}\n  {advice}")


def _can_run(engine: Engine, lowered: Lowered) -> bool:
    python = _python_code(lowered)
    if engine.declined(lowered).keys() - python.keys():
        return False
    if python:  # it runs the segments between
        return True
    try:
        with readable(engine.prepared(lowered.model)) as source:
            engine.compile(source)
    except EngineError:
        return False
    return True


def _specialize(
    asset: Asset, configuration: Configuration, stages: Stages, folder: Path | None, calibration: Path | None,
    exact: Compiled | None,
) -> Specialized:  # fmt: skip
    engines = _engines(configuration.engine, configuration.hints.specialization_strategy == "fast_prediction")
    with stages.stage("lower"):
        function = asset.description.function(configuration.function_name)
        lowered = lower_function(asset, configuration)
    with stages.stage("segment"):
        devices = devices_of(configuration.compute_units)
        python = _python_code(lowered)
        pixels = image_tensors(function, lowered)
        loops = unbounded_loops(lowered.model.graph)
        declined = _declined(lowered, engines, pixels, python)
        if any(engine.stops_in_loops for engine in engines):
            for engine in engines:
                declined[engine.name] |= {} if engine.stops_in_loops else _not_stopped(loops, engine)
        if python:
            engines = [*engines, python_engine()]
            declined[python_engine().name] = dict(python_engine().declined(lowered))
        planned = _planned_segments(lowered, engines, devices, declined, calibration)
    results: list[tuple[CompiledSegment, Choice, ConcurrencyChoice]] = []
    unsaved = ""
    models = []
    for number, segment in enumerate(planned):
        stages.report("compile", number, len(planned))
        guarded = _guarded_models(segment, pixels)
        own = {name: model for name, (model, _) in guarded.items()}
        guards = {name: guard for name, (_, guard) in guarded.items()}
        unbounded = bool(unbounded_loops(segment.model.graph))
        budget = Budget.of(configuration.hints.specialization_strategy, unbounded, stages)
        with sources(segment.model, segment.engines, own) as readable_by:
            choice = _choose(
                segment, readable_by, function, configuration, lowered, stages, folder, guards, unbounded, budget
            )
            concurrency = _concurrency(segment, choice, readable_by, function, lowered, configuration, stages, budget)
            best = concurrency.best
            discard_losers(choice, best, configuration.hints.specialization_strategy)
            if folder is not None and not unsaved:
                with stages.stage("store"):
                    unsaved = _save(best, readable_by[best.engine.name], artifact_folder(folder, number))
        models.append(own[best.engine.name])
        results.append((_compiled_segment(segment, concurrency, guards), choice, concurrency))
    compiled_segments = tuple(segment for segment, _, _ in results)
    outputs = [info.name for info in lowered.model.graph.output]
    exact = exact or (Exact(partial(compile_exact, lowered)) if any(part.guard for part in compiled_segments) else None)
    artifacts = SegmentArtifacts(models)
    compiled = join_segments([(segment, _with_variants(n, segment, concurrency, artifacts))
                              for n, (segment, _, concurrency) in enumerate(results)], outputs, exact)  # fmt: skip
    plan = ComputePlan(
        function=function.name,
        segments=tuple(map(_planned_segment, compiled_segments, planned)),
        candidates=tuple(trial.described() for _, choice, more in results for trial in (*choice.trials, *more.trials)),
        operations=planned_operations(lowered, compiled_segments, [s.nodes for s in planned], declined),
        precision=_sixteen_bit(configuration, lowered)[1],
        stages=dict(stages.seconds),
    )
    return Specialized(lowered, compiled_segments, compiled, plan, artifacts, unsaved)


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


def _save(best: Trial, source: bytes | Path, folder: Path) -> str:
    """Write the artifact. Returns why it could not be written, or ""; a failure only means that nothing is cached."""
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
        raise ConfigurationError(f"unknown engine '{name}'; choose one of {', '.join(all_engines())}")
    engine = all_engines()[name]
    if not engine.installed:
        raise ConfigurationError(f"engine '{name}' is not installed (pip install {engine.package})")
    return [engine]


def _not_stopped(loops: Mapping[str, str], engine: Engine) -> dict[str, str]:
    """Loops that an engine runs in a child process if it is the only one."""
    return {name: f"{loop}: {engine.name} cannot be stopped inside a loop" for name, loop in loops.items()}


def _planned_segments(
    lowered: Lowered,
    engines: Sequence[Engine],
    devices: Sequence[ComputeDevice],
    declined: Mapping[str, Mapping[str, str]],
    calibration: Path | None,
) -> list[UncompiledSegment]:
    """One segment if there is one device and an engine runs the whole model; otherwise the cheapest partition."""
    unsupported = set.intersection(*(set(why) for why in declined.values())) if declined else set()
    if unsupported:
        raise cannot_run({name: next(iter(why.values())) for name, why in declined.items()})
    kinds = [d.kind for d in devices]
    whole = [engine for engine in engines if not declined[engine.name]]
    if kinds == ["cpu"] and not whole and (pieces := _cut_at_python(lowered, engines, declined)):
        return pieces
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


def _python_code(lowered: Lowered) -> dict[str, str]:
    """The nodes implemented in Python, with the reason why other engines do not run them."""
    nodes = lowered.model.graph.node
    return {node.name: "implemented in Python" for node in nodes if node.domain == PYTHON}


def _cut_at_python(
    lowered: Lowered, engines: Sequence[Engine], declined: Mapping[str, Mapping[str, str]]
) -> list[UncompiledSegment]:
    """Segments for a model that only has to be cut at its Python nodes; empty if no engine runs the rest."""
    python = _python_code(lowered)
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


def _choose(
    segment: UncompiledSegment,
    readable_by: Mapping[str, bytes | Path],
    function: FunctionDescription,
    configuration: Configuration,
    lowered: Lowered,
    stages: Stages,
    folder: Path | None,
    guards: Mapping[str, Guard],
    unbounded: bool,
    budget: Budget,
) -> Choice:
    strategy = configuration.hints.specialization_strategy
    wanted, _ = _sixteen_bit(configuration, lowered)
    whole = segment.nodes is None
    if strategy == "fast_load" or not whole:  # a segment cannot be judged on its own
        wanted = wanted if wanted in ("float16", "bfloat16") and whole else ""
    threads = configuration.threads or (lowered.threads and min(lowered.threads, cpu.cores()))
    trials = candidates(
        list(segment.engines), segment.device, threads, wanted, strategy == "fast_prediction", unbounded
    )
    if wanted not in ("", "auto") and strategy == "fast_load":
        trials.sort(key=lambda trial: trial.settings.precision != wanted)
    names = [port.tensor for port in lowered.outputs]
    return choose(
        trials,
        readable_by,
        lambda: [example_inputs(function, lowered, seed) for seed in _SEEDS],
        strategy if whole else "fast_load",
        wanted or "float32",
        stages,
        names,
        folder,
        # A loop without a bound may never end on degenerate inputs.
        _verification(segment, readable_by, function, lowered, guards) if whole and not unbounded else None,
        budget,
    )


def _verification(
    segment: UncompiledSegment, readable_by: Mapping[str, bytes | Path], function: FunctionDescription,
    lowered: Lowered, guards: Mapping[str, Guard],
) -> Callable[[Trial, Sequence[Trial]], str]:  # fmt: skip
    """Compares a candidate with ONNX Runtime on degenerate inputs; returns how they differ."""
    pixels = image_tensors(function, lowered)
    names = [port.tensor for port in lowered.outputs]
    known: list[tuple[Compiled, Guard]] = []

    def reference(trials: Sequence[Trial]) -> tuple[Compiled, Guard] | None:
        engine = engine_named(EXACT)
        if not known and any(trial.engine is engine for trial in trials):
            known.extend((t.compiled, guards[EXACT]) for t in trials if t.engine is engine and t.compiled is not None)
        elif not known and engine.installed and not engine.declined(lowered):  # another one was asked for
            model, guard = guarded_model(segment.model, find(segment.model, pixels), engine, pixels)
            try:
                with readable(engine.prepared(model)) as source:
                    known.append((engine.compile(source), guard))
            except EngineError:
                return None
        return known[0] if known else None

    def verify(trial: Trial, trials: Sequence[Trial]) -> str:
        if trial.engine.name == EXACT or trial.compiled is None or segment.device != "cpu":
            return ""
        try:
            inputs = degenerate_inputs(example_inputs(function, lowered), pixels)
        except PippinError:  # no sample inputs
            return ""
        right = reference(trials)
        return difference((trial.compiled, guards[trial.engine.name]), right, inputs, names) if right else ""

    return verify


def _concurrency(
    segment: UncompiledSegment, choice: Choice, readable_by: Mapping[str, bytes | Path], function: FunctionDescription,
    lowered: Lowered, configuration: Configuration, stages: Stages, budget: Budget,
) -> ConcurrencyChoice:  # fmt: skip
    if segment.nodes is not None:  # a segment cannot be judged on its own
        return ConcurrencyChoice(choice.best)
    strategy = configuration.hints.specialization_strategy
    multithreaded = lowered.threads is not None and lowered.threads > 1
    return choose_concurrency(
        choice, readable_by, lambda: [example_inputs(function, lowered)], strategy, stages, multithreaded, budget
    )


def _compiled_segment(
    planned: UncompiledSegment, concurrency: ConcurrencyChoice, guards: Mapping[str, Guard]
) -> CompiledSegment:
    best = concurrency.best
    guard = guards[best.engine.name]
    return CompiledSegment(
        best.engine.name,
        best.settings,
        planned.inputs,
        planned.outputs,
        concurrency.settings,
        guard.inputs,
        guard.probe,
    )


def _declined(
    lowered: Lowered, engines: Sequence[Engine], pixels: set[str], python: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """What each engine must not run: {engine: {node name: reason}}."""
    known = find(lowered.model, pixels)
    graph = lowered.model.graph
    return {
        engine.name: {
            **refusals(exposure(graph, known, engine.misjudges, pixels), engine), **engine.declined(lowered), **python
        }
        for engine in engines
    }  # fmt: skip


def _guarded_models(segment: UncompiledSegment, pixels: set[str]) -> dict[str, tuple[onnx.ModelProto, Guard]]:
    """The model of a segment with what each of its engines needs for NaN and infinity."""
    known = find(segment.model, pixels)
    return {engine.name: guarded_model(segment.model, known, engine, pixels) for engine in segment.engines}


def _with_variants(
    number: int, segment: CompiledSegment, concurrency: ConcurrencyChoice, artifacts: SegmentArtifacts
) -> Compiled:
    """The compiled segment with its concurrent variants; missing ones are loaded on first use."""
    best = concurrency.best
    assert best.compiled is not None
    return with_variants(
        best.compiled, segment.concurrent_settings, partial(artifacts.load, number, best.engine), concurrency.compiled
    )


def _sixteen_bit(configuration: Configuration, lowered: Lowered) -> tuple[str, str]:
    """The 16-bit precisions to try ("auto", one by name, or "" for none), and a human-readable reason."""
    if configuration.precision == "float32":
        return "", "float32, as configured"
    if configuration.precision == "bfloat16":
        return "bfloat16", "bfloat16 if an engine supports it, as configured"
    if configuration.precision == "float16":
        return "", "float16, as configured"
    if lowered.computes == {DataType.FLOAT16}:
        return "auto", "declared float16: 16-bit if the signal-to-noise ratio is at least 40 dB"
    if DataType.FLOAT16 in lowered.computes:
        return "", "float32: parts of the program compute in float32"
    return "", "float32, as declared"


def _planned_segment(segment: CompiledSegment, planned: UncompiledSegment) -> PlannedSegment:
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
