"""Bad input: what is wrong with a file or a value is said, in the documented class, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
import pippin
from coremltools import proto
from pippin import errors
from support.small_models import converted, saved_program

WEIGHT = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A package with a weight file: y = relu(x @ weight.T)."""
    return saved_program(
        tmp_path_factory.mktemp("good"), lambda x: mb.relu(x=mb.linear(x=x, weight=WEIGHT), name="y"), x=(2, 8)
    )


@pytest.fixture
def package(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "model.mlpackage"))


def specification(package):
    return next(package.rglob("*.mlmodel"))


def weights(package):
    return next(package.rglob("weight.bin"))


def edit(package, change):
    """The package with its specification changed."""
    path = specification(package)
    model = proto.Model_pb2.Model.FromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())


def block(model):
    return next(iter(model.mlProgram.functions["main"].block_specializations.values()))


def operation(model, kind):
    return next(op for op in block(model).operations if op.type == kind)


def constant(model, name):
    """The constant that an argument of the linear operation is bound to."""
    bound = operation(model, "linear").inputs[name].arguments[0].name
    return next(op for op in block(model).operations if op.type == "const" and op.outputs[0].name == bound)


def manifest(package, change):
    path = package / "Manifest.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def set_dtype(model, number):
    constant(model, "weight").attributes["val"].type.tensorType.dataType = number


