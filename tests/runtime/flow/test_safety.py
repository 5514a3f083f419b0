"""Safety: forks, exits, closed loops, garbage and exceptions, with predictions in flight: nothing hangs, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import weakref

import anyio
import numpy as np
import pytest

import pippin
from pippin import FlowControl, PredictionOptions
from pippin.errors import (
    FeatureShapeError,
    FeatureTypeError,
    PredictionError,
    PredictionRejected,
    UnexpectedFeatureError,
)
from pippin.runtime.flow.executor import Executor
from pippin.runtime.flow.state_queue import StateQueue
from runtime.flow.device import FAST, Device, given, right

SECONDS = 120  # a process that takes longer hangs


def run(code, *arguments):
    """The output of a fresh interpreter that must end by itself."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def in_child(work):
    """What `work` returns in a forked child, or the error that it raises."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                said = str(work())
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("how", ["sync", "async", "timeout", "batch", "state"])
def test_a_forked_child_gets_a_clear_error(model, how):
    model.predict(given(1))
    calls = {
        "sync": lambda: model.predict(given(1)),
        "async": lambda: asyncio.run(model.predict_async(given(1))),
        "timeout": lambda: model.predict(given(1), timeout=5),
        "batch": lambda: model.predict_batch([given(1)]),
        "state": model.make_state,
    }
    said = in_child(calls[how])
    assert said.startswith("PredictionError: the model was loaded before this process was forked") and "spawn" in said
    assert right(model.predict(given(2)), 2)  # the parent goes on


@pytest.mark.process
def test_a_model_that_was_not_loaded_yet_works_in_the_child(package):
    code = """
import os, sys, numpy as np, pippin
model = pippin.load(sys.argv[1], pippin.Configuration(hints=pippin.Hints("fast_load")), lazy=True, cache=False)
child = os.fork()
if child == 0:
    y = model.predict({"x": np.ones((3, 4), np.float32)}, timeout=60)["y"]
    os._exit(0 if (y == 2).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code, package).split() == ["0"]


EXITS = {
    "a thread predicts": "model._executor.submit(lambda stop: model._predict(x, None, None, stop))",
    "many wait": "[model._executor.submit(lambda stop: model._predict(x, None, None, stop)) for _ in range(50)]",
    "a task waits": """
async def work():
    asyncio.ensure_future(model.predict_async(x))
    await asyncio.sleep(0)
asyncio.run(work())""",
    "a stream is left": """
async def work():
    async for _ in model.stream([x] * 50):
        break
asyncio.run(work())""",
    "a thread waits for one": "threading.Thread(target=lambda: model.predict(x, timeout=60)).start()",
    "a map is left": "next(model.map([x] * 50))",
    "a form is loaded": """
from concurrent.futures import ThreadPoolExecutor
list(ThreadPoolExecutor(4).map(model.predict, [x] * 8))""",
}


@pytest.mark.process
@pytest.mark.parametrize("how", EXITS)
def test_the_interpreter_ends_with_work_in_flight(long_package, how):
    code = f"""
import asyncio, sys, threading, numpy as np, pippin
strategy = {"default" if how == "a form is loaded" else "fast_load"!r}
model = pippin.load(sys.argv[1], pippin.Configuration(hints=pippin.Hints(strategy)), cache=False)
x = {{"x": np.eye(1536, dtype=np.float32)}}
{EXITS[how]}
print("end")
"""
    assert run(code, long_package).split() == ["end"]


def test_an_event_loop_that_is_closed(package, device):
    executor = Executor(FlowControl(max_in_flight=1), 1)
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


def test_a_model_is_collected_while_it_works(package):
    """The prediction holds what it needs; then everything goes, threads too."""
    model = pippin.load(package, FAST, flow=FlowControl(max_in_flight=1))
    device = Device()
    running = model._executor.submit(device)
    device.begun.acquire()
    waiting = model._executor.submit(lambda stop, predict=model._predict: predict(given(4), None, None, stop))
    watched = weakref.ref(model)
    before = {thread for thread in threading.enumerate() if thread.name.startswith("pippin")}
    del model
    gc.collect()
    device.go.set()
    assert running.future.result(60) == {"y": 1}
    assert right(waiting.future.result(60), 4)
    del running, waiting, device
    for thread in before:
        gc.collect()
        thread.join(0.01)
    gc.collect()
    assert watched() is None


