"""Core ML to Core AI: what Apple's runtime computes with an asset that Pippin wrote, against numpy and torch."""

import json
import sys

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from typer.testing import CliRunner

import coremltools as ct
import pippin
from core_ai import apple, conversions
from pippin.apps import cli
from pippin.develop.to_coreai import build, convert, to_coreai
from pippin.program.opening import open_model

pytestmark = pytest.mark.process
EVERY = 40
"""Of the rows of `tests/lowering`, one in so many is carried over."""
# Why a row is not carried over; any other refusal fails.
REFUSED = (
    "known only to a prediction",
    "without a counterpart in Core AI",
    "has no counterpart",
    "have no counterpart",
)


@pytest.fixture(scope="module", autouse=True)
def python():
    if not apple.PYTHON.is_file():
        pytest.skip(apple.ABSENT)
    return apple.PYTHON


@pytest.fixture(scope="module")
def rows(python):
    chosen = [row for row in conversions.conversions() if row.dtype == "fp32"][::EVERY]
    conversions.convert(python, chosen)
    return chosen


def test_rows_of_the_lowerings_are_right_or_refused_by_name(rows):
    wrong = [f"{row.name}: {problem}" for row in rows if (problem := _problem(row))]
    assert not wrong, "\n".join(wrong)
    assert sum(not row.refused for row in rows) >= 0.8 * len(rows)


def _problem(row):
    if row.refused:
        return "" if any(why in row.refused for why in REFUSED) else row.refused
    if row.failed:
        return row.failed
    for found, expected in zip(row.outputs, row.expected(), strict=True):
        if found.shape != expected.shape:
            return f"shape {found.shape}, expected {expected.shape}"
        limits = {"rtol": max(row.row.rtol, 1e-4), "atol": max(row.row.atol, 1e-5), "equal_nan": True}
        if not np.allclose(found.astype(np.float64), expected.astype(np.float64), **limits):
            return f"{found.reshape(-1)[:8]}, expected {expected.reshape(-1)[:8]}"
    return ""


# Whole models.


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def converted(folder, build_body, specs, name="model", **options):
    """A package of a program, and its asset."""
    scope = {"body": build_body}
    exec(f"def main({', '.join(specs)}): return body({', '.join(specs)})", scope)
    program = mb.program(input_specs=list(specs.values()), opset_version=ct.target.iOS18)(scope["main"])
    model = ct.convert(
        program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS18, skip_model_load=True,
        compute_precision=ct.precision.FLOAT32, **options,
    )  # fmt: skip
    model.author, model.short_description, model.version = "A. Author", "What it does", "1.2"
    model.user_defined_metadata["colour"] = "green"
    package = folder / f"{name}.mlpackage"
    model.save(str(package))
    return package


def written(package, folder, **options):
    return to_coreai(package, folder / "written.aimodel", python=apple.PYTHON, **options)


def test_a_model_runs_in_pippin_too_and_keeps_what_is_said_of_it(tmp_path):
    w = weights(8, 3, 3, 3)

    def body(x):
        x = mb.relu(x=mb.conv(x=x, weight=w, strides=[2, 2], pad_type="same", pad=[0, 0, 0, 0]))
        return mb.softmax(x=mb.reduce_mean(x=x, axes=[2, 3], keep_dims=False), axis=-1, name="y")

    found = written(converted(tmp_path, body, {"x": mb.TensorSpec((1, 3, 9, 9))}), tmp_path)
    assert found.worst > 100 and found.noise.keys() == {"main"}
    x = weights(1, 3, 9, 9, seed=1)
    import torch

    torch_x = torch.nn.functional.pad(torch.tensor(x), (1, 1, 1, 1))
    right = torch.softmax(torch.relu(torch.conv2d(torch_x, torch.tensor(w), stride=2)).mean((2, 3)), -1)
    np.testing.assert_allclose(pippin.load(found.path).predict({"x": x})["y"], right, atol=1e-5)
    about = open_model(found.path).description.metadata
    assert (about.author, about.user_defined["version"]) == ("A. Author", "1.2")
    assert about.user_defined["colour"] == "green"


