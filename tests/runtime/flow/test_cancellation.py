"""Stop: a prediction that runs is asked to stop, on every engine; its slot comes back when the device is done."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import pippin
from pippin import FlowControl
from pippin.errors import PredictionCancelled
from pippin.runtime.flow.executor import Executor
from pippin.support.cancellation import Cancellation, Stop
from runtime.flow.device import FAST, Device


def test_stop_calls_how_only_while_the_work_runs():
    stop, calls = Stop(), []
    with stop.by(lambda: calls.append("first")):
        pass
    with stop.by(lambda: calls.append("second")):
        stop.ask()
    stop.ask()
    assert calls == ["second"]
    with pytest.raises(PredictionCancelled), stop.by(lambda: calls.append("third")):
        calls.append("ran")
    assert calls == ["second"]


def test_a_listener_that_fails_does_not_keep_the_others():
    cancellation, calls = Cancellation(), []
    cancellation.listen(lambda: 1 / 0)
    cancellation.listen(lambda: calls.append("heard"))
    with pytest.raises(ZeroDivisionError):
        cancellation.cancel()
    assert calls == ["heard"]


def test_what_is_asked_to_stop_gives_its_slot_back():
    executor, device = Executor(FlowControl(max_in_flight=1), 1), Device(stops=True)
    pending = executor.submit(device)
    device.begun.acquire()
    pending.cancel()
    with pytest.raises(PredictionCancelled):
        pending.future.result(60)
    assert executor.call(lambda stop: {"y": 2}) == {"y": 2}
    found = executor.statistics()
    assert (found.cancelled, found.completed, found.failed, found.in_flight) == (1, 1, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_an_engine_stops(long_package, engine):
    """The whole prediction takes tenths of a second, in which a run of the engine is asked again and again to stop."""
    model = pippin.load(long_package, pippin.Configuration(engine=engine, hints=FAST.hints))
    x = {"x": np.eye(1536, dtype=np.float32)}
    expected = model.predict(x)["y"]
    stop, over = Stop(), threading.Event()
    how = []

    class Watched(Stop):
        def by(self, call):
            how.append(call)
            asked.set()
            return super().by(call)

    stop, asked = Watched(), threading.Event()

    def ask():
        asked.wait(60)
        while not over.is_set():
            stop.ask()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with pytest.raises(PredictionCancelled):
            model._session.run(x, None, stop)
    finally:
        over.set()
        asking.join()
    assert how
    assert np.array_equal(model.predict(x)["y"], expected)  # it can be used as before


def test_between_segments():
    from pippin.engines import Settings
    from pippin.specialization.artifacts import CompiledSegment, SegmentedModel

    stop, ran = Stop(), []

    class Segment:
        def __init__(self, name):
            self.name = name

        def run(self, inputs, stop=None, into=None):
            ran.append(self.name)
            stop.ask()
            return {self.name: np.zeros(1)}

    parts = [(CompiledSegment("e", Settings(), (), (name,)), Segment(name)) for name in "ab"]
    with pytest.raises(PredictionCancelled):
        SegmentedModel(parts, ["b"]).run({}, stop)
    assert ran == ["a"]
