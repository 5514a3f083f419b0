"""Asset: the same model from a package, a file, bytes or a message; weights found where they lie, and nowhere else."""

from __future__ import annotations

import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given, settings
from hypothesis import strategies as st

import coremltools as ct
from coremltools import proto
from pippin.errors import (
    ConfigurationError,
    ModelNotFoundError,
    PackageError,
    PippinError,
    SpecificationError,
    UnsupportedModelError,
    UnsupportedVersionError,
    WeightError,
)
from pippin.format.asset import NEWEST_SPECIFICATION, Asset, open_asset
from pippin.types import DataType
from support.small_models import converted

WEIGHT = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
FILE = "@model_path/weights/weight.bin"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package by coremltools with one weight in its weight file: y = x @ weight.T."""
    path = tmp_path_factory.mktemp("asset") / "linear.mlpackage"
    converted(lambda x: mb.linear(x=x, weight=WEIGHT, name="y"), x=(2, 8)).save(str(path))
    return path


@pytest.fixture(scope="module")
def message(package):
    """The specification as coremltools reads it: a message of its own classes."""
    return ct.models.utils.load_spec(str(package))


def folder(package):
    return package / "Data" / "com.apple.CoreML" / "weights"


def blob_value(asset):
    """The file name and offset of the program's weight."""
    block = next(iter(asset.specification.mlProgram.functions["main"].block_specializations.values()))
    values = [op.attributes["val"] for op in block.operations if op.type == "const" and "val" in op.attributes]
    found = [v.blobFileValue for v in values if v.WhichOneof("value") == "blobFileValue"]
    big = [v for v in found if v.fileName]
    return big[0].fileName, big[0].offset


def weight_of(asset):
    name, offset = blob_value(asset)
    return asset.weights(name).read(offset, DataType.FLOAT32, WEIGHT.shape)


SOURCES = {
    "path": lambda p, m: (p, None),
    "text": lambda p, m: (str(p), None),
    "trailing-slash": lambda p, m: (f"{p}/", None),
    "message-and-folder": lambda p, m: (m, folder(p)),
    "message-and-folder-as-text": lambda p, m: (m, str(folder(p))),
    "message-and-folder-above": lambda p, m: (m, folder(p).parent),
    "message-and-bytes": lambda p, m: (m, {"weights/weight.bin": (folder(p) / "weight.bin").read_bytes()}),
    "bytes-and-bytes": lambda p, m: (
        m.SerializeToString(),
        {"weights/weight.bin": (folder(p) / "weight.bin").read_bytes()},
    ),
    "bytearray-and-folder": lambda p, m: (bytearray(m.SerializeToString()), folder(p)),
    "memoryview-and-folder": lambda p, m: (memoryview(m.SerializeToString()), folder(p)),
    "file-and-folder": lambda p, m: (folder(p).parent / "model.mlmodel", folder(p)),
    "file-beside-its-weights": lambda p, m: (folder(p).parent / "model.mlmodel", None),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_the_same_model(source, package, message):
    given, weights = SOURCES[source](package, message)
    asset = open_asset(given, weights)
    np.testing.assert_array_equal(weight_of(asset), WEIGHT)
    assert asset.specification.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
    assert [str(f.type) for f in asset.description.function().inputs] == ["MultiArray (float32, 2 x 8)"]


def test_the_weights_dir_of_coremltools_fits(package):
    model = ct.models.MLModel(str(package), skip_model_load=True)
    np.testing.assert_array_equal(weight_of(open_asset(model.get_spec(), model.weights_dir)), WEIGHT)


def test_name_and_path(package, message):
    assert (open_asset(package).name, open_asset(package).path) == ("linear.mlpackage", package)
    assert (open_asset(message).name, open_asset(message).path) == ("model in memory", None)
    file = folder(package).parent / "model.mlmodel"
    assert (open_asset(file).name, open_asset(file).path) == ("model.mlmodel", file)


def test_an_asset_is_returned_as_it_is(package):
    asset = open_asset(package)
    assert open_asset(asset) is asset


def test_a_weight_file_is_opened_once(package):
    asset = open_asset(package)
    assert asset.weights(FILE) is asset.weights(FILE)


def test_weights_are_read_from_many_threads(package):
    asset = open_asset(package)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: weight_of(asset), range(16)):
            np.testing.assert_array_equal(found, WEIGHT)


def test_reading_leaves_the_message_as_it_was(package, message):
    before = message.SerializeToString(deterministic=True)
    weight_of(open_asset(message, folder(package)))
    assert open_asset(message).description.class_labels is None
    assert message.SerializeToString(deterministic=True) == before


