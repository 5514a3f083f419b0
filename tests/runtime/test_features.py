"""Features: whatever holds numbers goes in, and what the model declares comes out."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb

import pippin
from pippin.errors import FeatureShapeError, PredictionError
from pippin.features.decode import make_decode
from pippin.features.files import read_array
from pippin.features.images import encode_image
from pippin.format.description import (
    ColorSpace,
    Dictionary,
    FeatureDescription,
    FunctionDescription,
    Image,
    Int64,
    SizeRange,
    String,
)
from pippin.lowering.lowered_model import Labels
from support.small_models import converted, saved_program

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    return pippin.load(saved_program(tmp_path_factory.mktemp("f"), lambda x: mb.add(x=x, y=x, name="y"), x=(2, 3)))


class Wrapped:
    def __array__(self, dtype=None, copy=None):
        return NUMBERS.astype(dtype or np.float64)


VALUES = {
    **{dtype: NUMBERS.astype(dtype) for dtype in ("float64", "float16", "int8", "int16", "int32", "int64")},
    "float32": NUMBERS,
    "list": NUMBERS.tolist(),
    "fortran": np.asfortranarray(NUMBERS),
    "reversed": NUMBERS[::-1][::-1],
    "strided": np.repeat(NUMBERS, 2, 1)[:, ::2],
    "big endian": NUMBERS.astype(">f4"),
    "read only": np.frombuffer(NUMBERS.tobytes(), np.float32).reshape(2, 3),
    "torch": torch.from_numpy(NUMBERS),
    "torch with gradient": torch.from_numpy(NUMBERS).requires_grad_(),
    "torch transposed": torch.from_numpy(NUMBERS.T.copy()).T,
    "torch int": torch.from_numpy(NUMBERS).int(),
    "__array__": Wrapped(),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name, doubling):
    np.testing.assert_array_equal(doubling.predict({"x": VALUES[name]})["y"], 2 * NUMBERS)


def test_unsigned_and_bool(doubling):
    for dtype in (np.uint8, np.uint16, np.uint32, bool):
        x = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
        np.testing.assert_array_equal(doubling.predict({"x": x})["y"], 2.0 * x)


def test_nan_and_infinity_pass_through(doubling):
    x = np.array([[np.nan, np.inf, -np.inf], [0, -0.0, 1e38]], np.float32)
    np.testing.assert_array_equal(doubling.predict({"x": x})["y"], x + x)


def test_declared_dtype_comes_out():
    spec = converted(lambda x: mb.add(x=x, y=x, name="y"), x=(2, 3)).get_spec()
    for number, dtype in ((65568, np.float32), (65552, np.float16), (65600, np.float64)):
        spec.description.output[0].type.multiArrayType.dataType = number
        y = pippin.load(spec).predict({"x": NUMBERS})["y"]
        assert y.dtype == dtype and y.flags.c_contiguous
        np.testing.assert_array_equal(y, 2 * NUMBERS)


def test_int32_in_and_out(tmp_path):
    model = pippin.load(saved_program(tmp_path, lambda x: mb.add(x=x, y=x, name="y"), dtype=np.int32, x=(3,)))
    for x in ([1, 2, 3], np.array([1, 2, 3], np.uint8), torch.tensor([1, 2, 3])):
        y = model.predict({"x": x})["y"]
        assert y.dtype == np.int32
        np.testing.assert_array_equal(y, [2, 4, 6])
    top = 2**31 - 1
    assert model.predict({"x": [top // 2, 0, 0]})["y"][0] == top - 1, "no detour through floats"


def test_the_default_of_an_optional_input():
    spec = converted(lambda x, b: mb.add(x=x, y=b, name="y"), x=(2,), b=(2,)).get_spec()
    second = next(f for f in spec.description.input if f.name == "b")
    second.type.isOptional = True
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(pippin.load(spec).predict({"x": x})["y"], x)
    second.type.multiArrayType.floatDefaultValue = 10
    np.testing.assert_array_equal(pippin.load(spec).predict({"x": x})["y"], x + 10)
    np.testing.assert_array_equal(pippin.load(spec).predict({"x": x, "b": [1, 1]})["y"], x + 1)


def test_a_batch_keeps_its_order(doubling):
    found = doubling.predict_batch([{"x": NUMBERS + i} for i in range(5)])
    for i, outputs in enumerate(found):
        np.testing.assert_array_equal(outputs["y"], 2 * (NUMBERS + i))
    assert doubling.predict_batch([]) == []


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
GRAY = np.asarray(PIL.Image.fromarray(PIXELS).convert("L"))
COLORS = {
    ColorSpace.RGB: PIXELS.transpose(2, 0, 1),
    ColorSpace.BGR: PIXELS[..., ::-1].transpose(2, 0, 1),
    ColorSpace.GRAYSCALE: GRAY[None],
    ColorSpace.GRAYSCALE_FLOAT16: np.asarray(PIL.Image.fromarray(PIXELS).convert("F"))[None],
}


@pytest.mark.parametrize("color", COLORS, ids=lambda c: c.name)
def test_color_layouts(color, tmp_path):
    kind = Image(6, 4, color)
    picture = PIL.Image.fromarray(PIXELS)
    picture.save(tmp_path / "a.png")
    alpha = np.dstack([PIXELS, np.full((4, 6), 255, np.uint8)])
    for source in (picture, picture.convert("RGBA"), str(tmp_path / "a.png"), tmp_path / "a.png", PIXELS, alpha):
        found = encode_image("x", source, kind, np.dtype(np.float32))
        assert found.shape == (1, len(COLORS[color]), 4, 6) and found.dtype == np.float32 and found.flags.c_contiguous
        np.testing.assert_array_equal(found[0], COLORS[color])


def test_float_gray():
    x = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    found = encode_image("x", x, Image(6, 4, ColorSpace.GRAYSCALE_FLOAT16), np.dtype(np.float32))
    np.testing.assert_array_equal(found[0, 0], x)


@pytest.mark.parametrize("color", [ColorSpace.RGB, ColorSpace.BGR, ColorSpace.GRAYSCALE])
@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4), (5, 4, 1), (5, 4, 4)])
def test_pixels_are_the_picture_that_is_made_of_them(color, shape):
    pixels = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    picture = PIL.Image.fromarray(pixels[:, :, 0] if shape[2:] == (1,) else pixels)
    right = np.asarray(picture.convert("L" if color is ColorSpace.GRAYSCALE else "RGB"), np.float32)
    right = right[None, None] if right.ndim == 2 else right.transpose(2, 0, 1)[None]
    right = right[:, ::-1] if color is ColorSpace.BGR else right
    for value in (pixels, np.asfortranarray(pixels), pixels[::-1][::-1], picture):
        found = encode_image("x", value, Image(4, 5, color), np.dtype(np.float32))
        np.testing.assert_array_equal(found, right)
        assert found.flags.c_contiguous and not np.may_share_memory(found, pixels)


@pytest.mark.parametrize(
    ("resize", "expected"), [("scale_fill", (200, 200)), ("center_crop", (200, 200)), ("scale_fit", (0, 200))]
)
def test_resizing(resize, expected):
    """A wide white picture: only scale_fit leaves black above."""
    picture = PIL.Image.new("L", (80, 20), 200)
    found = encode_image(
        "x", pippin.ImageInput(picture, resize), Image(8, 8, ColorSpace.GRAYSCALE), np.dtype(np.float32)
    )
    assert (found[0, 0, 0, 4], found[0, 0, 4, 4]) == expected


IMAGE = Image(8, 6, ColorSpace.GRAYSCALE)
RANGES = Image(64, 64, ColorSpace.RGB, (SizeRange(32, 256), SizeRange(32, 256)))
SIZES = Image(64, 64, ColorSpace.RGB, ((128, 64), (64, 128)))
NEAREST = {  # the size given, what the model accepts, and the size that is chosen
    "fixed": (IMAGE, (100, 50), (8, 6)),
    "a range keeps the proportions": (RANGES, (1024, 512), (256, 128)),
    "up to the smallest": (RANGES, (16, 64), (32, 128)),
    "one side in the range": (RANGES, (512, 200), (256, 100)),
    "too long for the range": (RANGES, (4000, 100), (256, 100)),
    "without an upper limit": (Image(8, 8, ColorSpace.RGB, (SizeRange(8, None), SizeRange(8, None))), (4, 6), (8, 12)),
    "enumerated, wide": (SIZES, (500, 240), (128, 64)),
    "enumerated, tall": (SIZES, (240, 500), (64, 128)),
    "the default size": (SIZES, (100, 99), (64, 64)),
}


@pytest.mark.parametrize("case", NEAREST)
def test_a_picture_takes_the_nearest_size(case, tmp_path):
    """Files and Pillow images; an array of that size is an error, and so is "error"."""
    kind, given, expected = NEAREST[case]
    assert kind.allows(expected)
    picture = PIL.Image.effect_noise(given, 50)
    picture.save(tmp_path / "x.png")
    mode = "L" if kind.color is ColorSpace.GRAYSCALE else "RGB"
    right = np.asarray(picture.convert(mode).resize(expected), np.float32)
    right = right[None, None] if right.ndim == 2 else right.transpose(2, 0, 1)[None]
    for value in (picture, tmp_path / "x.png", str(tmp_path / "x.png")):
        np.testing.assert_array_equal(encode_image("x", value, kind, np.dtype(np.float32)), right)
    for strict in (
        np.asarray(picture),
        pippin.ImageInput(picture, "error"),
        pippin.ImageInput(np.asarray(picture), "error"),
    ):
        with pytest.raises(FeatureShapeError, match=f"got {given[0]} x {given[1]}"):
            encode_image("x", strict, kind, np.dtype(np.float32))


def turned(picture, orientation):
    """The picture as a camera held in that way would store it. Source: EXIF 2.3, tag Orientation."""
    undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}  # FLIP_LEFT_RIGHT, ROTATE_180, ... as in Pillow
    for method in undo.get(orientation, []):
        picture = picture.transpose(PIL.Image.Transpose(method))
    return picture


def encoded_as(picture, format="PNG", **how):
    file = io.BytesIO()
    picture.save(file, format, **how)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(10))
def test_a_file_is_upright_and_a_pillow_image_is_taken_as_it_is(orientation, tmp_path):
    """As Core ML reads image files. 0 and 9 are no orientations."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded_as(turned(PIL.Image.fromarray(PIXELS), orientation), exif=exif)
    (tmp_path / "x.png").write_bytes(data)
    kind = Image(6, 4, ColorSpace.RGB)
    for value in (data, bytearray(data), memoryview(data), tmp_path / "x.png", str(tmp_path / "x.png")):
        found = encode_image("x", value, kind, np.dtype(np.float32))
        np.testing.assert_array_equal(found[0], PIXELS.transpose(2, 0, 1))
    np.testing.assert_array_equal(read_array(tmp_path / "x.png", "x")[0], PIXELS.transpose(2, 0, 1))
    raw = PIL.Image.open(tmp_path / "x.png")
    found = encode_image("x", raw, Image(*raw.size, ColorSpace.RGB), np.dtype(np.float32))
    np.testing.assert_array_equal(found[0], np.asarray(raw).transpose(2, 0, 1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_spoil_a_picture():
    data = encoded_as(PIL.Image.fromarray(PIXELS), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    found = encode_image("x", data, Image(6, 4, ColorSpace.RGB), np.dtype(np.float32))
    np.testing.assert_array_equal(found[0], PIXELS.transpose(2, 0, 1))


def test_an_allowed_size_stays():
    picture = PIL.Image.effect_noise((40, 250), 50)
    found = encode_image("x", picture, RANGES, np.dtype(np.float32))
    np.testing.assert_array_equal(found[0, 0], np.asarray(picture))


def test_a_picture_that_cannot_be_resized():
    for size in ((0, 0), (2**31, 2**31)):
        with pytest.raises(FeatureShapeError, match="cannot be resized"):
            encode_image("x", PIL.Image.new("L", (4, 4)), Image(*size, ColorSpace.RGB), np.dtype(np.float32))
    with pytest.raises(FeatureShapeError, match="got 0 x 4"):
        encode_image("x", PIL.Image.new("L", (0, 4)), IMAGE, np.dtype(np.float32))


def test_options_resize_the_images_of_a_prediction():
    """Only images, arrays too, and not those that have a way of their own."""
    own, pixels = pippin.ImageInput("b.png", "center_crop"), np.zeros((2, 2), np.uint8)
    function = FunctionDescription("main", tuple(FeatureDescription(n, IMAGE) for n in "abc"))
    given = {"a": "a.png", "b": own, "c": pixels, "x": "a text"}
    found = pippin.PredictionOptions(resize="scale_fit").with_resize(given, function)
    assert found["a"] == pippin.ImageInput("a.png", "scale_fit") and found["b"] is own and found["x"] == "a text"
    assert found["c"].source is pixels and found["c"].resize == "scale_fit"
    assert pippin.PredictionOptions().with_resize(given, function) is given
    with pytest.raises(pippin.errors.ConfigurationError, match="resize must be one of scale_fill"):
        pippin.PredictionOptions(resize="squeeze")


def test_labels():
    features = [FeatureDescription("label", String()), FeatureDescription("scores", Dictionary("string"))]
    labels = Labels("p", ("a", "b", "c"), "label", "scores")
    decode = make_decode(features, [], labels)
    outputs = decode({"p": np.array([[0.1, 0.7, 0.2]], np.float32)})
    assert list(outputs) == ["label", "scores"] and outputs["label"] == "b"
    assert outputs["scores"] == pytest.approx({"a": 0.1, "b": 0.7, "c": 0.2})
    outputs = decode({"p": np.array([[-0.1, -0.7, -0.2, 0.0]], np.float32)})  # the fourth belongs to no class
    assert outputs["label"] == "a" and outputs["scores"] == pytest.approx({"a": -0.1, "b": -0.7, "c": -0.2})
    assert decode({"p": np.array([np.inf, 0, -np.inf])})["label"] == "a"
    with pytest.raises(PredictionError, match="'label': the probabilities contain NaN"):
        decode({"p": np.array([0.1, np.nan, 0.2])})
    with pytest.raises(PredictionError, match="2 probabilities for 3 classes"):
        decode({"p": np.array([0.5, 0.5])})
    assert make_decode(features[:1], [], labels)({"p": np.array([0.1, 0.2, 0.7])}) == {"label": "c"}
    assert list(make_decode(features[::-1], [], labels)({"p": np.array([0.1, 0.2, 0.7])})) == ["scores", "label"]


def test_as_many_labels_as_there_may_be():
    """From 33 classes on, another way finds the most probable one."""
    for count in (1, 32, 33, 1000):
        scores = np.random.default_rng(count).standard_normal(count)
        features = [FeatureDescription("label", Int64()), FeatureDescription("scores", Dictionary("int64"))]
        labels = Labels("p", tuple(range(10, 10 + count)), "label", "scores")
        outputs = make_decode(features, [], labels)({"p": scores})
        assert outputs["label"] == 10 + int(np.argmax(scores))
        assert list(outputs["scores"].values()) == scores.tolist()
