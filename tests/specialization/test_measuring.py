"""Measuring: how long candidates are run, on a clock that only their runs move."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from pippin.engines import Settings, all_engines
from pippin.specialization import candidates, contention, spinning_threads
from pippin.specialization.candidates import Trial, _best
from pippin.specialization.progress import Stages

INPUTS = [{"x": np.float32([1])}, {"x": np.float32([2])}]


class Clock:
    def __init__(self):
        self.now, self.order, self.spins = 0.0, [], 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def process_time(self):
        """Something spins until `spins`."""
        return min(self.now, self.spins)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(candidates, "time", made)
    monkeypatch.setattr(spinning_threads, "time", made)
    monkeypatch.setattr(contention, "time", made)
    return made


def row(clock, engine, seconds, precision="float32", off=0.0):
    """A candidate whose runs take this long (at a time), and whose results are this far off."""

    class Compiled:
        def run(self, inputs, stop=None):
            clock.now += seconds(clock.now) if callable(seconds) else seconds
            clock.order.append(engine)
            return {"y": inputs["x"] * (1 + off)}

    return Trial(all_engines()[engine], Settings(precision=precision), Compiled(), compilation=0.1)


def measured(rows, allowed, rounds=5):
    return candidates._measure(rows, INPUTS, "auto", ["y"], rounds, allowed, Stages())


def test_short_predictions_are_run_several_times(clock):
    rows = [row(clock, "onnxruntime", 0.001), row(clock, "openvino", 0.002)]
    assert measured(rows, 10) == [rows[1], rows[0]]
    assert [len(r.times) > 1 for r in rows] == [True, True]
    assert {t: round(r.seconds, 6) for r, t in zip(rows, "ab", strict=True)} == {"a": 0.001, "b": 0.002}


def test_engines_whose_threads_spin_run_last(clock):
    rows = [row(clock, "onnxruntime", 0.001), row(clock, "openvino", 0.001)]
    measured(rows, 0.0001)
    assert clock.order == sorted(clock.order, key=["openvino", "onnxruntime"].index)


def test_no_time_for_an_engine_that_computes_the_same(clock):
    rows = [row(clock, "openvino", 1.0), row(clock, "onnxruntime", 0.5)]
    assert measured(rows, 1.5) == rows
    assert clock.now == 1.0
    assert rows[1].unmeasured
    assert _best(rows, 0.1) is rows[1], "it counts as level, and loads faster"


@pytest.mark.parametrize(("seconds", "runs"), [(1.0, 2), (5.0, 1)])
def test_what_cannot_be_estimated_is_run_once(clock, seconds, runs):
    rows = [row(clock, "openvino", seconds), row(clock, "onnxruntime", 0.5)]
    candidates._measure(rows, INPUTS, "auto", ["y"], 5, 0.5, Stages(), foreseen=False)
    assert clock.order[:2] == ["openvino", "onnxruntime"][:runs]
    assert rows[1].unmeasured == (runs == 1)


def test_a_faster_precision_is_checked_however_long_it_takes(clock):
    rows = [row(clock, "openvino", 1.0), row(clock, "openvino", 0.5, "bfloat16", 1e-3), row(clock, "onnxruntime", 1.0)]
    assert measured(rows, 1.0) == rows
    assert rows[2].unmeasured
    assert _best(rows, 0.1) is rows[1], "what computes in another precision is not level"
    assert rows[1].noise["y"] == pytest.approx(60, abs=0.1)  # 20 log10 of 1 / 1e-3
    assert rows[1].seconds == 0.5


def test_the_only_one_to_compare_with_is_run_however_long_it_takes(clock):
    rows = [row(clock, "openvino", 1.0, "bfloat16", 0.1), row(clock, "onnxruntime", 3.0)]
    assert measured(rows, 0.5) == rows[1:]
    assert "20.0 dB; 40 dB is required" in rows[0].note


def test_one_far_behind_is_not_run_again(clock):
    rows = [row(clock, "openvino", 0.1), row(clock, "onnxruntime", 0.5)]
    measured(rows, 100)
    assert clock.order.count("onnxruntime") == 2, "in the first sweep alone"


def threads_and_one(clock, until):
    """A row of two threads and one of a single thread; until then, two are as slow as one."""
    return [row(clock, "openvino", lambda now: 0.009 if now < until else 0.005), row(clock, "openvino", 0.007)]


def test_one_that_was_slow_for_a_moment_is_chosen(clock):
    rows = threads_and_one(clock, until=0.3)
    measured(rows, math.inf, rounds=20)
    assert _best(rows, 0.01) is rows[0]
    assert rows[0].seconds == pytest.approx(0.005)


def test_a_moment_longer_than_the_measuring_is_waited_for(clock, monkeypatch):
    rows = threads_and_one(clock, until=8.0)
    monkeypatch.setattr(contention, "MAX_WAIT", 10.0)
    monkeypatch.setattr(contention, "is_contended", lambda: clock.now < 8.0)
    monkeypatch.setattr("pippin.devices.cpu.cores", lambda: 2)
    told = []
    candidates._measure(rows, INPUTS, "auto", ["y"], 20, math.inf, Stages(lambda p: told.append(p.detail)))
    assert _best(rows, 0.01) is rows[0]
    assert contention.WAITING_MESSAGE in told
    assert 8.0 < clock.now < 9.0


@pytest.mark.parametrize(("beside", "shared"), [(1.0, False), (1.1, False), (1.3, True), (2.0, True)])
def test_the_machine_is_shared_where_two_threads_are_slower_than_one(monkeypatch, beside, shared):
    """Each thread has a clock of its own, which a product moves on."""
    clock = threading.local()

    def product(left, right):
        clock.now += 1.0 if threading.current_thread() is threading.main_thread() else beside

    def now():
        clock.now = getattr(clock, "now", 0.0)
        return clock.now

    monkeypatch.setattr(contention, "time", SimpleNamespace(perf_counter=now))
    monkeypatch.setattr(contention.np, "matmul", product)
    assert contention.is_contended() is shared


@pytest.mark.parametrize(("cores", "waited"), [(1, 0.0), (2, 10.0)])
def test_waiting_has_an_end(clock, monkeypatch, cores, waited):
    monkeypatch.setattr(contention, "is_contended", lambda: True)
    monkeypatch.setattr("pippin.devices.cpu.cores", lambda: cores)
    contention.wait_until_uncontended(10.0, lambda: None)
    assert clock.now == pytest.approx(waited, abs=0.2)


def test_a_rate_from_a_moment_does_not_count():
    assert contention.typical_rate([100, 100, 210, 200, 205]) == 205
    assert contention.typical_time([9.0, 9.0, 5.0, 5.1, 5.2]) == 5.1


@pytest.mark.parametrize(("spins", "waited"), [(0, 0.004), (0.05, 0.056), (1e9, 0.2)])
def test_waiting_until_nothing_spins(clock, spins, waited):
    clock.spins = spins
    spinning_threads.wait_until_idle()
    assert clock.now == pytest.approx(waited, abs=0.005)


def test_rounds_end_when_the_time_is_up(clock):
    rows = [row(clock, "openvino", 0.1), row(clock, "onnxruntime", 0.11)]
    measured(rows, 2.0, rounds=100)
    assert clock.now <= 2.0
    assert all(len(r.times) > 1 for r in rows)