def test_states_stay_states(tmp_path):
    def body(memory, x):
        rows = mb.slice_update(
            x=mb.read_state(input=memory), update=mb.mul(x=x, y=np.float16(2)), begin=[1, 0], end=[2, 4]
        )
        mb.coreml_update_state(state=memory, value=rows)
        return mb.reduce_sum(x=rows, axes=[0], keep_dims=True, name="y")

    specs = {"memory": mb.StateTensorSpec((3, 4), types.fp16), "x": mb.TensorSpec((1, 4), types.fp16)}
    found = written(converted(tmp_path, body, specs), tmp_path)
    assert found.worst > 35 and set(found.noise["main"]) == {"y", "memory"}
    model = pippin.load(found.path)
    state = model.make_state()
    model.predict({"x": np.ones((1, 4), np.float16)}, state=state)
    np.testing.assert_array_equal(state.read("memory")[1], np.full(4, 2, np.float16))


def test_functions_stay_functions(tmp_path):
    descriptor = ct.utils.MultiFunctionDescriptor()
    for name, factor in (("double", 2.0), ("triple", 3.0)):
        package = converted(
            tmp_path, lambda x, k=factor: mb.mul(x=x, y=np.float32(k), name="y"), {"x": mb.TensorSpec((4,))}, name
        )
        descriptor.add_function(str(package), "main", name)
    descriptor.default_function_name = "double"
    ct.utils.save_multifunction(descriptor, str(tmp_path / "both.mlpackage"))
    found = written(tmp_path / "both.mlpackage", tmp_path)
    assert found.noise.keys() == {"double", "triple"}
    for name, factor in (("double", 2), ("triple", 3)):
        model = pippin.load(found.path, pippin.Configuration(function_name=name))
        np.testing.assert_array_equal(model.predict({"x": np.arange(4, dtype=np.float32)})["y"], factor * np.arange(4))


