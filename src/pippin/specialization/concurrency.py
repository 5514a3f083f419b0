"""Concurrency: chooses the settings used under load: threads per prediction and number of streams.

The strategy "fast_prediction" measures them; the results also decide between engines with nearly the same latency. The
default strategy uses a rule: predictions long enough to gain from several threads use the engine's concurrent settings,
which are compiled when predictions are first in flight together (`concurrency_variants.py`).
`bench/in_flight.py` measures the gain.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Barrier, Event

import numpy as np

from ..devices import cpu
from ..engines import Compiled, Settings
from ..errors import EngineError, PippinError, PredictionCancelled, SpecializationCancelled
from ..support.cancellation import Stop
from ..support.daemon_threads import DaemonThreads
from . import contention, spinning_threads
from .budget import FOREVER, Budget
from .candidates import SHORT, Choice, Trial
from .concurrency_variants import Serialized
from .progress import Stages

# Seconds. For shorter predictions, the variants perform alike, or one prediction ends before the next starts.
SHORT_PREDICTION = 200e-6
_ROUNDS = 7
_MIN_SECONDS = 0.2  # for each variant in a round
_MIN_PREDICTIONS = 3  # for each caller in a round
_TIME_LIMIT = 20.0  # seconds after which no further round starts
# Candidates within this factor of the lowest latency are also compared by throughput.
_NEAR = 1.05

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class ConcurrencyChoice:
    """The chosen candidate and its settings under load."""

    best: Trial
    """The chosen candidate, throughput considered."""
    settings: tuple[Settings, ...] = ()
    compiled: Mapping[Settings, Compiled] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()


def choose_concurrency(
    choice: Choice, sources: Mapping[str, bytes | Path], inputs: Callable[[], list[Arrays]], strategy: str,
    stages: Stages, multithreaded: bool = False, budget: Budget | None = None, expected: float | None = None,
) -> ConcurrencyChoice:  # fmt: skip
    """Choose settings for concurrent predictions, for the best candidate or another one with nearly its latency.

    `multithreaded` means that threads are known to help even a short prediction. `expected` are the seconds of a
    prediction that was not measured.
    """
    shortest = 0.0 if multithreaded else SHORT_PREDICTION
    best, cores = choice.best, cpu.cores()
    if cores < 2 or strategy in ("fast_load", "progressive"):
        return ConcurrencyChoice(best)
    budget = budget or Budget(math.inf, stages)
    try:
        if strategy == "fast_prediction":
            with stages.stage("measure"):
                if _seconds(best, inputs, budget) < math.inf:
                    return _measure(choice, sources, inputs()[0], cores, stages, shortest)
        took = _seconds(best, inputs, budget) if best.seconds is not None or expected is None else expected
    except SpecializationCancelled:
        raise
    except PippinError:  # no sample inputs
        return ConcurrencyChoice(best)
    return ConcurrencyChoice(best, best.engine.concurrent_settings(best.settings, cores) if took >= shortest else ())


def _seconds(best: Trial, inputs: Callable[[], list[Arrays]], budget: Budget) -> float:
    """Latency of one prediction, infinite if there was no time for it; a single candidate was not measured before."""
    if best.unmeasured:
        return math.inf
    if best.seconds is not None:
        return best.seconds
    assert best.compiled is not None
    arrays, took = inputs()[0], 0.0
    try:
        while not took or took < SHORT:  # a first short run says little
            repeated, started = bool(took), time.perf_counter()
            budget.run(best.compiled, arrays)
            took = time.perf_counter() - started
            if repeated:
                break
    except PredictionCancelled:
        best.unmeasured = True
        return math.inf
    return took


@dataclass(frozen=True, slots=True)
class _Contender:
    """A candidate and its concurrent variants."""

    single: Trial
    variants: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The one with the highest throughput; on a tie the candidate itself, which needs no more memory."""
        return max((self.single, *self.variants), key=lambda trial: trial.throughput or 0.0)

    @property
    def score(self) -> float:
        """Throughput over latency squared: a loss in latency must be outweighed twice by throughput."""
        return (self.best.throughput or 0.0) / (self.single.seconds or 1.0) ** 2


def _measure(
    choice: Choice, sources: Mapping[str, bytes | Path], arrays: Arrays, cores: int, stages: Stages, shortest: float
) -> ConcurrencyChoice:
    fastest = _seconds(choice.best, lambda: [arrays], Budget(math.inf, stages))
    contenders = [
        _Contender(
            trial, _compile_variants(trial, sources[trial.engine.name], cores, stages) if fastest >= shortest else ()
        )
        for trial in choice.usable
        if trial is choice.best or (trial.seconds or math.inf) <= _NEAR * fastest
    ]
    variants = [variant for each in contenders for variant in each.variants]
    remaining = [each.single for each in contenders] + [variant for variant in variants if variant.compiled]
    others = [trial for trial in choice.usable if all(trial is not each.single for each in contenders)]
    _run_rounds(remaining, others, arrays, cores, stages, stoppable=fastest > SHORT)
    winner = max(contenders, key=lambda each: each.score)
    for each in contenders:
        _explain(each, winner)
    kept = _variants_to_keep(winner)
    compiled = {variant.settings: variant.compiled for variant in kept if variant.compiled is not None}
    for variant in variants:
        variant.compiled = None
    return ConcurrencyChoice(winner.single, tuple(variant.settings for variant in kept), compiled, tuple(variants))


