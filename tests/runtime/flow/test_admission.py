"""AdmissionController: every policy, on a virtual clock and with a virtual device: nothing runs, nobody waits."""

from __future__ import annotations

import random
import threading

import pytest

from pippin import FlowControl
from pippin.errors import (
    ConfigurationError,
    DeadlineExceeded,
    PredictionCancelled,
    PredictionDropped,
    PredictionRejected,
)
from pippin.runtime.flow.admission import AdmissionController, Request


class World:
    """An admission controller with a clock that is set by hand; what happens to each request is written down."""

    def __init__(self, cores=2, **flow):
        self.now = 0.0
        self.admission = AdmissionController(FlowControl(**flow), cores, clock=lambda: self.now)
        self.requests = {}
        self.log = []

    def come(self, *names, **how):
        for name in names:
            request = Request(
                lambda name=name: self.log.append(f"{name} starts"),
                lambda error, name=name: self.log.append(f"{name} {type(error).__name__}"),
                **how,
            )
            self.requests[name] = request
            self.admission.submit(request)

    def done(self, *names):
        for name in names:
            self.admission.done(self.requests[name])

    def cancel(self, name):
        return self.admission.cancel(self.requests[name])

    def happened(self):
        log, self.log = self.log, []
        return log


def test_wait_is_in_order():
    world = World(max_in_flight=2)
    world.come("a", "b", "c", "d")
    assert world.happened() == ["a starts", "b starts"]
    world.done("b")
    assert world.happened() == ["c starts"]
    world.done("a", "c")
    assert world.happened() == ["d starts"]


def test_as_many_as_there_are_cores():
    world = World(cores=3)
    world.come("a", "b", "c", "d")
    assert len(world.happened()) == 3


def test_priorities_go_first_and_equal_ones_in_order():
    world = World(max_in_flight=1)
    world.come("running")
    world.come("low", priority=-1)
    world.come("first", "second")
    world.come("high", priority=5)
    world.happened()
    for name in ("running", "high", "first", "second"):
        world.done(name)
    assert world.happened() == ["high starts", "first starts", "second starts", "low starts"]


def test_a_deadline_that_passed():
    world = World(max_in_flight=1)
    world.come("running")
    world.come("late", deadline=5.0)
    world.come("patient")
    world.now = 6.0
    world.done("running")
    assert world.happened() == ["running starts", "late DeadlineExceeded", "patient starts"]


POLICIES = {
    "wait, bounded": ({"policy": "wait", "max_waiting": 1}, ["c PredictionRejected"], ["b starts"]),
    "reject": ({"policy": "reject"}, ["b PredictionRejected", "c PredictionRejected"], []),
    "drop_newest": ({"policy": "drop_newest"}, ["b PredictionDropped", "c PredictionDropped"], []),
    "drop_newest, one may wait": ({"policy": "drop_newest", "max_waiting": 1}, ["c PredictionDropped"], ["b starts"]),
    "drop_oldest": ({"policy": "drop_oldest"}, ["b PredictionDropped"], ["c starts"]),
    "latest": ({"policy": "latest"}, ["b PredictionDropped"], ["c starts"]),
}


@pytest.mark.parametrize("name", POLICIES)
def test_policies(name):
    """One runs, two more come, the first is done."""
    flow, refused, started = POLICIES[name]
    world = World(max_in_flight=1, **flow)
    world.come("a", "b", "c")
    assert world.happened() == ["a starts", *refused]
    world.done("a")
    assert world.happened() == started


def test_a_camera_sees_only_the_newest():
    world = World(max_in_flight=1, policy="latest")
    world.come(*(f"frame{i}" for i in range(10)))
    assert world.happened() == ["frame0 starts", *(f"frame{i} PredictionDropped" for i in range(1, 9))]
    world.done("frame0")
    assert world.happened() == ["frame9 starts"]


def test_bytes():
    world = World(max_in_flight=4, max_bytes=100)
    world.come("a", "b", size=60)
    assert world.happened() == ["a starts"]
    world.come("small", size=1)
    assert world.happened() == []  # it does not overtake
    world.done("a")
    assert world.happened() == ["b starts", "small starts"]
    assert world.admission.statistics().bytes_held == 61


def test_what_is_larger_than_the_bound_runs_alone():
    world = World(max_in_flight=4, max_bytes=100)
    world.come("small", size=1)
    world.come("huge", size=1000)
    world.come("other", size=1)
    assert world.happened() == ["small starts"]
    world.done("small")
    assert world.happened() == ["huge starts"]
    world.done("huge")
    assert world.happened() == ["other starts"]


def test_cancelling_what_waits_and_what_runs():
    world = World(max_in_flight=1)
    world.come("a", "b", "c")
    assert world.cancel("b")
    assert world.happened() == ["a starts", "b PredictionCancelled"]
    assert not world.cancel("a")  # it runs on, and keeps its slot
    world.come("d")
    assert world.happened() == []
    world.done("a")
    assert world.happened() == ["c starts"]
    assert not world.cancel("b") and not world.cancel("a")
    assert world.admission.statistics().cancelled == 2


