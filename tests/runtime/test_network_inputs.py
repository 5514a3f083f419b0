"""Network inputs: images preprocessed, sizes that are flexible, sequences; against numpy and torch."""

from __future__ import annotations

import os

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import PIL.Image
import pytest
import torch
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder, flexible_shape_utils

import coremltools as ct
import pippin
from pippin.errors import FeatureShapeError

ENGINES = ("openvino", "onnxruntime")
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
RED, GREEN, BLUE = (PIXELS[:, :, i].astype(np.float32) for i in range(3))


def identity(names, shape=(3, 5, 6)):
    """A network of before 2019 that gives each input as it sees it."""
    builder = NeuralNetworkBuilder(
        [(n, datatypes.Array(*shape)) for n in names], [(f"{n}_seen", datatypes.Array(*shape)) for n in names]
    )
    for name in names:
        builder.add_activation(name, "LINEAR", name, f"{name}_seen")
    return builder


def gray(pixels):
    return np.asarray(PIL.Image.fromarray(pixels).convert("L"), np.float32)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, [RED, GREEN, BLUE]),
        ({"is_bgr": True}, [BLUE, GREEN, RED]),
        ({"image_scale": 0.5}, [RED / 2, GREEN / 2, BLUE / 2]),
        ({"image_scale": 2 / 255, "red_bias": -1, "green_bias": -2, "blue_bias": -3}, [RED * 2 / 255 - 1, GREEN * 2 / 255 - 2, BLUE * 2 / 255 - 3]),
        ({"is_bgr": True, "red_bias": 1, "green_bias": 2, "blue_bias": 3}, [BLUE + 3, GREEN + 2, RED + 1]),
    ],
    ids=["plain", "bgr", "scale", "bias", "bgr bias"],
)  # fmt: skip
def test_colours(how, expected, engine):
    builder = identity(["x"])
    builder.set_pre_processing_parameters(image_input_names=["x"], **how)
    found = pippin.load(builder.spec, pippin.Configuration(engine=engine)).predict({"x": PIL.Image.fromarray(PIXELS)})
    np.testing.assert_allclose(found["x_seen"], np.stack(expected), rtol=1e-5, atol=1e-5)


def test_gray():
    builder = identity(["x"], (1, 5, 6))
    builder.set_pre_processing_parameters(image_input_names=["x"], gray_bias=-7, image_scale=3)
    found = pippin.load(builder.spec).predict({"x": PIL.Image.fromarray(PIXELS)})["x_seen"]
    np.testing.assert_allclose(found[0], gray(PIXELS) * 3 - 7, atol=1e-4)


def test_a_mean_image():
    mean = np.random.default_rng(1).uniform(0, 255, (3, 5, 6)).astype(np.float32)
    builder = identity(["x"])
    builder.set_pre_processing_parameters(image_input_names=["x"])
    del builder.spec.neuralNetwork.preprocessing[:]
    entry = builder.spec.neuralNetwork.preprocessing.add(featureName="x")
    entry.meanImage.meanImage.extend(mean.reshape(-1).tolist())
    found = pippin.load(builder.spec).predict({"x": PIL.Image.fromarray(PIXELS)})["x_seen"]
    np.testing.assert_allclose(found, np.stack([RED, GREEN, BLUE]) - mean, atol=1e-4)


def test_several_images_each_its_own_way():
    builder = identity(["a", "b", "c"])
    builder.set_pre_processing_parameters(
        image_input_names=["a", "b"], is_bgr={"a": False, "b": True}, red_bias={"a": 1, "b": 10},
        green_bias={"a": 2, "b": 20}, blue_bias={"a": 3, "b": 30}, image_scale={"a": 2, "b": 3},
    )  # fmt: skip
    plain = np.random.default_rng(2).random((3, 5, 6)).astype(np.float32)
    other = PIXELS[::-1].copy()
    found = pippin.load(builder.spec).predict(
        {"a": PIL.Image.fromarray(PIXELS), "b": PIL.Image.fromarray(other), "c": plain}
    )
    red, green, blue = (other[:, :, i].astype(np.float32) for i in range(3))
    np.testing.assert_allclose(found["a_seen"], np.stack([RED * 2 + 1, GREEN * 2 + 2, BLUE * 2 + 3]), atol=1e-4)
    np.testing.assert_allclose(found["b_seen"], np.stack([blue * 3 + 30, green * 3 + 20, red * 3 + 10]), atol=1e-4)
    np.testing.assert_allclose(found["c_seen"], plain)


WEIGHT = np.random.default_rng(3).standard_normal((4, 3, 3, 3)).astype(np.float32)


def convolution(exact):
    shape = (1, 3, 8, 9) if exact else (3, 8, 9)
    builder = NeuralNetworkBuilder([("x", datatypes.Array(*shape))], [("y", None)], disable_rank5_shape_mapping=exact)
    builder.add_convolution(
        "c", 3, 4, 3, 3, 2, 2, "same", 1, WEIGHT.transpose(2, 3, 1, 0), None, False, input_name="x", output_name="a",
        same_padding_asymmetry_mode="BOTTOM_RIGHT_HEAVY",
    )  # fmt: skip
    builder.add_activation("r", "RELU", "a", "y")
    return builder.spec


