"""ConcurrencyChoice: how the measured speeds for one and for many decide, with the rates given."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from threading import local

import numpy as np
import pytest

from pippin.engines import Settings
from pippin.errors import CompilationError, PredictionError
from pippin.specialization import concurrency
from pippin.specialization.candidates import Choice, Trial, discard_losers
from pippin.specialization.progress import Stages


class Compiled:
    def run(self, inputs, stop=None, into=None):
        return inputs


@dataclass
class Device:
    """An engine with one further form, for two at once."""

    name: str
    spins: bool = False
    fails: bool = False
    load_rank: int = 0

    def concurrent_settings(self, settings, cores):
        return (Settings(threads=1, streams=2),)

    def compile(self, source, settings):
        if self.fails:
            raise CompilationError("no memory")
        return Compiled()


@pytest.fixture
def decided(monkeypatch):
    """What is chosen of candidates (engine, seconds for one), with the rates by engine and streams (None: as for one);
    a list of rates is one for each round."""
    monkeypatch.setattr("pippin.devices.cpu.cores", lambda: 2)
    calls = []

    def choose(times, rates, fails=()):
        def rate(row, arrays, callers, stop):
            calls.append((row.engine.name, row.settings.streams))
            found = rates[calls[-1]]
            return found[(calls.count(calls[-1]) - 1) % len(found)] if isinstance(found, list) else found

        monkeypatch.setattr(concurrency, "measure_throughput", rate)
        calls.clear()
        rows = [
            Trial(Device(name, fails=name in fails), Settings(), Compiled(), times=[seconds])
            for name, seconds in times.items()
        ]
        choice = Choice(min(rows, key=lambda row: row.seconds), tuple(rows), tuple(rows))
        inputs = [{"x": np.zeros(1)}]
        found = concurrency.choose_concurrency(
            choice, dict.fromkeys(times, b""), lambda: inputs, "fast_prediction", Stages()
        )
        discard_losers(choice, found.best, "fast_prediction")
        return found, rows

    choose.calls = calls
    return choose


def rates(**of):
    """The rates of engines: as for one, one after the other, two streams."""
    return {(name, streams): rate for name, row in of.items() for streams, rate in zip((None, 1, 2), row, strict=True)}


CASES = {
    "one engine: the form that does more": ({"a": 0.010}, rates(a=(100, 110, 190)), "a", (2,)),
    "one after the other": ({"a": 0.010}, rates(a=(100, 130, 120)), "a", (1,)),
    "of equal forms, the one that takes no memory": ({"a": 0.010}, rates(a=(100, 100, 100)), "a", ()),
    "level for one: the better for many": (
        {"a": 0.0100, "b": 0.0101},
        rates(a=(100, 100, 150), b=(100, 100, 190)),
        "b",
        (2,),
    ),
    "near for one: both speeds count": (
        {"a": 0.0100, "b": 0.0108},
        rates(a=(100, 100, 180), b=(100, 100, 190)),
        "a",
        (2,),
    ),
    "far for one: not chosen, whatever it does for many": (
        {"a": 0.0100, "b": 0.0150},
        rates(a=(100, 100, 100), b=(900, 900, 900)),
        "a",
        (),
    ),
    "four rounds of seven in a moment in which two are as slow as one change nothing": (
        {"a": 0.010},
        rates(a=(100, 100, [95, 95, 95, 95, 190, 190, 190])),
        "a",
        (2,),
    ),
    "a form that is behind in the first two rounds alone stays": (
        {"a": 0.010},
        rates(a=(100, 140, [100, 100, 190, 190, 190, 190, 190])),
        "a",
        (2,),
    ),
    "one disturbed round changes nothing": ({"a": 0.010}, rates(a=(100, 100, [90, 190, 190, 190])), "a", (2,)),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case)
def test_what_is_chosen(decided, case):
    times, table, engine, streams = CASES[case]
    found, rows = decided(times, table)
    assert found.best.engine.name == engine
    assert tuple(settings.streams for settings in found.settings) == streams
    assert [row.compiled is None for row in rows] == [row is not found.best for row in rows]
    assert all(row.note for row in (*rows, *found.trials) if row is not found.best)


def test_those_far_behind_are_measured_once(decided):
    decided({"a": 0.010, "b": 0.030}, rates(a=(100, 100, 190), b=(30, 30, 30)))
    assert decided.calls.count(("b", None)) == 1
    assert decided.calls.count(("a", 2)) > 3


def test_a_form_that_cannot_be_compiled_says_why(decided):
    found, _ = decided({"a": 0.010}, rates(a=(100, 130, 0)), fails=("a",))
    assert [settings.streams for settings in found.settings] == [1]
    assert [row.note for row in found.trials if row.settings.streams == 2] == ["no memory"]


def test_short_predictions_have_one_form_but_many_at_once_decide(decided):
    found, _ = decided({"a": 10.0e-6, "b": 10.1e-6}, rates(a=(1e5, 0, 0), b=(2e5, 0, 0)))
    assert found.best.engine.name == "b"
    assert found.settings == ()
    assert found.trials == ()


@pytest.mark.parametrize("at", [0, 1, 2, 7])
def test_a_caller_that_fails_ends_the_measurement(at):
    numbers = count()

    class Failing:
        def run(self, inputs):
            if next(numbers) == at:
                raise PredictionError("out of memory")

    with pytest.raises(PredictionError, match="out of memory"):
        concurrency.measure_throughput(Trial(Device("a"), Settings(), Failing()), {}, 2)


class Clock(local):
    """Each thread has its own time."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize(("callers", "side_by_side", "expected"), [(2, True, 20.0), (2, False, 10.0), (4, False, 10.0)])
def test_a_rate_is_that_of_all_at_work(callers, side_by_side, expected, monkeypatch):
    """Predictions of 0.1 s, side by side or in turn: who comes second is done later by one."""
    places, clock = count(), Clock()
    monkeypatch.setattr(concurrency, "time", clock)

    class Compiled:
        def run(self, inputs):
            first = clock.now == 0.0
            clock.now += 0.1 if side_by_side else 0.1 * (1 + next(places) if first else callers)

    assert concurrency.measure_throughput(Trial(Device("a"), Settings(), Compiled()), {}, callers) == pytest.approx(
        expected
    )
