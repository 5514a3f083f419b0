"""Compiled: the folders that Apple's compiler writes, and what is said of damaged ones."""

from __future__ import annotations

import json
import shutil
import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pippin
from coremltools import proto
from pippin.errors import FormatError, PackageError, PippinError, SpecificationError, UnsupportedModelError, WeightError
from pippin.format.asset import open_asset
from pippin.format.coremldata import read_coremldata

RANDOM = np.random.default_rng(0)


def string(text):
    return struct.pack("<Q", len(text)) + text


def description(inputs=("x",), outputs=("y",), shape=(2, 6, 5)):
    made = proto.Model_pb2.ModelDescription()
    for features, names in ((made.input, inputs), (made.output, outputs)):
        for name in names:
            array = features.add(name=name).type.multiArrayType
            array.dataType = 65568
            array.shape.extend(shape if features is made.input else ())
    return made


def layout_a(kind, name, version, payload):
    return struct.pack("<I7Q", kind, version, *[0] * 3, *[1, 0, 0]) + string(name) + payload


def layout_b(kind, name, version, payload):
    return struct.pack("<I3Q", kind, 5, 0, 0) + string(name) + struct.pack("<4Q", version, *[0] * 3) + payload


def generic(kind, tail=b""):
    return string(description().SerializeToString()) + struct.pack("<Q", kind) + tail


@pytest.mark.parametrize("layout", [layout_a, layout_b])
def test_a_description(layout, tmp_path):
    path = tmp_path / "coremldata.bin"
    path.write_bytes(layout(502, b"generic", 7, generic(502, bytes(8))))
    model = read_coremldata(path)
    assert model.WhichOneof("Type") == "mlProgram" and model.specificationVersion == 7
    assert model.description == description()


@pytest.mark.parametrize("layout", [layout_a, layout_b])
def test_a_whole_model(layout, tmp_path):
    whole = proto.Model_pb2.Model(specificationVersion=1, description=description())
    whole.glmRegressor.offset.append(3)
    path = tmp_path / "coremldata.bin"
    path.write_bytes(layout(300, b"spec", 1, whole.SerializeToString()))
    assert read_coremldata(path).SerializeToString() == whole.SerializeToString()


