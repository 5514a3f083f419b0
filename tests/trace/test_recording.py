"""Recording: every load and prediction of the process, from any thread and task, and nothing while nobody records."""

from __future__ import annotations

import gc
import os
import threading

import anyio
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from pippin.engines import Settings
from pippin.errors import FeatureShapeError, PredictionDropped
from pippin.specialization.artifacts import CompiledSegment, SegmentedModel
from pippin.trace import recorder
from support.small_models import saved_program

FAST = pippin.Configuration(hints=pippin.Hints("fast_load"))
X = {"x": np.full((2, 3), 1.5, np.float32)}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("trace"), lambda x: mb.relu(x=x, name="y"), name="small", x=(2, 3))


@pytest.fixture
def model(package):
    return pippin.load(package, FAST)


def names(events):
    return [event.name for event in events]


def test_a_prediction_and_what_is_inside(model):
    with pippin.trace.record() as recorded:
        model.predict(X)
    (prediction,) = recorded.children
    assert (prediction.name, prediction.lane, prediction.label) == ("prediction", "activity", "")
    assert prediction.details == {"model": "small.mlpackage", "function": "main", "bytes": 48}
    copy, compute, transformation = prediction.children
    assert names(prediction.children) == ["input copy", "compute", "output transformation"]
    assert [event.lane for event in prediction.children] == ["data", "compute cpu", "data"]
    assert compute.label == model.engine and compute.details["device"] == "cpu"
    times = [prediction.start, copy.start, copy.end, compute.start, compute.end, transformation.start]
    assert times == sorted(times)
    assert transformation.end == prediction.end >= transformation.start
    assert len(recorded.events) == 4


def test_a_load_has_its_label_and_stages(package, tmp_path):
    with pippin.trace.record() as recorded:
        for _ in range(2):
            pippin.load(package, cache=tmp_path).predict(X)
    fresh, first, cached, second = recorded.children
    assert [event.label for event in (fresh, cached)] == ["prepare and cache", "cached"]
    assert "compile" in names(fresh.children) and names(cached.children) == ["load"]
    assert (fresh.model, cached.model) == (first.model, second.model), "a load stands on its model's subtrack"
    assert first.model != second.model


def test_a_load_that_fails(tmp_path):
    with pippin.trace.record() as recorded, pytest.raises(pippin.errors.PackageError):
        pippin.load(tmp_path / "absent.mlpackage")
    (event,) = recorded.children
    assert event.details["error"] == "ModelNotFoundError"


def test_nothing_is_recorded_before_and_after(model):
    model.predict(X)
    with pippin.trace.record() as recorded:
        pass
    model.predict(X)
    assert recorder.sink is None
    assert recorded.children == []


def test_recordings_inside_each_other(model):
    with pippin.trace.record() as outer:
        model.predict(X)
        with pippin.trace.record() as inner:
            model.predict(X)
        model.predict(X)
    assert (len(outer.children), len(inner.children)) == (3, 1)
    assert recorder.sink is None


def test_every_thread_is_recorded(model):
    threads = [threading.Thread(target=lambda: [model.predict(X) for _ in range(20)]) for _ in range(4)]
    with pippin.trace.record() as recorded:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert names(recorded.children) == ["prediction"] * 80


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_task_is_recorded(model, backend):
    async def work():
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(model.predict_async, X)

    with pippin.trace.record() as recorded:
        anyio.run(work, backend=backend)
    assert names(recorded.children) == ["prediction"] * 30


def test_a_batch_is_recorded(model):
    with pippin.trace.record() as recorded:
        model.predict_batch([X] * 7)
    assert names(recorded.children) == ["prediction"] * 7


def test_a_prediction_that_fails(model):
    with pippin.trace.record() as recorded, pytest.raises(FeatureShapeError):
        model.predict({"x": np.zeros((5, 5), np.float32)})
    (event,) = recorded.children
    assert (event.name, event.label, event.details["error"]) == ("prediction", "failed", "FeatureShapeError")


