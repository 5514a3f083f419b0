"""Predictions in flight: asynchronous, batched, cancelled, timed out; the device is a model, or an admission controller held by the test."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref

import anyio
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from pippin import Cancellation, FlowControl
from pippin.errors import (
    DeadlineExceeded,
    FeatureShapeError,
    PredictionCancelled,
    PredictionDropped,
    PredictionRejected,
)
from pippin.runtime.flow.executor import Executor
from runtime.flow.device import FAST, Device, given, right

BACKENDS = ("asyncio", "trio")


@pytest.mark.parametrize("backend", BACKENDS)
def test_predict_async(model, backend):
    async def work():
        results = {}

        async def one(number):
            results[number] = await model.predict_async(given(number))

        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(one, number)
        return results

    results = anyio.run(work, backend=backend)
    assert all(right(results[number], number) for number in range(100))
    found = model.statistics()
    assert (found.submitted, found.completed, found.in_flight, found.waiting) == (100, 100, 0, 0)
    assert found.latency_p50 <= found.latency_p99


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_of_a_prediction_reaches_its_task(model, backend):
    async def work():
        with pytest.raises(FeatureShapeError):
            await model.predict_async({"x": np.zeros((2, 2), np.float32)})
        return await model.predict_async(given(1))

    assert right(anyio.run(work, backend=backend), 1)
    assert model.statistics().failed == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_a_task(backend):
    """One runs, one waits; both tasks are cancelled: the one that waits never begins, the other keeps its slot."""
    executor, device = Executor(FlowControl(max_in_flight=1), 1), Device()
    waiting = []

    async def work():
        async with anyio.create_task_group() as group:
            group.start_soon(executor.call_async, device)
            await anyio.to_thread.run_sync(device.begun.acquire)
            group.start_soon(executor.call_async, lambda stop: waiting.append("begun"))
            while executor.statistics().waiting == 0:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        found = executor.statistics()
        assert (found.in_flight, found.waiting, found.cancelled) == (1, 0, 1)
        device.go.set()
        return await executor.call_async(lambda stop: {"y": 2})

    assert anyio.run(work, backend=backend) == {"y": 2}
    assert not waiting
    found = executor.statistics()
    assert (found.in_flight, found.cancelled, found.completed) == (0, 2, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_timeout_in_a_task(backend):
    executor, device = Executor(FlowControl(max_in_flight=1), 1), Device()

    async def work():
        with pytest.raises(DeadlineExceeded):
            await executor.call_async(device, timeout=0.001)

    anyio.run(work, backend=backend)
    device.go.set()


def test_a_timeout_and_a_cancellation_in_a_thread():
    executor, device = Executor(FlowControl(max_in_flight=1), 1), Device()
    with pytest.raises(DeadlineExceeded):
        executor.call(device, timeout=0.001)
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(PredictionCancelled):
        executor.call(lambda stop: {"y": 1}, cancellation=cancellation)
    assert executor.statistics().in_flight == 1  # the device still has the first one
    device.go.set()
    assert executor.call(lambda stop: {"y": 3}) == {"y": 3}
    assert executor.statistics().in_flight == 0


def test_a_model_with_a_flow_refuses(package):
    model = pippin.load(package, FAST, flow=FlowControl(max_in_flight=1, policy="reject"))
    device = Device()
    running = model._executor.submit(device)
    device.begun.acquire()
    with pytest.raises(PredictionRejected, match="1 running, 0 waiting"):
        model.predict(given(1))
    device.go.set()
    running.future.result(60)
    assert right(model.predict(given(1)), 1)


def test_a_camera(package):
    model = pippin.load(package, FAST, flow=FlowControl(max_in_flight=1, policy="latest"))
    device = Device()
    model._executor.submit(device)
    device.begun.acquire()
    frames = [model._executor.submit(lambda stop, n=n: model._predict(given(n), None, None, stop)) for n in range(5)]
    device.go.set()
    assert right(frames[-1].future.result(60), 4)
    for frame in frames[:-1]:
        with pytest.raises(PredictionDropped):
            frame.future.result(60)


def test_batch(model):
    seen = []
    results = model.predict_batch([given(n) for n in range(50)], progress=lambda done, of: seen.append((done, of)))
    assert all(right(outputs, n) for n, outputs in enumerate(results))
    assert seen == [(n + 1, 50) for n in range(50)]
    assert model.predict_batch([]) == []


def test_a_bad_element_of_a_batch(model):
    batch = [given(0), {"x": np.zeros((2, 2), np.float32)}, given(2)]
    with pytest.raises(FeatureShapeError) as raised:
        model.predict_batch(batch)
    assert "in element 1 of the batch" in raised.value.report()
    first, bad, last = model.predict_batch(batch, return_exceptions=True)
    assert right(first, 0) and right(last, 2) and isinstance(bad, FeatureShapeError)


def test_a_cancelled_batch(model):
    cancellation = Cancellation()
    with pytest.raises(PredictionCancelled):
        model.predict_batch(
            [given(n) for n in range(100)],
            cancellation=cancellation,
            progress=lambda done, of: cancellation.cancel() if done == 3 else None,
        )
    assert right(model.predict(given(5)), 5)


def test_a_prediction_with_a_timeout_that_suffices(model):
    assert right(model.predict(given(7), timeout=60), 7)
    assert model.statistics().completed == 1


def test_states_queue(tmp_path):
    """Predictions on one state are one after the other, also when they are asked for at once."""
    from coremltools.converters.mil.mil import types

    import coremltools as ct

    @mb.program(
        input_specs=[mb.TensorSpec((1,), types.fp16), mb.StateTensorSpec((1,), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x, memory):
        total = mb.add(x=mb.read_state(input=memory), y=x)
        mb.coreml_update_state(state=memory, value=total)
        return mb.identity(x=total, name="y")

    ct.convert(program, minimum_deployment_target=ct.target.iOS18).save(str(tmp_path / "m.mlpackage"))
    model = pippin.load(tmp_path / "m.mlpackage", FAST)
    state = model.make_state()
    (name,) = (feature.name for feature in model.description.function().inputs)

    async def work():
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(lambda: model.predict_async({name: np.ones(1, np.float16)}, state=state))

    anyio.run(work)
    assert state.read("memory") == 40


def test_the_loop_may_be_closed_meanwhile():
    import asyncio

    executor, device = Executor(FlowControl(max_in_flight=1), 1), Device()
    loop = asyncio.new_event_loop()
    task = loop.create_task(executor.call_async(device))
    loop.call_soon(loop.stop)
    loop.run_forever()
    device.begun.acquire()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    device.go.set()
    assert executor.call(lambda stop: {"y": 1}) == {"y": 1}


def test_a_model_is_collected_with_its_work_done(package):
    model = pippin.load(package, FAST, flow=FlowControl())
    model.predict(given(1))
    model.close()
    watched = weakref.ref(model)
    del model
    gc.collect()
    assert watched() is None


def test_threads_and_tasks_at_once(package):
    """2,000 predictions from 4 tasks and 4 threads, some cancelled, some bad: right results, no slot lost."""
    model = pippin.load(package, FAST, flow=FlowControl(max_in_flight=2))
    wrong, lock = [], threading.Lock()

    def check(outputs, number):
        if not right(outputs, number):
            with lock:
                wrong.append(number)

    def thread(seed):
        random = np.random.default_rng(seed)
        for number in range(250):
            if random.random() < 0.1:
                with pytest.raises(FeatureShapeError):
                    model.predict({"x": np.zeros((1, 1), np.float32)})
                continue
            cancellation = Cancellation()
            if random.random() < 0.3:
                cancellation.cancel()
            with contextlib.suppress(PredictionCancelled):
                check(model.predict(given(number), cancellation=cancellation), number)

    async def task(seed):
        random = np.random.default_rng(seed)
        for number in range(250):
            with anyio.CancelScope() as scope:
                if random.random() < 0.3:
                    scope.cancel()
                check(await model.predict_async(given(number)), number)

    async def tasks():
        async with anyio.create_task_group() as group:
            for seed in range(4):
                group.start_soon(task, 100 + seed)

    threads = [threading.Thread(target=thread, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    anyio.run(tasks)
    for each in threads:
        each.join()
    assert not wrong
    assert right(model.predict(given(3)), 3)
    found = model.statistics()
    assert (found.in_flight, found.waiting, found.bytes_held) == (0, 0, 0)
    ends = found.completed + found.failed + found.cancelled + found.dropped + found.rejected
    assert ends == found.submitted
