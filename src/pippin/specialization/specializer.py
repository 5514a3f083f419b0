"""Specializer: lowers one function of a model, cuts it into segments, and compiles and measures each for its device."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import onnx

from ..configuration import Configuration
from ..devices import devices_of
from ..engines import Compiled, Engine, Settings, engine_named, python_engine
from ..errors import EngineError, PippinError, UnsupportedOperationError
from ..format.asset import Asset
from ..lowering.external_data import readable
from ..lowering.lower_model import lower_model
from ..lowering.lowered_model import Lowered
from ..lowering.unbounded_loops import unbounded_loops
from ..lowering.weight_arrays import WeightArrays
from ..passes.eight_bit import quantizes_activations
from ..passes.float16_rounding import rounds_to_float16
from ..support.memory import give_back
from . import custom_model_operator as custom_model_operator  # registers its operator
from .artifacts import CompiledSegment, artifact_folder, join_segments, with_variants
from .budget import Budget
from .candidates import NO_ENGINE, Choice, Trial, discard_losers
from .compute_plan import ComputePlan, PlannedSegment
from .concurrency import ConcurrencyChoice
from .engine_selection import engines_for, named_engine_fails
from .exactness import compile_exact
from .nonfinite import Exact, Guard
from .planned_operations import planned_operations
from .prepared_models import prepared
from .progress import Stages
from .prospects import prospects
from .reference import trusted_engines
from .requested_precision import check_float16, on_cpu, sixteen_bit
from .sample_inputs import image_tensors
from .segment_choice import choose_candidate, choose_settings_under_load, chosen
from .segmentation import UncompiledSegment, declined_nodes, planned_segments, python_code
from .unpacked_weights import unpacked
from .weight_storage import LARGE, weight_bytes


class SegmentArtifacts:
    """Loads variants of the segments: from the cached artifacts once stored, before that from the ONNX models."""

    def __init__(self, models: Sequence[onnx.ModelProto], weights: tuple[WeightArrays, ...] = ()) -> None:
        self._models, self._weights = list(models), weights
        self._folder: Path | None = None

    def stored(self, folder: Path) -> None:
        self._folder = folder
        self._models.clear()
        self._weights = ()

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
    untried: tuple[str, ...] = ()
    """What a progressive specialization has still to try; nothing was stored if there is something."""
    unsaved: str = ""
    """Why the artifacts could not be written; "" if they were, or need not be."""


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
        raise named_engine_fails(configuration.engine, str(error), lower_function(asset, configuration)) from None


def _specialize(
    asset: Asset, configuration: Configuration, stages: Stages, folder: Path | None, calibration: Path | None,
    exact: Compiled | None,
) -> Specialized:  # fmt: skip
    engines = engines_for(configuration.engine, configuration.hints.specialization_strategy == "fast_prediction")
    devices = devices_of(configuration.compute_units)
    with stages.stage("lower"):
        function = asset.description.function(configuration.function_name)
        lowered = lower_function(asset, configuration, rounds=on_cpu(devices))
    large = weight_bytes(lowered.model) >= LARGE
    if large:
        give_back()
    check_float16(configuration, lowered)
    with stages.stage("segment"):
        pixels = image_tensors(function, lowered)
        declined = declined_nodes(lowered, engines, pixels)
        if python_code(lowered):
            engines = [*engines, python_engine()]
            declined[python_engine().name] = dict(python_engine().declined(lowered))
        planned = planned_segments(lowered, engines, devices, declined, calibration)
    rates = calibration.with_name("rates.json") if calibration is not None else None
    results: list[tuple[CompiledSegment, Choice, ConcurrencyChoice]] = []
    unsaved = ""
    models = []
    strategy = configuration.hints.specialization_strategy
    for number, segment in enumerate(planned):
        stages.report("compile", number, len(planned))
        unbounded = bool(unbounded_loops(segment.model.graph))
        budget = Budget.of(strategy, unbounded, stages)
        foreseen = lru_cache(1)(
            partial(prospects, segment.model, segment.engines, devices, rates, strategy == "progressive")
        )
        choose_for = partial(
            choose_candidate, function=function, configuration=configuration, lowered=lowered, stages=stages,
            folder=folder, trusted=trusted_engines(declined), unbounded=unbounded, budget=budget,
            prospects=foreseen,
        )  # fmt: skip
        with chosen(segment, pixels, choose_for, configuration.precision == "dynamic_int8") as found:
            planned[number], choice = found.segment, found.choice
            concurrency = choose_settings_under_load(
                found.segment, choice, found.readable_by, function, lowered, configuration, stages, budget, foreseen,
            )  # fmt: skip
            best = concurrency.best
            discard_losers(choice, best, strategy)
            if large:
                give_back()
            if folder is not None and not unsaved and not choice.untried:
                with stages.stage("store"):
                    unsaved = _save(best, found.readable_by[best.engine.name], artifact_folder(folder, number))
        models.append(found.models[best.engine.name])
        results.append((_compiled_segment(found.segment, concurrency, found.guards), choice, concurrency))
    compiled_segments = tuple(segment for segment, _, _ in results)
    outputs = [info.name for info in lowered.model.graph.output]
    exact = exact or (Exact(partial(compile_exact, lowered)) if any(part.guard for part in compiled_segments) else None)
    artifacts = SegmentArtifacts(models, lowered.weights)
    compiled = join_segments([(segment, _with_variants(n, segment, concurrency, artifacts))
                              for n, (segment, _, concurrency) in enumerate(results)], outputs, exact)  # fmt: skip
    plan = ComputePlan(
        function=function.name,
        segments=tuple(map(_planned_segment, compiled_segments, planned)),
        candidates=tuple(trial.described() for _, choice, more in results for trial in (*choice.trials, *more.trials)),
        operations=planned_operations(lowered, compiled_segments, [s.nodes for s in planned], declined, function),
        precision="; ".join(
            [sixteen_bit(configuration, lowered)[1], *_deviations(lowered, planned, (r[2] for r in results))]
        ),
        stages=dict(stages.seconds),
        declined={name: next(iter(why.values())) for name, why in declined.items() if why},
    )
    untried = tuple(dict.fromkeys(each for _, choice, _ in results for each in choice.untried))
    return Specialized(lowered, compiled_segments, compiled, plan, artifacts, untried, unsaved)


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


def _with_variants(
    number: int, segment: CompiledSegment, concurrency: ConcurrencyChoice, artifacts: SegmentArtifacts
) -> Compiled:
    """The compiled segment with its concurrent variants; missing ones are loaded on first use."""
    best = concurrency.best
    assert best.compiled is not None
    return with_variants(
        best.compiled, segment.concurrent_settings, partial(artifacts.load, number, best.engine), concurrency.compiled
    )


def _deviations(
    lowered: Lowered, planned: Sequence[UncompiledSegment], concurrencies: Iterable[ConcurrencyChoice]
) -> Iterator[str]:
    """How the chosen engines depart from the model as it is declared."""
    yield from unpacked(lowered.sources)
    quantized = quantizes_activations(lowered.model)
    for segment, best in zip(planned, (concurrency.best for concurrency in concurrencies), strict=True):
        if quantized and segment.judged and not quantizes_activations(prepared(best.engine, segment.model)):
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