# name: (the weights that are given, what the message says)
MISSING = {
    "none": (None, "'weights/weight.bin' is missing: pass `weights`"),
    "empty-mapping": ({}, r"is missing from `weights` \(it has: none\)"),
    "other-names": ({"b.bin": b"", "a.bin": b""}, r"is missing from `weights` \(it has: a.bin, b.bin\)"),
    "absent-folder": ("/nowhere/at/all", "is missing from /nowhere/at/all"),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_weights_say_what_was_given(name, message):
    weights, text = MISSING[name]
    with pytest.raises(WeightError, match=text):
        weight_of(open_asset(message, weights))


def test_a_file_missing_from_its_package(package, tmp_path):
    copy = Path(shutil.copytree(package, tmp_path / "m.mlpackage"))
    (folder(copy) / "weight.bin").unlink()
    with pytest.raises(WeightError, match=r"m\.mlpackage: weight file 'weights/weight\.bin' is missing from the"):
        weight_of(open_asset(copy))


def test_a_weight_file_that_is_none(message):
    with pytest.raises(WeightError, match=r"weights/weight\.bin: unknown weight file version 0"):
        weight_of(open_asset(message, {"weights/weight.bin": bytes(1000)}))


@pytest.mark.parametrize("kind", ["package", "folder"])
@pytest.mark.parametrize("name", ["@model_path/../../../../x", "/etc/hostname", "@model_path/weights/../../../../x"])
def test_a_weight_path_may_not_leave(name, kind, package, message):
    asset = open_asset(package) if kind == "package" else open_asset(message, folder(package))
    with pytest.raises(PackageError, match="points outside the package"):
        asset.weights(name)


def test_weights_beside_what_has_its_own(package):
    with pytest.raises(ConfigurationError, match=r"linear\.mlpackage has its own weights"):
        open_asset(package, folder(package))
    with pytest.raises(ConfigurationError, match=r"linear\.mlpackage has its own weights"):
        open_asset(open_asset(package), {})


def zipped(path, package):
    with zipfile.ZipFile(path, "w") as archive:
        for file in package.rglob("*"):
            archive.write(file, file.relative_to(package.parent))
    return path


def touched(path):
    path.touch()
    return path


def made(path, *files):
    path.mkdir()
    for file in files:
        (path / file).touch()
    return path


# name: (what is opened, the error, what it says)
REFUSED = {
    "absent": (lambda d, p: d / "gone.mlpackage", ModelNotFoundError, r"gone\.mlpackage: no such file or folder"),
    "below-a-file": (lambda d, p: touched(d / "f") / "x", ModelNotFoundError, "no such file or folder"),
    "too-long": (lambda d, p: "x" * 5000, PackageError, "cannot be opened: .*File name too long"),
    "null-byte": (lambda d, p: "a\0b", PackageError, "cannot be opened: embedded null byte"),
    "number": (lambda d, p: 3, PackageError, "got int"),
    "none": (lambda d, p: None, PackageError, "got NoneType"),
    "zip": (lambda d, p: zipped(d / "m.mlpackage.zip", p), PackageError, r"is a zip archive; unpack it"),
    "manifest": (lambda d, p: p / "Manifest.json", PackageError, r"open the folder .*linear\.mlpackage"),
    "folder": (lambda d, p: made(d / "models"), PackageError, r"is not a model package: Manifest\.json is missing"),
    "compiled": (lambda d, p: made(d / "m.mlmodelc"), PackageError, r"is not a compiled model: coremldata\.bin is missing"),
    "compiled-unnamed": (lambda d, p: made(d / "m", "coremldata.bin"), SpecificationError, "offset 0: expected 4 bytes for the model kind"),
    "onnx": (lambda d, p: touched(d / "m.onnx"), SpecificationError, r"is no ONNX model"),
    "torch": (lambda d, p: touched(d / "M.PT"), UnsupportedModelError, r"is a PyTorch model; .*coremltools converts the traced"),
    "keras": (lambda d, p: touched(d / "m.keras"), UnsupportedModelError, "is a Keras model"),
    "tflite": (lambda d, p: touched(d / "m.tflite"), UnsupportedModelError, "coremltools does not convert it"),
    "empty-file": (lambda d, p: touched(d / "m.mlmodel"), SpecificationError, "the model specification is empty"),
    "empty-bytes": (lambda d, p: b"", SpecificationError, "model in memory: the model specification is empty"),
    "text-bytes": (lambda d, p: b"<html>404</html>", SpecificationError, "is not a model specification, or is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_opened(name, package, tmp_path):
    make, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        open_asset(make(tmp_path, package))


@pytest.mark.parametrize("version", range(1, NEWEST_SPECIFICATION + 1))
def test_every_known_version_opens(version):
    model = proto.Model_pb2.Model(specificationVersion=version)
    model.neuralNetwork.SetInParent()
    assert open_asset(model).description.specification_version == version


@pytest.mark.parametrize(
    ("version", "error"), [(11, UnsupportedVersionError), (2000, UnsupportedVersionError),
                           (0, SpecificationError), (-1, SpecificationError)]
)  # fmt: skip
def test_an_unknown_version_is_named(version, error):
    model = proto.Model_pb2.Model(specificationVersion=version)
    model.neuralNetwork.SetInParent()
    for source in (model, model.SerializeToString()):
        with pytest.raises(error, match=f"specification version {version}") as raised:
            open_asset(source)
        assert "model in memory" in str(raised.value)


KINDS = [field.name for field in proto.Model_pb2.Model.DESCRIPTOR.oneofs_by_name["Type"].fields]


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_model_is_refused_here(kind):
    model = proto.Model_pb2.Model(specificationVersion=5)
    getattr(model, kind).SetInParent()
    asset = open_asset(model.SerializeToString())
    assert isinstance(asset, Asset)
    assert asset.description.kind == kind


def test_a_specification_that_was_cut_anywhere(message):
    """No proper part of a specification from its beginning opens: the model itself is its last field."""
    whole = message.SerializeToString()
    assert open_asset(whole).description.kind == "mlProgram"
    for size in range(len(whole)):
        with pytest.raises(SpecificationError):
            open_asset(whole[:size])


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_damaged_specification_ends_in_an_error_of_ours(data, message):
    whole = message.SerializeToString()
    at = data.draw(st.integers(0, len(whole) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=8))
    try:
        description = open_asset(whole[:at] + junk + whole[at + len(junk) :]).description
    except PippinError as error:
        assert str(error)
    else:
        assert description.kind in KINDS