FILES = {
    "no such path": (lambda p: shutil.rmtree(p), errors.PackageError, "no such file"),
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), errors.PackageError, "Manifest.json"),
    "manifest is no JSON": (lambda p: (p / "Manifest.json").write_text("{"), errors.PackageError, "JSON"),
    "manifest is a list": (lambda p: (p / "Manifest.json").write_text("[]"), errors.PackageError, "object"),
    "manifest of another version": (
        lambda p: manifest(p, lambda m: m.update(fileFormatVersion="7.0.0")),
        errors.PackageError,
        "7.0.0",
    ),
    "manifest without items": (
        lambda p: manifest(p, lambda m: m.pop("itemInfoEntries")),
        errors.PackageError,
        "no items",
    ),
    "root is no item": (
        lambda p: manifest(p, lambda m: m.update(rootModelIdentifier="x")),
        errors.PackageError,
        "rootModelIdentifier",
    ),
    "item without path": (
        lambda p: manifest(p, lambda m: [e.pop("path") for e in m["itemInfoEntries"].values()]),
        errors.PackageError,
        "no path",
    ),
    "item leads out": (
        lambda p: manifest(p, lambda m: [e.update(path="../../../etc/passwd") for e in m["itemInfoEntries"].values()]),
        errors.PackageError,
        "points outside",
    ),
    "specification is missing": (lambda p: specification(p).unlink(), errors.PackageError, "missing"),
    "specification is empty": (lambda p: specification(p).write_bytes(b""), errors.SpecificationError, "empty"),
    "specification is truncated": (lambda p: cut(specification(p), 0.6), errors.SpecificationError, "damaged"),
    "specification is noise": (
        lambda p: specification(p).write_bytes(bytes(range(256)) * 4),
        errors.SpecificationError,
        "damaged",
    ),
    "unknown specification version": (
        lambda p: edit(p, lambda m: setattr(m, "specificationVersion", 99)),
        errors.UnsupportedVersionError,
        "99",
    ),
    "another kind of model": (
        lambda p: edit(p, lambda m: m.audioFeaturePrint.SetInParent()),
        errors.UnsupportedModelError,
        "audioFeaturePrint",
    ),
    "weight file is missing": (lambda p: weights(p).unlink(), errors.WeightError, "weight.bin"),
    "weight file is empty": (lambda p: weights(p).write_bytes(b""), errors.WeightError, "empty"),
    "weight file is truncated": (lambda p: cut(weights(p), 0.7), errors.WeightError, "truncated"),
    "weight offset past the end": (
        lambda p: edit(p, lambda m: setattr(constant(m, "weight").attributes["val"].blobFileValue, "offset", 1 << 40)),
        errors.WeightError,
        "invalid record offset",
    ),
    "weight offset unaligned": (
        lambda p: edit(p, lambda m: setattr(constant(m, "weight").attributes["val"].blobFileValue, "offset", 65)),
        errors.WeightError,
        "aligned",
    ),
    "weight of another type": (lambda p: edit(p, lambda m: set_dtype(m, 10)), errors.WeightError, "fp32"),
    "weight of unknown type": (lambda p: edit(p, lambda m: set_dtype(m, 0)), errors.ProgramError, "element type"),
    "weight path leads out": (
        lambda p: edit(
            p,
            lambda m: setattr(
                constant(m, "weight").attributes["val"].blobFileValue,
                "fileName",
                "@model_path/../../../../../etc/passwd",
            ),
        ),
        errors.PackageError,
        "points outside",
    ),
    "unknown operation": (
        lambda p: edit(p, lambda m: setattr(operation(m, "relu"), "type", "relux")),
        errors.UnsupportedOperationError,
        r"\[relux\] 'y'",
    ),
    "operation without a type": (
        lambda p: edit(p, lambda m: setattr(operation(m, "relu"), "type", "")),
        errors.ProgramError,
        "no operation type",
    ),
    "argument missing": (
        lambda p: edit(p, lambda m: operation(m, "relu").inputs.pop("x")),
        errors.ProgramError,
        "'x' is missing",
    ),
    "argument unknown": (
        lambda p: edit(p, lambda m: operation(m, "relu").inputs["z"].CopyFrom(operation(m, "relu").inputs["x"])),
        errors.UnsupportedOperationError,
        "unknown argument 'z'",
    ),
    "undefined value": (
        lambda p: edit(p, lambda m: setattr(operation(m, "relu").inputs["x"].arguments[0], "name", "ghost")),
        errors.ProgramError,
        "ghost",
    ),
    "undefined output": (
        lambda p: edit(p, lambda m: block(m).outputs.__setitem__(0, "ghost")),
        errors.ProgramError,
        "ghost",
    ),
    "shapes that do not fit": (
        lambda p: edit(
            p,
            lambda m: setattr(
                m.mlProgram.functions["main"].inputs[0].type.tensorType.dimensions[1].constant, "size", 7
            ),
        ),
        errors.UnsupportedOperationError,
        "linear",
    ),
    "no function": (lambda p: edit(p, lambda m: m.mlProgram.functions.pop("main")), errors.ProgramError, "no function"),
    "function of another opset": (
        lambda p: edit(p, lambda m: setattr(m.mlProgram.functions["main"], "opset", "CoreML99")),
        errors.ProgramError,
        "CoreML99",
    ),
    "described output that is not there": (
        lambda p: edit(p, lambda m: setattr(m.description.output[0], "name", "z")),
        errors.SpecificationError,
        "'z'",
    ),
    "described input that is not there": (
        lambda p: edit(p, lambda m: setattr(m.description.input[0], "name", "z")),
        errors.SpecificationError,
        "z",
    ),
    "constant without a value": (
        lambda p: edit(p, lambda m: constant(m, "weight").attributes["val"].ClearField("blobFileValue")),
        errors.ProgramError,
        "no value",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_file(name, package):
    damage, error, message = FILES[name]
    damage(package)
    with pytest.raises(error, match=message):
        pippin.load(package)


@pytest.mark.process
@pytest.mark.parametrize(
    "name", ["no manifest", "weight file is missing", "unknown operation", "specification is truncated"]
)
def test_command_line_says_it_in_one_message(name, package):
    FILES[name][0](package)
    done = subprocess.run(
        [sys.executable, "-m", "pippin", "predict", str(package), "--input", "x=zeros"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == "" and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


@pytest.mark.process
def test_debug_shows_the_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pippin", "--debug", "inspect", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" in done.stderr


SOURCES = {
    "a zip archive": (lambda d: (d / "m.mlmodel", b"PK\x03\x04 and more"), errors.PackageError, "unpack"),
    "a compiled model": (
        lambda d: (d / "m.mlmodelc" / "coremldata.bin", b"x"),
        errors.SpecificationError,
        "offset 0",
    ),
    "the manifest itself": (lambda d: (d / "Manifest.json", b"{}"), errors.PackageError, "open the folder"),
    "a folder of something else": (lambda d: (d / "folder" / "file", b"x"), errors.PackageError, "Manifest"),
    "a text file": (
        lambda d: (d / "m.mlmodel", b"hello, this is no model"),
        errors.SpecificationError,
        "damaged|version",
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_source(name, tmp_path):
    make, error, message = SOURCES[name]
    path, data = make(tmp_path)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    with pytest.raises(error, match=message):
        pippin.load(path.parent if path.parent != tmp_path and path.name != "Manifest.json" else path)


@pytest.mark.parametrize("source", [None, 3, b"", b"\xff\xff\xff"])
def test_in_memory(source):
    with pytest.raises(errors.FormatError):
        pippin.load(source)


def test_weights_in_memory(original):
    data = {"weights/weight.bin": weights(original).read_bytes()}
    x = np.ones((2, 8), np.float32)
    for given in (data, weights(original).parent, weights(original).parent.parent):
        found = pippin.load(specification(original).read_bytes(), weights=given).predict({"x": x})
        np.testing.assert_allclose(found["y"], np.maximum(x @ WEIGHT.T, 0), rtol=1e-5)
    with pytest.raises(errors.WeightError, match="missing"):
        pippin.load(specification(original).read_bytes())


@pytest.fixture(scope="module")
def model(original):
    return pippin.load(original)


class Strange:
    def __array__(self, *a, **k):
        raise RuntimeError("no numbers here")


FEATURES = {
    "missing": ({}, errors.MissingFeatureError, "'x' is missing"),
    "unknown": ({"x": np.zeros((2, 8)), "z": 1}, errors.UnexpectedFeatureError, "no input 'z'"),
    "no dictionary": (np.zeros((2, 8)), errors.FeatureTypeError, "dictionary"),
    "wrong shape": ({"x": np.zeros((2, 7))}, errors.FeatureShapeError, "must have the shape 2 x 8, got 2 x 7"),
    "wrong rank": ({"x": np.zeros(16)}, errors.FeatureShapeError, "got 16"),
    "scalar": ({"x": 1.0}, errors.FeatureShapeError, "scalar"),
    "text": ({"x": "zeros"}, errors.FeatureTypeError, "got str"),
    "nothing": ({"x": None}, errors.FeatureTypeError, "NoneType"),
    "objects": ({"x": np.full((2, 8), None)}, errors.FeatureTypeError, "object"),
    "complex": ({"x": np.zeros((2, 8), complex)}, errors.FeatureTypeError, "complex"),
    "strings": ({"x": np.full((2, 8), "a")}, errors.FeatureTypeError, "U1"),
    "ragged": ({"x": [[1, 2], [3]]}, errors.FeatureTypeError, "list"),
    "too large": ({"x": np.full((2, 8), 1e300)}, errors.FeatureValueError, "1e"),
    "unreadable": ({"x": Strange()}, errors.FeatureTypeError, "no numbers here"),
}


@pytest.mark.parametrize("name", FEATURES)
def test_feature(name, model):
    features, error, message = FEATURES[name]
    with pytest.raises(error, match=message):
        model.predict(features)


@pytest.fixture(scope="module")
def integers(tmp_path_factory):
    return pippin.load(
        saved_program(tmp_path_factory.mktemp("int"), lambda x: mb.add(x=x, y=x, name="y"), dtype=np.int32, x=(3,))
    )


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.array([0.5, 1, 2]), errors.FeatureTypeError, "round"),
        (np.array([1, 2, 1 << 40]), errors.FeatureValueError, "does not fit int32"),
        (np.array([1, 2]), errors.FeatureShapeError, "must have the shape 3, got 2"),
    ],
)
def test_integers(value, error, message, integers):
    with pytest.raises(error, match=message):
        integers.predict({"x": value})


IMAGES = {
    "no file": ("nothing.png", errors.FeatureFileNotFoundError, "'x': 'nothing.png': no such file"),
    "bytes of no picture": (b"GIF? no", errors.FeatureValueError, "the picture of 7 bytes .* no format that Pillow"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(99), errors.FeatureValueError, "HEIC is not read; convert it"),
    "a float array": (np.zeros((6, 4, 3)), errors.FeatureTypeError, "uint8"),
    "a flat array": (np.zeros(72, np.uint8), errors.FeatureShapeError, "height, width"),
    "another size": (np.zeros((5, 4, 3), np.uint8), errors.FeatureShapeError, "must be 4 x 6 pixels, got 4 x 5"),
    "an object": (object(), errors.FeatureTypeError, "must be an image"),
    "empty": (np.zeros((0, 4, 3), np.uint8), errors.FeatureShapeError, "height, width"),
}


@pytest.fixture(scope="module")
def picture_model(tmp_path_factory):
    inputs = [ct.ImageType("x", (1, 3, 6, 4))]
    return pippin.load(
        saved_program(tmp_path_factory.mktemp("image"), lambda x: mb.relu(x=x, name="y"), inputs=inputs, x=(1, 3, 6, 4))
    )


@pytest.mark.parametrize("name", IMAGES)
def test_image(name, picture_model):
    value, error, message = IMAGES[name]
    with pytest.raises(error, match=message):
        picture_model.predict({"x": value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "float8"),
        ({"threads": 0}, "threads"),
        ({"compute_units": "cpu"}, "one of ALL, CPU_ONLY, CPU_AND_GPU, CPU_AND_NE"),
        ({"compute_units": 1}, "one of ALL"),
        ({"compute_units": ct.precision.FLOAT16}, "one of ALL"),
        ({"engine": "tensorflow"}, "tensorflow"),
        ({"function_name": "other"}, "main"),
    ],
)
def test_configuration(options, message, original):
    with pytest.raises(errors.ConfigurationError, match=message):
        pippin.load(original, pippin.Configuration(**options))


def test_states_and_closing(model, original):
    with pytest.raises(errors.StateError, match="no states"):
        model.make_state()
    with pippin.load(original) as other:
        pass
    with pytest.raises(errors.ConfigurationError, match="closed"):
        other.predict({"x": np.zeros((2, 8))})


def test_a_bad_element_of_a_batch_is_named(model):
    good = {"x": np.zeros((2, 8))}
    with pytest.raises(errors.FeatureShapeError) as caught:
        model.predict_batch([good, {"x": np.zeros(3)}, good])
    assert "in element 1 of the batch" in caught.value.report()


def test_a_converted_model_is_what_the_package_holds(original):
    """The specification as coremltools holds it opens as well."""
    spec = converted(lambda x: mb.relu(x=x, name="y"), x=(2, 3)).get_spec()
    np.testing.assert_array_equal(pippin.load(spec).predict({"x": -np.ones((2, 3))})["y"], np.zeros((2, 3)))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_scalar_input_takes_one_number(engine, tmp_path):
    path = saved_program(tmp_path, lambda x: mb.relu(x=x, name="y"), x=(1,))

    def without_axes(model):
        for feature in (*model.description.input, *model.description.output):
            del feature.type.multiArrayType.shape[:]
        for value in (model.mlProgram.functions["main"].inputs[0], operation(model, "relu").outputs[0]):
            value.type.tensorType.rank = 0
            del value.type.tensorType.dimensions[:]

    edit(path, without_axes)
    model = pippin.load(path, pippin.Configuration(engine=engine), cache=False)
    for one in (3.0, np.float32(3), np.full(1, 3, np.float32)):
        assert model.predict({"x": one})["y"] == 3
    with pytest.raises(errors.FeatureTypeError, match="'x' must be one number, got an array of 3"):
        model.predict({"x": np.ones(3, np.float32)})
