"""Convert networks: the package agrees with torch, words are understood or refused, and what differs is not written."""

import os
import subprocess
import sys

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

import pippin
from pippin.develop.convert.inputs import Range, parse_inputs
from pippin.errors import ConfigurationError, ConversionError, FormatError, PippinError
from pippin.format.description import Image
from pippin.program.opening import open_model
from pippin.program.protobuf_reader import read_program


class Classifier(torch.nn.Module):
    """An image network: two convolutions and a softmax with a temperature that overflows in float16."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 5, 3), torch.nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, image):
        scores = self.layers(image).flatten(1)
        return torch.softmax(scores * 4, -1)


class Overflowing(torch.nn.Module):
    def forward(self, x):
        total = torch.exp(x.abs() + 11).sum(1, keepdim=True)
        return x + torch.log(total)


def traced(network, shape, path):
    torch.jit.trace(network.eval(), torch.zeros(shape)).save(str(path))
    return path


def test_an_image_classifier(tmp_path):
    source = traced(Classifier(), (1, 3, 32, 32), tmp_path / "m.pt")
    found = pippin.convert(
        source, tmp_path / "m.mlpackage", ["image=image:rgb:1,3,32,32:scale=1/255,bias=-0.5,-0.5,-0.4"],
        classes=["a", "b", "c", "d", "e"], target="iOS17",
    )  # fmt: skip
    assert min(found.noise.values()) > 40
    model = pippin.load(found.path, cache=False)
    assert isinstance(model.inputs["image"].type, Image) and model.labels == ("a", "b", "c", "d", "e")
    pixels = np.random.default_rng(5).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    outputs = model.predict({"image": pixels})
    numbers = pixels.astype(np.float32) / 255 + np.array([-0.5, -0.5, -0.4], np.float32)
    with torch.no_grad():
        right = torch.jit.load(str(source))(torch.from_numpy(np.moveaxis(numbers, -1, 0)[None])).numpy()[0]
    label = next(value for value in outputs.values() if isinstance(value, str))
    assert label == "abcde"[right.argmax()]
    probabilities = next(value for value in outputs.values() if isinstance(value, dict))
    np.testing.assert_allclose(list(probabilities.values()), right, atol=5e-3)


def test_a_flexible_size(tmp_path):
    source = traced(Classifier(), (1, 3, 32, 32), tmp_path / "m.pt")
    found = pippin.convert(source, tmp_path / "m.mlpackage", ["image=tensor:1,3,32..64,32..64"], precision="float32")
    model = pippin.load(found.path, cache=False)
    for size in (32, 48):
        x = np.random.default_rng(size).normal(size=(1, 3, size, 32)).astype(np.float32)
        with torch.no_grad():
            right = torch.jit.load(str(source))(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(next(iter(model.predict({"image": x}).values())), right, 1e-4, 1e-5)


def test_an_operation_kept_in_float32(tmp_path):
    source = traced(Overflowing(), (2, 6), tmp_path / "m.pt")
    words = ["x=tensor:2,6"]
    refused = tmp_path / "half.mlpackage"
    pippin.convert(source, refused, words, check=False)
    fix = pippin.bisect(refused, features={"x": np.ones((2, 6), np.float16)}).fix
    assert fix is not None and fix.after > 40
    found = pippin.convert(source, tmp_path / "kept.mlpackage", words, keep_float32=fix.keep)
    kinds = {
        o.kind: str(o.outputs[0].type) for o in read_program(open_model(found.path)).functions["main"].block.operations
    }
    assert "fp32" in kinds["exp"] and "fp16" in kinds["abs"]
    assert pippin.bisect(found.path, features={"x": np.ones((2, 6), np.float16)}).right


def test_an_exported_program(tmp_path):
    program = torch.export.export(Classifier().eval(), (torch.zeros(1, 3, 32, 32),))
    torch.export.save(program, str(tmp_path / "m.pt2"))
    found = pippin.convert(tmp_path / "m.pt2", tmp_path / "m.mlpackage", outputs=["p"])
    assert list(found.noise) == ["p"] and found.noise["p"] > 40


def onnx_file(path, weight):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weight, "w")]),
                                opset_imports=[helper.make_opsetid("", 17)]), path)  # fmt: skip
    return path


def test_an_onnx_file(tmp_path):
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    source = onnx_file(tmp_path / "m.onnx", weight)
    found = pippin.convert(source, tmp_path / "m.mlpackage", target="iOS17")
    assert min(found.noise.values()) > 40
    x = np.ones((2, 4), np.float32)
    y = next(iter(pippin.load(found.path, cache=False).predict({"x": x}).values()))
    np.testing.assert_allclose(y, np.maximum(x @ weight, 0), atol=1e-2)


CASES = {
    case.name: case
    for case in load_model_tests(kind="node")
    if "random" not in case.name and "bernoulli" not in case.name
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_operators_of_onnx_are_right_or_refused(name, tmp_path):
    case = CASES[name]
    onnx.save(case.model, tmp_path / "m.onnx")
    try:
        found = pippin.convert(tmp_path / "m.onnx", tmp_path / "m.mlpackage", precision="float32", target="iOS18")
        model = pippin.load(found.path, cache=False)
        (xs, ys), *_ = case.data_sets
        outputs = list(model.predict(dict(zip(model.inputs, xs, strict=False))).values())
    except PippinError as error:
        assert not (tmp_path / "m.mlpackage").exists() or not isinstance(error, ConversionError)
        pytest.skip(f"refused: {str(error)[:80]}")
    for y, right in zip(outputs, ys, strict=True):
        np.testing.assert_allclose(
            np.asarray(y, np.float64).reshape(right.shape), right.astype(np.float64), max(case.rtol, 1e-3), 1e-4
        )


def test_words():
    found = parse_inputs(
        ["a=image:bgr:1,3,8,8:scale=1/255,bias=-1,-0.5,0", "b=tensor:1,3..9,*:float16", "c=tensor:2,2|4,4"]
    )
    assert (found["a"].image, found["a"].color, found["a"].bias) == (True, "bgr", (-1.0, -0.5, 0.0))
    assert found["a"].scale == pytest.approx(1 / 255) and found["a"].size(None) == (1, 3, 8, 8)
    assert found["b"].shapes == ((1, Range(3, 9), Range(1, None)),) and found["b"].dtype == "float16"
    assert found["b"].size(None) == (1, 3, 1) and found["c"].shapes == ((2, 2), (4, 4))


REFUSED = {
    "no word": ({"inputs": ["x"]}, ConfigurationError, "must be NAME=tensor:SHAPE"),
    "no kind": ({"inputs": ["x=matrix:2"]}, ConfigurationError, "expected tensor or image, got 'matrix'"),
    "no shape": ({"inputs": ["x=tensor"]}, ConfigurationError, "its shape is needed"),
    "a size beyond memory": (
        {"inputs": ["x=tensor:99999999999999,64"]},
        ConfigurationError,
        "has more than 268,435,456",
    ),
    "a size of 5,000 digits": ({"inputs": ["x=tensor:" + "9" * 5000]}, ConfigurationError, "a size is a number"),
    "a size of nothing": ({"inputs": ["x=tensor:2,0"]}, ConfigurationError, "a size is a number"),
    "a range that falls": ({"inputs": ["x=tensor:2,9..3"]}, ConfigurationError, "a size is a number"),
    "a scale of words": (
        {"inputs": ["x=image:rgb:1,3,4,4:scale=big"]},
        ConfigurationError,
        "is no number such as 1/255",
    ),
    "twice": ({"inputs": ["x=tensor:2,6", "x=tensor:2,6"]}, ConfigurationError, "given twice"),
    "a precision": ({"inputs": ["x=tensor:2,6"], "precision": "int8"}, ConfigurationError, "precision must be"),
    "a release": ({"inputs": ["x=tensor:2,6"], "target": "iOS99"}, ConfigurationError, "target must be a release"),
    "a shape that does not fit": ({"inputs": ["x=tensor:6"]}, ConversionError, "coremltools cannot convert"),
    "an overflow": (
        {"inputs": ["x=tensor:2,6"]},
        ConversionError,
        "signal-to-noise ratio of -inf dB, and 40 are required",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, tmp_path):
    how, kind, message = REFUSED[name]
    source = traced(Overflowing(), (2, 6), tmp_path / "m.pt")
    with pytest.raises(kind, match=message):
        pippin.convert(source, tmp_path / "m.mlpackage", **how)
    assert not (tmp_path / "m.mlpackage").exists()


def test_files_that_are_no_networks(tmp_path):
    for name in ("m.pt", "m.pt2"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(FormatError, match=f"{name} is not"):
            pippin.convert(tmp_path / name, tmp_path / "m.mlpackage", ["x=tensor:1"])
    with pytest.raises(ConfigurationError, match=r"becomes an \.mlpackage"):
        pippin.convert(tmp_path / "m.pt", tmp_path / "m.mlmodel")
    with pytest.raises(ConfigurationError, match="no such file"):
        pippin.convert(tmp_path / "none.pt", tmp_path / "m.mlpackage")


@pytest.mark.process
def test_the_command(tmp_path):
    source = traced(Classifier(), (1, 3, 32, 32), tmp_path / "m.pt")
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    command = [sys.executable, "-m", "pippin", "convert", source, "-o", tmp_path / "m.mlpackage", "--input",
               "image=image:rgb:1,3,32,32:scale=1/255", "--classes", tmp_path / "labels.txt"]  # fmt: skip
    found = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "dB against m.pt" in found.stdout
    again = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "already exists" in again.stderr and len(again.stderr.strip().splitlines()) == 1
