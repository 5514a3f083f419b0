"""Specializer: lowers one function of a model, cuts it into segments, and compiles and measures each for its device."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
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
from ..passes.eight_bit import in_float32, quantizes_activations
from ..passes.round_float16 import rounds_to_float16
from ..segment import Unit, cut, estimate, machine, partition
from ..types import DataType
from . import custom_model_operator as custom_model_operator  # registers its operator
from .artifacts import CompiledSegment, artifact_folder, join_segments, with_variants
from .candidates import Choice, Trial, candidates, cannot_run, choose, discard_losers
from .compute_plan import ComputePlan, PlannedSegment
from .concurrency import ConcurrencyChoice, choose_concurrency
from .planned_operations import planned_operations
from .progress import Stages
from .reference import Reference, prepared, reference, trusted_engines
from .sample_inputs import example_inputs

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
        with readable(prepared(engine, self._models[number])) as source:
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
def sources(model: onnx.ModelProto, engines: Sequence[Engine]) -> Iterator[dict[str, bytes | Path]]:
    """The model as each engine reads it, by engine name, after the passes the engine needs."""
    with ExitStack() as stack:
        prepared_sources: list[tuple[onnx.ModelProto, bytes | Path]] = []
        by_engine = {}
        for engine in engines:
            made = prepared(engine, model)
            known = next((source for other, source in prepared_sources if other is made), None)
            if known is None:
                known = stack.enter_context(readable(made))
                prepared_sources.append((made, known))
            by_engine[engine.name] = known
        yield by_engine


def lower_function(asset: Asset, configuration: Configuration, rounds: bool = False) -> Lowered:
    """Lower the configured function to ONNX, independent of engine.

    CPU engines compute float16 graphs in float32 and round at the ends. With `rounds`, `precision="float16"` gives a
    float32 graph that rounds each result.
    """
    description = asset.description.function(configuration.function_name)
    try:
        rounds = rounds and configuration.precision == "float16"
        precision = np.float16 if configuration.precision == "float16" and not rounds else np.float32
        return lower_model(asset, description, precision, rounds)
    except PippinError as error:
        error.add_note(f"in {asset.name}")
        raise


def specialize(
    asset: Asset,
    configuration: Configuration,
    stages: Stages,
    folder: Path | None = None,
    calibration: Path | None = None,
) -> Specialized:
    """Specialize one function of a model. The artifacts are written to `folder`, for `load_artifacts`; the measured
    speed of the devices is kept in the file `calibration`.

    Raises FormatError, UnsupportedError, ConfigurationError, CompilationError or SpecializationCancelled.
    """
    engines = _engines(configuration.engine, configuration.hints.specialization_strategy == "fast_prediction")
    devices = devices_of(configuration.compute_units)
    with stages.stage("lower"):
        function = asset.description.function(configuration.function_name)
        lowered = lower_function(asset, configuration, rounds=_on_cpu(devices))
    _check_float16(configuration, lowered)
    with stages.stage("segment"):
        python = _python_code(lowered)
        declined = {engine.name: {**engine.declined(lowered), **python} for engine in engines}
        if python:
            engines = [*engines, python_engine()]
            declined[python_engine().name] = dict(python_engine().declined(lowered))
        planned = _planned_segments(lowered, engines, devices, declined, calibration)
    results: list[tuple[CompiledSegment, Choice, ConcurrencyChoice]] = []
    unsaved = ""
    choose_for = partial(
        _choose, function=function, configuration=configuration, lowered=lowered, stages=stages, folder=folder,
        trusted=trusted_engines(declined),
    )  # fmt: skip
    for number, segment in enumerate(planned):
        stages.report("compile", number, len(planned))
        with _chosen(segment, choose_for) as (segment, readable_by, choice):
            planned[number] = segment
            concurrency = _concurrency(segment, choice, readable_by, function, lowered, configuration, stages)
            best = concurrency.best
            discard_losers(choice, best, configuration.hints.specialization_strategy)
            if folder is not None and not unsaved:
                with stages.stage("store"):
                    unsaved = _save(best, readable_by[best.engine.name], artifact_folder(folder, number))
        results.append((_compiled_segment(segment, concurrency), choice, concurrency))
    compiled_segments = tuple(segment for segment, _, _ in results)
    outputs = [info.name for info in lowered.model.graph.output]
    artifacts = SegmentArtifacts([segment.model for segment in planned])
    compiled = join_segments([(segment, _with_variants(n, segment, concurrency, artifacts))
                              for n, (segment, _, concurrency) in enumerate(results)], outputs)  # fmt: skip
    plan = ComputePlan(
        function=function.name,
        segments=tuple(map(_planned_segment, compiled_segments, planned)),
        candidates=tuple(trial.described() for _, choice, more in results for trial in (*choice.trials, *more.trials)),
        operations=planned_operations(lowered, compiled_segments, [s.nodes for s in planned], declined),
        precision="; ".join(
            [_sixteen_bit(configuration, lowered)[1], *_deviations(lowered, planned, (r[2] for r in results))]
        ),
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


@contextmanager
def _chosen(
    segment: UncompiledSegment, choose_for: Callable[[UncompiledSegment, Mapping[str, bytes | Path]], Choice]
) -> Iterator[tuple[UncompiledSegment, Mapping[str, bytes | Path], Choice]]:
    """The segment, its sources and the best candidate. If no engine computes it right in 8 bits, it is the segment with
    the same values in float32."""
    with sources(segment.model, segment.engines) as readable_by:
        try:
            choice = choose_for(segment, readable_by)
        except UnsupportedOperationError:
            if not quantizes_activations(segment.model):
                raise
        else:
            yield segment, readable_by, choice
            return
    exact = replace(segment, model=in_float32(segment.model))
    with sources(exact.model, exact.engines) as readable_by:
        yield exact, readable_by, choose_for(exact, readable_by)


def _choose(
    segment: UncompiledSegment,
    readable_by: Mapping[str, bytes | Path],
    *,
    function: FunctionDescription,
    configuration: Configuration,
    lowered: Lowered,
    stages: Stages,
    folder: Path | None,
    trusted: Sequence[Engine],
) -> Choice:
    strategy = configuration.hints.specialization_strategy
    wanted, _ = _sixteen_bit(configuration, lowered)
    whole = segment.nodes is None
    if strategy == "fast_load" or not whole:  # a segment cannot be judged on its own
        wanted = wanted if wanted in ("float16", "bfloat16") and whole else ""
    threads = configuration.threads or (lowered.threads and min(lowered.threads, cpu.cores()))
    trials = candidates(list(segment.engines), segment.device, threads, wanted, strategy == "fast_prediction")
    if wanted not in ("", "auto") and strategy == "fast_load":
        trials.sort(key=lambda trial: trial.settings.precision != wanted)
    names = [port.tensor for port in lowered.outputs]

    def inputs() -> list[dict[str, np.ndarray]]:
        return [example_inputs(function, lowered, seed) for seed in _SEEDS]

    def known() -> Reference | None:
        return reference(segment.model, segment.engines, trusted, inputs) if whole else None

    return choose(
        trials,
        readable_by,
        inputs,
        strategy if whole else "fast_load",
        wanted or "float32",
        stages,
        names,
        folder,
        known,
    )


def _concurrency(
    segment: UncompiledSegment, choice: Choice, readable_by: Mapping[str, bytes | Path], function: FunctionDescription,
    lowered: Lowered, configuration: Configuration, stages: Stages,
) -> ConcurrencyChoice:  # fmt: skip
    if segment.nodes is not None:  # a segment cannot be judged on its own
        return ConcurrencyChoice(choice.best)
    strategy = configuration.hints.specialization_strategy
    multithreaded = lowered.threads is not None and lowered.threads > 1
    return choose_concurrency(
        choice, readable_by, lambda: [example_inputs(function, lowered)], strategy, stages, multithreaded
    )


def _compiled_segment(planned: UncompiledSegment, concurrency: ConcurrencyChoice) -> CompiledSegment:
    best = concurrency.best
    return CompiledSegment(best.engine.name, best.settings, planned.inputs, planned.outputs, concurrency.settings)


def _with_variants(
    number: int, segment: CompiledSegment, concurrency: ConcurrencyChoice, artifacts: SegmentArtifacts
) -> Compiled:
    """The compiled segment with its concurrent variants; missing ones are loaded on first use."""
    best = concurrency.best
    assert best.compiled is not None
    return with_variants(
        best.compiled, segment.concurrent_settings, partial(artifacts.load, number, best.engine), concurrency.compiled
    )


def _on_cpu(devices: Sequence[ComputeDevice]) -> bool:
    return all(device.kind == "cpu" for device in devices)


def _check_float16(configuration: Configuration, lowered: Lowered) -> None:
    if configuration.precision == "float16" and configuration.engine == "mnn" and DataType.FLOAT16 in lowered.computes:
        raise ConfigurationError(
            "precision 'float16': MNN does not round to float16; choose engine 'onnxruntime' or 'openvino', or the "
            "precision 'float32'"
        )


def _sixteen_bit(configuration: Configuration, lowered: Lowered) -> tuple[str, str]:
    """The 16-bit precisions to try ("auto", one by name, or "" for none), and a human-readable reason."""
    if configuration.precision == "float32":
        return "", "float32, as configured"
    if configuration.precision == "bfloat16":
        return "bfloat16", "bfloat16 if an engine supports it, as configured"
    if configuration.precision == "float16":
        if DataType.FLOAT16 not in lowered.computes:
            return "", "float32, as declared: no operation is declared float16"
        if not _on_cpu(devices_of(configuration.compute_units)):
            return "", "float16 on the GPU or NPU, as configured; operations on the CPU are computed in float32"
        return "", "float16 itself, as configured: the result of each float16 operation is rounded to float16"
    if lowered.computes == {DataType.FLOAT16}:
        return "auto", "declared float16: 16-bit if the signal-to-noise ratio is at least 40 dB"
    if DataType.FLOAT16 in lowered.computes:
        return "", "float32: parts of the program compute in float32"
    return "", "float32, as declared"


def _deviations(
    lowered: Lowered, planned: Sequence[UncompiledSegment], concurrencies: Iterable[ConcurrencyChoice]
) -> Iterator[str]:
    """How the chosen engines depart from the model as it is declared."""
    quantized = quantizes_activations(lowered.model)
    for segment, best in zip(planned, (concurrency.best for concurrency in concurrencies), strict=True):
        if quantized and segment.nodes is None and not quantizes_activations(prepared(best.engine, segment.model)):
            yield f"8-bit activations computed in float32: {best.engine.name} has no exact 8-bit form on this processor"
        if best.unchecked:
            yield f"not compared with a float32 run: {best.unchecked}"
        elif best.engine.thorough and best.noise:
            worst = min(best.noise.values())
            yield f"{best.engine.name} approximates: {worst:.0f} dB against another engine in float32"


def _planned_segment(segment: CompiledSegment, planned: UncompiledSegment) -> PlannedSegment:
    settings, nodes = segment.settings, planned.model.graph.node
    return PlannedSegment(
        settings.device,
        segment.engine,
        engine_named(segment.engine).version,
        "float16" if any(map(rounds_to_float16, nodes)) else settings.precision,
        settings.threads,
        len(nodes),
        tuple(s.streams or 1 for s in segment.concurrent_settings),
    )