@pytest.mark.process
def test_nothing_is_held_longer_than_its_prediction(package):
    """Inputs and outputs go without a collection of garbage, whatever becomes of the prediction."""

    class Outputs(dict):
        pass

    gc.collect()
    gc.disable()
    try:
        executor, held = Executor(FlowControl(max_in_flight=1, max_waiting=1), 1), []

        def work():
            array = np.zeros(10)
            held.append(weakref.ref(array))

            def run(stop):
                outputs = Outputs(y=array)
                held.append(weakref.ref(outputs))
                return outputs

            return run

        executor.call(work())
        device = Device()
        running = executor.submit(device)
        device.begun.acquire()
        cancelled = executor.submit(work())
        cancelled.cancel()
        waiting = executor.submit(work())
        rejected = executor.submit(work())
        device.go.set()
        waiting.future.result(60)
        assert isinstance(rejected.future.exception(60), PredictionError)
        del running, cancelled, waiting, rejected
        executor.call(lambda stop: {})  # the thread has let go of the one before
        assert [ref() for ref in held] == [None] * len(held)
    finally:
        gc.enable()


class Broken(BaseException):
    pass


@pytest.mark.parametrize("error", [RuntimeError("engine"), KeyboardInterrupt(), Broken(), TimeoutError("engine")])
def test_exceptions_of_an_engine(error):
    """Whatever it is, whoever waits gets it, and the slot comes back."""
    executor = Executor(FlowControl(max_in_flight=1, max_blocking=0), 1)

    def fails(stop):
        raise error

    with pytest.raises(type(error)):
        executor.call(fails, timeout=60)

    async def work():
        with pytest.raises(type(error)):
            await executor.call_async(fails)

    if isinstance(error, Exception):
        anyio.run(work)
    assert executor.call(lambda stop: {"y": 1}) == {"y": 1}
    assert executor.statistics().in_flight == 0 and executor.statistics().failed >= 1


def test_callbacks_that_fail():
    executor = Executor(FlowControl(max_in_flight=1), 1)
    pending = executor.submit(lambda stop: {"y": 1})
    pending.future.add_done_callback(lambda _: 1 / 0)
    assert pending.future.result(60) == {"y": 1}
    assert executor.call(lambda stop: {"y": 2}) == {"y": 2}


def test_a_state_queue_is_in_order_and_takes_no_slots():
    """Three wait for the state of the first; another state's, and one without, run meanwhile."""
    executor, order = Executor(FlowControl(max_in_flight=2, max_blocking=0), 2), []
    state_queue, other, device = StateQueue(), StateQueue(), Device()
    first = executor.submit(device, state_queue=state_queue)
    device.begun.acquire()
    waiting = [
        executor.submit(lambda stop, n=n: order.append(n) or {"y": n}, state_queue=state_queue, priority=n)
        for n in range(3)
    ]
    assert executor.call(lambda stop: {"y": 7}, state_queue=other) == {"y": 7}
    assert executor.call(lambda stop: {"y": 8}) == {"y": 8}
    waiting[1].cancel()
    assert order == [] and isinstance(waiting[1].future.exception(60), PredictionError)
    device.go.set()
    assert first.future.result(60) == {"y": 1}
    assert [waiting[n].future.result(60)["y"] for n in (0, 2)] == [0, 2] == order
    found = executor.statistics()
    assert (found.submitted, found.completed, found.cancelled) == (6, 5, 1)


def test_many_refused_of_one_state_queue():
    """Thousands wait for a state; when its turn comes, the admission refuses each of them: without deep recursion."""
    executor, state_queue = Executor(FlowControl(max_in_flight=1, policy="reject"), 1), StateQueue()
    device = Device()
    with state_queue.turn():
        blocked = [executor.submit(lambda stop: {"y": 1}, state_queue=state_queue) for _ in range(3000)]
        executor.submit(device)
        device.begun.acquire()
    assert {type(pending.future.exception(60)) for pending in blocked} == {PredictionRejected}
    device.go.set()