GOOD = layout_b(502, b"generic", 7, generic(502, bytes(8)))
DAMAGED = {
    "empty": (b"", r"offset 0: expected 4 bytes for the model kind, found 0"),
    "kind": (b"\xff" * 4 + GOOD[4:], r"offset 0: unknown model kind 4294967295; expected a field number"),
    "class": (GOOD.replace(b"generic", b"special"), r"offset 28: expected the archive class 'generic' or 'spec'"),
    "short": (GOOD[:50], r"offset 43: expected 8 bytes for the specification version, found 7"),
    "zeros": (GOOD[:55] + b"\1" + GOOD[56:], r"offset 51: expected three zeros, found other values"),
    "description": (GOOD[:-20], r"offset \d+: expected \d+ bytes for .*, found \d+"),
    "tail": (GOOD[:-16] + bytes(16), r"expected model kind 502 as in the header, found 0"),
    "not a description": (layout_b(502, b"generic", 7, string(b"\xff" * 9)), r"expected a ModelDescription message"),
    "another model": (layout_b(300, b"spec", 1, b"\x08\x01"), r"expected a glmRegressor model, found None"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", r"is a Git LFS pointer.*git lfs pull"),
}


@pytest.mark.parametrize("row", DAMAGED)
def test_damaged(row, tmp_path):
    data, message = DAMAGED[row]
    path = tmp_path / "coremldata.bin"
    path.write_bytes(data)
    with pytest.raises(SpecificationError, match=message) as caught:
        read_coremldata(path)
    assert str(caught.value).startswith(str(path))


# Espresso


def network(folder, layers, blobs, shape=(2, 6, 5), names=(("x",), ("y",)), **net):
    """A compiled neural network; `blobs` by their identifiers."""
    folder.mkdir(exist_ok=True)
    payload = string(description(*names, shape).SerializeToString()) + struct.pack("<2Q", 500, 1) + string(b"y")
    (folder / "coremldata.bin").write_bytes(layout_b(500, b"generic", 1, payload))
    text = {"format_version": 200, "storage": "model.espresso.weights", "layers": layers, **net}
    (folder / "model.espresso.net").write_text(json.dumps(text))
    (folder / "model.espresso.shape").write_text(json.dumps({"layer_shapes": {}}))
    data = {0: bytes(56)} | {key: np.float32(value).tobytes() for key, value in blobs.items()}
    table = struct.pack(f"<{1 + 2 * len(data)}Q", len(data), *(n for k, v in data.items() for n in (k, len(v))))
    (folder / "model.espresso.weights").write_bytes(table + b"".join(data.values()))
    return folder


def weights(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


CONV, GROUPS, UP, LINEAR = weights(4, 2, 3, 2), weights(4, 1, 3, 3), weights(2, 3, 2, 2), weights(7, 60)
BIAS, BIAS_3, BIAS_7 = weights(4), weights(3), weights(7)
BASE = {"name": "l", "bottom": "x", "top": "y", "weights": {}}


def conv(kind, **row):
    return {**BASE, "type": kind, "blob_weights": 3, "blob_biases": 1, "has_biases": 1, "n_groups": 1, **row}


LAYERS = {
    "convolution": (
        conv("convolution", C=4, K=2, Ny=3, Nx=2, stride_x=2, stride_y=1, pad_t=1, pad_b=0, pad_l=2, pad_r=1, pad_mode=0),
        {1: [*BIAS, *([9] * 12)], 3: CONV},
        lambda x: F.conv2d(F.pad(x, (2, 1, 1, 0)), torch.tensor(CONV), torch.tensor(BIAS), (1, 2)),
    ),
    "same, with a rectifier": (
        conv("convolution", C=4, K=2, Ny=3, Nx=3, n_groups=2, pad_mode=1, fused_relu=1, has_biases=0),
        {3: GROUPS},
        lambda x: F.relu(F.conv2d(x, torch.tensor(GROUPS), padding="same", groups=2)),
    ),
    "deconvolution": (
        conv("deconvolution", C=3, K=2, Ny=2, Nx=2, stride_x=2, stride_y=2),
        {1: BIAS_3, 3: UP},
        lambda x: F.conv_transpose2d(x, torch.tensor(UP), torch.tensor(BIAS_3), 2),
    ),
    "leaky": (
        {**BASE, "type": "activation", "mode": 2, "alpha": 0.25},
        {},
        lambda x: F.leaky_relu(x, 0.25),
    ),
    "sigmoid": (
        {**BASE, "type": "activation", "mode": 3},
        {},
        torch.sigmoid,
    ),
    "largest": (
        {**BASE, "type": "pool", "avg_or_max": 1, "size_x": 2, "size_y": 3, "stride_x": 1, "stride_y": 2},
        {},
        lambda x: F.max_pool2d(x, (3, 2), (2, 1)),
    ),
    "inner product": (
        {**BASE, "type": "inner_product", "nB": 60, "nC": 7, "blob_weights": 3, "blob_biases": 1, "has_biases": 1, "has_relu": 1},
        {1: BIAS_7, 3: LINEAR},
        lambda x: F.relu(F.linear(x.reshape(-1), torch.tensor(LINEAR), torch.tensor(BIAS_7))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("row", LAYERS)
def test_layers(row, engine, tmp_path):
    layer, blobs, expected = LAYERS[row]
    shape = (60,) if row == "inner product" else (2, 6, 5)
    x = weights(*shape)
    folder = network(tmp_path / "n.mlmodelc", [layer], blobs, shape)
    found = pippin.load(folder, pippin.Configuration(engine=engine)).predict({"x": x})["y"]
    wanted = expected(torch.tensor(x) if len(shape) == 1 else torch.tensor(x)[None]).numpy()
    np.testing.assert_allclose(found.reshape(-1), wanted.reshape(-1), rtol=1e-4, atol=1e-4)


REFUSED = {
    "layer": ({**BASE, "type": "rnn_arch"}, r"\[rnn_arch\] 'l': unknown layer type"),
    "mode": ({**BASE, "type": "activation", "mode": 4}, r"\[activation\] 'l': unknown activation mode 4"),
    "operation": ({**BASE, "type": "elementwise", "operation": 117}, r"\[elementwise\] 'l'"),
    "mean": ({**BASE, "type": "pool", "avg_or_max": 0}, "counts the padding"),
    "padding": (conv("convolution", C=4, K=2, Ny=3, Nx=2, pad_mode=2), "pad_mode 2"),
    "parameter": (conv("convolution", C=4, K=2, Ny=3, Nx=2, fused_tanh=1), "unknown parameter fused_tanh = 1"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_not_certain_is_refused(row, tmp_path):
    layer, message = REFUSED[row]
    folder = network(tmp_path / "n.mlmodelc", [layer], {1: BIAS, 3: CONV})
    with pytest.raises(UnsupportedModelError, match=message):
        open_asset(folder)


def test_what_nothing_writes_is_told_first(tmp_path):
    layers = [{**BASE, "type": "rnn_arch", "top": "a"}, {**BASE, "type": "pool", "name": "m", "bottom": "a, gone"}]
    with pytest.raises(SpecificationError, match=r"\[pool\] 'm': no network input or other layer provides.*'gone'"):
        open_asset(network(tmp_path / "n.mlmodelc", layers, {}))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_sigmoid_and_its_twin(engine, shared_models):
    """A network compiled by Apple, and the same network as it was before."""
    twins = [shared_models.parent / "cases" / name for name in ("sigmoid-mode3.mlmodelc", "sigmoid-mode3-twin.mlmodel")]
    if not all(path.exists() for path in twins):
        pytest.skip(f"no {twins[0].name} in {twins[0].parent}")
    compiled, source = (pippin.load(path, pippin.Configuration(engine=engine)) for path in twins)
    for x in weights(20, 11):
        found, wanted = (model.predict({"input1": x})["output1"] for model in (compiled, source))
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_preprocessing_is_refused(tmp_path):
    folder = network(tmp_path / "n.mlmodelc", [LAYERS["leaky"][0]], {}, transform_params={"x": {"bias_r": -1}})
    with pytest.raises(UnsupportedModelError, match="transform_params"):
        open_asset(folder)


BROKEN = {
    "no layers": (lambda f: (f / "model.espresso.net").write_text("{}"), SpecificationError, "format version 200, found None"),
    "no JSON": (lambda f: (f / "model.espresso.net").write_text("{"), SpecificationError, "not valid JSON"),
    "no shapes": (lambda f: (f / "model.espresso.shape").unlink(), PackageError, "model.espresso.shape cannot be read"),
    "no weights": (lambda f: (f / "model.espresso.weights").unlink(), PackageError, "model.espresso.weights"),
    "cut off": (
        lambda f: (f / "model.espresso.weights").write_bytes((f / "model.espresso.weights").read_bytes()[:-4]),
        WeightError,
        r"offset \d+: expected 192 bytes for blob 3, found \d+",
    ),
    "no blob": (
        lambda f: (f / "model.espresso.net").write_text(
            (f / "model.espresso.net").read_text().replace('"blob_weights": 3', '"blob_weights": 5')
        ),
        WeightError,
        "blob 5 of layer 'l' is missing",
    ),
    "small blob": (
        lambda f: (f / "model.espresso.net").write_text((f / "model.espresso.net").read_text().replace('"C": 4', '"C": 8')),
        WeightError,
        "blob 3 of layer 'l' has 192 bytes",
    ),
    "storage": (
        lambda f: (f / "model.espresso.net").write_text(
            (f / "model.espresso.net").read_text().replace('"model.espresso.weights"', '"../x"')
        ),
        SpecificationError,
        "'storage' must be a plain file name, got '../x'",
    ),
    "no kind": (lambda f: (f / "coremldata.bin").unlink(), PackageError, "coremldata.bin is missing"),
}  # fmt: skip


@pytest.mark.parametrize("row", BROKEN)
def test_broken_networks(row, tmp_path):
    change, error, message = BROKEN[row]
    layer, blobs, _ = LAYERS["convolution"]
    folder = network(tmp_path / "n.mlmodelc", [layer], blobs)
    change(folder)
    with pytest.raises(error, match=message):
        open_asset(folder)


# Pipelines and programs


def test_missing_parts(shared_models, tmp_path):
    folder = tmp_path / "p.mlmodelc"
    shutil.copytree(shared_models / "compiled" / "yolov8n.mlmodelc", folder)
    shutil.rmtree(folder / "model1")
    with pytest.raises(PackageError, match="pipeline model model1 is missing"):
        open_asset(folder)
    (folder / "model0" / "model.mil").unlink()
    with pytest.raises(PackageError, match=r"program model\.mil is missing"):
        open_asset(folder)


def test_a_pointer_in_place_of_weights(shared_models, tmp_path):
    folder = tmp_path / "w.mlmodelc"
    shutil.copytree(shared_models / "compiled" / "silero-vad-unified.mlmodelc", folder)
    weights = folder / "weights" / "weight.bin"
    weights.chmod(0o600)
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 882304\n".ljust(130))
    with pytest.raises(WeightError, match=r"weight\.bin is a Git LFS pointer"):
        pippin.load(folder)


SMALL = ["add", "mars-habitat-pricer", "waifu-anime-noise0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_damaged_folders(name, shared_models, tmp_path):
    """200 seeded damages of each: opened, or refused with an error of ours."""
    from fuzz.messages import damaged as damage
    from pippin.program import open_model

    source = shared_models / "compiled" / f"{name}.mlmodelc"
    files = [
        path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file() and "weights" not in path.name
    ]
    for seed in range(200):
        random = np.random.default_rng(seed)
        folder = tmp_path / "f.mlmodelc"
        shutil.copytree(source, folder)
        path = folder / files[int(random.integers(0, len(files)))]
        path.chmod(0o600)
        path.write_bytes(damage(path.read_bytes(), random))
        try:
            open_model(folder).description  # noqa: B018
        except (FormatError, UnsupportedModelError) as error:
            assert str(error)
        except PippinError as error:
            assert "version" in str(error)
        shutil.rmtree(folder)
