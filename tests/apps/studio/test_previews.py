"""What the preview is made of, without a page: kinds, values, pictures, panels, streams."""

from __future__ import annotations

import asyncio
import io
import wave

import numpy as np
import PIL.Image
import pytest

import pippin
from pippin.apps.studio.preview import draw_arrays, parse_values, samples
from pippin.apps.studio.preview.frame_stream import open_stream
from pippin.apps.studio.preview.kinds import Kind, carried, control_of, kind_of
from pippin.apps.studio.preview.output_panels import (
    Curve,
    Numbers,
    Options,
    Picture,
    Scores,
    Value,
    curve_of,
    panel_of,
    panels_of,
    statistics,
)
from pippin.errors import FeatureError, FeatureValueError
from pippin.format.description import (
    ColorSpace,
    Dictionary,
    Double,
    FeatureDescription,
    FunctionDescription,
    Image,
    Int64,
    Metadata,
    ModelDescription,
    MultiArray,
    Sequence,
    SizeRange,
    String,
)
from pippin.types import DataType

F32, I32 = DataType.FLOAT32, DataType.INT32
RGB = Image(32, 24, ColorSpace.RGB)


def array(*shape, dtype=F32):
    return MultiArray(dtype, shape)


def feature(name, kind, **how):
    return FeatureDescription(name, kind, **how)


def function(inputs, outputs, label="", probabilities=""):
    made = (tuple(feature(n, t) for n, t in side.items()) for side in (inputs, outputs))
    return FunctionDescription("main", *made, (), label, probabilities)


def described(inputs, outputs, labels=None, user=None, **names):
    made = function(inputs, outputs, **names)
    return ModelDescription((made,), "main", Metadata(user_defined=user or {}), 7, "mlProgram", labels), made