COMPRESSED = {
    "palette-1": (lambda w: np.sign(w), 1),
    "palette-2": (lambda w: np.round(np.clip(w, -1.5, 1.5) - 0.5), 2),
    "palette-4": (lambda w: np.round(np.clip(w, -2, 2) * 3.7) / 3.7, 4),
    "palette-6": (lambda w: np.round(np.clip(w, -2, 2) * 15.5) / 15.5, 6),
    "palette-8": (lambda w: np.round(np.clip(w, -2, 2) * 60) / 60, 8),
    "palettes-of-rows": (lambda w: np.round(np.clip(w, -2, 2) * 3.5) * np.repeat([1.1, 0.9, 0.3, 2.3], 16)[:, None], 4),
    "float16": (lambda w: w.astype(np.float16), 32),  # small ones are unpacked by Apple's compiler
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_weights_stay_compressed_and_are_exact(name, tmp_path):
    squeeze, bits = COMPRESSED[name]
    w = squeeze(weights(64, 256)).astype(np.float32)
    found = written(
        converted(tmp_path, lambda x: mb.linear(x=x, weight=w, name="y"), {"x": mb.TensorSpec((2, 256))}), tmp_path
    )
    assert found.worst > 110
    assert found.size < w.size * bits / 8 + 8192


def test_blocks_of_four_bits_stay_four_bits(tmp_path):
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights

    w = weights(64, 256)
    package = converted(tmp_path, lambda x: mb.linear(x=x, weight=w, name="y"), {"x": mb.TensorSpec((2, 256))})
    chosen = OpLinearQuantizerConfig(dtype="int4", granularity="per_block", block_size=32, weight_threshold=0)
    small = linear_quantize_weights(
        ct.models.MLModel(str(package), skip_model_load=True), OptimizationConfig(global_config=chosen)
    )
    small.save(str(tmp_path / "small.mlpackage"))
    found = written(tmp_path / "small.mlpackage", tmp_path)
    assert found.worst > 100 and found.size < w.size // 2 + 8192


def test_a_classifier_gives_numbers_and_keeps_its_labels(tmp_path):
    labels = ct.ClassifierConfig(["cat", "dog", "fox"])
    package = converted(
        tmp_path, lambda x: mb.softmax(x=x, axis=-1, name="p"), {"x": mb.TensorSpec((1, 3))}, classifier_config=labels
    )
    found = written(package, tmp_path)
    custom = open_model(found.path).description.metadata.user_defined
    (name,) = found.noise["main"]
    assert json.loads(custom["pippin.classLabels"]) == {name: ["cat", "dog", "fox"]}
    assert any("labels" in note for note in found.notes)


# Refusals.


def test_an_operation_without_a_counterpart_is_named_and_nothing_is_written(tmp_path):
    package = converted(tmp_path, lambda x: mb.non_zero(x=x, name="y"), {"x": mb.TensorSpec((2, 3))})
    with pytest.raises(pippin.UnsupportedOperationError, match="non_zero"):
        written(package, tmp_path)
    assert not list(tmp_path.glob("*.aimodel")) and not list(tmp_path.glob(".*"))


def test_what_differs_is_refused_unless_forced(tmp_path, monkeypatch):
    package = converted(tmp_path, lambda x: mb.sigmoid(x=x, name="y"), {"x": mb.TensorSpec((2, 3))})
    predicted = convert._predicted
    monkeypatch.setattr(convert, "_predicted", lambda *a: {n: x + 0.01 for n, x in predicted(*a).items()})
    with pytest.raises(
        pippin.ConversionError, match=r"'y' has a signal-to-noise ratio of \d\d\.\d dB.*60 dB is required"
    ):
        written(package, tmp_path)
    assert not list(tmp_path.glob("*.aimodel")) and not list(tmp_path.glob(".*"))
    assert written(package, tmp_path, force=True).worst < 60


def test_without_apples_package_one_line_says_what_to_install(tmp_path, monkeypatch):
    package = converted(tmp_path, lambda x: mb.sigmoid(x=x, name="y"), {"x": mb.TensorSpec((2, 3))})
    monkeypatch.delenv(build.VARIABLE, raising=False)
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(pippin.ConfigurationError, match=r"pip install 'pippin\[coreai\]'"):
        to_coreai(package, tmp_path / "x.aimodel")


def test_the_command_chooses_by_the_suffixes(tmp_path, monkeypatch):
    package = converted(tmp_path, lambda x: mb.sigmoid(x=x, name="y"), {"x": mb.TensorSpec((2, 3))})
    monkeypatch.setenv(build.VARIABLE, str(apple.PYTHON))
    target = tmp_path / "model.aimodel"
    arguments = ["convert", str(package), "-o", str(target)]
    monkeypatch.setattr(sys, "argv", ["pippin", *arguments])
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert "dB in Apple's runtime" in result.output and target.is_dir()
    assert isinstance(CliRunner().invoke(cli.app, arguments).exception, pippin.ConfigurationError | SystemExit)


# Published models: decibels that are reached, and bytes for each of the source's.
PUBLISHED = {
    "program/mnist.mlpackage": 1.1,
    "program/silero-vad-unified.mlpackage": 1.1,
    "program/silero-vad-int8.mlpackage": 1.1,
    "program/silero-vad-palette-4bit.mlpackage": 1.1,
    "program/silero-vad-pruned-int8.mlpackage": 1.1,
    "network/waifu-anime-noise0.mlmodel": 1.1,
    "network/waifu-photo-noise0.mlpackage": 1.1,
    "network/blazeface-short.mlpackage": 1.1,
    "network/squeezenet-fp16.mlmodel": 1.7,
    "network/deeplabv3-int8-lut.mlmodel": 1.1,
    "network/mnist-cnn.mlmodel": 1.1,
    "network/gesture-classifier.mlmodel": 1.1,
    "network/es2en-encoder-lstm.mlmodel": 1.1,
}
NOT_YET = {
    "program/yolov8n.mlpackage": "NonMaxSuppression",
    "network/accelerometer-loop-branch.mlmodel": "Loop",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model(name, shared_models, tmp_path):
    found = written(shared_models / name, tmp_path)
    source = shared_models / name
    files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
    assert found.worst >= found.required
    assert found.size <= PUBLISHED[name] * sum(file.stat().st_size for file in files)
    function = open_model(found.path).description.function()
    inputs = {f.name: np.zeros(f.type.shape, f.type.dtype.numpy) for f in function.inputs}
    for value in pippin.load(found.path, pippin.Configuration(engine="onnxruntime")).predict(inputs).values():
        assert np.isfinite(np.asarray(value)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NOT_YET)
def test_a_published_model_that_is_refused(name, shared_models, tmp_path):
    with pytest.raises(pippin.UnsupportedOperationError, match=NOT_YET[name]):
        written(shared_models / name, tmp_path)
    assert not list(tmp_path.iterdir())
