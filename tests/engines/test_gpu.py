"""GPU: what a graphics processor computes, against float64 and the CPU. Without one these tests are skipped."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import pippin
from pippin.engines import Settings, all_engines, onnxruntime_providers
from pippin.errors import PredictionCancelled
from support.small_models import converted, saved_program

ONNXRUNTIME = all_engines()["onnxruntime"]
needs_gpu = pytest.mark.skipif(ONNXRUNTIME.device_name("gpu") is None, reason=f"no GPU: {ONNXRUNTIME.absence('gpu')}")
CPU = pippin.Configuration(compute_units=pippin.ComputeUnits.CPU_ONLY)
SIDE = 1024


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def products(count, side=SIDE):
    """Enough work that it pays to bring it to a GPU."""
    weights = normal(9, side, side) / side**0.5

    def body(x):
        shared = mb.const(val=weights)
        for _ in range(count):
            x = mb.tanh(x=mb.matmul(x=x, y=shared))
        return mb.identity(x=x, name="y")

    return body


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("gpu"), products(24), x=(SIDE, SIDE))


def network(x):
    for number, width in enumerate((16, 32, 64)):
        weights = normal(number, width, x.shape[1], 3, 3) / (3 * x.shape[1] ** 0.5)
        x = mb.relu(x=mb.conv(x=x, weight=weights, strides=[2, 2], pad_type="same"))
    x = mb.reduce_mean(x=x, axes=[2, 3])
    return mb.softmax(x=mb.linear(x=x, weight=normal(4, 10, 64)), axis=1, name="y")


@needs_gpu
def test_the_device_is_named():
    gpu = next(device for device in pippin.available_compute_devices() if device.kind == "gpu")
    assert "onnxruntime" in gpu.engines and gpu.driver and gpu.name not in ("GPU", "CUDA")


@needs_gpu
def test_float32_is_a_promise():
    """TF32 would be wrong by 3e-4."""
    model = converted(lambda x, y: mb.matmul(x=x, y=y, name="z"), x=(SIDE, SIDE), y=(SIDE, SIDE))
    lowered = pippin_lowered(model)
    x, y = normal(0, SIDE, SIDE), normal(1, SIDE, SIDE)
    compiled = ONNXRUNTIME.compile(lowered, Settings(device="gpu"))
    right = x.astype(np.float64) @ y
    assert np.linalg.norm(compiled.run({"x": x, "y": y})["z"] - right) < 1e-6 * np.linalg.norm(right)


def pippin_lowered(model):
    from pippin.lowering.lower_model import lower_model
    from pippin.program.opening import open_model

    asset = open_model(model.get_spec(), model.weights_dir)
    return lower_model(asset, asset.description.function()).model.SerializeToString()


@needs_gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 5e-3)])
def test_a_network(tmp_path, precision, tolerance):
    path = saved_program(tmp_path, network, x=(1, 3, 128, 128))
    compiled = ONNXRUNTIME.compile(pippin_lowered(converted(network, x=(1, 3, 128, 128))), Settings(device="gpu"))
    x = normal(5, 1, 3, 128, 128)
    right = pippin.load(path, CPU, cache=False).predict({"x": x})["y"]
    np.testing.assert_allclose(compiled.run({"x": x})["y"], right, atol=1e-5)
    found = pippin.load(path, pippin.Configuration(precision=precision), cache=False).predict({"x": x})["y"]
    np.testing.assert_allclose(found, right, atol=tolerance)


@needs_gpu
def test_much_work_goes_to_the_gpu_and_little_does_not(deep, tmp_path):
    assert pippin.load(deep, cache=False).compute_plan.share("gpu") == pytest.approx(1)
    little = saved_program(tmp_path, lambda x: mb.add(x=x, y=x, name="y"), x=(8,))
    assert pippin.load(little, cache=False).compute_plan.share("cpu") == pytest.approx(1)


@needs_gpu
def test_from_the_cache(deep, tmp_path):
    x = {"x": normal(6, SIDE, SIDE)}
    right = pippin.load(deep, CPU, cache=False).predict(x)["y"]
    for label in ("prepare and cache", "cached"):
        model = pippin.load(deep, cache=tmp_path)
        assert model.load_label == label and model.compute_plan.share("gpu") == pytest.approx(1)
        np.testing.assert_allclose(model.predict(x)["y"], right, atol=1e-4)


@needs_gpu
def test_threads_share_it(deep):
    model = pippin.load(deep, cache=False)
    inputs = [{"x": normal(seed, SIDE, SIDE)} for seed in range(4)]
    alone = [model.predict(x)["y"] for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: [model.predict(x)["y"] for x in inputs], range(8)):
            for one, right in zip(found, alone, strict=True):
                np.testing.assert_allclose(one, right, atol=1e-5)


@needs_gpu
def test_cancelled_while_it_runs(tmp_path):
    model = pippin.load(saved_program(tmp_path, products(400, 2048), x=(2048, 2048)), cache=False)
    x, outcome, cancellation = {"x": normal(7, 2048, 2048)}, [], pippin.Cancellation()
    right = model.predict(x)["y"]

    def run():
        try:
            outcome.append(model.predict(x, cancellation=cancellation))
        except PredictionCancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not model.statistics().in_flight and thread.is_alive():
        pass
    cancellation.cancel()
    thread.join()
    assert isinstance(outcome[0], PredictionCancelled)
    np.testing.assert_allclose(model.predict(x)["y"], right, atol=1e-5)


@needs_gpu
def test_a_state_lives_between_predictions(tmp_path):
    import coremltools as ct

    @mb.program(
        input_specs=[mb.TensorSpec((4,), types.fp16), mb.StateTensorSpec((4,), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x, s):
        total = mb.add(x=x, y=mb.read_state(input=s))
        mb.coreml_update_state(state=s, value=total)
        return mb.add(x=total, y=np.float16(0), name="y")

    model = pippin.load(ct.convert(program, minimum_deployment_target=ct.target.iOS18).get_spec(), cache=False)
    state, x = model.make_state(), np.arange(4, dtype=np.float16)
    for times in (1, 2, 3):
        np.testing.assert_allclose(model.predict({"x": x}, state=state)["y"], times * x)


def test_the_name_of_a_device(monkeypatch, tmp_path):
    monkeypatch.setattr(onnxruntime_providers, "_NVIDIA_GPUS", tmp_path)
    assert onnxruntime_providers.device_name("CUDAExecutionProvider") == "CUDA"
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "information").write_text("Model: \t\t A GPU 80GB: two\nIRQ:   \t\t 24\n")
    assert onnxruntime_providers.device_name("CUDAExecutionProvider") == "A GPU 80GB: two"
    assert onnxruntime_providers.device_name("QNNExecutionProvider") == "QNN"


def test_a_provider_that_does_not_start_is_absent(monkeypatch):
    """As where CUDA's libraries are missing: the library would compute on the CPU and not say so."""
    absent = "CUDAExecutionProvider"
    if absent in onnxruntime_providers.library().get_available_providers():
        pytest.skip("this one starts")
    monkeypatch.setattr(onnxruntime_providers, "NVIDIA", onnxruntime_providers.Path("/dev/null"))
    monkeypatch.setattr(onnxruntime_providers, "provider", lambda kind: absent)
    assert absent in onnxruntime_providers.failure(absent)
