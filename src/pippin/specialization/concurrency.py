"""ConcurrencyChoice: in which form a model is computed while many predictions are under way.

Fast predictions measure it, and what was found decides between engines that are level for one; with the default
strategy a rule decides: a prediction that takes long enough for several threads to help is computed by one thread each.
`bench/in_flight.py` shows what that is worth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, Event

import numpy as np

from ..devices import cpu
from ..engines import Compiled, Settings
from ..errors import EngineError, PippinError
from . import contention, settling
from .candidates import Choice, Trial
from .progress import Stages
from .variants import Serialized

# Seconds; the forms of a shorter prediction do not differ, or it is over before another one comes.
SHORT = 200e-6
_ROUNDS = 7
_AT_LEAST = 0.2  # seconds of each in a round
_FEWEST = 3  # predictions of each caller in a round
_LONGEST = 20.0  # seconds after which no further round begins
# Engines this near to the fastest for one are judged by what they do for many as well.
_NEAR = 1.05

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class ConcurrencyChoice:
    best: Trial
    """The candidate that is chosen, with what many at once have shown."""
    settings: tuple[Settings, ...] = ()
    made: Mapping[Settings, Compiled] = field(default_factory=dict)
    tried: tuple[Trial, ...] = ()


def choose_concurrency(
    choice: Choice, sources: Mapping[str, bytes | Path], inputs: Callable[[], list[Arrays]], strategy: str,
    stages: Stages, several: bool = False,
) -> ConcurrencyChoice:  # fmt: skip
    """The forms for many predictions at once, of what was chosen for one or of another candidate that is as fast;
    `several` says that threads are known to help one prediction, however short it is."""
    shortest = 0.0 if several else SHORT
    best, cores = choice.best, cpu.cores()
    if cores < 2 or strategy == "fast_load":
        return ConcurrencyChoice(best)
    try:
        if strategy == "fast_prediction":
            with stages.stage("measure"):
                return _measured(choice, sources, inputs()[0], cores, stages, shortest)
        took = math.inf if best.unmeasured else _seconds(best, inputs)  # what there was no time to run is long
    except PippinError:  # no inputs can be made up
        return ConcurrencyChoice(best)
    return ConcurrencyChoice(best, best.engine.concurrent_settings(best.settings, cores) if took >= shortest else ())


def _seconds(best: Trial, inputs: Callable[[], list[Arrays]]) -> float:
    """What one prediction takes; of an only candidate, nothing was measured yet."""
    if best.seconds is not None:
        return best.seconds
    assert best.compiled is not None
    arrays = inputs()[0]
    best.compiled.run(arrays)  # the first one is slower
    started = time.perf_counter()
    best.compiled.run(arrays)
    return time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class _Contender:
    """A candidate, and its forms for many at once."""

    alone: Trial
    forms: tuple[Trial, ...]

    @property
    def form(self) -> Trial:
        """The best one; of equals, the same as for one, which takes no further memory."""
        return max((self.alone, *self.forms), key=lambda row: row.throughput or 0.0)

    @property
    def worth(self) -> float:
        """The speed for many, and twice the speed for one: what is lost there must be gained twice here."""
        return (self.form.throughput or 0.0) / (self.alone.seconds or 1.0) ** 2


def _measured(
    choice: Choice, sources: Mapping[str, bytes | Path], arrays: Arrays, cores: int, stages: Stages, shortest: float
) -> ConcurrencyChoice:
    fastest = _seconds(choice.best, lambda: [arrays])
    contenders = [
        _Contender(row, _forms(row, sources[row.engine.name], cores, stages) if fastest >= shortest else ())
        for row in choice.usable
        if row is choice.best or (row.seconds or math.inf) <= _NEAR * fastest
    ]
    forms = [form for each in contenders for form in each.forms]
    racing = [each.alone for each in contenders] + [form for form in forms if form.compiled]
    others = [row for row in choice.usable if all(row is not each.alone for each in contenders)]
    _race(racing, others, arrays, cores, stages)
    winner = max(contenders, key=lambda each: each.worth)
    for each in contenders:
        _explain(each, winner)
    kept = _kept(winner)
    made = {form.settings: form.compiled for form in kept if form.compiled is not None}
    for form in forms:
        form.compiled = None
    return ConcurrencyChoice(winner.alone, tuple(form.settings for form in kept), made, tuple(forms))


def _forms(row: Trial, source: bytes | Path, cores: int, stages: Stages) -> tuple[Trial, ...]:
    """Compiled, those that can be; one of a single stream computes one prediction after the other."""
    assert row.compiled is not None
    forms = [Trial(row.engine, replace(row.settings, streams=1), Serialized(row.compiled))]
    for settings in row.engine.concurrent_settings(row.settings, cores):
        form = Trial(row.engine, settings)
        stages.tell("measure", detail=f"{row.engine.name}, {settings}")
        started = time.perf_counter()
        try:
            form.compiled = row.engine.compile(source, settings)
            form.compilation = time.perf_counter() - started
        except EngineError as error:
            form.note = str(error)
        forms.append(form)
    return tuple(forms)


def _race(rows: list[Trial], others: list[Trial], arrays: Arrays, callers: int, stages: Stages) -> None:
    """Note the throughput of each, from rounds in turn; those far behind leave early, and others, which are not to be
    chosen, run once."""
    rates: dict[int, list[float]] = {id(row): [] for row in [*rows, *others]}
    racing, before_it = [*rows, *others], max(rows, key=lambda row: row.engine.spins)
    started = time.perf_counter()
    for number in range(_ROUNDS):
        if time.perf_counter() - started > _LONGEST:
            break
        contention.wait(started + contention.PATIENCE, lambda: stages.tell("measure", detail=contention.BUSY))
        for row in racing:
            stages.tell("measure", detail=f"{row.engine.name}, {row.settings}, many at once", share=number / _ROUNDS)
            if before_it.engine.spins and before_it.engine is not row.engine:
                settling.wait()
            before_it = row
            rates[id(row)].append(rate(row, arrays, callers))
        most = max(max(rates[id(row)]) for row in rows)
        racing = [row for row in rows if max(rates[id(row)]) * contention.far_behind(number + 1) > most]
    for row in [*rows, *others]:
        row.throughput = contention.typical_rate(rates[id(row)])


def rate(row: Trial, arrays: Arrays, callers: int) -> float:
    """Predictions in a second, from so many threads.

    Counted while all of them are at it, to the fraction of a prediction: the first of each makes the stream that it
    runs in, and who is left alone at the end is faster.
    """
    assert row.compiled is not None
    run = row.compiled.run
    ended: list[list[float]] = [[] for _ in range(callers)]
    ready, failed = Barrier(callers), Event()

    def call(mine: list[float]) -> None:
        try:
            try:
                run(arrays)
            finally:
                ready.wait()
            started = now = time.perf_counter()
            while (now - started < _AT_LEAST or min(map(len, ended)) < _FEWEST) and not failed.is_set():
                run(arrays)
                now = time.perf_counter()
                mine.append(now)
        except BaseException:
            failed.set()  # nobody waits for what this one would have done
            raise

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, ended))
    window = [max(mine[0] for mine in ended), min(mine[-1] for mine in ended)]
    counts = [np.ptp(np.interp(window, mine, range(len(mine)))) for mine in ended]
    return float(sum(counts)) / (window[1] - window[0])


def _kept(winner: _Contender) -> tuple[Trial, ...]:
    """Of several forms, those for fewer at once stay beside the one for most."""
    if winner.form is winner.alone:
        return ()
    if winner.form is winner.forms[0]:
        return winner.forms[:1]
    most = winner.form.settings.streams or 0
    return tuple(form for form in winner.forms[1:] if form.compiled and (form.settings.streams or 0) <= most)


def _explain(contender: _Contender, winner: _Contender) -> None:
    alone = contender.alone
    for form in contender.forms:
        if form.throughput is not None and alone.throughput:
            chosen = "" if contender is winner and form is winner.form else ", not chosen"
            times = form.throughput / alone.throughput
            form.note = f"for many at once{chosen}: {times:.2f} times as many a second"
    if contender is not winner:
        alone.note = (
            f"near {winner.alone.engine.name} for one ({(alone.seconds or 0) / (winner.alone.seconds or 1):.2f} times "
            f"as long), {(contender.form.throughput or 0) / (winner.form.throughput or 1):.2f} times as many at once"
        )