def expected_convolution(x):
    sizes = x.shape[-2:]
    pads = [max((-(-s // 2) - 1) * 2 + 3 - s, 0) for s in sizes]
    (top, bottom), (left, right) = ((p // 2, p - p // 2) for p in pads)
    padded = torch.nn.functional.pad(torch.from_numpy(x).reshape(-1, 3, *sizes), (left, right, top, bottom))
    return torch.relu(torch.nn.functional.conv2d(padded, torch.from_numpy(WEIGHT), stride=2)).numpy()


@pytest.mark.parametrize("engine", ENGINES)
def test_enumerated_shapes(engine):
    spec = convolution(exact=True)
    shapes = [(1, 3, 8, 9), (1, 3, 5, 5), (2, 3, 16, 7)]
    flexible_shape_utils.add_multiarray_ndshape_enumeration(spec, "x", shapes)
    model = pippin.load(spec, pippin.Configuration(engine=engine))
    for shape in shapes:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(model.predict({"x": x})["y"], expected_convolution(x), atol=1e-4)
    with pytest.raises(FeatureShapeError, match="got 1 x 3 x 8 x 8"):
        model.predict({"x": np.zeros((1, 3, 8, 8), np.float32)})


@pytest.mark.parametrize("engine", ENGINES)
def test_ranges_of_shapes(engine):
    spec = convolution(exact=True)
    flexible_shape_utils.set_multiarray_ndshape_range(spec, "x", [1, 3, 4, 4], [3, 3, 20, -1])
    model = pippin.load(spec, pippin.Configuration(engine=engine))
    for shape in [(1, 3, 4, 4), (3, 3, 20, 33), (2, 3, 7, 5)]:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(model.predict({"x": x})["y"], expected_convolution(x), atol=1e-4)
    with pytest.raises(FeatureShapeError, match="got 4 x 3 x 8 x 8"):
        model.predict({"x": np.zeros((4, 3, 8, 8), np.float32)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_legacy_image_of_flexible_size(engine):
    spec = convolution(exact=False)
    del spec.description.input[0].type.multiArrayType.shape[:]
    builder = NeuralNetworkBuilder(spec=spec)
    image = spec.description.input[0].type.imageType
    image.width, image.height, image.colorSpace = 9, 8, 20
    sizes = flexible_shape_utils.NeuralNetworkImageSizeRange((5, -1), (5, 40))
    flexible_shape_utils.update_image_size_range(builder.spec, "x", sizes)
    model = pippin.load(builder.spec, pippin.Configuration(engine=engine))
    for height, width in [(8, 9), (12, 7), (6, 10)]:
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        x = pixels.astype(np.float32).transpose(2, 0, 1)[None]
        found = model.predict({"x": PIL.Image.fromarray(pixels)})["y"]
        np.testing.assert_allclose(found.reshape(expected_convolution(x).shape), expected_convolution(x), atol=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sequence_of_words(engine):
    """Numbers of words, one after the other, [sequence, 1, 1, 1, 1], to a network that describes [1]."""
    table = np.random.default_rng(4).standard_normal((3, 10)).astype(np.float32)
    builder = NeuralNetworkBuilder([("words", datatypes.Array(1))], [("y", None)])
    builder.add_embedding("e", table, None, 10, 3, False, "words", "y")
    model = pippin.load(builder.spec, pippin.Configuration(engine=engine))
    words = np.array([4, 0, 9, 9, 1], np.float32)
    found = model.predict({"words": words.reshape(5, 1, 1, 1, 1)})["y"]
    assert found.shape == (5, 1, 3, 1, 1)
    np.testing.assert_allclose(found[:, 0, :, 0, 0], table[:, words.astype(int)].T)
    np.testing.assert_allclose(model.predict({"words": words[:1]})["y"], table[:, 4])


# Sizes computed from sizes


class FirstResult(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)[0]


RECURRENT = {
    "both ways": torch.nn.LSTM(5, 7, bidirectional=True, batch_first=True),
    "two layers": torch.nn.LSTM(5, 7, 2, batch_first=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECURRENT)
def test_states_filled_for_a_flexible_batch(name):
    """The initial states are one tensor, filled to a computed shape and split along an axis of known size."""
    net = FirstResult(RECURRENT[name]).eval()
    shape = ct.Shape((ct.RangeDim(1, 4, default=1), ct.RangeDim(1, 30, default=6), 5))
    model = ct.convert(
        torch.jit.trace(net, torch.rand(1, 6, 5)), inputs=[ct.TensorType("x", shape)], outputs=[ct.TensorType("y")],
        convert_to="neuralnetwork", skip_model_load=True,
    )  # fmt: skip
    for engine in ENGINES:
        loaded = pippin.load(model.get_spec(), pippin.Configuration(engine=engine))
        for sizes in ((1, 6), (3, 2), (4, 30)):
            x = torch.rand(*sizes, 5)
            np.testing.assert_allclose(loaded.predict({"x": x})["y"], net(x).detach(), atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_parts_of_a_flexible_size(engine):
    """If the parts cannot be equal, the first ones get one more element, as with numpy."""
    builder = NeuralNetworkBuilder(
        [("x", datatypes.Array(3, 7))], [(name, None) for name in "abc"], disable_rank5_shape_mapping=True
    )
    builder.add_split_nd("l", "x", list("abc"), axis=1, num_splits=3)
    flexible_shape_utils.set_multiarray_ndshape_range(builder.spec, "x", [3, 2], [3, 9])
    model = pippin.load(builder.spec, pippin.Configuration(engine=engine))
    for size in (2, 4, 7, 9):
        x = np.arange(3 * size, dtype=np.float32).reshape(3, size)
        for found, wanted in zip(model.predict({"x": x}).values(), np.array_split(x, 3, axis=1), strict=True):
            np.testing.assert_array_equal(found, wanted)
