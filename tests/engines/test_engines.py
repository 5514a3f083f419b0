"""Engines behind their one interface: what each promises, on the same small model."""

from __future__ import annotations

import tempfile
import threading

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
from lowering.harness import case, compiled_on, dynamic, f32, program_of
from pippin.engines import Settings, all_engines
from pippin.errors import CompilationError, PredictionError
from pippin.format.asset import open_asset
from pippin.lowering.external_data import readable
from pippin.lowering.lower_program import lower
from pippin.lowering.lowered_model import source_of
from pippin.program import read_program
from support.small_models import converted

ENGINES = list(all_engines().values())
WEIGHT = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def lowered_of(body, **how):
    model = converted(body, **how)
    return lower(read_program(open_asset(model.get_spec(), weights=model.weights_dir)), "main")


@pytest.fixture(scope="module")
def lowered():
    return lowered_of(lambda x: mb.relu(x=mb.linear(x=x, weight=WEIGHT), name="y"), x=(4, 3))


def source(lowered):
    return lowered.model.SerializeToString()


def expected(x):
    return np.maximum(x @ WEIGHT.T, 0)


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request):
    return request.param


def test_version(engine):
    assert engine.version[0].isdigit()


def test_run(engine, lowered):
    x = f32(4, 3)
    found = engine.compile(source(lowered)).run({"x": x})
    np.testing.assert_allclose(found["y"], expected(x), rtol=1e-5, atol=1e-6)


def test_outputs_belong_to_the_caller(engine, lowered):
    compiled = engine.compile(source(lowered))
    first = compiled.run({"x": f32(4, 3)})["y"]
    kept = first.copy()
    compiled.run({"x": f32(4, 3, seed=1)})
    np.testing.assert_array_equal(first, kept)
    first[:] = 7  # may be written to


def test_an_input_may_be_overwritten_afterwards(engine, lowered):
    compiled, x = engine.compile(source(lowered)), f32(4, 3)
    before = compiled.run({"x": x})["y"].copy()
    original = x.copy()
    x[:] = 0
    np.testing.assert_allclose(before, expected(original), rtol=1e-5, atol=1e-6)


def test_eight_threads(engine, lowered):
    compiled = engine.compile(source(lowered), Settings(threads=1))
    wrong = []

    def work(seed):
        for i in range(50):
            x = f32(4, 3, seed=seed * 1000 + i)
            if not np.allclose(compiled.run({"x": x})["y"], expected(x), rtol=1e-4, atol=1e-5):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_save_and_load(engine, lowered, tmp_path):
    x = f32(4, 3)
    engine.save(source(lowered), engine.compile(source(lowered)), Settings(), tmp_path)
    found = engine.load(tmp_path).run({"x": x})
    np.testing.assert_allclose(found["y"], expected(x), rtol=1e-5, atol=1e-6)


