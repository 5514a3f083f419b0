"""VariantSelector: which form of a model is used for how many at once; the forms give the same results."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from pippin.engines import Settings, all_engines
from pippin.errors import CompilationError
from pippin.specialization import concurrency
from pippin.specialization.artifacts import CompiledSegment, with_variants
from pippin.specialization.concurrency_variants import Serialized, Variant, VariantSelector
from support.small_models import saved_program


class Form:
    """Says its name when it runs, as long as the test wants."""

    def __init__(self, name, log, held=None):
        self.name, self.log, self.held = name, log, held

    def run(self, inputs, stop=None, into=None):
        self.log.append(self.name)
        if self.held is not None:
            self.held.wait(60)
        return {"y": self.name}


def test_which_form():
    log, held = [], threading.Event()
    alone, two, eight = Form("alone", log), Form("two", log), Form("eight", log)
    selector = VariantSelector(alone, [Variant(8, None, eight), Variant(2, None, two)])
    selector.run({})
    for form in (alone, two, eight):
        form.held = held
    threads = []
    for number in range(1, 10):
        thread = threading.Thread(target=selector.run, args=({},))
        thread.start()
        threads.append(thread)
        while len(log) < 1 + number:
            pass
    held.set()
    for thread in threads:
        thread.join()
    assert log == ["alone", "alone", "two", *["eight"] * 7]


def test_alone_again_after_some_calm():
    log, held = [], threading.Event()
    alone, two = Form("alone", log, held), Form("two", log)
    selector = VariantSelector(alone, [Variant(2, None, two)])
    thread = threading.Thread(target=selector.run, args=({},))
    thread.start()
    while not log:
        pass
    selector.run({})
    held.set()
    thread.join()
    for _ in range(4):
        selector.run({})
    assert log == ["alone", "two", "two", "two", "alone", "alone"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_form_is_loaded_beside_what_runs(fails):
    log, loading, go = [], [], threading.Event()
    alone, two = Form("alone", log), Form("two", log)

    def load():
        loading.append(threading.current_thread())
        go.wait(60)
        if fails:
            raise CompilationError("gone")
        return two

    variant = Variant(2, load)
    selector = VariantSelector(alone, [variant])
    selector._sequential = 0
    selector.run({})
    selector.run({})
    assert log == ["alone", "alone"]  # nobody waits for it
    go.set()
    loading[0].join()
    selector._sequential = 0
    selector.run({})
    assert log[2:] == ["alone" if fails else "two"]
    assert len(loading) == 1


def test_one_at_a_time():
    inside, most, lock = [0], [0], threading.Lock()

    class Counted:
        def run(self, inputs, stop=None, into=None):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with lock:
                inside[0] -= 1
            return {}

    one = Serialized(Counted())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: one.run({}), range(200)))
    assert most == [1]
    assert isinstance(with_variants(Counted(), (Settings(streams=1),), None), Serialized)


PER_CORES = {
    ("openvino", 2, None): [(1, 2)],
    ("openvino", 16, None): [(4, 4), (1, 16)],
    ("openvino", 16, 4): [(4, 4)],
    ("openvino", 2, 2): [],
    ("onnxruntime", 2, None): [(1, 2)],
    ("onnxruntime", 2, 1): [],
    ("mnn", 2, None): [],
}


@pytest.mark.parametrize("engine, cores, threads", PER_CORES)
def test_forms_of_the_engines(engine, cores, threads):
    """(threads of a prediction, streams)"""
    forms = all_engines()[engine].concurrent_settings(Settings(threads=threads), cores)
    assert [(form.threads, form.streams) for form in forms] == PER_CORES[engine, cores, threads]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    weight = np.random.default_rng(0).standard_normal((384, 384)).astype(np.float32) / 20

    def body(x):
        for _ in range(6):
            x = mb.relu(x=mb.matmul(x=x, y=weight))
        return mb.identity(x=x, name="y")

    return saved_program(tmp_path_factory.mktemp("adaptive"), body, x=(384, 384))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["default", "fast_prediction"])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_many_at_once_get_the_same_results(package, engine, strategy, tmp_path, monkeypatch):
    """Prepared, then cached: the forms are in the plan and in the cache, and compute the same."""
    monkeypatch.setattr(concurrency, "SHORT_PREDICTION", 0.0)
    monkeypatch.setattr("pippin.devices.cpu.cores", lambda: 2)
    x = np.random.default_rng(1).standard_normal((8, 384, 384)).astype(np.float32)
    configuration = pippin.Configuration(engine=engine, precision="float32", hints=pippin.Hints(strategy))
    labels = []
    for _ in range(2):
        model = pippin.load(package, configuration, cache=tmp_path)
        labels.append(model.load_label)
        expected = [model.predict({"x": each})["y"] for each in x]
        for _ in range(3):
            with ThreadPoolExecutor(4) as pool:
                for right, found in zip(
                    expected, pool.map(lambda each, model=model: model.predict({"x": each})["y"], x), strict=True
                ):
                    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)
        plan = model.compute_plan
        if strategy == "default":
            assert plan.segments[0].streams == (2,)
        else:
            measured = [row for row in plan.candidates if row.streams is not None]
            assert measured and all(row.throughput > 0 and "under load" in row.note for row in measured)
    assert labels == ["prepare and cache", "cached"]


def test_a_part_survives_the_cache():
    import json

    part = CompiledSegment("openvino", Settings(), ("a",), ("b",), (Settings(threads=1, streams=2),))
    assert CompiledSegment.from_dict(json.loads(json.dumps(part.to_dict()))) == part