def test_refusals_are_counted(package):
    model = pippin.load(package, FAST, flow=pippin.FlowControl(max_in_flight=1, policy="drop_newest"))
    held, go = threading.Event(), threading.Event()

    def slow(stop):
        held.set()
        assert go.wait(60)
        return {}

    with pippin.trace.record() as recorded:
        pending = model._executor.submit(slow)
        assert held.wait(60)
        with pytest.raises(PredictionDropped):
            model.predict(X)
        go.set()
        pending.future.result(60)
    counts = [record for record in recorded.records() if record[0] == recorder.COUNTS]
    assert counts[-1][1] == "small.mlpackage"
    assert counts[-1][3:] == (0, 0, 1, 0), "waiting, cancelled, dropped, rejected"


def test_spans_and_counters_of_a_program():
    with pippin.trace.record() as recorded:
        with pippin.trace.span("page", lane="app", rows=3) as page:
            with pippin.trace.span("row"):
                pass
            page.label = "first"
        pippin.trace.counter("tiles", 12)
    (event,) = recorded.children
    assert (event.name, event.lane, event.label, dict(event.details)) == ("page", "app", "first", {"rows": 3})
    assert names(event.children) == ["row"]
    assert [record[3] for record in recorded.records() if record[0] == recorder.COUNTER] == [12]


def test_a_span_that_is_open_when_recording_begins_or_ends():
    recording = pippin.trace.record()
    with pippin.trace.span("before"):
        recording.start()
        with pippin.trace.span("inside"):
            pass
        after = pippin.trace.span("after")
        after.__enter__()
        recording.stop()
    after.__exit__(None, None, None)
    assert names(recording.children) == ["inside"]


def test_the_newest_are_kept(model):
    with pippin.trace.record(limit=10, sample=0) as recorded:
        for _ in range(25):
            model.predict(X)
    assert len(recorded.children) == 10
    assert recorded.full


def test_memory_and_cpu_are_sampled():
    with pippin.trace.record() as recorded:
        pass
    samples = [record for record in recorded.records() if record[0] == recorder.SAMPLE]
    assert len(samples) >= 2, "at the start and at the end"
    assert all(record[3] > 1_000_000 and record[4] >= 0 for record in samples)


def test_records_burden_no_garbage_collection(model):
    with pippin.trace.record(sample=0) as recorded:
        model.predict(X)
    for _ in range(4):  # one for each level of the tuples
        gc.collect()
    assert not any(gc.is_tracked(record) for record in recorded.records())


def test_segments_are_timed():
    class Adds:
        def run(self, inputs, stop=None, into=None):
            return {f"{name}'": value + 1 for name, value in inputs.items()}

    parts = [CompiledSegment("e", Settings(), (name,), (f"{name}'",)) for name in ("a", "a'", "a''")]
    segmented = SegmentedModel([(part, Adds()) for part in parts], ["a'''"])
    arrays, marks = segmented.run_timed({"a": np.zeros(2)})
    np.testing.assert_array_equal(arrays["a'''"], [3, 3])
    assert len(marks) == 2 and marks[0] <= marks[1]


def test_each_segment_is_an_event_on_its_device():
    subject = (7, "m", "main", (("gpu", "onnxruntime", "float16"), ("cpu", "openvino", "float32")))
    record = (recorder.PREDICTION, subject, 1.0, 10.0, 1, 2.0, 9.0, (5.0,), 64)
    (prediction,) = pippin.trace.events.events([record])
    computed = [(e.lane, e.label, e.start, e.end) for e in prediction.children if e.name == "compute"]
    assert computed == [("compute gpu", "onnxruntime", 2.0, 5.0), ("compute cpu", "openvino", 5.0, 9.0)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_records_nothing():
    with pippin.trace.record():
        child = os.fork()
        if child == 0:
            os._exit(0 if recorder.sink is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