def test_a_model_with_many_weights_goes_through_a_file(engine, lowered, monkeypatch, tmp_path):
    monkeypatch.setattr("pippin.lowering.external_data._WORTH_A_FILE", 0)
    monkeypatch.setattr("pippin.lowering.external_data._SMALL", 8)
    x = f32(4, 3)
    with readable(lowered.model) as path:
        assert path.parent.joinpath("weights.bin").stat().st_size >= WEIGHT.nbytes
        compiled = engine.compile(path)
        np.testing.assert_allclose(compiled.run({"x": x})["y"], expected(x), rtol=1e-5, atol=1e-6)
        engine.save(path, compiled, Settings(), tmp_path)
    found = engine.load(tmp_path).run({"x": x})  # it needs the file no more
    np.testing.assert_allclose(found["y"], expected(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("damage", [b"", b"no artifact at all"])
def test_a_damaged_artifact(engine, damage, lowered, tmp_path):
    engine.save(source(lowered), engine.compile(source(lowered)), Settings(), tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(damage)
    with pytest.raises(CompilationError, match=engine.version.split("-")[0].rpartition(".")[0]):
        engine.load(tmp_path)


def test_an_absent_artifact(engine, tmp_path):
    with pytest.raises(CompilationError):
        engine.load(tmp_path)


def test_profile(engine, lowered):
    kernels = engine.profile(source(lowered), Settings(), {"x": f32(4, 3)})
    if kernels is None:
        assert engine.name == "mnn"  # it has no profile to ask for
        return
    assert all(0 < kernel.seconds < 10 for kernel in kernels)
    sources = [source.name for source in lowered.sources]
    assert any(source_of(node, sources) for kernel in kernels for node in kernel.nodes), "nodes have the model's names"


def test_a_wrong_shape_that_reaches_the_engine(engine, lowered):
    compiled = engine.compile(source(lowered))
    with pytest.raises(PredictionError):
        compiled.run({"x": f32(4, 2)})
    x = f32(4, 3)
    np.testing.assert_allclose(compiled.run({"x": x})["y"], expected(x), rtol=1e-5, atol=1e-6)


def test_nothing_is_declined_without_a_reason(engine, lowered):
    assert not engine.declined(lowered)


def test_what_openvino_gets_wrong_goes_to_onnx_runtime(tmp_path):
    """The peepholes of an LSTM."""
    from lowering.test_recurrent import CASES

    row = next(c for c in CASES if c.label == "peephole")
    arrays = {name: value for name, value in row.arguments.items() if isinstance(value, np.ndarray)}
    lowered = lower(
        read_program(open_asset(program_of(row, row.arguments, arrays, str(tmp_path)), weights=tmp_path)), "main"
    )
    (reason,) = all_engines()["openvino"].declined(lowered).values()
    assert "LSTM with peepholes" in reason


CODES = np.random.default_rng(1).integers(-9, 9, (5, 4)).astype(np.int8)
SCALES = np.random.default_rng(2).uniform(0.5, 2, (5, 1)).astype(np.float32)


def _summed_scales(x):
    """Weights with a scale for each row, in a product that sums over the rows."""
    weight = mb.constexpr_blockwise_shift_scale(data=CODES, scale=SCALES)
    return mb.matmul(x=x, y=weight, name="y")


IN, AROUND = (np.random.default_rng(seed).uniform(-0.5, 0.5, (5, n)).astype(np.float32) for seed, n in ((3, 2), (4, 5)))


def _state_by_values(x):
    """The rows of the initial state are counted in the first step of the input."""
    first = mb.squeeze(x=mb.slice_by_index(x=x, begin=[0, 0, 0], end=[1, 3, 1]), axes=[0, 2])
    rows = mb.reduce_sum(x=mb.cast(x=mb.greater(x=first, y=-1e9), dtype="int32"), axes=[0], keep_dims=True)
    state = mb.fill(shape=mb.concat(values=[rows, [5]], axis=0), value=0.0)
    y, _ = mb.rnn(x=x, initial_h=state, weight_ih=IN, weight_hh=AROUND, output_sequence=True)
    return mb.identity(x=y, name="y")


def _recurrent(x):
    steps, state = [], np.zeros((3, 5), np.float32)
    for step in x:
        state = np.tanh(step @ IN.T + state @ AROUND.T)
        steps.append(state)
    return np.array(steps)


def _sort_in_a_branch(x):
    """In a branch that depends on values."""
    return mb.cond(
        pred=mb.greater(x=mb.reduce_sum(x=x), y=-1e9),
        _true_fn=lambda: mb.cast(x=mb.argsort(x=x, axis=0, ascending=True), dtype="fp32"),
        _false_fn=lambda: mb.mul(x=x, y=2.0),
        name="y",
    )


def _places(x):
    return np.argsort(x, kind="stable")


DEFECTS = {
    "TopK in a branch or loop": (_sort_in_a_branch, {"x": (9,)}, _places),
    "TopK of more than 46340 elements": (
        lambda x: mb.argsort(x=x, axis=0, ascending=True, name="y"),
        {"x": (46341,)},
        _places,
    ),
    "RNN with an initial state whose size depends on values": (_state_by_values, {"x": (4, 3, 2)}, _recurrent),
    "product with weights": (_summed_scales, {"x": (3, 5)}, lambda x: x @ (CODES * SCALES)),
    "a test for NaN": (lambda x: mb.cast(x=mb.equal(x=x, y=x), dtype="fp32", name="y"), {"x": (3,)}, lambda x: x == x),
}


@pytest.mark.parametrize("reason", DEFECTS)
def test_openvino_defects_go_to_onnx_runtime(reason):
    body, shapes, expect = DEFECTS[reason]
    lowered = lowered_of(body, target=ct.target.iOS18, **shapes)
    assert any(reason in found for found in all_engines()["openvino"].declined(lowered).values())
    x = np.random.default_rng(0).standard_normal(shapes["x"]).astype(np.float32)
    x.flat[1] = np.nan if "NaN" in reason else x.flat[1]
    found = compiled_on("onnxruntime", lowered).run({"x": x})["y"]
    np.testing.assert_allclose(found, expect(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, None])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_shapes_that_do_not_fit_are_an_error(name, threads):
    """A stream of one thread of OpenVINO loses such an error, and returns what is in memory, or crashes."""
    row = case("matmul", x=dynamic(f32(2, 3)), y=dynamic(f32(3, 2)), expect=None)
    with tempfile.TemporaryDirectory() as folder:
        program = program_of(row, row.arguments, row.arguments, folder)
        model = lower(read_program(open_asset(program, weights=folder)), "main")
    compiled = all_engines()[name].compile(source(model), Settings(threads=threads))
    for _ in range(3):
        with pytest.raises(PredictionError):
            compiled.run({"x": f32(2, 3), "y": f32(2, 3)})
    found = compiled.run({"x": f32(2, 3), "y": f32(3, 2)})[model.outputs[0].tensor]
    np.testing.assert_allclose(found, f32(2, 3) @ f32(3, 2), rtol=1e-5)