def _compile_variants(trial: Trial, source: bytes | Path, cores: int, stages: Stages) -> tuple[Trial, ...]:
    """The serialized variant and the engine's concurrent settings, compiled; failures are noted."""
    assert trial.compiled is not None
    variants = [Trial(trial.engine, replace(trial.settings, streams=1), Serialized(trial.compiled))]
    for settings in trial.engine.concurrent_settings(trial.settings, cores):
        variant = Trial(trial.engine, settings)
        stages.report("measure", detail=f"{trial.engine.name}, {settings}")
        started = time.perf_counter()
        try:
            variant.compiled = trial.engine.compile(source, settings)
            variant.compilation = time.perf_counter() - started
        except EngineError as error:
            variant.note = str(error)
        variants.append(variant)
    return tuple(variants)


def _run_rounds(
    trials: list[Trial], others: list[Trial], arrays: Arrays, callers: int, stages: Stages, stoppable: bool
) -> None:
    """Measure throughput in interleaved rounds, dropping slow trials early. `others` cannot win and run once."""
    rates: dict[int, list[float]] = {id(trial): [] for trial in [*trials, *others]}
    remaining, previous = [*trials, *others], max(trials, key=lambda trial: trial.engine.spins)
    started = time.perf_counter()
    for number in range(_ROUNDS):
        if time.perf_counter() - started > _TIME_LIMIT:
            break
        contention.wait_until_uncontended(
            started + contention.MAX_WAIT, lambda: stages.report("measure", detail=contention.WAITING_MESSAGE)
        )
        for trial in remaining:
            stages.report(
                "measure", detail=f"{trial.engine.name}, {trial.settings}, under load", share=number / _ROUNDS
            )
            if previous.engine.spins and previous.engine is not trial.engine:
                spinning_threads.wait_until_idle()
            previous = trial
            with stages.stoppable(FOREVER) as stop:
                rates[id(trial)].append(measure_throughput(trial, arrays, callers, stop if stoppable else None))
            stages.check()
        most = max(max(rates[id(trial)]) for trial in trials)
        remaining = [
            trial for trial in trials if max(rates[id(trial)]) * contention.elimination_factor(number + 1) > most
        ]
    for trial in [*trials, *others]:
        trial.throughput = contention.typical_rate(rates[id(trial)])


def measure_throughput(trial: Trial, arrays: Arrays, callers: int, stop: Stop | None = None) -> float:
    """Predictions per second from this number of threads.

    Only the time in which all threads are running counts, to fractions of a prediction: a thread's first prediction
    creates its stream, and a thread still running after the others is faster.
    """
    assert trial.compiled is not None
    run = trial.compiled.run if stop is None else partial(trial.compiled.run, stop=stop)
    ended: list[list[float]] = [[] for _ in range(callers)]
    ready, failed = Barrier(callers), Event()

    def call(times: list[float]) -> None:
        try:
            try:
                run(arrays)
            finally:
                ready.wait()
            started = now = time.perf_counter()
            while (now - started < _MIN_SECONDS or min(map(len, ended)) < _MIN_PREDICTIONS) and not failed.is_set():
                run(arrays)
                now = time.perf_counter()
                times.append(now)
        except BaseException:
            failed.set()  # stop the other callers
            raise

    list(DaemonThreads(callers, "pippin measure").map(call, ended))
    window = [max(times[0] for times in ended), min(times[-1] for times in ended)]
    counts = [np.ptp(np.interp(window, times, range(len(times)))) for times in ended]
    return float(sum(counts)) / (window[1] - window[0])


def _variants_to_keep(winner: _Contender) -> tuple[Trial, ...]:
    """The variants to keep: the best one and those with fewer streams."""
    if winner.best is winner.single:
        return ()
    if winner.best is winner.variants[0]:
        return winner.variants[:1]
    most = winner.best.settings.streams or 0
    return tuple(
        variant for variant in winner.variants[1:] if variant.compiled and (variant.settings.streams or 0) <= most
    )


def _explain(contender: _Contender, winner: _Contender) -> None:
    single = contender.single
    for variant in contender.variants:
        if variant.throughput is not None and single.throughput:
            chosen = "" if contender is winner and variant is winner.best else ", not chosen"
            times = variant.throughput / single.throughput
            variant.note = f"under load{chosen}: {times:.2f} times the throughput"
    if contender is not winner:
        single.note = (
            f"against {winner.single.engine.name}: {(single.seconds or 0) / (winner.single.seconds or 1):.2f} times "
            f"the latency, {(contender.best.throughput or 0) / (winner.best.throughput or 1):.2f} times the throughput"
        )
