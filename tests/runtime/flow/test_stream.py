"""Stream: frames of a source, in order or as they are done, at the latency of the consumer and by every policy."""

from __future__ import annotations

import contextlib
import threading

import anyio
import numpy as np
import pytest

import pippin
from pippin import FlowControl
from pippin.errors import DeadlineExceeded, FeatureShapeError, PredictionRejected
from pippin.runtime.flow.executor import Executor
from pippin.runtime.flow.predict_batch import Job
from pippin.runtime.flow.stream import stream
from runtime.flow.device import FAST, given, right

BACKENDS = ("asyncio", "trio")


class Camera:
    """Gives a frame whenever the test asks for one."""

    def __init__(self):
        self.send, self.receive = anyio.create_memory_object_stream(1000)

    async def give(self, *frames):
        for frame in frames:
            await self.send.send(frame)
        await settled()


async def settled():
    """The other tasks have done what they can."""
    for _ in range(30):
        await anyio.lowlevel.checkpoint()


async def numbers(count):
    for number in range(count):
        await anyio.lowlevel.checkpoint()
        yield number


SOURCES = {
    "asynchronous": numbers,
    "list": lambda count: list(range(count)),
    "iterator": lambda count: iter(range(count)),
    "generator": lambda count: (n for n in range(count)),
}


@pytest.mark.parametrize("blocking", [0, 0.001])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_frame_of_a_source(package, backend, source, ordered, blocking):
    model = pippin.load(package, FAST, flow=FlowControl(max_blocking=blocking))

    async def work():
        return [found async for found in model.stream(SOURCES[source](60), features=given, ordered=ordered)]

    found = anyio.run(work, backend=backend)
    assert all(right(outputs, frame) for frame, outputs in found)
    frames = [frame for frame, _ in found]
    assert frames == list(range(60)) if ordered else sorted(frames) == list(range(60))


class Held:
    """A device that does each frame when the test says so; what it has begun is written down."""

    def __init__(self, room=1):
        self.executor = Executor(FlowControl(max_in_flight=room, max_blocking=0), room)
        self.begun, self.may = [], {}

    def job(self, frame):
        done = self.may.setdefault(frame, threading.Event())

        def work(stop):
            self.begun.append(frame)
            assert done.wait(60)
            return {"y": frame}

        return Job(work, 0)

    def do(self, *frames):
        for frame in frames:
            self.may.setdefault(frame, threading.Event()).set()


POLICIES = {
    "wait": [0, 1, 2, 3, 4, 5],
    "latest": [0, 5],
    "drop_newest": [0],
    "drop_oldest": [0, 5],
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_policies_of_a_camera(policy, backend):
    """Six frames come while the first is computed; then the camera ends."""
    held = Held()

    async def work():
        camera, found = Camera(), []
        flow = FlowControl(max_in_flight=1, policy=policy)

        async def consume():
            async for frame, outputs in stream(held.executor, camera.receive, held.job, flow, True, False):
                found.append((frame, outputs["y"]))

        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await camera.give(*range(6))
            await camera.send.aclose()
            await settled()
            held.do(*range(6))
        return found

    found = anyio.run(work, backend=backend)
    assert [frame for frame, _ in found] == [y for _, y in found] == POLICIES[policy]
    assert held.executor.statistics().dropped == 6 - len(found)
    assert held.executor.statistics().waiting == 0


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frame_within_a_time(backend, ordered):
    """A frame that takes too long ends the stream, or fails alone."""

    async def work(held, timeout, return_exceptions=False):
        flow, found = FlowControl(max_in_flight=1), {}
        source = stream(held.executor, [0, 1, 2], held.job, flow, ordered, return_exceptions, timeout)
        async for frame, outputs in source:
            found[frame] = type(outputs)
            held.do(0)
        return found

    quick, slow, alone = Held(), Held(), Held(2)
    quick.do(0, 1, 2)
    alone.do(1, 2)
    assert anyio.run(work, quick, 60, backend=backend) == dict.fromkeys((0, 1, 2), dict)
    with pytest.raises(DeadlineExceeded, match=r"did not complete within 0\.001 s"):
        anyio.run(work, slow, 0.001, backend=backend)
    slow.do(0)
    assert anyio.run(work, alone, 0.001, True, backend=backend)[0] is DeadlineExceeded
    assert not slow.executor.statistics().waiting


def test_reject_ends_the_stream():
    held = Held()

    async def work(return_exceptions):
        flow, found = FlowControl(max_in_flight=1, policy="reject"), []
        held.do(0)
        async for frame, outputs in stream(held.executor, [0, 1], held.job, flow, True, return_exceptions):
            found.append((frame, type(outputs).__name__))
        return found

    assert anyio.run(work, True) == [(0, "dict"), (1, "PredictionRejected")]
    with pytest.raises(PredictionRejected):
        anyio.run(work, False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_they_are_done(backend):
    held = Held(room=2)

    async def work():
        frames = stream(held.executor, [0, 1], held.job, FlowControl(max_in_flight=2), False, False)
        held.do(1)
        first = await anext(frames)
        held.do(0)
        return [first[0], (await anext(frames))[0], [frame async for frame in frames]]

    assert anyio.run(work, backend=backend) == [1, 0, []]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_source_is_read_no_faster_than_its_results_are_taken(package, backend):
    model = pippin.load(package, FAST)
    read = []

    async def source():
        for number in range(100):
            read.append(number)
            yield given(number)

    async def work():
        frames = model.stream(source(), flow=FlowControl(max_in_flight=3))
        async with contextlib.aclosing(frames):
            await anext(frames)
            await settled()
            assert len(read) <= 5
            await anext(frames)
            await settled()
            assert len(read) <= 6

    anyio.run(work, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_leaving_the_loop_cancels_what_is_under_way(backend):
    held, closed = Held(), []

    async def source():
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    async def work():
        frames = stream(held.executor, source(), held.job, FlowControl(max_in_flight=4), True, False)
        async with contextlib.aclosing(frames):
            held.do(0)
            assert (await anext(frames))[0] == 0
            await settled()
        await settled()

    anyio.run(work, backend=backend)
    held.do(*range(100))
    found = held.executor.statistics()
    assert found.waiting == 0 and found.cancelled >= 1 and found.submitted <= 6
    assert held.executor.call(lambda stop: {"y": 1}) == {"y": 1}


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_of_frames_and_of_the_source(model, backend):
    bad = {"x": np.zeros((2, 2), np.float32)}

    async def broken():
        yield given(0)
        raise ZeroDivisionError

    async def all_of(source, **how):
        return [outputs async for _, outputs in model.stream(source, **how)]

    async def work():
        with pytest.raises(FeatureShapeError):
            await all_of([given(0), bad])
        first, error, last = await all_of([given(0), bad, given(2)], return_exceptions=True)
        assert right(first, 0) and isinstance(error, FeatureShapeError) and right(last, 2)
        with pytest.raises(ZeroDivisionError):
            await all_of(broken(), return_exceptions=True)
        with pytest.raises(ZeroDivisionError):
            await all_of([1], features=lambda frame: frame / 0, return_exceptions=True)

    anyio.run(work, backend=backend)
