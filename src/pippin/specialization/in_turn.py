"""In turn: tries the candidates of a large model one after another, so that only one of them is in memory.

Those of a small model are compiled together and timed in interleaved rounds (`candidates.py`). Here each is compiled,
checked, timed and freed before the next one; the best so far keeps its artifact, from which the winner is loaded.
Memory counts like time, at its fourth root: twice the memory must bring 1.2 times the speed.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..engines import Compiled
from ..errors import EngineError, PredictionCancelled, PredictionError
from ..support.memory import Resident, give_back, resident
from .budget import Budget
from .candidates import (
    Choice,
    _compile_one,
    _first_runs,
    _needs_check,
    _run,
    _timed_runs,
    cannot_run,
)
from .precision import MIN_DB_16_BIT, MIN_DB_FLOAT32, signal_to_noise
from .progress import Stages
from .reference import Reference, agreeing
from .trial import Trial

_ROUNDS = 3
_SECONDS = 2.0  # for the runs of all candidates, if that is enough for one of each
_MEMORY = 0.25  # exponent

Inputs = list[dict[str, np.ndarray]]


class PreparedVerify(Protocol):
    """Says why a candidate must not be chosen. What it is compared with is computed first, by itself."""

    def prepare(self, trial: Trial) -> None: ...

    def __call__(self, trial: Trial, trials: list[Trial]) -> str: ...


def choose_in_turn(
    trials: list[Trial], sources: Mapping[str, bytes | Path], inputs: Inputs, wanted: str, stages: Stages,
    outputs: list[str], folder: Path | None, verify: PreparedVerify | None, budget: Budget,
    reference: Callable[[], Reference | None], needless: Callable[[Trial, Sequence[Trial]], str],
) -> Choice:  # fmt: skip
    """Like `candidates.choose`. `needless` says why a candidate need not be tried after others have passed, or ""."""
    contest = _Contest(sources, inputs, wanted, stages, outputs, budget, reference, len(trials))
    for number, trial in enumerate(trials):
        trial.artifact = folder / f"candidate{number}" if folder else None
        trial.note = needless(trial, contest.passed)
        if not trial.note:
            stages.report("compile", detail=f"{trial.engine.name}, {trial.settings}", share=number / len(trials))
            contest.enter(trial)
    passed = contest.result()
    while passed:
        best = min(passed, key=contest.rank)
        if verify is not None:
            verify.prepare(best)
            give_back()
        best.compiled = contest.loaded(best)
        best.note = verify(best, trials) if verify is not None else ""
        if not best.note:
            return Choice(best, tuple(passed), tuple(trials))
        contest.free(best)
        passed.remove(best)
    raise cannot_run({trial.engine.name: trial.note for trial in trials})


def _memory(trial: Trial, before: Resident | None, after: Resident | None) -> int | None:
    """What it will hold once it is loaded from its artifact. Of a file that is repacked, the pages are let go."""
    if before is None or after is None:
        return None
    found = after.since(before)
    return found.total if trial.settings.shared else found.private


@dataclass(slots=True)
class _Contest:
    sources: Mapping[str, bytes | Path]
    inputs: Inputs
    wanted: str
    stages: Stages
    outputs: list[str]
    budget: Budget
    reference: Callable[[], Reference | None]
    count: int
    passed: list[Trial] = field(default_factory=list)
    stopped: list[Trial] = field(default_factory=list)
    """Those for which there was no time."""
    expected: Inputs = field(default_factory=list)
    """What the first float32 candidate computes."""
    known: list[Reference | None] = field(default_factory=list)

    def enter(self, trial: Trial) -> None:
        """Compile, check, time and free a candidate."""
        before = resident()
        with self.stages.stage("compile"):
            started = time.perf_counter()
            try:
                trial.compiled = _compile_one(trial, self.sources[trial.engine.name], self.stages)
            except EngineError as error:
                trial.note = str(error)
                return
            finally:
                self.budget.extend(time.perf_counter() - started)
            trial.compilation = time.perf_counter() - started
        passes = agreeing([trial], self._reference, self.outputs, self.stages, self.budget.comparison())
        if passes and self._timed(trial):
            trial.memory = _memory(trial, before, resident())
            self._keep(trial)
        self.free(trial)

    def free(self, trial: Trial) -> None:
        trial.compiled = None
        give_back()

    def rank(self, trial: Trial) -> tuple[bool, float, int]:
        seconds = math.inf if trial.seconds is None else trial.seconds
        return trial.settings.precision != self.wanted, seconds * (trial.memory or 1) ** _MEMORY, trial.engine.load_rank

    def result(self) -> list[Trial]:
        """The candidates that may be chosen; those without a time if no other is left."""
        if not self.passed:
            for trial in self.stopped:
                trial.note, trial.unmeasured = "", True
            return self.stopped
        return self.passed

    def loaded(self, trial: Trial) -> Compiled:
        """The candidate from its artifact, whose weights are mapped; compiled again if there is none."""
        if trial.artifact is not None:
            with suppress(EngineError):
                return trial.engine.load(trial.artifact, trial.settings)
            self._discard(trial)
        with self.stages.stage("compile"):
            return _compile_one(trial, self.sources[trial.engine.name], self.stages)

    def _reference(self) -> Reference | None:
        if not self.known:
            self.known.append(self.reference())
            give_back()
        return self.known[0]

    def _timed(self, trial: Trial) -> bool:
        with self.stages.stage("measure"):
            self.stages.report("measure", detail=f"{trial.engine.name}, {trial.settings}")
            try:
                started = time.perf_counter()
                left = _SECONDS / self.count
                first = _first_runs(trial, self.inputs[0], left, self.budget, 1 / self.count)
                if not self._accurate(trial, first):
                    return False
                for _ in range(_ROUNDS):
                    if time.perf_counter() - started < left:
                        _timed_runs(trial, self.inputs[0], self.budget)
            except PredictionCancelled as error:
                trial.note = str(error)
                self.stopped += [] if _needs_check(trial) else [trial]
            except PredictionError as error:
                trial.note = f"failed on sample inputs: {error}"
        return not trial.note

    def _accurate(self, trial: Trial, first: dict[str, np.ndarray]) -> bool:
        """Whether the results agree with those of the first float32 candidate; the note says why not."""
        if self.expected and not _needs_check(trial):
            return True
        found = [first, *(_run(trial, arrays, self.budget) for arrays in self.inputs[1:])]
        if not self.expected:
            self.expected = [] if _needs_check(trial) else found
            return True
        pairs = [signal_to_noise(right, own, self.outputs) for right, own in zip(self.expected, found, strict=True)]
        trial.noise = {name: min(pair[name] for pair in pairs) for name in self.outputs}
        name, worst = min(trial.noise.items(), key=lambda item: item[1], default=("", -np.inf))
        minimum = MIN_DB_16_BIT if self.wanted == "auto" else -np.inf
        minimum = MIN_DB_FLOAT32 if trial.settings.precision == "float32" else minimum
        if worst < minimum:
            trial.note = f"'{name}' has a signal-to-noise ratio of {worst:.1f} dB; {minimum:.0f} dB is required"
        return worst >= minimum

    def _keep(self, trial: Trial) -> None:
        """Write the artifact of the best so far, and remove that of the one before."""
        self.passed.append(trial)
        best = min(self.passed, key=self.rank)
        for other in self.passed:
            if other is not best:
                self._discard(other)
        if best is trial and trial.artifact is not None and trial.compiled is not None:
            with self.stages.stage("store"):
                try:
                    source = self.sources[trial.engine.name]
                    trial.engine.save(source, trial.compiled, trial.settings, trial.artifact)
                except (OSError, RuntimeError, EngineError):  # nothing is cached; the one to say so is the final save
                    self._discard(trial)

    def _discard(self, trial: Trial) -> None:
        if trial.artifact is not None:
            shutil.rmtree(trial.artifact, ignore_errors=True)
            trial.artifact = None
