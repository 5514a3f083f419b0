"""Segment choice: one segment in; the engine and settings that compute it right and fastest out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from ..configuration import Configuration
from ..devices import cpu
from ..engines import Compiled, Engine, engine_named
from ..errors import EngineError, PippinError, UnsupportedOperationError
from ..format.description import FunctionDescription
from ..lowering.lowered_model import Lowered
from ..passes.eight_bit import in_float32, quantizes_activations
from ..passes.nonfinite import find
from .budget import Budget
from .candidates import Choice, Trial, candidates, choose
from .concurrency import ConcurrencyChoice, choose_concurrency
from .degenerate import degenerate_inputs, difference
from .exactness import compile_exact, guarded_model
from .nonfinite import EXACT, Guard
from .prepared_models import sources
from .progress import Stages
from .reference import Reference, reference
from .requested_precision import sixteen_bit
from .sample_inputs import example_inputs, image_tensors
from .segmentation import UncompiledSegment

_SEEDS = (0, 1)


@dataclass(frozen=True, slots=True)
class ChosenSegment:
    """A segment with the best candidate, while its sources can be read."""

    segment: UncompiledSegment
    models: Mapping[str, onnx.ModelProto]
    """The model as each engine gets it, by engine name: with a probe for NaN and infinity if it needs one."""
    guards: Mapping[str, Guard]
    readable_by: Mapping[str, bytes | Path]
    choice: Choice


Choose = Callable[[UncompiledSegment, Mapping[str, bytes | Path], Mapping[str, Guard]], Choice]


@contextmanager
def chosen(segment: UncompiledSegment, pixels: set[str], choose_for: Choose) -> Iterator[ChosenSegment]:
    """The segment with its best candidate. If no engine computes it right in 8 bits, it is the segment with the same
    values in float32."""
    with ExitStack() as stack:
        models, guards, readable_by = stack.enter_context(_sources(segment, pixels))
        try:
            choice = choose_for(segment, readable_by, guards)
        except UnsupportedOperationError:
            if not quantizes_activations(segment.model):
                raise
            segment = replace(segment, model=in_float32(segment.model))
            models, guards, readable_by = stack.enter_context(_sources(segment, pixels))
            choice = choose_for(segment, readable_by, guards)
        yield ChosenSegment(segment, models, guards, readable_by, choice)


@contextmanager
def _sources(
    segment: UncompiledSegment, pixels: set[str]
) -> Iterator[tuple[dict[str, onnx.ModelProto], dict[str, Guard], dict[str, bytes | Path]]]:
    guarded = _guarded_models(segment, pixels)
    models = {name: model for name, (model, _) in guarded.items()}
    with sources(segment.model, segment.engines, models) as readable_by:
        yield models, {name: guard for name, (_, guard) in guarded.items()}, readable_by


def choose_candidate(
    segment: UncompiledSegment,
    readable_by: Mapping[str, bytes | Path],
    guards: Mapping[str, Guard],
    *,
    function: FunctionDescription,
    configuration: Configuration,
    lowered: Lowered,
    stages: Stages,
    folder: Path | None,
    trusted: Sequence[Engine],
    unbounded: bool,
    budget: Budget,
) -> Choice:
    strategy = configuration.hints.specialization_strategy
    wanted, _ = sixteen_bit(configuration, lowered)
    whole = segment.judged
    if strategy == "fast_load" or not whole:  # a segment cannot be judged on its own
        wanted = wanted if wanted in ("float16", "bfloat16") and whole else ""
    threads = segment.threads or configuration.threads or (lowered.threads and min(lowered.threads, cpu.cores()))
    trials = candidates(
        list(segment.engines), segment.device, threads, wanted, strategy == "fast_prediction", unbounded
    )
    if wanted not in ("", "auto") and strategy == "fast_load":
        trials.sort(key=lambda trial: trial.settings.precision != wanted)
    names = _outputs(segment, lowered)

    def inputs() -> list[dict[str, np.ndarray]]:
        return [_read_by(segment, example_inputs(function, lowered, seed)) for seed in _SEEDS]

    def known() -> Reference | None:
        return (
            reference(segment.model, segment.engines, trusted, inputs, budget.comparison())
            if whole and not unbounded
            else None
        )

    return choose(
        trials,
        readable_by,
        inputs,
        strategy if whole else "fast_load",
        wanted or "float32",
        stages,
        names,
        folder,
        # A loop without a bound may never end on degenerate inputs.
        _verification(segment, function, lowered, guards, budget) if whole and not unbounded else None,
        budget,
        known,
    )


def _outputs(segment: UncompiledSegment, lowered: Lowered) -> list[str]:
    """What a segment is judged by."""
    return [port.tensor for port in lowered.outputs] if segment.nodes is None else list(segment.outputs)


def _read_by(segment: UncompiledSegment, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs of the model that a segment reads."""
    return arrays if segment.nodes is None else {name: arrays[name] for name in segment.inputs}


def _verification(
    segment: UncompiledSegment, function: FunctionDescription, lowered: Lowered, guards: Mapping[str, Guard],
    budget: Budget,
) -> Callable[[Trial, Sequence[Trial]], str]:  # fmt: skip
    """Compares a candidate with ONNX Runtime on degenerate inputs; returns how they differ."""
    pixels = image_tensors(function, lowered)
    names = _outputs(segment, lowered)
    known: list[tuple[Compiled, Guard]] = []

    def exact_run(trials: Sequence[Trial]) -> tuple[Compiled, Guard] | None:
        engine = engine_named(EXACT)
        if not known and any(trial.engine is engine for trial in trials):
            known.extend((t.compiled, guards[EXACT]) for t in trials if t.engine is engine and t.compiled is not None)
        elif not known and engine.installed and not engine.declined(lowered):  # another one was asked for
            # Its plain kernels compile in a fraction of the time, for the two or three runs that are needed.
            try:
                known.append((compile_exact(replace(lowered, model=segment.model)), Guard()))
            except EngineError:
                return None
        return known[0] if known else None

    def verify(trial: Trial, trials: Sequence[Trial]) -> str:
        if trial.engine.name == EXACT or trial.compiled is None or segment.device != "cpu":
            return ""
        try:
            inputs = degenerate_inputs(_read_by(segment, example_inputs(function, lowered)), pixels)
        except PippinError:  # no sample inputs
            return ""
        right = exact_run(trials)
        own = trial.compiled, guards[trial.engine.name]
        return difference(own, right, inputs, names, budget.comparison().run) if right else ""

    return verify


def choose_settings_under_load(
    segment: UncompiledSegment, choice: Choice, readable_by: Mapping[str, bytes | Path], function: FunctionDescription,
    lowered: Lowered, configuration: Configuration, stages: Stages, budget: Budget,
) -> ConcurrencyChoice:  # fmt: skip
    if not segment.judged:  # a segment cannot be judged on its own
        return ConcurrencyChoice(choice.best)
    strategy = configuration.hints.specialization_strategy
    multithreaded = lowered.threads is not None and lowered.threads > 1
    return choose_concurrency(
        choice, readable_by, lambda: [_read_by(segment, example_inputs(function, lowered))], strategy, stages,
        multithreaded, budget,
    )  # fmt: skip


def _guarded_models(segment: UncompiledSegment, pixels: set[str]) -> dict[str, tuple[onnx.ModelProto, Guard]]:
    """The model of a segment with what each of its engines needs for NaN and infinity."""
    known = find(segment.model, pixels)
    return {engine.name: guarded_model(segment.model, known, engine, pixels) for engine in segment.engines}