def test_a_state_queue_for_threads():
    state_queue, order, inside = StateQueue(), [], [0]

    def work(number):
        with state_queue.turn():
            inside[0] += 1
            assert inside[0] == 1
            order.append(number)
            inside[0] -= 1

    threads = []
    with state_queue.turn():
        for number in range(8):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while len(state_queue._waiting) <= number:
                pass
    for thread in threads:
        thread.join()
    assert order == list(range(8))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_outputs_in_the_memory_of_the_caller(package, engine):
    model = pippin.load(package, pippin.Configuration(engine=engine, hints=FAST.hints))
    exact, strided = np.zeros((3, 4), np.float32), np.zeros((3, 8), np.float32)[:, ::2]
    for number in range(3):
        for backing in (exact, strided):
            options = PredictionOptions(output_backings={"y": backing})
            assert model.predict(given(number), options=options)["y"] is backing
            assert (backing == number + 1).all()
    before = exact.copy()
    model.predict(given(9))
    assert np.array_equal(exact, before)  # a later prediction does not write into it
    bad = {
        FeatureTypeError: {"y": [1, 2]},
        UnexpectedFeatureError: {"z": exact},
        FeatureShapeError: {"y": np.zeros((4, 3), np.float32)},
    }
    for error, backings in bad.items():
        with pytest.raises(error):
            model.predict(given(1), options=PredictionOptions(backings))

    async def work():
        return await model.predict_async(given(4), options=PredictionOptions({"y": exact}))

    assert anyio.run(work)["y"] is exact and (exact == 5).all()


def test_bytes_are_those_of_inputs_and_outputs(model):
    assert model._session.bytes == model._size(given(1)) == 2 * 48


def test_what_is_large_is_not_computed_in_the_event_loop():
    """By the size of the inputs: many small ones were short, so one of them is; a large one is not known to be."""
    executor, threads = Executor(FlowControl(), 1), []

    def work(stop):
        threads.append(threading.current_thread())
        return {"y": 1}

    for _ in range(5):
        executor.latency.record(100, 20e-6)
        executor.latency.record(10**6, 5e-3)

    async def both():
        for size in (100, 10**6, 10**9):
            await executor.call_async(work, size)

    anyio.run(both)
    assert [thread is threading.main_thread() for thread in threads] == [True, False, False]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_event_loop_has_its_turn(backend):
    """Each prediction says that it took 0.09 ms; the tasks together keep the loop for no longer than the bound."""
    now, most, since = [0.0], [0.0], [0.0]
    executor = Executor(FlowControl(), 1)
    executor.admission._clock = lambda: now[0]
    for _ in range(5):
        executor.latency.record(0, 20e-6)

    def work(stop):
        now[0] += 90e-6
        most[0] = max(most[0], now[0] - since[0])
        return {"y": 1}

    async def ticker():
        while True:
            since[0] = now[0]
            await anyio.lowlevel.checkpoint()

    async def task():
        for _ in range(100):
            assert await executor.call_async(work) == {"y": 1}

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(ticker)
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(task)
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    assert 0 < most[0] <= 1e-3


def test_a_slow_one_ends_the_inline_computation():
    executor = Executor(FlowControl(max_blocking=1e-3), 1)
    for _ in range(20):
        executor.latency.record(0, 20e-6)
    assert executor.latency.is_short(0)
    executor.latency.record(0, 5e-3)
    assert executor.latency.is_short(0)  # the thread may have lost its core
    executor.latency.record(0, 5e-3)
    assert not executor.latency.is_short(0)
    for _ in range(100):
        executor.latency.record(0, 20e-6)
    assert executor.latency.is_short(0)
    never = Executor(FlowControl(max_blocking=0), 1)
    for _ in range(20):
        never.latency.record(0, 20e-6)
    assert not never.latency.is_short(0)


def test_an_interrupted_thread_cancels_what_it_waits_for():
    executor, device = Executor(FlowControl(max_in_flight=1), 1), Device()
    executor.submit(device)
    device.begun.acquire()

    class Interrupted(Exception):
        pass

    original = executor.submit

    def submit(*arguments):
        pending = original(*arguments)
        pending.future.result = lambda timeout=None: (_ for _ in ()).throw(Interrupted())
        return pending

    executor.submit = submit
    with contextlib.suppress(Interrupted):
        executor.call(lambda stop: {"y": 1})
    assert executor.statistics().waiting == 0 and executor.statistics().cancelled == 1
    device.go.set()
