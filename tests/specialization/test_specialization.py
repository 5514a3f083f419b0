"""Specialize: the choice among candidates, the precision contract, segments, progress, cancellation, plans."""

from __future__ import annotations

import threading

import anyio
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
import pippin
from pippin import Cancellation, Configuration, Hints
from pippin.cache.store import Cache
from pippin.engines import all_engines
from pippin.errors import ConfigurationError, SpecializationCancelled, UnsupportedOperationError
from pippin.specialization.candidates import _best, _reason
from pippin.specialization.precision import signal_to_noise
from support.small_models import saved_program

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.standard_normal((64, 64)).astype(np.float32)
X = RANDOM.standard_normal((8, 64)).astype(np.float32)


def body(x):
    return mb.relu(x=mb.linear(x=x, weight=WEIGHT), name="y")


def expected(x=X):
    return np.maximum(x @ WEIGHT.T, 0)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("f32"), body, x=(8, 64))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The same in float16: float16 in, computed and out."""
    weight = WEIGHT.astype(np.float16)

    def program(x):
        return mb.relu(x=mb.linear(x=x, weight=weight), name="y")

    return saved_program(tmp_path_factory.mktemp("f16"), program, dtype=np.float16, x=(8, 64))


@pytest.fixture
def unforeseen(monkeypatch):
    """Nothing is known of the engines before they are compiled."""
    monkeypatch.setattr("pippin.specialization.specializer.prospects", lambda *given: None)


def test_every_engine_is_tried_and_the_plan_says_so(package, unforeseen):
    plan = pippin.load(package).compute_plan
    assert {c.engine for c in plan.candidates} == {"openvino", "onnxruntime"}
    chosen = [c for c in plan.candidates if not c.note]
    assert len(chosen) == 1
    assert chosen[0].engine == plan.segments[0].engine
    assert all(c.seconds is not None and c.compilation is not None for c in plan.candidates)


def test_the_fastest_is_chosen_and_of_level_ones_the_one_that_loads_faster():
    from pippin.engines import Settings
    from pippin.specialization.candidates import Trial

    openvino, runtime = all_engines()["openvino"], all_engines()["onnxruntime"]
    slow = Trial(runtime, Settings(), compilation=0.1, times=[3.0, 3.0])
    fast = Trial(openvino, Settings(), compilation=0.5, times=[1.0, 9.0, 1.0])
    level = Trial(runtime, Settings(), compilation=0.2, times=[1.01])
    assert _best([slow, fast], 0.1) is fast
    assert "3.00 times as long as openvino" in _reason(slow, fast, 0.1)
    assert _best([slow, fast, level], 0.1) is level
    assert _best([slow, fast, level], 0.001) is fast
    assert "tied" in _reason(fast, level, 0.1)


def test_fast_load_measures_nothing(package):
    plan = pippin.load(package, Configuration(hints=Hints("fast_load"))).compute_plan
    assert plan.segments[0].engine == "openvino"
    assert all(c.seconds is None for c in plan.candidates)
    assert "measure" not in plan.stages


@pytest.mark.slow
def test_fast_prediction_searches_threads_and_throughput(package):
    plan = pippin.load(package, Configuration(hints=Hints("fast_prediction"))).compute_plan
    assert {c.engine for c in plan.candidates} == {e.name for e in all_engines().values() if e.installed}
    assert all(c.throughput for c in plan.candidates)
    if pippin.available_compute_devices()[0].cores > 1:
        assert {c.threads for c in plan.candidates} >= {None, 1}


@pytest.mark.slow
def test_an_engine_that_computes_something_else_is_not_chosen(package, monkeypatch):
    """What is not trusted by itself is compared, however fast it is."""
    mnn = all_engines()["mnn"]
    if not mnn.installed:
        pytest.skip("MNN is not installed")
    compiled = type(mnn).compile

    def wrong(self, source, settings):
        made = compiled(self, source, settings)
        run = made.run
        made.run = lambda inputs, stop=None: {name: value * 1.001 for name, value in run(inputs).items()}
        return made

    monkeypatch.setattr(type(mnn), "compile", wrong)
    model = pippin.load(package, Configuration(hints=Hints("fast_prediction")))
    assert model.engine != "mnn"
    assert all("70 dB is required" in c.note for c in model.compute_plan.candidates if c.engine == "mnn")


def test_a_named_engine_is_the_only_candidate(package):
    plan = pippin.load(package, Configuration(engine="onnxruntime")).compute_plan
    assert [c.engine for c in plan.candidates] == ["onnxruntime"]
    with pytest.raises(ConfigurationError, match="openvino, onnxruntime"):
        pippin.load(package, Configuration(engine="tensorflow"))


# The precision contract


def sixteen_bits(engine="openvino"):
    return all_engines()[engine].precisions("cpu")


def test_what_is_declared_float32_is_computed_in_float32(package):
    plan = pippin.load(package).compute_plan
    assert {c.precision for c in plan.candidates} == {"float32"}
    assert "declared" in plan.precision


def test_what_is_declared_float16_may_be_computed_in_16_bits(half):
    plan = pippin.load(half).compute_plan
    tried = [c for c in plan.candidates if c.precision != "float32"]
    assert bool(tried) == bool(sixteen_bits())
    assert all(c.signal_to_noise.get("y", 0) >= 40 or "dB" in c.note for c in tried)


def test_a_result_with_too_much_noise_is_refused(tmp_path):
    """The difference of nearly equal numbers: 8 bits of mantissa keep nothing of it."""
    if not sixteen_bits():
        pytest.skip("no engine here has a 16-bit precision to refuse")

    def program(x):
        near = [mb.linear(x=x, weight=(np.eye(64) * scale).astype(np.float16)) for scale in (1000, 1001)]
        return mb.sub(x=near[0], y=near[1], name="y")

    noisy = saved_program(tmp_path, program, dtype=np.float16, target=ct.target.iOS17, x=(8, 64))
    plan = pippin.load(noisy).compute_plan
    assert plan.segments[0].precision == "float32"
    assert any("signal-to-noise" in c.note for c in plan.candidates)


def test_a_precision_that_is_asked_for(package, half):
    if "bfloat16" not in sixteen_bits():
        pytest.skip("no engine here computes in bfloat16")
    plan = pippin.load(package, Configuration(precision="bfloat16")).compute_plan
    assert plan.segments[0].precision == "bfloat16"
    assert pippin.load(half, Configuration(precision="float32")).compute_plan.segments[0].precision == "float32"


@pytest.mark.parametrize(
    ("reference", "found", "decibels"),
    [
        (np.ones(100, np.float32), np.full(100, 1.1, np.float32), 20),
        (np.ones(3, np.float32), np.ones(3, np.float32), np.inf),
        (np.zeros(3, np.float32), np.ones(3, np.float32), -np.inf),
        (np.array([1, np.nan, np.inf], np.float32), np.array([1, np.nan, np.inf], np.float32), np.inf),
        (np.array([1, np.nan], np.float32), np.array([1, 2], np.float32), -np.inf),
        (np.array([1, 2], np.float32), np.array([1, np.inf], np.float32), -np.inf),
        (np.array([1, 2]), np.array([1, 2]), np.inf),
        (np.array([1, 2]), np.array([1, 3]), -np.inf),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.inf),
        (np.ones(3, np.float32), np.ones(4, np.float32), -np.inf),
        (np.full(4, 1e30, np.float32), np.full(4, 1e30 * 1.01, np.float32), 40),
    ],
)
def test_signal_to_noise(reference, found, decibels):
    (value,) = signal_to_noise({"y": reference}, {"y": found}, ["y"]).values()
    assert value == pytest.approx(decibels, abs=0.01)


# Segments


@pytest.fixture
def shared(monkeypatch):
    """Each engine declines what the other takes."""

    def declining(kinds):
        def declined(self, lowered):
            return {n.name: "declined for the test" for n in lowered.model.graph.node if n.op_type in kinds}

        return declined

    monkeypatch.setattr(type(all_engines()["openvino"]), "declined", declining({"Relu", "Sin"}))
    monkeypatch.setattr(type(all_engines()["onnxruntime"]), "declined", declining({"MatMul", "Gemm"}))


def test_segments_on_two_engines(package, shared, tmp_path):
    for label in ("prepare and cache", "cached"):
        model = pippin.load(package, cache=tmp_path)
        assert model.load_label == label
        assert model.engine == "openvino+onnxruntime"
        np.testing.assert_allclose(model.predict({"x": X})["y"], expected(), rtol=1e-4, atol=1e-4)
        plan = model.compute_plan
        where = {op.kind: (op.engine, op.segment) for op in plan.operations if op.device}
        assert where["linear"][0] == "openvino"
        assert where["relu"] == ("onnxruntime", 1)
        (relu,) = (op for op in plan.operations if op.kind == "relu")
        assert relu.reasons["openvino"] == "declined for the test"


def test_no_engine_for_an_operation(package, monkeypatch):
    for engine in all_engines().values():
        monkeypatch.setattr(
            type(engine), "declined", lambda self, lowered: {lowered.model.graph.node[0].name: f"{self.name} cannot"}
        )
    with pytest.raises(UnsupportedOperationError, match=r"(?s)openvino: openvino cannot.*onnxruntime: onnx"):
        pippin.load(package)


def test_what_cannot_be_measured_is_still_loaded(package, monkeypatch, unforeseen):
    monkeypatch.setattr(
        "pippin.specialization.segment_choice.example_inputs",
        lambda *_: (_ for _ in ()).throw(pippin.errors.FeatureError()),
    )
    model = pippin.load(package)
    np.testing.assert_allclose(model.predict({"x": X})["y"], expected(), rtol=1e-4, atol=1e-4)
    assert any("not measured" in c.note for c in model.compute_plan.candidates)


# Progress, cancellation, lazy and asynchronous loads


def test_progress(package, tmp_path, unforeseen):
    reports = []
    pippin.load(package, cache=tmp_path, progress=reports.append)
    stages = list(dict.fromkeys(report.stage for report in reports))
    assert stages == ["read", "lower", "segment", "compile", "measure", "store", "done"]
    shares = [report.share for report in reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1 and reports[-1].seconds_left == 0
    assert {report.stage for report in reports if report.detail} == {"compile", "measure"}
    reports.clear()
    pippin.load(package, cache=tmp_path, progress=reports.append)
    assert [report.stage for report in reports] == ["load", "done"]


@pytest.mark.parametrize("stage", ["read", "lower", "compile", "measure", "store"])
def test_a_cancelled_specialization_leaves_nothing_behind(package, tmp_path, stage, unforeseen):
    cancellation, cache = Cancellation(), Cache(tmp_path)

    def progress(report):
        if report.stage == stage:
            cancellation.cancel()

    with pytest.raises(SpecializationCancelled):
        pippin.load(package, cache=cache, progress=progress, cancellation=cancellation)
    assert not cache.entries()
    assert not list((cache.folder / "aside").iterdir())
    assert pippin.load(package, cache=cache).load_label == "prepare and cache"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_load_async(package, tmp_path, backend):
    async def work():
        stages = []
        model = await pippin.load_async(package, cache=tmp_path, progress=lambda r: stages.append(r.stage))
        assert stages[-1] == "done"
        return model

    model = anyio.run(work, backend=backend)
    np.testing.assert_allclose(model.predict({"x": X})["y"], expected(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelling_the_await_cancels_the_specialization(package, tmp_path, backend):
    compiling, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    cache = Cache(tmp_path)

    def progress(report):
        if report.stage == "compile" and not compiling.is_set():
            compiling.set()
            go_on.wait(60)

    released = cache.abandon

    def abandon(key):
        released(key)
        ended.set()

    cache.abandon = abandon

    async def work():
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: pippin.load_async(package, cache=cache, progress=progress))
            await anyio.to_thread.run_sync(compiling.wait, 60)
            group.cancel_scope.cancel()

    anyio.run(work, backend=backend)
    assert not ended.is_set()  # the task is gone, the thread still stands in the stage
    go_on.set()
    assert ended.wait(60)
    assert not cache.entries()
    assert not list((cache.folder / "aside").iterdir())


def test_lazy(package):
    model = pippin.load(package, lazy=True)
    assert "not loaded" in repr(model)
    np.testing.assert_allclose(model.predict({"x": X})["y"], expected(), rtol=1e-4, atol=1e-4)
    assert "not loaded" not in repr(model)


def test_a_lazy_model_is_loaded_once_by_many_threads(package, tmp_path, monkeypatch):
    loads = []
    model = pippin.load(package, lazy=True, cache=tmp_path, progress=lambda r: loads.append(r.stage))
    threads = [threading.Thread(target=model.predict, args=({"x": X},)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads.count("done") == 1


def test_unload_and_close(package):
    model = pippin.load(package)
    model.unload()
    np.testing.assert_allclose(model.predict({"x": X})["y"], expected(), rtol=1e-4, atol=1e-4)
    with model:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        model.predict({"x": X})


def test_specialize_fills_the_cache(package, tmp_path):
    pippin.specialize(package, [Configuration(), Configuration(threads=1)], cache=tmp_path)
    assert len(Cache(tmp_path).entries()) == 2
    assert pippin.load(package, Configuration(threads=1), cache=tmp_path).load_label == "cached"


def test_a_compiled_model_brings_its_specialization(package, tmp_path):
    pippin.save_compiled(package, tmp_path / "m.mlmodelc")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "m.mlmodelc").rename(moved / "m.mlmodelc")
    model = pippin.load(moved / "m.mlmodelc", cache=False)
    assert model.load_label == "cached"
    np.testing.assert_allclose(model.predict({"x": X})["y"], expected(), rtol=1e-4, atol=1e-4)
    other = pippin.load(moved / "m.mlmodelc", Configuration(threads=1), cache=tmp_path / "cache")
    assert other.load_label == "prepare and cache"
    assert pippin.load(moved / "m.mlmodelc", Configuration(threads=1), cache=tmp_path / "cache").load_label == "cached"
    with pytest.raises(ConfigurationError, match="exists"):
        pippin.save_compiled(package, moved / "m.mlmodelc")
    with pytest.raises(ConfigurationError, match=r"\.mlmodelc"):
        pippin.save_compiled(package, tmp_path / "m.onnx")


# Plan and trace


def test_the_plan_of_each_operation(package):
    plan = pippin.load(package).compute_plan
    assert [op.kind for op in plan.operations] == ["linear", "relu"]
    assert all(op.device == "cpu" and op.engine == plan.segments[0].engine for op in plan.operations)
    assert sum(op.cost for op in plan.operations) == pytest.approx(1)
    assert plan.share("cpu") == pytest.approx(1) and plan.share("gpu") == 0
    assert plan.operations[0].cost > plan.operations[1].cost
    absent = {device.kind for device in pippin.all_compute_devices() if not device.available}
    assert all(absent <= op.reasons.keys() for op in plan.operations)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_measured_plan(package, engine):
    plan = pippin.load(package, Configuration(engine=engine)).measured_plan()
    assert sum(plan.measured.values()) > 0
    assert plan.measured.keys() <= {op.name for op in plan.operations} | {""}


def test_load_events_of_the_trace(package, tmp_path, unforeseen):
    with pippin.trace.record() as recorded:
        for _ in range(2):
            pippin.load(package, cache=tmp_path)
    fresh, cached = recorded.children
    assert (fresh.name, fresh.label) == ("load", "prepare and cache")
    assert [span.name for span in fresh.children] == [
        "read",
        "lower",
        "segment",
        "compile",
        "measure",
        "store",
        "store",
    ]
    assert (cached.label, [span.name for span in cached.children]) == ("cached", ["load"])
    assert fresh.start <= fresh.children[0].start <= fresh.children[-1].end <= fresh.end
