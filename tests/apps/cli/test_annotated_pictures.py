"""Annotated pictures: what a model finds is drawn where it is in the picture, however the picture was resized."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
from pippin.apps.cli.annotate import Seen, annotated
from pippin.apps.cli.print_results import View
from pippin.features.image_input import ImageInput
from pippin.format.description import (
    ColorSpace,
    Dictionary,
    FeatureDescription,
    FunctionDescription,
    Image,
    Metadata,
    ModelDescription,
    MultiArray,
    String,
)
from pippin.types import DataType
from support.small_models import saved_program

PICTURE = FeatureDescription("image", Image(100, 100, ColorSpace.RGB))
LABELS = Metadata(user_defined={"names": json.dumps({"0": "cat", "1": "dog"})})
GRAY = (128, 128, 128)


def view(*outputs, **how):
    function = FunctionDescription("main", (PICTURE,), outputs, **how)
    return View(ModelDescription((function,), "main", LABELS, 8, "mlProgram"), function)


DETECTOR = view(*(FeatureDescription(name, MultiArray(DataType.FLOAT32)) for name in ("confidence", "coordinates")))
SEGMENTER = view(FeatureDescription("mask", MultiArray(DataType.INT32, (100, 100))))
CLASSIFIER = view(
    FeatureDescription("label", String()), FeatureDescription("scores", Dictionary("string")),
    predicted_feature_name="label", predicted_probabilities_name="scores",
)  # fmt: skip


def seen(resize, size=(400, 200), of=DETECTOR):
    value = ImageInput(PIL.Image.new("RGB", size, GRAY), resize)
    return Seen.of(of, {"image": value}, {}, None)


def changed(picture):
    """Left, top, right and bottom of what differs from the picture that was given."""
    pixels = np.abs(np.asarray(picture).astype(int) - GRAY).sum(-1) > 30
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


# A picture of 400 x 200, a model of 100 x 100, and what the model sees at 0.25 to 0.75 of both its axes.
PLACES = {"scale_fill": (100, 50, 300, 150), "scale_fit": (100, 0, 300, 200), "center_crop": (150, 50, 250, 150)}


@pytest.mark.parametrize("resize", PLACES)
def test_a_box(resize):
    box = {"confidence": np.array([[0.9, 0.1]]), "coordinates": np.array([[0.5, 0.5, 0.5, 0.5]])}
    made = annotated(box, DETECTOR, seen(resize))
    left, top, right, bottom = PLACES[resize]
    assert made.size == (400, 200)
    found = changed(made)
    assert np.abs(np.array(found)[[0, 2, 3]] - (left, right, bottom)).max() <= 2
    assert top - 30 <= found[1] <= top + 2  # the label stands above it
    inside = np.asarray(made)[top + 35 : bottom - 5, left + 5 : right - 5]
    assert (inside == GRAY).all()


def test_boxes_outside_and_not_numbers():
    """Cut off at the edges of the picture, or not drawn."""
    boxes = {
        "confidence": np.full((4, 1), 0.9),
        "coordinates": np.array([[0.5, 0.5, 9.0, 9.0], [np.nan] * 4, [np.inf, 0, 1, 1], [5.0, 5.0, 0.1, 0.1]]),
    }
    assert changed(annotated(boxes, DETECTOR, seen("scale_fill"))) == (0, 0, 400, 200)
    none = {"confidence": np.zeros((0, 2)), "coordinates": np.zeros((0, 4))}
    assert (np.asarray(annotated(none, DETECTOR, seen("scale_fill"))) == GRAY).all()


@pytest.mark.parametrize("resize", PLACES)
def test_a_mask(resize):
    mask = np.zeros((100, 100), np.int32)
    mask[25:75, 25:75] = 1
    made = np.asarray(annotated({"mask": mask}, SEGMENTER, seen(resize, of=SEGMENTER))).astype(int)
    left, top, right, bottom = PLACES[resize]
    middle = made[(top + bottom) // 2, (left + right) // 2]
    same = (np.abs(made - middle).sum(-1) < 20).astype(int)
    assert made.shape == (200, 400, 3) and np.abs(middle - GRAY).sum() > 60
    assert same[top + 2 : bottom - 2, left + 2 : right - 2].all()
    assert abs(int(same.sum()) - (right - left) * (bottom - top)) <= 4 * (right - left + bottom - top)
    if resize == "center_crop":  # the model did not see the sides
        assert (made[:, :99] == GRAY).all() and (made[:, 301:] == GRAY).all()


def test_a_label():
    outputs = {"label": "cat", "scores": {"cat": 0.97, "dog": 0.03}}
    left, top, right, bottom = changed(annotated(outputs, CLASSIFIER, seen("scale_fill", of=CLASSIFIER)))
    assert (left, top) == (0, 0) and right < 200 and bottom < 60


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """Bright pixels are the object."""
    return saved_program(
        tmp_path_factory.mktemp("annotated"),
        lambda image: mb.sigmoid(x=mb.sub(x=mb.reduce_mean(x=image, axes=[1], keep_dims=True), y=128.0), name="mask"),
        inputs=[ct.ImageType("image", (1, 3, 32, 32))],
        image=(1, 3, 32, 32),
    )


def test_files(segmenter, command, tmp_path):
    """One picture, a folder of them, and an input that would be replaced."""
    photos = tmp_path / "photos"
    photos.mkdir()
    half = np.zeros((60, 80, 3), np.uint8)
    half[:, 40:] = 255
    for name in ("a.png", "b.png"):
        PIL.Image.fromarray(half).save(photos / name)
    given = ("predict", segmenter, "--engine", "onnxruntime", "--strategy", "fast_load", "--input")
    out = tmp_path / "out.png"
    out.write_text("before")
    status, said, err = command(*given, f"image={photos}/a.png", "--output", out)
    assert status == 0 and "wrote" in said and "out.png" in said, err
    made = np.asarray(PIL.Image.open(out)).astype(int)
    assert made.shape == (60, 80, 3) and np.ptp(made[:, :38], (0, 1)).max() == 0 == np.ptp(made[:, 42:], (0, 1)).max()
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left aside
    assert command(*given, f"image={photos}", "--output", tmp_path / "all", "--json")[0] == 0
    written = (path for path in (tmp_path / "all").rglob("*.png") if path.is_file())
    pictures = sorted(path.relative_to(tmp_path / "all").as_posix() for path in written)
    assert pictures == ["0-a.png/annotated.png", "1-b.png/annotated.png"]
    for output, message in ((photos / "a.png", "is an input"), (tmp_path / "no" / "x.png", "there is no folder")):
        status, _, err = command(*given, f"image={photos}/a.png", "--output", output)
        assert status == 2 and message in err.replace("\n  ", " ")
    status, _, err = command(*given, f"image={photos}", "--output", out)
    assert status == 2 and "several predictions" in err
    status, _, err = command(*given, f"image={photos}", "--resize", "error")
    assert status == 2 and "has 80 x 60 pixels" in err and "--resize scale_fill" in err.replace("\n  ", " ")
