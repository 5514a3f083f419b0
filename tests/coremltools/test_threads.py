"""Threads: a prediction lets other threads run, and its result is its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from support.small_models import converted

WEIGHT = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32) / 16


@pytest.fixture(scope="module")
def products(installed):
    return converted(lambda x: mb.relu(x=mb.linear(x=x, weight=WEIGHT), name="y"), x=(64, 256))


@pytest.mark.slow
def test_eight_threads_hammer_one_model(products):
    def hammer(seed):
        rng = np.random.default_rng(seed)
        for _ in range(40):
            x = rng.standard_normal((64, 256)).astype(np.float32)
            found = products.predict({"x": x})["y"]
            np.testing.assert_allclose(found, np.maximum(x @ WEIGHT.T, 0), rtol=1e-3, atol=1e-3)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(hammer, range(8)))


def test_other_threads_run_while_a_prediction_does(products, monkeypatch):
    """The engine is held up in the middle of a prediction, by something that waits without the interpreter's lock."""
    entered, go_on = Event(), Event()
    compiled = products.__proxy__._model._session._compiled
    run = compiled.run

    def held_up(inputs, *more):
        entered.set()
        assert go_on.wait(60)
        return run(inputs, *more)

    monkeypatch.setattr(compiled, "run", held_up)
    x = np.ones((64, 256), np.float32)
    results = []
    thread = Thread(target=lambda: results.append(products.predict({"x": x})["y"]))
    thread.start()
    assert entered.wait(60)
    monkeypatch.setattr(compiled, "run", run)
    inside = products.predict({"x": -x})["y"]  # a second prediction, while the first has not ended
    go_on.set()
    thread.join()
    np.testing.assert_allclose(results[0], np.maximum(x @ WEIGHT.T, 0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(inside, np.maximum(-x @ WEIGHT.T, 0), rtol=1e-3, atol=1e-3)


def test_threads_and_engine_by_the_environment(products, monkeypatch):
    import coremltools as ct

    monkeypatch.setenv("PIPPIN_THREADS", "1")
    monkeypatch.setenv("PIPPIN_ENGINE", "onnxruntime")
    model = ct.models.MLModel(products.package_path)
    assert model.__proxy__._model.engine == "onnxruntime"
    assert model.__proxy__._model.configuration.threads == 1
    monkeypatch.setenv("PIPPIN_THREADS", "many")
    with pytest.warns(RuntimeWarning, match="PIPPIN_THREADS must be a number, got 'many'"):
        ct.models.MLModel(products.package_path)