PREVIEW = "com.apple.coreml.model.preview."
SCORES = Dictionary("string")
KINDS = {
    "classifier": (
        "imageClassifier",
        described({"i": RGB}, {"l": String(), "p": SCORES}, label="l", probabilities="p"),
    ),
    "classifier-of-an-array": ("imageClassifier", described({"i": array(1, 3, 24, 32)}, {"l": String(), "p": SCORES})),
    "image-to-image": ("imageToImage", described({"i": RGB}, {"o": RGB})),
    "arrays-of-images": ("imageToImage", described({"i": array(3, 24, 32)}, {"o": array(1, 3, 24, 32)})),
    "detector": ("objectDetector", described({"i": RGB}, {"confidence": array(9, 3), "coordinates": array(9, 4)})),
    "mask": ("imageSegmenter", described({"i": RGB}, {"m": array(24, 32, dtype=I32)})),
    "depth": ("depthEstimation", described({"i": RGB}, {"depthMap": array(1, 24, 32)})),
    "embedding": ("arrays", described({"i": RGB}, {"e": array(1, 128)})),
    "table": ("tabular", described({"a": Double(), "b": Int64(), "c": String()}, {"y": Double()})),
    "text": ("text", described({"t": String()}, {"l": String()})),
    "words": ("text", described({"t": SCORES}, {"l": String()})),
    "sound": ("sound", described({"audio_in": array(1, 512)}, {"y": array(1)})),
    "not-a-sound": ("arrays", described({"x": array(1, 512)}, {"y": array(1)})),
    "declared": (
        "poseEstimation",
        described({"i": RGB}, {"x": array(1, 2)}, user={f"{PREVIEW}type": "poseEstimation"}),
    ),
    "declared-table": (
        "tabular",
        described({"x": array(3)}, {"y": array(1)}, user={f"{PREVIEW}type": "tabularRegressor"}),
    ),
    "declared-wrongly": (
        "arrays",
        described({"x": array(3)}, {"y": array(1)}, user={f"{PREVIEW}type": "imageSegmenter"}),
    ),
    "unknown": ("imageToImage", described({"i": RGB}, {"o": RGB}, user={f"{PREVIEW}type": "somethingElse"})),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    expected, (description, made) = KINDS[name]
    assert kind_of(description, made).name == expected


LABELS = {
    "labels": ({f"{PREVIEW}params": '{"labels": ["a", "b"], "colors": ["#010203", "040506"]}'}, None, ("a", "b")),
    "class-labels": ({}, (1, 2), ("1", "2")),
    "python": ({"names": "{1: 'dog', 0: 'cat'}"}, None, ("cat", "dog")),
    "commas": ({"classes": "x,y"}, None, ("x", "y")),
    "broken": ({f"{PREVIEW}params": "{"}, ("k",), ("k",)),
    "nothing": ({}, None, ()),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name):
    user, labels, expected = LABELS[name]
    kind = kind_of(*described({"i": RGB}, {"o": RGB}, labels, user))
    assert kind.labels == expected
    assert kind.colors == (("#010203", "040506") if name == "labels" else ())


CONTROLS = {
    "image": RGB,
    "pixels": array(1, 3, 24, 32),
    "number": Int64(),
    "text": String(),
    "dictionary": SCORES,
    "sequence": Sequence("string", SizeRange(0, None)),
    "array": array(3, 24, 32, dtype=I32),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_controls(name):
    assert control_of(feature("x", CONTROLS[name])) == name


CARRIED = {
    "new": ({"x": array(3), "hidden_state": array(1, 8)}, {"y": array(3), "new_hidden_state": array(1, 8)}),
    "in-out": ({"hiddenIn": array(8), "cellIn": array(9)}, {"hiddenOut": array(8), "cellOut": array(9)}),
    "underlines": ({"lstm_h_in": array(8)}, {"lstm_h_out": array(8)}),
    "other-shapes": ({"hiddenIn": array(8)}, {"hiddenOut": array(9)}),
}
PAIRS = {
    "new": {"new_hidden_state": "hidden_state"},
    "in-out": {"hiddenOut": "hiddenIn", "cellOut": "cellIn"},
    "underlines": {"lstm_h_out": "lstm_h_in"},
    "other-shapes": {},
}


@pytest.mark.parametrize("name", CARRIED)
def test_what_is_handed_on(name):
    assert carried(function(*CARRIED[name])) == PAIRS[name]


# Values

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
PICTURE = PIL.Image.fromarray(PIXELS)
SCALES = {
    "0 to 1": PIXELS / 255,
    "-1 to 1": PIXELS / 127.5 - 1,
    "0 to 255": PIXELS.astype(float),
    "ImageNet": (PIXELS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
}


@pytest.mark.parametrize("scale", SCALES)
def test_a_picture_as_an_array(scale):
    found = parse_values.image_value(PICTURE, feature("x", array(1, 3, 24, 32)), "scale_fill", scale)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), SCALES[scale], atol=1e-5)


def test_a_gray_picture_as_an_array():
    found = parse_values.image_value(PICTURE, feature("x", array(1, 24, 32)), "scale_fill", "0 to 255")
    np.testing.assert_allclose(found[0], np.asarray(PICTURE.convert("L")), atol=1e-4)


def test_a_picture_is_resized_as_said():
    wide = PIL.Image.new("RGB", (80, 20), (200, 100, 50))
    fitted = np.asarray(parse_values.resized(wide, (40, 40), "scale_fit"))
    assert fitted[20, 20].tolist() == [200, 100, 50] and fitted[2, 20].tolist() == [0, 0, 0]
    for how in ("scale_fill", "center_crop"):
        assert np.asarray(parse_values.resized(wide, (40, 40), how)).min() == 50


def wav(samples, rate=8000):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype(np.int16).tobytes())
    return buffer.getvalue()


def npy(x):
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


X = np.arange(6, dtype=np.float32).reshape(2, 3) / 8
DROPPED = {
    "x.npy": npy(X),
    "X.NPY": npy(X.astype(np.float64)),
    "x.json": b"[[0, 0.125, 0.25], [0.375, 0.5, 0.625]]",
    "x.csv": b"0,0.125,0.25\n0.375,0.5,0.625\n",
    "x.wav": wav(X.reshape(-1)),
}


@pytest.mark.parametrize("name", DROPPED)
def test_files_that_are_dropped(name):
    found = parse_values.array_in(DROPPED[name], name, feature("x", array(2, 3)))
    np.testing.assert_allclose(found, X, atol=1e-4)


TYPED = {"[[0, 1, 2], [3, 4, 5]]": (2, 3), "0 1 2 3 4 5": (2, 3), "0, 1, 2": (3,)}


@pytest.mark.parametrize("text", TYPED)
def test_arrays_that_are_typed(text):
    found = parse_values.written_array(text, feature("x", array(2, 3)))
    assert found.shape == TYPED[text] and found.reshape(-1).tolist() == list(range(found.size))


def test_sounds_are_cut_into_windows():
    sound = np.arange(1, 1001, dtype=np.float32)
    windows = parse_values.windows_of(sound, feature("audio", array(1, 300)))
    assert [w.shape for w in windows] == [(1, 300)] * 4
    np.testing.assert_array_equal(np.concatenate(windows, 1)[0], np.pad(sound, (0, 200)))


