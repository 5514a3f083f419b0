"""Compiled models that Apple's compiler wrote: each predicts what the same model in its other format does."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import pippin
from pippin.format.asset import open_asset
from pippin.program import mil_text, open_model, read_program

ENGINES = ("openvino", "onnxruntime")
RANDOM = np.random.default_rng(0)


def predicted(path, features, engine, **how):
    return pippin.load(path, pippin.Configuration(engine=engine), **how).predict(features)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_smallest(engine, shared_models):
    """MODELS.md calls it x + y; its text multiplies."""
    x, y = RANDOM.standard_normal((2, 1, 10)).astype(np.float16)
    found = predicted(shared_models / "compiled" / "add.mlmodelc", {"x": x, "y": y}, engine)["var_3"]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, x * y, rtol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["unified", "palette-4bit"])
def test_voice_activity(name, engine, shared_models):
    features = {
        "audio_input": RANDOM.standard_normal((1, 576)) * 0.1,
        "hidden_state": RANDOM.standard_normal((1, 128)),
        "cell_state": RANDOM.standard_normal((1, 128)),
    }
    found = predicted(shared_models / "compiled" / f"silero-vad-{name}.mlmodelc", features, engine)
    expected = predicted(shared_models / "program" / f"silero-vad-{name}.mlpackage", features, engine)
    assert list(found) == list(expected) == ["vad_output", "new_hidden_state", "new_cell_state"]
    for output, value in expected.items():
        np.testing.assert_allclose(found[output], value, atol=1e-5)


@pytest.mark.parametrize("name", ["silero-vad-unified", "silero-vad-palette-4bit"])
def test_the_program_is_that_of_the_package(name, shared_models):
    """Inputs in the order of the description, weights bit for bit."""
    compiled = open_model(shared_models / "compiled" / f"{name}.mlmodelc")
    package = open_model(shared_models / "program" / f"{name}.mlpackage")
    assert compiled.description.functions == package.description.functions
    one, other = (read_program(asset).functions["main"] for asset in (compiled, package))
    assert one.inputs == other.inputs and one.outputs == other.outputs
    assert one.histogram() == other.histogram()
    weights = [
        [op.attributes for op in f.block.operations if any(a.file for a in op.attributes.values())]
        for f in (one, other)
    ]
    for mine, theirs in zip(*weights, strict=True):
        names = [name for name, literal in theirs.items() if literal.file]
        for key in names:
            np.testing.assert_array_equal(mine[key].value, theirs[key].value)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_neural_network(engine, shared_models):
    """Its coremldata.bin was published as a pointer of Git LFS; names and shapes are those of its layers."""
    x = RANDOM.random((3, 142, 142)).astype(np.float32)
    found = predicted(shared_models / "compiled" / "waifu-anime-noise0.mlmodelc", {"input": x}, engine)["conv7"]
    expected = predicted(shared_models / "network" / "waifu-anime-noise0.mlmodel", {"input": x}, engine)["conv7"]
    assert found.shape == (3, 128, 128)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_layers_are_those_of_the_original(shared_models):
    found, expected = (
        open_asset(shared_models / path).specification.neuralNetwork.layers
        for path in ("compiled/waifu-anime-noise0.mlmodelc", "network/waifu-anime-noise0.mlmodel")
    )
    assert len(found) == len(expected) == 13
    for one, other in zip(found, expected, strict=True):
        assert (one.name, list(one.input), list(one.output)) == (other.name, list(other.input), list(other.output))
        assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def coefficients(asset):
    vectorizer, regressor = (part.specification for part in asset.parts())
    names = [column.inputColumn for column in vectorizer.featureVectorizer.inputList]
    return dict(zip(names, regressor.glmRegressor.weights[0].value, strict=True)), regressor.glmRegressor.offset[0]


def test_the_plane_of_the_habitat(shared_models):
    """Three prices and an offset; the model is a pipeline of a feature vectorizer and a linear regressor."""
    weights, offset = coefficients(open_model(shared_models / "compiled" / "mars-habitat-pricer.mlmodelc"))
    assert weights.keys() == {"solarPanels", "greenhouses", "size"}
    np.testing.assert_allclose([*weights.values(), offset], [136.721840, 653.510988, 5.854048, -3751.304887], rtol=1e-4)


def test_the_price_of_a_habitat(shared_models):
    path = shared_models / "compiled" / "mars-habitat-pricer.mlmodelc"
    weights, offset = coefficients(open_model(path))
    features = {"solarPanels": 3.0, "greenhouses": 2.0, "size": 1000.0}
    expected = sum(weights[name] * value for name, value in features.items()) + offset
    assert predicted(path, features, None)["price"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_the_detector_of_a_pipeline(engine, shared_models):
    """The ML Program of the compiled pipeline against that of the package."""
    picture = RANDOM.integers(0, 256, (640, 640, 3), np.uint8)
    found, expected = (
        pippin.load(open_model(shared_models / path).parts()[0], pippin.Configuration(engine=engine)).predict(
            {"image": picture}
        )
        for path in ("compiled/yolov8n.mlmodelc", "program/yolov8n.mlpackage")
    )
    assert [value.shape for value in found.values()] == [(8400, 80), (8400, 4)]
    for one, other in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-2, rtol=1e-2)


def test_the_whole_pipeline(shared_models):
    path = shared_models / "compiled" / "yolov8n.mlmodelc"
    features = {"image": RANDOM.integers(0, 256, (640, 640, 3), np.uint8)}
    found = predicted(path, features, "onnxruntime")
    for name, value in predicted(shared_models / "program" / "yolov8n.mlpackage", features, "onnxruntime").items():
        np.testing.assert_allclose(found[name], value, atol=1e-2)


# A program edited as text


def test_an_edited_folder(shared_models, tmp_path):
    """The text of a compiled model is what is loaded, in the folder, by its own path, and in one that Pippin wrote."""
    x, y = np.full((1, 10), 3, np.float16), np.full((1, 10), 2, np.float16)
    folder = tmp_path / "edited.mlmodelc"
    shutil.copytree(shared_models / "compiled" / "add.mlmodelc", folder)
    (folder / "metadata.json").write_text(json.dumps("never relied on"))
    ours = tmp_path / "ours.mlmodelc"
    pippin.save_compiled(folder, ours, [])
    cache = tmp_path / "cache"
    for model in (folder, folder / "model.mil", ours, ours / "model.mil"):
        text = model if model.suffix == ".mil" else model / "model.mil"
        for name, expected in (("mul", 6), ("add", 5), ("sub", 1)):
            text.write_text(text.read_text().replace("mul(", f"{name}(").replace("add(", f"{name}("))
            found = pippin.load(model, cache=cache).predict({"x": x, "y": y})
            np.testing.assert_array_equal(found["var_3"], np.full((1, 10), expected))
        text.write_text(text.read_text().replace("sub(", "mul("))
        assert pippin.load(model, cache=cache).load_label == "cached", "the digest is that of the files"


def test_a_text_alone_describes_itself(tmp_path):
    """By the function's types, and by what the compiler noted about flexible shapes."""
    shapes = (
        "[FlexibleShapeInformation = tuple<tuple<string, dict<string, tensor<int32, [?]>>>,"
        " tuple<string, dict<string, list<tensor<int32, [2]>, ?>>>>"
        '((("DefaultShapes", {{"x", [1, 4]}}), ("RangeDims", {{"x", [[1, 1], [2, 9]]}})))]'
    )
    path = tmp_path / "alone.mil"
    path.write_text(
        f"program(1.0) {{ func main<ios17>(tensor<fp32, [1, ?]> x) {shapes} {{"
        ' tensor<fp32, [1, ?]> y = mul(x = x, y = x)[name = tensor<string, []>("y")]; } -> (y); }'
    )
    model = pippin.load(path)
    (x,) = model.description.function().inputs
    assert x.type.shape == (1, 4) and x.type.allowed == "1 x 2..9"
    assert model.description.specification_version == 8
    np.testing.assert_array_equal(model.predict({"x": np.arange(6.0)[None]})["y"], np.arange(6.0)[None] ** 2)
    assert mil_text(read_program(open_model(path))).startswith("program(1.0)\n")
