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
from ..engines import Engine
from ..errors import PippinError, UnsupportedOperationError
from ..format.description import FunctionDescription
from ..lowering.lowered_model import Lowered
from ..passes.eight_bit import in_float32, quantizes_activations
from ..passes.nonfinite import find
from .budget import Budget
from .candidates import LATER, Choice, candidates, choose
from .concurrency import ConcurrencyChoice, choose_concurrency
from .exactness import guarded_model
from .in_turn import choose_in_turn
from .nonfinite import Guard
from .prepared_models import Sources, sources
from .progress import Stages
from .prospects import Prospects, has_room, left_out
from .reference import Reference, reference
from .requested_precision import sixteen_bit
from .sample_inputs import example_inputs
from .segmentation import UncompiledSegment
from .verification import Verification
from .weight_storage import Storage

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


Choose = Callable[[UncompiledSegment, Sources, Mapping[str, Guard]], Choice]


@contextmanager
def chosen(
    segment: UncompiledSegment, pixels: set[str], choose_for: Choose, quantizes: bool = False
) -> Iterator[ChosenSegment]:
    """The segment with its best candidate. If no engine computes it right in 8 bits, it is the segment with the same
    values in float32. `quantizes`: products may quantize their operands."""
    with ExitStack() as stack:
        models, guards, readable_by = stack.enter_context(_sources(segment, pixels, quantizes))
        try:
            choice = choose_for(segment, readable_by, guards)
        except UnsupportedOperationError:
            if not quantizes_activations(segment.model):
                raise
            segment = replace(segment, model=in_float32(segment.model))
            models, guards, readable_by = stack.enter_context(_sources(segment, pixels, quantizes))
            choice = choose_for(segment, readable_by, guards)
        yield ChosenSegment(segment, models, guards, readable_by, choice)


@contextmanager
def _sources(
    segment: UncompiledSegment, pixels: set[str], quantizes: bool
) -> Iterator[tuple[dict[str, onnx.ModelProto], dict[str, Guard], Sources]]:
    guarded = _guarded_models(segment, pixels, quantizes)
    models = {name: model for name, (model, _) in guarded.items()}
    with sources(segment.model, segment.engines, models) as readable_by:
        yield models, {name: guard for name, (_, guard) in guarded.items()}, readable_by


def choose_candidate(
    segment: UncompiledSegment,
    readable_by: Sources,
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
    prospects: Callable[[], Prospects | None],
) -> Choice:
    strategy = configuration.hints.specialization_strategy
    wanted, _ = sixteen_bit(configuration, lowered)
    whole = segment.judged
    if strategy in ("fast_load", "progressive") or not whole:  # such a segment cannot be judged on its own
        wanted = wanted if wanted not in ("", "auto") and whole else ""
    threads = segment.threads or configuration.threads or (lowered.threads and min(lowered.threads, cpu.cores()))
    trials = candidates(
        list(segment.engines), segment.device, threads, wanted, strategy == "fast_prediction", unbounded
    )
    storage = Storage(segment.model)
    for trial in trials:
        trial.settings = storage.fitted(trial.engine, trial.settings, growing=bool(lowered.states))
    if strategy in ("fast_load", "progressive"):
        soonest = strategy == "progressive"
        trials.sort(key=lambda t: (wanted not in ("", t.settings.precision), soonest and t.engine.load_rank))
    names = segment.results(lowered)

    def inputs() -> list[dict[str, np.ndarray]]:
        return [segment.read(example_inputs(function, lowered, seed)) for seed in _SEEDS]

    def known() -> Reference | None:
        return (
            reference(segment.model, segment.engines, trusted, inputs, budget.comparison())
            if whole and not unbounded
            else None
        )

    # A loop without a bound may never end on degenerate inputs.
    verify = Verification(segment, function, lowered, guards, budget) if whole and not unbounded else None
    samples = _samples(inputs) if strategy == "default" and verify is not None and storage.large else None
    if samples is not None:
        choice = choose_in_turn(
            storage.lightest_first(trials), readable_by, samples, wanted or "float32", stages, names, folder, verify,
            budget, known, storage.needless,
        )  # fmt: skip
        storage.note(choice.trials, readable_by.types)
        return choice
    choice = choose(
        trials,
        readable_by,
        inputs,
        strategy if whole else "fast_load",
        wanted or "float32",
        stages,
        names,
        folder,
        verify,
        budget,
        known,
        prospects if whole and not unbounded and segment.device == "cpu" else lambda: None,
    )
    storage.note(choice.trials, readable_by.types)
    if strategy != "progressive" or not whole:
        return choice
    foreseen = None if unbounded or segment.device != "cpu" else prospects()
    return replace(choice, untried=_untried(choice, sixteen_bit(configuration, lowered)[0], segment.device, foreseen))


def _untried(choice: Choice, sixteen_bit: str, device: str, known: Prospects | None) -> tuple[str, ...]:
    """What the second stage tries. Engines that have not been imported are not asked for their precisions."""
    left = [trial for trial in choice.trials if trial.note == LATER]
    more = sixteen_bit == "auto" and (left or choice.best.engine.precisions(device))
    for trial in left if known is not None and not more else ():
        if not has_room([trial], choice.usable, choice.best, known):
            trial.note = left_out(trial, choice.best, known)
    engines = [f"{trial.engine.name} {trial.settings.precision}" for trial in left if trial.note == LATER]
    return (*engines, *(["16-bit precisions that keep 40 dB"] if more else []))


def _samples(inputs: Callable[[], list[dict[str, np.ndarray]]]) -> list[dict[str, np.ndarray]] | None:
    try:
        return inputs()
    except PippinError:  # there are none for this model
        return None


def choose_settings_under_load(
    segment: UncompiledSegment, choice: Choice, readable_by: Mapping[str, bytes | Path], function: FunctionDescription,
    lowered: Lowered, configuration: Configuration, stages: Stages, budget: Budget,
    prospects: Callable[[], Prospects | None],
) -> ConcurrencyChoice:  # fmt: skip
    if not segment.judged:  # a segment cannot be judged on its own
        return ConcurrencyChoice(choice.best)
    strategy = configuration.hints.specialization_strategy
    multithreaded = lowered.threads is not None and lowered.threads > 1
    foreseen = prospects() if choice.best.seconds is None and strategy == "default" else None
    expected = foreseen.seconds.get(choice.best.engine.name) if foreseen is not None else None
    return choose_concurrency(
        choice, readable_by, lambda: [segment.read(example_inputs(function, lowered))], strategy, stages,
        multithreaded, budget, expected,
    )  # fmt: skip


def _guarded_models(
    segment: UncompiledSegment, pixels: set[str], quantizes: bool
) -> dict[str, tuple[onnx.ModelProto, Guard]]:
    """The model of a segment with what each of its engines needs for NaN and infinity."""
    known = find(segment.model, pixels)
    return {engine.name: guarded_model(segment.model, known, engine, pixels, quantizes) for engine in segment.engines}
