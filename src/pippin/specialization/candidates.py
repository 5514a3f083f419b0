"""Candidates: the ways to run a model on one device, tried on the real graph, so that the best is kept."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..devices import cpu
from ..engines import Compiled, Engine, Settings
from ..errors import EngineError, PippinError, UnsupportedOperationError
from ..plan import Candidate
from .precision import ENOUGH, EXACT, signal_to_noise
from .progress import Stages

# Candidates this near to the fastest are level: then the one stands that loads faster.
_LEVEL = {"default": 0.10, "fast_prediction": 0.01, "fast_load": 0.10}
_LONGEST = 2.0  # seconds of measuring, with the default strategy
_OF_COMPILATION = 0.5  # the time of measuring, compared with that of all compilations
_ROUNDS = {"default": 5, "fast_prediction": 20}
_IN_A_ROW = 5
_SHORT = 0.02  # seconds; a longer prediction is run once in a row
_FAR_BEHIND = 1.3

Inputs = list[dict[str, np.ndarray]]


@dataclass(slots=True)
class Tried:
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

    @property
    def seconds(self) -> float | None:
        return statistics.median(self.times) if self.times else None

    def described(self) -> Candidate:
        s = self.settings
        return Candidate(
            self.engine.name, s.device, s.precision, s.threads, self.seconds, self.throughput, self.compilation,
            {name: min(value, 999.0) for name, value in self.noise.items()}, self.note,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    best: Tried
    tried: tuple[Tried, ...]


def candidates(engines: list[Engine], device: str, threads: int | None, sixteen: str, thorough: bool) -> list[Tried]:
    """The rows to try. `sixteen` is "auto" for what engines are fast in, a precision to be used, or "" for float32."""
    rows = []
    for engine in engines:
        offered = engine.precisions(device) if sixteen else ()
        precisions = ["float32", *(p for p in offered if sixteen in ("auto", p))]
        counts = [threads]
        if thorough and threads is None and cpu.cores() > 1:
            counts += [1] if cpu.cores() == 2 else [1, cpu.cores() // 2]
        rows += [Tried(engine, Settings(device, p, n)) for p in precisions for n in counts]
    return rows


def choose(
    rows: list[Tried], source: bytes | Path, inputs: Callable[[], Inputs], strategy: str, wanted: str, stages: Stages,
    outputs: list[str], folder: Path | None = None,
) -> Choice:  # fmt: skip
    """Compile and time the rows, and choose. `wanted` is the precision that was asked for; "auto": what keeps 40 dB.

    `folder` is where artifacts may be written, those of each row in a folder of their own. Raises
    UnsupportedOperationError, with every engine's reason, where no row can be compiled.
    """
    for number, row in enumerate(rows):
        row.artifact = folder / f"candidate{number}" if folder else None
    _compile(rows, source, strategy, stages)
    usable = [row for row in rows if row.compiled is not None]
    if not usable:
        raise cannot_run({row.engine.name: row.note for row in rows})
    if len(usable) > 1 and strategy != "fast_load":
        with stages.stage("measure"):
            try:
                made = inputs()
                usable = _precise(usable, made, wanted, outputs)
                _time(usable, made[0], strategy, sum(row.compilation or 0.0 for row in rows), stages)
            except PippinError as error:
                for row in usable:
                    row.note = row.note or f"not measured: {error}"
                usable = [row for row in usable if row.settings.precision == "float32" or wanted != "auto"]
    best = _best(usable, _LEVEL[strategy])
    for row in rows:
        if row is not best and not row.note:
            row.note = _why(row, best, _LEVEL[strategy])
        if row is not best:
            row.compiled = None
    return Choice(best, tuple(rows))


def cannot_run(reasons: Mapping[str, str]) -> UnsupportedOperationError:
    """The error for a model that each engine refuses."""
    lines = [f"{name}: {reason}" for name, reason in reasons.items()]
    return UnsupportedOperationError("\n  ".join(["no engine can run this model", *lines]))


def _compile(rows: list[Tried], source: bytes | Path, strategy: str, stages: Stages) -> None:
    with stages.stage("compile"):
        for number, row in enumerate(rows):
            stages.tell("compile", detail=f"{row.engine.name}, {row.settings}", share=number / len(rows))
            started = time.perf_counter()
            try:
                row.compiled = _compiled(row, source)
            except EngineError as error:
                row.note = str(error)
                continue
            row.compilation = time.perf_counter() - started
            if strategy == "fast_load":
                for other in rows[number + 1 :]:
                    other.note = "not tried: the load was to be fast"
                break


def _compiled(row: Tried, source: bytes | Path) -> Compiled:
    """Compile, writing the artifact meanwhile where the disk takes it."""
    if row.artifact is not None:
        try:
            row.artifact.mkdir(mode=0o700)
            return row.engine.compile(source, row.settings, row.artifact)
        except (OSError, EngineError):
            row.artifact = None  # and once more without: whether it was the disk cannot be told
    return row.engine.compile(source, row.settings)


def _precise(rows: list[Tried], inputs: Inputs, wanted: str, outputs: list[str]) -> list[Tried]:
    """The rows that compute well enough; the others get a note. What is run for that is timed, but for the first."""
    reference = next((row for row in rows if not _checked(row)), None)
    if reference is None or not any(map(_checked, rows)):
        return rows
    expected = [_run(reference, arrays, number > 0) for number, arrays in enumerate(inputs)]
    kept = []
    for row in rows:
        if _checked(row):
            for number, (arrays, right) in enumerate(zip(inputs, expected, strict=False)):
                found = _run(row, arrays, number > 0)
                for name, value in signal_to_noise(right, found, outputs).items():
                    row.noise[name] = min(value, row.noise.get(name, np.inf))
            name, worst = min(row.noise.items(), key=lambda item: item[1], default=("", -np.inf))
            enough = EXACT if row.settings.precision == "float32" else ENOUGH if wanted == "auto" else -np.inf
            if worst < enough:
                row.note = f"'{name}' keeps {worst:.1f} dB over the noise; {enough:.0f} are needed"
                continue
        kept.append(row)
    return [row for row in kept if row.settings.precision == wanted] or kept


def _checked(row: Tried) -> bool:
    """Whether its results are compared before they are believed."""
    return row.settings.precision != "float32" or row.engine.thorough


def _run(row: Tried, arrays: Mapping[str, np.ndarray], timed: bool) -> dict[str, np.ndarray]:
    assert row.compiled is not None
    started = time.perf_counter()
    found = row.compiled.run(arrays)
    if timed:
        row.times.append(time.perf_counter() - started)
    return found


def _time(rows: list[Tried], arrays: dict[str, np.ndarray], strategy: str, compilation: float, stages: Stages) -> None:
    """Rounds of runs of all rows, until the time is up; a row that is far behind drops out.

    The runs of one row in a round stand together, and the first of them does not count: the threads of an engine that
    has just run go on spinning for a while, and take the cores from another one's.
    """
    allowed = float("inf") if strategy == "fast_prediction" else min(_OF_COMPILATION * compilation, _LONGEST)
    started = time.perf_counter()
    racing, rounds = list(rows), _ROUNDS[strategy]
    for number in range(rounds):
        for row in racing:
            stages.tell("measure", detail=f"{row.engine.name}, {row.settings}", share=number / rounds)
            warm = bool(row.times) and number == 0
            first = time.perf_counter()
            _run(row, arrays, timed=warm)
            took = time.perf_counter() - first
            if not warm and number == 0 and took * 2 * len(rows) > allowed:
                row.times.append(took)  # there is no time for a second one
            elif not warm:
                for _ in range(1 if took > _SHORT else _IN_A_ROW):
                    _run(row, arrays, timed=True)
        fastest = min(min(row.times) for row in racing)
        racing = [row for row in racing if min(row.times) < _FAR_BEHIND * fastest]
        spent = time.perf_counter() - started
        if len(racing) == 1 or spent * (number + 2) / (number + 1) > allowed:
            break
    if strategy == "fast_prediction":
        for row in rows:
            row.throughput = _throughput(row, arrays)


def _throughput(row: Tried, arrays: dict[str, np.ndarray]) -> float:
    """Predictions in a second, one in flight on each core."""
    count = max(4, min(64, int(0.2 / max(row.seconds or 0.01, 1e-5))))
    with ThreadPoolExecutor(cpu.cores()) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: _run(row, arrays, False), range(count)))
        return count / (time.perf_counter() - started)


def _best(rows: list[Tried], level: float) -> Tried:
    measured = [row for row in rows if row.seconds is not None]
    if not measured:
        return rows[0]
    fastest = min(row.seconds or 0.0 for row in measured)
    near = [row for row in measured if (row.seconds or 0.0) <= fastest * (1 + level)]
    return min(near, key=lambda row: (row.engine.load_rank, row.compilation or 0.0))


def _why(row: Tried, best: Tried, level: float) -> str:
    if row.seconds is None or best.seconds is None:
        return "another engine comes first"
    if row.seconds <= best.seconds * (1 + level):
        return f"level with {best.engine.name}, which loads faster"
    return f"{row.seconds / best.seconds:.2f} times as long as {best.engine.name} {best.settings.precision}"
