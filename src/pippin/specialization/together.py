"""Together: in which form a model is computed while many predictions are under way.

Fast predictions measure it; with the default strategy a rule decides: a prediction that takes long enough for several
threads to help is computed by one thread each. `bench/in_flight.py` shows what that is worth.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..devices import cpu
from ..engines import Compiled, Settings
from ..errors import EngineError, PippinError
from .adaptive import OneAtATime
from .candidates import Tried
from .progress import Stages

# Seconds; the forms of a shorter prediction do not differ, or it is over before another one comes.
SHORT = 200e-6
_ROUNDS = 5
_AT_LEAST = 0.1  # seconds of a round
# What another form must gain: it takes memory of its own.
_GAIN = 1.03


@dataclass(frozen=True, slots=True)
class Together:
    settings: tuple[Settings, ...] = ()
    made: Mapping[Settings, Compiled] = field(default_factory=dict)
    tried: tuple[Tried, ...] = ()


def for_many(
    best: Tried, source: bytes | Path, inputs: Callable[[], list[dict[str, np.ndarray]]], strategy: str, stages: Stages
) -> Together:
    """The forms for many predictions at once of what was chosen for one."""
    cores = cpu.cores()
    if cores < 2 or strategy == "fast_load":
        return Together()
    if best.unmeasured:
        took = math.inf  # there was no time to run it: it is long
    elif best.seconds is None:  # the only candidate: nothing was measured yet
        try:
            took = _seconds(best, inputs()[0])
        except PippinError:
            return Together()
    else:
        took = best.seconds
    if took < SHORT:
        return Together()
    forms = best.engine.together(best.settings, cores)
    if strategy != "fast_prediction":
        return Together(forms)
    with stages.stage("measure"):
        return _measured(best, forms, source, inputs()[0], cores, stages)


def _measured(
    best: Tried, forms: tuple[Settings, ...], source: bytes | Path, arrays: dict[str, np.ndarray], cores: int,
    stages: Stages,
) -> Together:  # fmt: skip
    """As many callers as cores, round after round, each form in turn."""
    assert best.compiled is not None
    rows = [Tried(best.engine, replace(best.settings, streams=1), OneAtATime(best.compiled))]
    for settings in forms:
        row = Tried(best.engine, settings)
        stages.tell("measure", detail=f"{best.engine.name}, {settings}")
        started = time.perf_counter()
        try:
            row.compiled = best.engine.compile(source, settings)
            row.compilation = time.perf_counter() - started
            rows.append(row)
        except EngineError as error:
            row.note = str(error)
    rates: dict[int, list[float]] = {}
    for _ in range(_ROUNDS):
        for row in (best, *rows):
            rates.setdefault(id(row), []).append(rate(row, arrays, cores))
    for row in (best, *rows):
        row.throughput = statistics.median(rates[id(row)])
    chosen = max((best, *rows), key=lambda row: (row.throughput or 0.0) * (_GAIN if row is best else 1.0))
    for row in rows:
        assert row.throughput is not None and best.throughput is not None
        times = row.throughput / best.throughput
        row.note = f"for many at once{'' if row is chosen else ', not chosen'}: {times:.2f} times as many a second"
    if chosen is best:
        return Together(tried=tuple(rows))
    # Of several forms, those for fewer at once stay beside the one for most.
    kept = (
        [chosen.settings]
        if chosen is rows[0]
        else [s for s in forms if (s.streams or 0) <= (chosen.settings.streams or 0)]
    )
    made = {row.settings: row.compiled for row in rows[1:] if row.compiled is not None and row.settings in kept}
    return Together(tuple(kept), made, tuple(rows))


def _seconds(best: Tried, arrays: dict[str, np.ndarray]) -> float:
    assert best.compiled is not None
    best.compiled.run(arrays)  # the first one is slower
    started = time.perf_counter()
    best.compiled.run(arrays)
    return time.perf_counter() - started


def rate(row: Tried, arrays: dict[str, np.ndarray], callers: int) -> float:
    """Predictions in a second, from so many threads."""
    assert row.compiled is not None
    run = row.compiled.run
    run(arrays)
    counts = [0] * callers
    started = time.perf_counter()

    def call(number: int) -> None:
        while counts[number] < 2 or time.perf_counter() - started < _AT_LEAST:
            run(arrays)
            counts[number] += 1

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, range(callers)))
    return sum(counts) / (time.perf_counter() - started)
