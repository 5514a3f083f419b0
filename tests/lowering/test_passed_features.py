"""Pipelines: what a model gives the next one is what it gives a caller, on every engine; against numpy and Pillow."""

from __future__ import annotations

import os

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import PIL.Image
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from coremltools.proto import Model_pb2

import coremltools as ct
import pippin
from support.small_models import converted

ENGINES = ("openvino", "onnxruntime")
HEIGHT, WIDTH = 3, 5
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
PIXELS[0, 0], PIXELS[0, 1] = 0, 255
CHANNELS = {"RGB": 3, "BGR": 3, "GRAYSCALE": 1, "GRAYSCALE_FLOAT16": 1}
DTYPES = {"FLOAT16": np.float16, "FLOAT32": np.float32, "DOUBLE": np.float64, "INT32": np.int32}


def described(feature, kind):
    """Describe a feature: an image by its color space, an array by its element type."""
    feature.type.Clear()
    if kind in CHANNELS:
        image = feature.type.imageType
        image.width, image.height = WIDTH, HEIGHT
        image.colorSpace = type(image).ColorSpace.Value(kind)
    elif kind in DTYPES:
        array = feature.type.multiArrayType
        array.dataType = type(array).ArrayDataType.Value(kind)
        array.shape.append(4)
    else:
        array = feature.type.multiArrayType
        array.dataType = type(array).ArrayDataType.Value("FLOAT32")
        array.shape.extend((kind, HEIGHT, WIDTH))


def scaled(name, result, by, plus, taken, given):
    """A network: result = by * name + plus."""
    shape = (4,) if taken in DTYPES else (CHANNELS[taken], HEIGHT, WIDTH)
    builder = NeuralNetworkBuilder([(name, datatypes.Array(*shape))], [(result, datatypes.Array(*shape))])
    builder.add_activation("l", "LINEAR", name, result, params=[by, plus])
    described(builder.spec.description.input[0], taken)
    described(builder.spec.description.output[0], given)
    return builder.spec


def joined(parts, taken=None, given=None):
    made = Model_pb2.Model(specificationVersion=7)
    made.description.input.add().CopyFrom(parts[0].description.input[0])
    made.description.output.add().CopyFrom(parts[-1].description.output[0])
    if taken:
        described(made.description.input[0], taken)
    if given:
        described(made.description.output[0], given)
    made.pipeline.models.extend(parts)
    return made


def predict(made, x, engine):
    return pippin.load(made, pippin.Configuration(engine=engine), cache=False).predict({"x": x})["y"]


def tensor(picture, color):
    """What a model sees of a Pillow image."""
    mode = {"GRAYSCALE": "L", "GRAYSCALE_FLOAT16": "F"}.get(color, "RGB")
    array = np.asarray(picture if picture.mode == mode else picture.convert(mode), np.float32)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return array[::-1] if color == "BGR" else array


def picture(values, color):
    """What a caller sees of a model's values."""
    if color == "GRAYSCALE_FLOAT16":
        return PIL.Image.fromarray(values[0].astype(np.float16).astype(np.float32))
    pixels = np.clip(np.nan_to_num(np.rint(values)), 0, 255).astype(np.uint8)
    if color == "GRAYSCALE":
        return PIL.Image.fromarray(pixels[0])
    return PIL.Image.fromarray(np.ascontiguousarray((pixels[::-1] if color == "BGR" else pixels).transpose(1, 2, 0)))