def test_cancelling_a_large_one_lets_the_others_go():
    world = World(max_in_flight=2, max_bytes=100)
    world.come("a", size=10)
    world.come("huge", size=1000)
    world.come("b", size=10)
    world.cancel("huge")
    assert world.happened() == ["a starts", "huge PredictionCancelled", "b starts"]


def test_inline_only_with_a_free_slot_and_an_empty_queue():
    world = World(max_in_flight=1, max_bytes=10)
    began = world.admission.start_inline(4)
    assert began is not None
    assert world.admission.start_inline(4) is None
    world.come("waiting", "more")
    world.now = 2.0
    assert world.admission.finish_inline(4, began, failed=False) == 2.0
    assert world.happened() == ["waiting starts"]
    assert world.admission.start_inline(4) is None  # there is one that waits
    world.done("waiting", "more")
    found = world.admission.statistics()
    assert (found.submitted, found.completed, found.in_flight, found.bytes_held) == (3, 3, 0, 0)


def test_many_that_are_cancelled_while_they_wait():
    world = World(max_in_flight=1)
    world.come("running", *(f"{n}" for n in range(1000)))
    for number in range(0, 1000, 2):
        assert world.cancel(f"{number}")
    assert world.admission.statistics().waiting == 500
    world.happened()
    world.done("running")
    for number in range(1, 999, 2):
        world.done(f"{number}")
    assert world.happened() == [f"{number} starts" for number in range(1, 1000, 2)]


def test_one_that_fails_to_start_does_not_keep_the_others():
    world = World(max_in_flight=2)
    world.come("a", "b")

    def broken():
        raise ZeroDivisionError

    bad = Request(broken, lambda error: None, size=1)
    world.admission.submit(bad)
    world.come("c")
    world.happened()
    with pytest.raises(ZeroDivisionError):
        world.done("a")
    world.done("b")
    assert world.happened() == ["c starts"]


def test_statistics():
    world = World(max_in_flight=1, max_waiting=1, policy="drop_oldest")
    for number in range(3):
        world.come(f"{number}")
    for number, took in ((0, 2.0), (2, 3.0)):
        world.now += took
        world.admission.done(world.requests[f"{number}"], failed=number == 2)
    found = world.admission.statistics()
    assert (found.submitted, found.completed, found.failed, found.dropped) == (3, 1, 1, 1)
    assert (found.in_flight, found.waiting, found.bytes_held) == (0, 0, 0)
    assert found.latency_p50 == found.latency_p99 == 2.0


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "sometimes"},
        {"max_in_flight": 0},
        {"max_bytes": 0},
        {"max_waiting": -1},
        {"max_in_flight": 1.5},
        {"max_blocking": -1},
    ],
)
def test_what_does_not_exist(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        FlowControl(**options)


@pytest.mark.parametrize("policy", ["wait", "reject", "drop_newest", "drop_oldest", "latest"])
def test_whatever_happens_each_is_started_or_refused_once(policy):
    """Random histories: no slot is lost, the bound holds, the counters add up."""
    chance = random.Random(policy)
    for _ in range(100):
        world = World(max_in_flight=chance.randint(1, 3), max_bytes=chance.choice([None, 50]), policy=policy)
        running = []
        for number in range(50):
            world.now += chance.random()
            deadline = world.now + chance.random() if chance.random() < 0.2 else None
            world.come(f"{number}", size=chance.randint(0, 60), priority=chance.randint(0, 2), deadline=deadline)
            running = [n for n, r in world.requests.items() if r.phase == "running"]
            assert len(running) <= world.admission.capacity
            if running and chance.random() < 0.6:
                world.done(chance.choice(running))
            if chance.random() < 0.3:
                world.cancel(chance.choice(list(world.requests)))
        while running := [n for n, r in world.requests.items() if r.phase == "running"]:
            world.done(running[0])
        assert {r.phase for r in world.requests.values()} <= {"done", "refused"}
        assert len(world.log) == 50
        found = world.admission.statistics()
        assert found.in_flight == found.waiting == found.bytes_held == 0
        ends = found.completed + found.failed + found.cancelled + found.dropped + found.rejected
        assert ends == found.submitted == 50


def test_many_threads():
    admission = AdmissionController(FlowControl(max_in_flight=3), 1)
    most, lock, inside, ended = [0], threading.Lock(), [0], []

    def work():
        for _ in range(200):
            started = threading.Event()
            request = Request(started.set, ended.append)
            admission.submit(request)
            started.wait()
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with lock:
                inside[0] -= 1
            admission.done(request)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 3 and not ended
    assert admission.statistics().completed == 1600


ERRORS = (PredictionCancelled, DeadlineExceeded, PredictionDropped, PredictionRejected)


def test_every_refusal_is_a_prediction_error():
    from pippin.errors import PredictionError

    assert all(issubclass(error, PredictionError) for error in ERRORS)
