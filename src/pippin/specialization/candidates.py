"""Candidates: the ways to run a model on one device, tried on the real graph, so that the best is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..devices import cpu
from ..engines import Compiled, Engine, Settings
from ..errors import EngineError, PippinError, PredictionError, UnsupportedOperationError
from . import contention, settling
from .compute_plan import Candidate
from .precision import ENOUGH, EXACT, signal_to_noise
from .progress import Stages

# Candidates this near to the fastest are level: then the one stands that loads faster.
_LEVEL = {"default": 0.10, "fast_prediction": 0.01, "fast_load": 0.10}
_LONGEST = 2.0  # seconds of measuring with the default strategy, and no longer than the compilation took
_ROUNDS = {"default": 5, "fast_prediction": 20}
_IN_A_ROW = 5
_SHORT = 0.02  # seconds; a longer prediction is run once in a row

Inputs = list[dict[str, np.ndarray]]


@dataclass(slots=True)
class Trial:
    engine: Engine
    settings: Settings
    compiled: Compiled | None = None
    compilation: float | None = None
    times: list[float] = field(default_factory=list)
    throughput: float | None = None
    artifact: Path | None = None
    """The folder that its engine may write into."""
    noise: dict[str, float] = field(default_factory=dict)
    note: str = ""
    unmeasured: bool = False
    """There was no time to run it."""

    @property
    def seconds(self) -> float | None:
        return contention.typical(self.times) if self.times else None

    def described(self) -> Candidate:
        s = self.settings
        return Candidate(
            self.engine.name, s.device, s.precision, s.threads, self.seconds, self.throughput, self.compilation,
            {name: min(value, 999.0) for name, value in self.noise.items()}, self.note, s.streams,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    best: Trial
    usable: tuple[Trial, ...]
    """Those that compute well enough, the best among them."""
    tried: tuple[Trial, ...]


def candidates(engines: list[Engine], device: str, threads: int | None, sixteen: str, thorough: bool) -> list[Trial]:
    """The rows to try. `sixteen` is "auto" for what engines are fast in, a precision to be used, or "" for float32."""
    rows = []
    for engine in engines:
        offered = engine.precisions(device) if sixteen else ()
        precisions = ["float32", *(p for p in offered if sixteen in ("auto", p))]
        counts = [threads]
        if thorough and threads is None and cpu.cores() > 1:
            counts += [1] if cpu.cores() == 2 else [1, cpu.cores() // 2]
        rows += [Trial(engine, Settings(device, p, n)) for p in precisions for n in counts]
    return rows


def choose(
    rows: list[Trial], sources: Mapping[str, bytes | Path], inputs: Callable[[], Inputs], strategy: str, wanted: str,
    stages: Stages, outputs: list[str], folder: Path | None = None,
) -> Choice:  # fmt: skip
    """Compile and time the rows, and choose. `sources` are what each engine reads, by its name. `wanted` is the
    precision that was asked for; "auto": what keeps 40 dB.

    `folder` is where artifacts may be written, those of each row in a folder of their own. Raises
    UnsupportedOperationError, with every engine's reason, where no row can be compiled.
    """
    for number, row in enumerate(rows):
        row.artifact = folder / f"candidate{number}" if folder else None
    _compile(rows, sources, strategy, stages)
    usable = [row for row in rows if row.compiled is not None]
    if not usable:
        raise cannot_run({row.engine.name: row.note for row in rows})
    if len(usable) > 1 and strategy != "fast_load":
        compilation = stages.seconds["compile"]
        allowed = np.inf if strategy == "fast_prediction" else min(compilation, _LONGEST)
        with stages.stage("measure"):
            try:
                usable = _measured(usable, inputs(), wanted, outputs, _ROUNDS[strategy], allowed, stages)
            except PippinError as error:  # no inputs can be made up
                for row in usable:
                    row.note = f"not measured: {error}"
                usable = [row for row in usable if not _checked(row) or row.settings.precision == wanted]
    return Choice(_best(usable, _LEVEL[strategy]), tuple(usable), tuple(rows))


def settle(choice: Choice, best: Trial, strategy: str) -> None:
    """Let go of what was not chosen in the end, and note why."""
    for row in choice.tried:
        if row is not best:
            row.note = row.note or _why(row, best, _LEVEL[strategy])
            row.compiled = None


def cannot_run(reasons: Mapping[str, str]) -> UnsupportedOperationError:
    """The error for a model that each engine refuses."""
    lines = [f"{name}: {reason}" for name, reason in reasons.items()]
    return UnsupportedOperationError("\n  ".join(["no engine can run this model", *lines]))


def _compile(rows: list[Trial], sources: Mapping[str, bytes | Path], strategy: str, stages: Stages) -> None:
    """Compile the rows side by side; for a fast load one after the other, until one is there."""

    def compile_one(row: Trial) -> None:
        started = time.perf_counter()
        try:
            row.compiled = _compiled(row, sources[row.engine.name])
            row.compilation = time.perf_counter() - started
        except EngineError as error:
            row.note = str(error)

    with stages.stage("compile"):
        stages.tell("compile", detail=", ".join(dict.fromkeys(row.engine.name for row in rows)))
        if strategy != "fast_load":
            with ThreadPoolExecutor(min(len(rows), cpu.cores())) as pool:
                for number, _ in enumerate(pool.map(compile_one, rows)):
                    stages.tell("compile", detail=f"{rows[number].engine.name} is done", share=(number + 1) / len(rows))
            return
        for number, row in enumerate(rows):
            compile_one(row)
            if row.compiled is not None:
                for other in rows[number + 1 :]:
                    other.note = "not tried: the load was to be fast"
                return


def _compiled(row: Trial, source: bytes | Path) -> Compiled:
    """Compile, writing the artifact meanwhile where the disk takes it."""
    if row.artifact is not None:
        try:
            row.artifact.mkdir(mode=0o700)
            return row.engine.compile(source, row.settings, row.artifact)
        except (OSError, EngineError):
            row.artifact = None  # and once more without: whether it was the disk cannot be told
    return row.engine.compile(source, row.settings)


def _checked(row: Trial) -> bool:
    """Whether its results are compared before they are believed."""
    return row.settings.precision != "float32" or row.engine.thorough


def _measured(
    rows: list[Trial], inputs: Inputs, wanted: str, outputs: list[str], rounds: int, allowed: float, stages: Stages
) -> list[Trial]:
    """Run the rows; those that can be chosen. Their times are noted, those that cannot get a note.

    A first sweep runs each row a few times, the engines whose threads go on spinning last, so that nobody is
    measured beside them. Rounds of all rows follow, where there is time for them. Where one run takes as long as all
    may, an engine that would compute the same is not run.
    """
    started = time.perf_counter()
    ran: list[tuple[Trial, dict[str, np.ndarray]]] = []
    for row in sorted(rows, key=lambda row: row.engine.spins):
        shortest = min((min(other.times) for other, _ in ran), default=0.0)
        if not _checked(row) and time.perf_counter() - started + shortest > allowed:
            row.unmeasured = True
            continue
        stages.tell("measure", detail=f"{row.engine.name}, {row.settings}")
        try:
            part = started + allowed * (len(ran) + 1) / len(rows)
            ran.append((row, _first_runs(row, inputs[0], part - time.perf_counter())))
        except PredictionError as error:
            row.note = f"failed on made-up inputs: {error}"
    if not ran:
        return [row for row in rows if not _checked(row)] or rows
    kept = _precise(ran, inputs[1:], wanted, outputs)
    _race(kept, inputs[0], rounds, allowed - (time.perf_counter() - started), stages)
    return kept + [row for row in rows if row.unmeasured]


def _first_runs(row: Trial, arrays: dict[str, np.ndarray], left: float) -> dict[str, np.ndarray]:
    """The first run takes memory and does not count, unless it is long and no time is left for another one."""
    started = time.perf_counter()
    results = _run(row, arrays)
    took = time.perf_counter() - started
    if took > _SHORT and 2 * took > left:
        row.times.append(took)
    elif took > _SHORT:
        _timed(row, arrays)
    else:
        _in_a_row(row, arrays)
    return results


def _in_a_row(row: Trial, arrays: dict[str, np.ndarray]) -> None:
    for _ in range(_IN_A_ROW):
        _timed(row, arrays)
        if row.times[-1] > _SHORT:
            break


def _precise(
    ran: list[tuple[Trial, dict[str, np.ndarray]]], inputs: Inputs, wanted: str, outputs: list[str]
) -> list[Trial]:
    """The rows that compute well enough, on the inputs that they ran on and on some more."""
    reference = next(((row, results) for row, results in ran if not _checked(row)), None)
    if reference is None or not any(_checked(row) for row, _ in ran):
        return [row for row, _ in ran]
    expected = [reference[1], *(_run(reference[0], arrays) for arrays in inputs)]
    kept = []
    for row, results in ran:
        if _checked(row):
            found = [results, *(_run(row, arrays) for arrays in inputs)]
            pairs = [signal_to_noise(right, own, outputs) for right, own in zip(expected, found, strict=True)]
            row.noise = {name: min(pair[name] for pair in pairs) for name in outputs}
            name, worst = min(row.noise.items(), key=lambda item: item[1], default=("", -np.inf))
            enough = EXACT if row.settings.precision == "float32" else ENOUGH if wanted == "auto" else -np.inf
            if worst < enough:
                row.note = f"'{name}' keeps {worst:.1f} dB over the noise; {enough:.0f} are needed"
                continue
        kept.append(row)
    return [row for row in kept if row.settings.precision == wanted] or kept


def _race(rows: list[Trial], arrays: dict[str, np.ndarray], rounds: int, allowed: float, stages: Stages) -> None:
    """Rounds of runs of those that are near the fastest, as long as there is time for a whole round and more than one
    to compare.

    The runs of one row in a round stand together, after a pause where another engine's threads spin, and the first of
    them does not count.
    """
    racing, before_it = rows, max(rows, key=lambda row: row.engine.spins)
    started = time.perf_counter()
    patience = contention.PATIENCE if math.isinf(allowed) else 0.0
    for number in range(rounds):
        left = allowed - (time.perf_counter() - started)
        racing = _within(racing, contention.far_behind(number))
        if _a_round(racing) > left:
            racing = _within(racing, contention.FAR_BEHIND)
        if _a_round(racing) > left or (len(racing) == 1 and contention.settled(racing[0].times)):
            break
        contention.wait(started + patience, lambda: stages.tell("measure", detail=contention.BUSY))
        if number == 0:
            for row in racing:
                row.times.clear() if min(row.times) > _SHORT else None  # what its first run took
        for row in racing:
            stages.tell("measure", detail=f"{row.engine.name}, {row.settings}", share=number / rounds)
            if before_it.engine.spins and before_it.engine is not row.engine:
                settling.wait()
            before_it = row
            _run(row, arrays)
            _in_a_row(row, arrays)


def _within(rows: list[Trial], times: float) -> list[Trial]:
    """Those that took less than so many times as long as the fastest."""
    fastest = min(min(row.times) for row in rows)
    return [row for row in rows if min(row.times) < times * fastest]


def _a_round(rows: list[Trial]) -> float:
    """About how many seconds a round of these takes."""
    return sum(settling.USUAL + min(row.times) * (_IN_A_ROW if row.times[-1] < _SHORT else 2) for row in rows)


def _run(row: Trial, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    assert row.compiled is not None
    return row.compiled.run(arrays)


def _timed(row: Trial, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    started = time.perf_counter()
    results = _run(row, arrays)
    row.times.append(time.perf_counter() - started)
    return results


def _best(rows: list[Trial], level: float) -> Trial:
    measured = [row for row in rows if row.seconds is not None]
    if not measured:
        return rows[0]
    fastest = min(row.seconds or 0.0 for row in measured)
    near = [row for row in measured if (row.seconds or 0.0) <= fastest * (1 + level)]
    # An engine that there was no time to run, and that computes the same, counts as level with the fastest.
    same = {row.settings.precision for row in near}
    near += [row for row in rows if row.unmeasured and {row.settings.precision} == same]
    return min(near, key=lambda row: (row.engine.load_rank, row.compilation or 0.0))


def _why(row: Trial, best: Trial, level: float) -> str:
    if row.unmeasured or best.unmeasured:
        return f"one run takes as long as all may; {best.engine.name} loads faster, or computes faster"
    if row.seconds is None or best.seconds is None:
        return "another engine comes first"
    if row.seconds <= best.seconds * (1 + level):
        return f"level with {best.engine.name}, which loads faster"
    return f"{row.seconds / best.seconds:.2f} times as long as {best.engine.name} {best.settings.precision}"