IMAGES = [
    (1.0, 0.0, "RGB", "RGB"),
    (1.0, 0.0, "RGB", "BGR"),
    (1.0, 0.0, "BGR", "RGB"),
    (1.0, 0.0, "BGR", "BGR"),
    (0.3, 0.5, "RGB", "RGB"),
    (2.0, -100.0, "RGB", "BGR"),
    (np.inf, 1.0, "RGB", "RGB"),  # 0 becomes NaN
    (2.5, -100.5, "GRAYSCALE", "GRAYSCALE"),
    (0.1234, 0.0, "GRAYSCALE_FLOAT16", "GRAYSCALE_FLOAT16"),
    (1000.0, 0.0, "GRAYSCALE_FLOAT16", "GRAYSCALE_FLOAT16"),  # above 65504
    (0.7, 0.0, "RGB", "GRAYSCALE"),
    (0.7, 0.0, "BGR", "GRAYSCALE"),
    (0.7, 0.0, "BGR", "GRAYSCALE_FLOAT16"),
    (0.7, 0.0, "GRAYSCALE", "BGR"),
    (0.7, 0.0, "GRAYSCALE", "GRAYSCALE_FLOAT16"),
    (1.7, -50.0, "GRAYSCALE_FLOAT16", "GRAYSCALE"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", IMAGES, ids=str)
def test_an_image_between(row, engine):
    by, plus, given, taken = row
    parts = [scaled("x", "between", by, plus, given, given), scaled("between", "y", 10.0, 1.0, taken, CHANNELS[taken])]
    x = PIL.Image.fromarray(PIXELS).convert({"GRAYSCALE": "L", "GRAYSCALE_FLOAT16": "F"}.get(given, "RGB"))
    with np.errstate(all="ignore"):
        between = picture(tensor(x, given) * np.float32(by) + np.float32(plus), given)
    expected = tensor(between, taken) * 10 + 1
    np.testing.assert_allclose(predict(joined(parts), x, engine), expected, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("outside", "inside"), [("RGB", "BGR"), ("BGR", "RGB"), ("GRAYSCALE", "RGB"), ("RGB", "GRAYSCALE")]
)
def test_a_pipeline_that_describes_its_images_in_another_way(outside, inside, engine):
    """Its models take and give pictures, whatever their channels are called."""
    made = joined([scaled("x", "y", 0.5, 0.0, inside, inside)], outside, outside)
    x = PIL.Image.fromarray(PIXELS)
    passed = picture(tensor(x.convert("L") if outside == "GRAYSCALE" else x, inside) / 2, inside)
    expected = np.asarray(picture(tensor(passed, outside), outside))
    np.testing.assert_array_equal(np.asarray(predict(made, x, engine)), expected)


NUMBERS = np.float32([0.1, 1000.5, -7.9, 66000])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_between(dtype, engine):
    parts = [scaled("x", "between", 1.7, 0.0, "FLOAT32", dtype), scaled("between", "y", 3.0, 0.0, dtype, "FLOAT32")]
    with np.errstate(over="ignore"):
        between = (NUMBERS * np.float32(1.7)).astype(DTYPES[dtype])
    expected = between.astype(np.float32) * np.float32(3)
    np.testing.assert_allclose(predict(joined(parts), NUMBERS, engine), expected, rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_and_its_pipeline_describe_an_array_in_different_types(engine):
    """What the model gives is float16, whatever the pipeline calls it."""
    found = predict(joined([scaled("x", "y", 1.7, 0.0, "FLOAT32", "FLOAT16")], given="FLOAT32"), NUMBERS, engine)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, (NUMBERS * np.float32(1.7)).astype(np.float16).astype(np.float32))
    assert found.dtype == np.float32


def program(name, result, factor, **colors):
    """A program, result = factor * name; its features in these colors."""
    shape = (1, 3, HEIGHT, WIDTH)
    made = converted(lambda **x: mb.mul(x=x[name], y=factor, name=result), **{name: shape})
    spec = made.get_spec()
    for feature in (*spec.description.input, *spec.description.output):
        if feature.name in colors:
            described(feature, colors[feature.name])
    return ct.models.MLModel(spec, weights_dir=made.weights_dir, skip_model_load=True)


def test_a_description_that_make_pipeline_wrote_over():
    """It describes an image as the model that takes it does. A program gives RGB unless its converter was told."""
    parts = [program("x", "between", 1.0, x="RGB", between="RGB"), program("between", "y", 10.0, between="BGR")]
    made = ct.utils.make_pipeline(*parts)
    assert made.get_spec().pipeline.models[0].description.output[0].type.imageType.colorSpace == 30
    loaded = pippin.load(made.get_spec(), weights=made.weights_dir, cache=False)
    expected = tensor(PIL.Image.fromarray(PIXELS), "BGR")[None] * 10.0
    np.testing.assert_array_equal(loaded.predict({"x": PIL.Image.fromarray(PIXELS)})["y"], expected)


def test_weights_that_make_pipeline_has_not_numbered():
    """Another's pipeline means what it says: BGR is given and taken."""
    factors = np.ones((1, 3, HEIGHT, WIDTH), np.float32)
    first = program("x", "between", factors, x="RGB", between="BGR")
    made = joined([first.get_spec(), scaled("between", "y", 10.0, 0.0, "BGR", 3)])
    loaded = pippin.load(made, weights=first.weights_dir, cache=False)
    expected = tensor(PIL.Image.fromarray(PIXELS), "RGB") * 10.0
    np.testing.assert_array_equal(loaded.predict({"x": PIL.Image.fromarray(PIXELS)})["y"], expected)
