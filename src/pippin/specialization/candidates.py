"""Candidates: compiles and times a model with each engine and settings for a device, and chooses the best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..devices import cpu
from ..engines import Compiled, Engine, FloatPrecision, Settings, python_engine
from ..errors import (
    CompilationError,
    EngineError,
    PippinError,
    PredictionCancelled,
    PredictionError,
    SpecializationCancelled,
    UnsupportedOperationError,
)
from ..support.daemon_threads import DaemonThreads
from . import contention, spinning_threads
from .budget import FOREVER, Budget
from .precision import MIN_DB_16_BIT, MIN_DB_FLOAT32, signal_to_noise
from .progress import Stages
from .prospects import Prospects, estimated, has_room, left_out, to_compare_with, waves
from .ranking import best_of as _best
from .ranking import reason as _reason
from .reference import Reference, agreeing
from .trial import Trial as Trial

# Candidates within this fraction of the fastest are tied; of those, the one that loads faster wins.
_TOLERANCE = {"default": 0.10, "fast_prediction": 0.01, "fast_load": 0.10, "progressive": 0.10}
_TIME_LIMIT = 2.0  # seconds of measuring with the default strategy; a share of the compilation time if that is shorter
_TIME_SHARE = 0.4
_UNFORESEEN = 4.0  # seconds in which each candidate is run once if its time cannot be estimated
_PATIENCE = 10.0  # times the compilation time that a specialization nobody waits for waits for an idle moment
_ROUNDS = {"default": 5, "fast_prediction": 20}
_RUNS_PER_ROUND = 5
SHORT = 0.02  # seconds; longer predictions are timed once per round
# Seconds for compiling a graph with a loop without a bound: OpenVINO computes one of constants, which may never end.
_UNBOUNDED_COMPILATION = 60.0

NO_ENGINE = "no engine can run this model"
LATER = "not tried yet"

Inputs = list[dict[str, np.ndarray]]


Verify = Callable[[Trial, list[Trial]], str]
"""(candidate, all candidates) -> why it must not be chosen, or ""."""


@dataclass(frozen=True, slots=True)
class Choice:
    best: Trial
    usable: tuple[Trial, ...]
    """Candidates that are accurate enough, including `best`."""
    trials: tuple[Trial, ...]
    untried: tuple[str, ...] = ()
    """What a progressive specialization has still to try."""


def candidates(
    engines: list[Engine], device: str, threads: int | None, sixteen_bit: str, thorough: bool, unbounded: bool = False
) -> list[Trial]:
    """The candidates to try.

    `sixteen_bit` is "auto" for the 16-bit precisions an engine is fast in, one precision by name, or "" for float32.
    """
    trials = []
    for engine in engines:
        offered = _offered(engine, device, sixteen_bit)
        precisions = ["float32", *(p for p in offered if sixteen_bit in ("auto", p))]
        counts = [threads]
        if thorough and threads is None and cpu.cores() > 1:
            counts += [1] if cpu.cores() == 2 else [1, cpu.cores() // 2]
        trials += [Trial(engine, Settings(device, p, n, unbounded=unbounded)) for p in precisions for n in counts]
    return trials


def _offered(engine: Engine, device: str, wanted: str) -> tuple[FloatPrecision, ...]:
    """The precisions of an engine, besides float32, from which the wanted one is taken."""
    if wanted == "dynamic_int8":
        return ("dynamic_int8",) if engine.quantizes and device == "cpu" else ()
    return engine.precisions(device) if wanted else ()


def choose(
    trials: list[Trial], sources: Mapping[str, bytes | Path], inputs: Callable[[], Inputs], strategy: str, wanted: str,
    stages: Stages, outputs: list[str], folder: Path | None = None, verify: Verify | None = None,
    budget: Budget | None = None, reference: Callable[[], Reference | None] = lambda: None,
    prospects: Callable[[], Prospects | None] = lambda: None,
) -> Choice:  # fmt: skip
    """Compile and time the candidates, and choose the best. `sources` maps engine names to the model they read.
    `wanted` is the requested precision; "auto" allows any that keeps 40 dB. `verify` says why one must not be chosen;
    `reference` is what they must agree with, `prospects` what is expected of them.

    Artifacts are written below `folder`, one folder per candidate. Raises UnsupportedOperationError with every
    engine's reason if no candidate compiles and agrees.
    """
    for number, trial in enumerate(trials):
        trial.artifact = folder / f"candidate{number}" if folder else None
    if strategy == "progressive":
        return _first_to_pass(trials, sources, outputs, stages, budget or Budget(math.inf, stages), reference, verify)
    budget = budget or Budget(math.inf, stages)
    usable: list[Trial] = []
    for wave in waves(trials, prospects()) if strategy == "default" else [trials]:
        best = _best(usable, _TOLERANCE[strategy]) if usable else None
        wave = [trial for trial in wave if trial.compilation is None and not trial.note]  # not compiled before its turn
        room = has_room(wave, usable, best, prospects() if best else None)
        for trial in wave:
            trial.note = "" if trial in room else left_out(trial, best, prospects())
        if not room:
            continue
        _compile_all(room, sources, strategy, stages)
        compiled = [trial for trial in room if trial.compiled is not None]
        usable += agreeing(compiled, reference, outputs, stages, budget.comparison())
        partners = to_compare_with(usable, trials)
        if partners:
            _compile_all(partners, sources, strategy, stages)
            usable += [trial for trial in partners if trial.compiled is not None]
        if len(usable) > 1 and strategy != "fast_load":
            usable = _timed(usable, inputs, strategy, wanted, outputs, stages, budget, prospects)
        if verify is not None and strategy != "fast_load":
            usable = _verified(usable, trials, verify, strategy)
    if not usable:
        raise cannot_run({trial.engine.name: trial.note for trial in trials})
    return Choice(_best(usable, _TOLERANCE[strategy]), tuple(usable), tuple(trials))


def _timed(
    usable: list[Trial], inputs: Callable[[], Inputs], strategy: str, wanted: str, outputs: list[str], stages: Stages,
    budget: Budget, prospects: Callable[[], Prospects | None],
) -> list[Trial]:  # fmt: skip
    """Time the candidates. Returns those that are accurate."""
    time_limit = np.inf if strategy == "fast_prediction" else _TIME_LIMIT
    if strategy == "default" and not stages.patient:
        time_limit = min(_TIME_SHARE * stages.seconds["compile"], _TIME_LIMIT)
    with stages.stage("measure"):
        try:
            rounds, foreseen = _ROUNDS[strategy], prospects() is not None
            usable = _measure(usable, inputs(), wanted, outputs, rounds, time_limit, stages, budget, foreseen)
        except SpecializationCancelled:
            raise
        except PippinError as error:  # no sample inputs
            for trial in usable:
                trial.note = f"not measured: {error}"
            return [trial for trial in usable if not _needs_check(trial) or trial.settings.precision == wanted]
    measured = [trial for trial in usable if trial.seconds is not None and trial.settings.precision == "float32"]
    for trial in usable:
        if trial.unmeasured and measured and trial.settings.precision == "float32":
            trial.estimated = estimated(trial, min(measured, key=lambda other: other.seconds or 0.0), prospects())
    return usable


def _first_to_pass(
    trials: list[Trial], sources: Mapping[str, bytes | Path], outputs: list[str], stages: Stages, budget: Budget,
    reference: Callable[[], Reference | None], verify: Verify | None,
) -> Choice:  # fmt: skip
    """The first candidate that compiles and agrees; those behind it are left for later."""
    for number, trial in enumerate(trials):
        with stages.stage("compile"):
            stages.report("compile", detail=trial.engine.name)
            _compile_trial(trial, sources, stages)
        if trial.compiled is None or not agreeing([trial], reference, outputs, stages, budget.comparison()):
            continue
        trial.note = verify(trial, trials) if verify is not None else ""
        if not trial.note:
            for other in trials[number + 1 :]:
                other.note = LATER
            return Choice(trial, (trial,), tuple(trials))
    raise cannot_run({trial.engine.name: trial.note for trial in trials})


def _verified(usable: list[Trial], trials: list[Trial], verify: Verify, strategy: str) -> list[Trial]:
    """Drop the best while it does not pass; with "fast_prediction" all, since another may be chosen for throughput.
    Empty if none passes."""
    usable = list(usable)
    passed: list[Trial] = []
    while usable:
        best = _best(usable, _TOLERANCE[strategy])
        best.note = verify(best, trials)
        usable.remove(best)
        if not best.note:
            passed.append(best)
            if strategy != "fast_prediction":
                return passed + usable
    return passed


def discard_losers(choice: Choice, best: Trial, strategy: str) -> None:
    """Release the compiled models of all candidates but `best`, and note why they were not chosen."""
    for trial in choice.trials:
        if trial is not best:
            trial.note = trial.note or _reason(trial, best, _TOLERANCE[strategy])
            trial.compiled = None


def cannot_run(reasons: Mapping[str, str]) -> UnsupportedOperationError:
    """The error for a model that every engine declines, with their reasons."""
    lines = [f"{name}: {reason}" for name, reason in reasons.items()]
    return UnsupportedOperationError("\n  ".join([NO_ENGINE, *lines]))


def _compile_all(trials: list[Trial], sources: Mapping[str, bytes | Path], strategy: str, stages: Stages) -> None:
    """Compile all candidates concurrently; with "fast_load", one after another until one succeeds."""

    def compile_trial(trial: Trial) -> None:
        _compile_trial(trial, sources, stages)

    with stages.stage("compile"):
        stages.report("compile", detail=", ".join(dict.fromkeys(trial.engine.name for trial in trials)))
        if strategy != "fast_load":
            pool = DaemonThreads(min(len(trials), cpu.cores()), "pippin compile")
            with closing(pool.map(compile_trial, trials)) as compiled:
                for number, _ in enumerate(compiled):
                    stages.report(
                        "compile", detail=f"{trials[number].engine.name} finished", share=(number + 1) / len(trials)
                    )
            return
        for number, trial in enumerate(trials):
            compile_trial(trial)
            stages.check()
            if trial.compiled is not None:
                for other in trials[number + 1 :]:
                    other.note = "not tried: the strategy is fast_load"
                return


def _compile_trial(trial: Trial, sources: Mapping[str, bytes | Path], stages: Stages) -> None:
    started = time.perf_counter()
    try:
        trial.compiled = _compile_one(trial, sources[trial.engine.name], stages)
        trial.compilation = time.perf_counter() - started
    except EngineError as error:
        trial.note = str(error)


def _compile_one(trial: Trial, source: bytes | Path, stages: Stages) -> Compiled:
    """Compile and write the artifact; if that fails, retry without an artifact."""
    endless = trial.settings.unbounded and not trial.engine.stops_in_loops
    if (stages.compile_in_child or endless) and trial.engine is not python_engine():
        return _compile_in_child(trial, source, stages, _UNBOUNDED_COMPILATION if endless else FOREVER)
    if trial.artifact is not None:
        try:
            trial.artifact.mkdir(mode=0o700)
            return trial.engine.compile(source, trial.settings, trial.artifact)
        except (OSError, EngineError):
            trial.artifact = None  # the cause may have been the disk
    return trial.engine.compile(source, trial.settings)


def _compile_in_child(trial: Trial, source: bytes | Path, stages: Stages, seconds: float) -> Compiled:
    from ..engines.child import compile_in_child

    if trial.artifact is not None:
        try:
            trial.artifact.mkdir(mode=0o700)
        except OSError:
            trial.artifact = None
    with stages.stoppable(seconds) as stop:
        try:
            compiled: Compiled = compile_in_child(trial.engine, source, trial.settings, trial.artifact, stop)
        except PredictionCancelled:
            raise CompilationError(f"{trial.engine.name} did not compile the model within {seconds:g} s") from None
    return compiled


def _needs_check(trial: Trial) -> bool:
    """Whether its results must be compared with a reference run."""
    return trial.settings.precision != "float32" or trial.engine.thorough


def _measure(
    trials: list[Trial], inputs: Inputs, wanted: str, outputs: list[str], rounds: int, time_limit: float,
    stages: Stages, budget: Budget | None = None, foreseen: bool = True,
) -> list[Trial]:  # fmt: skip
    """Time the candidates and return the accurate ones; the others get a note.

    A first sweep runs each candidate a few times, engines with spinning threads last so that they disturb no other
    measurement. Further rounds follow while time is left. If one run would use up the time limit, engines that would
    compute the same result are not run, if their times are `foreseen`. A run that exceeds its share of the budget is
    stopped.
    """
    started = time.perf_counter()
    budget = budget or Budget(math.inf, stages)
    for trial in trials:
        trial.unmeasured, trial.estimated = False, None
    checked = any(map(_needs_check, trials))  # against one that needs no check, which is run however long it takes
    sweep_limit = time_limit if foreseen else max(time_limit, _UNFORESEEN)
    ran: list[tuple[Trial, dict[str, np.ndarray]]] = []
    stopped: list[Trial] = []
    for number, trial in enumerate(sorted(trials, key=lambda trial: trial.engine.spins)):
        shortest = min((min(other.times) for other, _ in ran), default=0.0)
        comparable = not checked or any(not _needs_check(other) for other, _ in ran)
        late = time.perf_counter() - started + shortest > sweep_limit
        if late and comparable and not _needs_check(trial):
            trial.unmeasured = True
            continue
        stages.report("measure", detail=f"{trial.engine.name}, {trial.settings}")
        try:
            deadline = started + time_limit * (len(ran) + 1) / len(trials)
            share = 1 / (len(trials) - number)
            ran.append((trial, _first_runs(trial, inputs[0], deadline - time.perf_counter(), budget, share)))
        except PredictionCancelled as error:
            trial.note = str(error)
            stopped.append(trial)
        except PredictionError as error:
            trial.note = f"failed on sample inputs: {error}"
    if not ran:
        for trial in stopped:
            trial.note, trial.unmeasured = "", True
        return [trial for trial in trials if not _needs_check(trial)] or trials
    try:
        kept = _accurate(ran, inputs[1:], wanted, outputs, budget)
    except PredictionCancelled:
        kept = [trial for trial, _ in ran if not _needs_check(trial)] or [trial for trial, _ in ran]
    if not kept:
        for trial in stopped:
            trial.note, trial.unmeasured = "", True
        return [trial for trial in stopped if not _needs_check(trial)]
    with suppress(PredictionCancelled):  # what was measured by then counts
        left = min(time_limit - (time.perf_counter() - started), budget.left)
        _run_rounds(kept, inputs[0], rounds, left, stages, budget)
    return kept + [trial for trial in trials if trial.unmeasured]


def _first_runs(
    trial: Trial, arrays: dict[str, np.ndarray], left: float, budget: Budget, share: float
) -> dict[str, np.ndarray]:
    """A warm-up run, which allocates memory, then timed runs. Without time for a second run, the first one counts."""
    started = time.perf_counter()
    results = _run(trial, arrays, budget, share)
    took = time.perf_counter() - started
    trial.short = took <= SHORT
    if not trial.short and 2 * took > left:
        trial.times.append(took)
    elif not trial.short:
        _timed_run(trial, arrays, budget)
    else:
        _timed_runs(trial, arrays, budget)
    return results


def _timed_runs(trial: Trial, arrays: dict[str, np.ndarray], budget: Budget) -> None:
    for _ in range(_RUNS_PER_ROUND):
        _timed_run(trial, arrays, budget)
        if trial.times[-1] > SHORT:
            break


def _accurate(
    ran: list[tuple[Trial, dict[str, np.ndarray]]], inputs: Inputs, wanted: str, outputs: list[str], budget: Budget
) -> list[Trial]:
    """The candidates whose results are accurate, on the inputs already run and on further ones."""
    reference = next(((trial, results) for trial, results in ran if not _needs_check(trial)), None)
    if reference is None and wanted == "auto":
        for trial, _ in ran:
            trial.note = "" if trial.settings.precision == "float32" else "no float32 run to compare it with"
        return [trial for trial, _ in ran if not trial.note]
    if reference is None or not any(_needs_check(trial) for trial, _ in ran):
        return [trial for trial, _ in ran]
    expected = [reference[1], *(_run(reference[0], arrays, budget) for arrays in inputs)]
    minimum_16_bit = MIN_DB_16_BIT if wanted == "auto" else -np.inf
    kept = []
    for trial, results in ran:
        if _needs_check(trial):
            found = [results, *(_run(trial, arrays, budget) for arrays in inputs)]
            pairs = [signal_to_noise(right, own, outputs) for right, own in zip(expected, found, strict=True)]
            trial.noise = {name: min(pair[name] for pair in pairs) for name in outputs}
            name, worst = min(trial.noise.items(), key=lambda item: item[1], default=("", -np.inf))
            minimum = MIN_DB_FLOAT32 if trial.settings.precision == "float32" else minimum_16_bit
            if worst < minimum:
                trial.note = f"'{name}' has a signal-to-noise ratio of {worst:.1f} dB; {minimum:.0f} dB is required"
                continue
        kept.append(trial)
    return [trial for trial in kept if trial.settings.precision == wanted] or kept


def _run_rounds(
    trials: list[Trial], arrays: dict[str, np.ndarray], rounds: int, time_limit: float, stages: Stages, budget: Budget
) -> None:
    """Time the candidates near the fastest in rounds, while there is time for a full round and more than one is left.

    Within a round, each candidate's runs are consecutive: wait for another engine's threads to stop spinning, then one
    warm-up run, then timed runs.
    """
    remaining, previous = trials, max(trials, key=lambda trial: trial.engine.spins)
    started = time.perf_counter()
    max_wait = contention.MAX_WAIT if math.isinf(time_limit) else 0.0
    if stages.patient:
        max_wait = min(contention.MAX_WAIT, _PATIENCE * stages.seconds.get("compile", 0.0))
    for number in range(rounds):
        left = time_limit - (time.perf_counter() - started)
        remaining = _within(remaining, contention.elimination_factor(number))
        if _round_seconds(remaining) > left:
            remaining = _within(remaining, contention.ELIMINATION_FACTOR)
        if _round_seconds(remaining) > left or (len(remaining) == 1 and contention.is_stable(remaining[0].times)):
            break
        contention.wait_until_uncontended(
            started + max_wait, lambda: stages.report("measure", detail=contention.WAITING_MESSAGE)
        )
        if number == 0:
            for trial in remaining:
                trial.times.clear() if min(trial.times) > SHORT else None  # drop the first sweep
        for trial in remaining:
            stages.report("measure", detail=f"{trial.engine.name}, {trial.settings}", share=number / rounds)
            if previous.engine.spins and previous.engine is not trial.engine:
                spinning_threads.wait_until_idle()
            previous = trial
            _run(trial, arrays, budget)
            _timed_runs(trial, arrays, budget)


def _within(trials: list[Trial], factor: float) -> list[Trial]:
    """The candidates that take less than `factor` times as long as the fastest."""
    fastest = min(min(trial.times) for trial in trials)
    return [trial for trial in trials if min(trial.times) < factor * fastest]


def _round_seconds(trials: list[Trial]) -> float:
    """Estimated seconds for one round."""
    return sum(
        spinning_threads.TYPICAL_SECONDS + min(trial.times) * (_RUNS_PER_ROUND if trial.times[-1] < SHORT else 2)
        for trial in trials
    )


def _run(trial: Trial, arrays: Mapping[str, np.ndarray], budget: Budget, share: float = 1.0) -> dict[str, np.ndarray]:
    assert trial.compiled is not None
    return trial.compiled.run(arrays) if trial.short else budget.run(trial.compiled, arrays, share)


def _timed_run(trial: Trial, arrays: Mapping[str, np.ndarray], budget: Budget) -> dict[str, np.ndarray]:
    started = time.perf_counter()
    results = _run(trial, arrays, budget)
    trial.times.append(time.perf_counter() - started)
    return results