def test_rows_of_tables():
    features = (feature("a", Double()), feature("b", Int64()), feature("c", String(), optional=True))
    rows = parse_values.table_rows(b"b,a,other\n1,2.5,x\n3,4,y\n", "t.csv", features)
    assert [parse_values.row_features(row, features) for row in rows] == [{"a": 2.5, "b": 1}, {"a": 4.0, "b": 3}]
    assert parse_values.table_rows(b"1,2,three\n", "t.csv", features) == [{"a": "1", "b": "2", "c": "three"}]


ONE = feature("x", Int64())
WRONG = {
    "cannot read the picture": lambda: parse_values.opened_image(b"nothing", "x"),
    "not a list of numbers": lambda: parse_values.written_array("a b", feature("x", array(2))),
    "equal lengths": lambda: parse_values.written_array('["a"]', feature("x", array(2))),
    "must be a .npy, .npz": lambda: parse_values.array_in(b"", "x.txt", feature("x", array(2))),
    "x.npy cannot be read": lambda: parse_values.array_in(b"junk", "x.npy", feature("x", array(2))),
    "is not a number": lambda: parse_values.number_value("seven", ONE),
    "must be an integer": lambda: parse_values.number_value(1.5, ONE),
    "must be a JSON object": lambda: parse_values.dictionary_value("[1]", feature("x", SCORES), False),
    "comma-separated integers": lambda: parse_values.sequence_value(
        "a", feature("x", Sequence("int64", SizeRange(0, None)))
    ),
    "column 'a' is missing": lambda: parse_values.table_rows(
        b"b,c\n1,2\n", "t.csv", (feature("a", Double()), feature("b", Double()))
    ),
    "none of the 2 columns is an input": lambda: parse_values.table_rows(
        b"p,q\n1,2\n", "t.csv", (feature("a", Double()),)
    ),
    "is empty": lambda: parse_values.table_rows(b"", "t.csv", (feature("a", Double()),)),
    "is not a CSV": lambda: parse_values.table_rows(b"\xff\xfe", "t.csv", (feature("a", Double()),)),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_used(message):
    with pytest.raises(FeatureError, match=message.replace(".", r"\.")):
        WRONG[message]()


def test_values_of_other_kinds():
    assert parse_values.number_value("", ONE) is None and parse_values.number_value("3", ONE) == 3
    assert parse_values.dictionary_value("to be or not to be", feature("x", SCORES), True) == {
        "to": 2,
        "be": 2,
        "or": 1,
        "not": 1,
    }
    assert parse_values.dictionary_value('{"3": 1}', feature("x", Dictionary("int64")), False) == {3: 1.0}
    assert parse_values.sequence_value("1, 2", feature("x", Sequence("int64", SizeRange(0, None)))) == [1, 2]


# Pictures

CLASSES = np.array([[0, 1, 2], [2, 2, 1]])
PLANES = {
    "integers": CLASSES.astype(np.int32),
    "class-first": np.eye(3)[CLASSES].transpose(2, 0, 1)[None],
    "flat-batch": np.eye(3)[CLASSES].transpose(2, 0, 1),
}


@pytest.mark.parametrize("name", PLANES)
def test_classes_of_pixels(name):
    np.testing.assert_array_equal(draw_arrays.classes_of(PLANES[name]), CLASSES)


def test_classes_of_one_plane():
    plane = np.array([[[0.2, 0.7], [0.5, 0.51]]])
    assert draw_arrays.classes_of(plane[None]).tolist() == [[0, 1], [0, 1]]
    assert draw_arrays.classes_of(np.array([[-2.0, 0.1]])).tolist() == [[0, 1]]


def test_a_segmentation_has_colours_and_shares():
    image, legend = draw_arrays.segmented(None, CLASSES, ["sky", "sea"], ["#010203", "0a0b0c"])
    assert np.asarray(image)[0, :2].tolist() == [[1, 2, 3], [10, 11, 12]]
    assert [(e.label, e.share) for e in legend] == [
        ("class 2", 0.5),
        ("sea", pytest.approx(1 / 3)),
        ("sky", pytest.approx(1 / 6)),
    ]
    over, _ = draw_arrays.segmented(PIL.Image.new("RGB", (6, 4), (101, 102, 103)), CLASSES, [], ["#010203"], 0.5)
    assert over.size == (6, 4) and np.abs(np.asarray(over)[0, 0].astype(int) - [51, 52, 53]).max() <= 1


def test_boxes():
    confidence = np.array([[0.1, 0.8], [0.3, 0.2], [0.1, 0.2]])
    coordinates = np.array([[0.5, 0.5, 0.2, 0.4], [0.25, 0.25, 0.5, 0.5], [0, 0, 1, 1]])
    boxes = draw_arrays.boxes_of(confidence, coordinates, ["cat", "dog"], 0.25)
    assert [(b.label, b.confidence) for b in boxes] == [("dog", 0.8), ("cat", 0.3)]
    assert (boxes[0].left, boxes[0].top, boxes[0].right, boxes[0].bottom) == pytest.approx((0.4, 0.3, 0.6, 0.7))
    drawn = np.asarray(draw_arrays.boxed(PIL.Image.new("RGB", (100, 100)), boxes[:1]))
    assert drawn[30:34, 50].any() and not drawn[50, 50].any()
    assert draw_arrays.boxes_of(np.empty((0, 2)), np.empty((0, 4)), [], 0.25) == []


def test_joints():
    maps, offsets = np.zeros((1, 17, 5, 5)), np.zeros((1, 34, 5, 5))
    for joint in range(17):
        maps[0, joint, joint % 5, (2 * joint) % 5] = 0.9
        offsets[0, joint], offsets[0, 17 + joint] = 3, -2
    joints = draw_arrays.joints_of(maps, offsets, 16)
    assert (joints[6].x, joints[6].y) == pytest.approx(((2 * 16 - 2) / 64, (1 * 16 + 3) / 64))
    assert joints[0].confidence == 0.9
    assert np.asarray(draw_arrays.posed(PIL.Image.new("RGB", (64, 64)), joints)).any()


def test_maps():
    plane = np.array([[0.0, 1.0], [0.5, np.nan]])
    drawn = np.asarray(draw_arrays.heat(plane))
    assert drawn[1, 1].tolist() == [128, 128, 128]
    lightness = [int(drawn[at].sum()) for at in ((0, 0), (1, 0), (0, 1))]
    assert lightness == sorted(lightness)
    assert draw_arrays.map_of(np.zeros(1)) is None
    for shape in ((5,), (1, 500), (3, 4), (2, 3, 4), (1, 40, 6, 7), (2000, 30)):
        size = draw_arrays.map_of(np.random.default_rng(0).standard_normal(shape)).size
        assert min(size) >= 1 and max(size) <= 512


def test_arrays_that_are_images():
    for values_, factor in ((PIXELS / 255, 1), (PIXELS / 127.5 - 1, 1), (PIXELS.astype(float), 1)):
        found = np.asarray(draw_arrays.as_image(values_.transpose(2, 0, 1)[None]), int)
        assert np.abs(found - PIXELS * factor).max() <= 1


# Panels

CLASSIFIER = function({"i": RGB}, {"l": String(), "p": SCORES}, "l", "p")


def test_panels_of_a_classifier():
    scores = {f"c{i}": p for i, p in enumerate(np.linspace(0, 0.1, 20))}
    (panel,) = panels_of(Kind("imageClassifier"), CLASSIFIER, {"l": "c19", "p": scores})
    assert isinstance(panel, Scores) and panel.label == "c19" and panel.count == 20
    assert [row[0] for row in panel.rows] == [f"c{i}" for i in range(19, 11, -1)]


def test_panels_of_scores_without_a_dictionary():
    made = function({"i": RGB}, {"s": array(1, 3)})
    (panel,) = panels_of(Kind("imageClassifier", ("a", "b", "c")), made, {"s": np.array([[0.1, 0.7, 0.2]])})
    assert panel.label == "b" and panel.rows[0] == ("b", 0.7)


def test_panels_of_detections():
    made = function({"i": RGB}, {})
    outputs = {"confidence": np.array([[0.2, 0.6]]), "coordinates": np.array([[0.5, 0.5, 0.5, 0.5]])}
    for threshold, count in ((0.25, 1), (0.7, 0)):
        (panel,) = panels_of(Kind("objectDetector"), made, outputs, PICTURE, Options(threshold=threshold))
        assert len(panel.boxes) == count


def test_panels_of_masks_and_depth():
    made = function({"i": RGB}, {})
    mask = np.zeros((1, 1, 24, 32), np.float32)
    mask[..., 16:] = 1
    first, second = panels_of(Kind("imageSegmenter"), made, {"m": mask}, PICTURE)
    assert [entry.share for entry in first.legend] == [0.5, 0.5] and second.name == "m, raw"
    (panel,) = panels_of(Kind("depthEstimation"), made, {"d": mask * 3}, PICTURE)
    assert isinstance(panel, Picture) and panel.note == "from 0 to 3"


ONES = {
    "text": ("yes", Value, "yes"),
    "number": (0.5, Value, "0.5"),
    "integer": (7, Value, "7"),
    "one element": (np.array([[2.5]], np.float32), Value, "2.5"),
    "list": (["a", "b"], Value, "a, b"),
}


@pytest.mark.parametrize("name", ONES)
def test_panels_of_one_value(name):
    value, kind, text = ONES[name]
    panel = panel_of("x", value)
    assert isinstance(panel, kind) and panel.text == text


def test_panels_of_arrays():
    panel = panel_of("x", np.array([[1.0, np.nan], [np.inf, 4.0]]))
    assert isinstance(panel, Numbers)
    assert panel.statistics == {"minimum": 1, "mean": 2.5, "maximum": 4, "deviation": 1.5, "not finite": 2}
    assert statistics(np.array([np.nan])) == {"not finite": 1}
    assert isinstance(panel_of("x", np.zeros((1, 3, 8, 8))), Picture)
    assert panel_of("x", np.zeros((40, 40))).text == ""


def test_a_long_curve_keeps_its_peaks():
    sound = np.zeros(100_000)
    sound[777], sound[50_001] = 1, -1
    found = curve_of("x", sound)
    assert isinstance(found, Curve) and len(found.values) == 2000
    assert max(found.values) == 1 and min(found.values) == -1


# Samples and streams


def test_frames_move():
    one, two = np.asarray(samples.frame(0.0)), np.asarray(samples.frame(0.5))
    assert one.shape == (240, 320, 3) and (one != two).any(-1).mean() > 0.02


@pytest.mark.parametrize("policy", ["latest", "drop_newest", "drop_oldest"])
def test_a_stream_drops_what_comes_too_fast(policy, models, monkeypatch):
    """While one prediction runs, ten frames come: with "latest" the newest of them is predicted next."""
    from threading import Event

    from pippin.apps.studio.open_models import Opened

    opened = Opened(models("colors"), pippin.Configuration())
    gate, begun = Event(), Event()
    numbers = {}

    def features(image):
        return {"image": image}

    async def run():
        stream = await open_stream(opened, policy, 1, features)
        predict = stream.model._predict

        def held(*arguments):
            begun.set()
            gate.wait(30)
            return predict(*arguments)

        monkeypatch.setattr(stream.model, "_predict", held)
        frames = [PIL.Image.new("RGB", (32, 24), (20 * i, 0, 0)) for i in range(11)]
        stream.push(frames[0])
        await asyncio.to_thread(begun.wait, 30)
        for image in frames[1:]:
            stream.push(image)
            while stream.statistics.submitted < stream.frames:
                await asyncio.sleep(0)
        gate.set()
        await stream.settle()
        numbers.update(counted=stream.statistics, latest=stream.latest.number, frames=stream.frames)
        stream.close()

    asyncio.run(run())
    kept = {"latest": 2, "drop_oldest": 2, "drop_newest": 1}[policy]
    assert numbers["counted"].completed == kept and numbers["counted"].dropped == 11 - kept
    assert numbers["latest"] == {"latest": 11, "drop_oldest": 11, "drop_newest": 1}[policy]


def test_a_stream_tells_what_failed(models):
    from pippin.apps.studio.open_models import Opened

    opened = Opened(models("colors"), pippin.Configuration())

    async def run():
        stream = await open_stream(opened, "latest", 1, lambda image: {"image": np.zeros((3, 3))})
        stream.push(PICTURE)
        await stream.settle()
        stream.close()
        return stream.failure

    assert isinstance(asyncio.run(run()), FeatureError)


def test_the_desk_hands_on_what_a_model_gives(models):
    from pippin.apps.studio.open_models import Opened
    from pippin.apps.studio.preview.tab_session import Desk

    async def run():
        opened = Opened(models("counter"), pippin.Configuration())
        desk = Desk(opened, await opened.model())
        x = np.array([1, 2, 3, 4], np.float16)
        found = [(await desk.predict({"x": x}, None)).outputs["doubled"] for _ in range(3)]
        np.testing.assert_array_equal(found, [2 * x, 4 * x, 6 * x])
        (state,) = desk.states()
        np.testing.assert_array_equal(state.array, 3 * x)
        desk.reset()
        np.testing.assert_array_equal((await desk.predict({"x": x}, None)).outputs["doubled"], 2 * x)
        wrong = await desk.batch([{"x": x}])
        assert isinstance(wrong[0], pippin.PippinError)  # a batch has no state

    asyncio.run(run())


def test_values_are_checked_before_a_thread_is_asked():
    with pytest.raises(FeatureValueError):
        parse_values.row_features({"a": ""}, (feature("a", Double()),))
