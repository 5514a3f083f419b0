"""Batch: stacked where that is the same and pays, else side by side; asynchronous; map."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol

import coremltools as ct
import pippin
from pippin import FlowControl
from pippin.errors import DeadlineExceeded, FeatureShapeError
from pippin.runtime.flow import dynamic_batching
from runtime.flow.device import FAST, given, right
from support.small_models import saved_program

BACKENDS = ("asyncio", "trio")
FLEXIBLE = [ct.TensorType("x", (ct.RangeDim(1, 64, default=1), 5), np.float32)]
BODIES = {
    "rows apart": lambda x: mb.mul(x=mb.add(x=x, y=1.0), y=3.0, name="y"),
    "rows together": lambda x: mb.sub(x=x, y=mb.reduce_mean(x=x, axes=[0], keep_dims=True), name="y"),
    "no rows": lambda x: mb.reduce_sum(x=x, axes=[0], keep_dims=True, name="y"),
}


@pytest.fixture(scope="module")
def flexible(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    return {
        name: saved_program(folder, body, name=name.replace(" ", "_"), inputs=FLEXIBLE, x=(get_new_symbol(), 5))
        for name, body in BODIES.items()
    }


def rows(count, seed=0):
    return list(np.random.default_rng(seed).standard_normal((count, 1, 5)).astype(np.float32))


EXPECTED = {
    "rows apart": lambda x: (x + 1) * 3,
    "rows together": lambda x: x - x.mean(0, keepdims=True),
    "no rows": lambda x: x.sum(0, keepdims=True),
}


@pytest.mark.parametrize("name", BODIES)
def test_stacks_give_what_single_predictions_give(flexible, name, monkeypatch):
    monkeypatch.setattr(dynamic_batching, "_GAIN", 1e-9)  # whatever it costs: where it is the same, it is stacked
    model = pippin.load(flexible[name], FAST)
    x = rows(37)
    for _ in range(2):
        found = model.predict_batch([{"x": each} for each in x])
        for each, outputs in zip(x, found, strict=True):
            np.testing.assert_allclose(outputs["y"], EXPECTED[name](each), rtol=1e-5, atol=1e-6)
    assert (model._dynamic_batcher()._size > 1) == (name == "rows apart")


def test_a_stack_that_does_not_pay(flexible, monkeypatch):
    monkeypatch.setattr(dynamic_batching, "_GAIN", 1e9)
    model = pippin.load(flexible["rows apart"], FAST)
    assert len(model.predict_batch([{"x": each} for each in rows(20)])) == 20
    assert model._dynamic_batcher()._size == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_bad_element_among_stacks(flexible, asynchronous, monkeypatch):
    monkeypatch.setattr(dynamic_batching, "_GAIN", 1e-9)
    model = pippin.load(flexible["rows apart"], FAST)
    x = rows(40)
    model.predict_batch([{"x": each} for each in x])
    batch = [{"x": each} for each in x]
    batch[21] = {"x": np.zeros((1, 6), np.float32)}

    def predict(**how):
        if asynchronous:
            return anyio.run(lambda: model.predict_batch_async(batch, **how))
        return model.predict_batch(batch, **how)

    with pytest.raises(FeatureShapeError) as raised:
        predict()
    assert "in element 21 of the batch" in raised.value.report()
    seen = []
    found = predict(return_exceptions=True, progress=lambda done, of: seen.append((done, of)))
    assert isinstance(found[21], FeatureShapeError)
    for number, (each, outputs) in enumerate(zip(x, found, strict=True)):
        assert number == 21 or np.allclose(outputs["y"], (each + 1) * 3)
    assert seen[-1] == (40, 40)


def test_what_a_model_allows_bounds_a_stack(tmp_path, monkeypatch):
    monkeypatch.setattr(dynamic_batching, "_GAIN", 1e-9)
    inputs = [ct.TensorType("x", (ct.RangeDim(1, 5, default=1), 5), np.float32)]
    model = pippin.load(saved_program(tmp_path, BODIES["rows apart"], inputs=inputs, x=(get_new_symbol(), 5)), FAST)
    found = model.predict_batch([{"x": each} for each in rows(33)])
    assert model._dynamic_batcher()._size == 4 and len(found) == 33


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_async(model, backend):
    seen = []

    async def work():
        return await model.predict_batch_async(
            [given(n) for n in range(50)], progress=lambda done, of: seen.append((done, of))
        )

    assert all(right(outputs, n) for n, outputs in enumerate(anyio.run(work, backend=backend)))
    assert seen == [(n + 1, 50) for n in range(50)]
    assert anyio.run(lambda: model.predict_batch_async([]), backend=backend) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_a_batch(package, backend, device):
    model = pippin.load(package, FAST, flow=FlowControl(max_in_flight=1, max_blocking=0))
    model._executor.submit(device)
    device.begun.acquire()

    async def work():
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: model.predict_batch_async([given(n) for n in range(50)]))
            while not model.statistics().waiting:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    anyio.run(work, backend=backend)
    found = model.statistics()
    assert found.waiting == 0 and found.cancelled == 2  # only so many were submitted
    device.go.set()


@pytest.mark.parametrize("backend", ["thread", *BACKENDS])
def test_a_batch_within_a_time(package, backend, device):
    """What is complete is kept; the rest fails, whether it waited or had not been submitted."""
    model = pippin.load(package, FAST, flow=FlowControl(max_in_flight=1, max_blocking=0))
    batch = [given(n) for n in range(9)]

    def predict(**how):
        if backend == "thread":
            return model.predict_batch(batch, **how)
        return anyio.run(lambda: model.predict_batch_async(batch, **how), backend=backend)

    assert all(right(outputs, n) for n, outputs in enumerate(predict(timeout=60)))
    model._executor.submit(device)
    device.begun.acquire()
    found = predict(timeout=0.001, return_exceptions=True)
    assert [type(each) for each in found] == [DeadlineExceeded] * 9
    assert "the batch did not complete within 0.001 s" in str(found[8])
    with pytest.raises(DeadlineExceeded, match=r"within 0\.001 s"):
        predict(timeout=0.001)
    assert model.statistics().waiting == 0
    device.go.set()


def test_a_progress_that_raises(model):
    def progress(done, of):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.predict_batch([given(n) for n in range(50)], progress=progress)
    assert right(model.predict(given(1), timeout=60), 1)


def test_map(model):
    def endless():
        number = 0
        while True:
            yield given(number)
            number += 1

    taken = []
    for number, outputs in enumerate(model.map(endless())):
        taken.append(right(outputs, number))
        if number == 30:
            break
    assert taken == [True] * 31
    bad = [given(0), {"x": np.zeros((2, 2), np.float32)}, given(2)]
    first, error, last = model.map(bad, return_exceptions=True)
    assert right(first, 0) and isinstance(error, FeatureShapeError) and right(last, 2)
    with pytest.raises(FeatureShapeError):
        list(model.map(bad))
