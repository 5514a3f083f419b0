"""Boxes: non-maximum suppression as a model, against the algorithm that the proto describes, in numpy."""

from __future__ import annotations

import numpy as np
import pytest

import pippin
from lowering.classical.specs import model, predict
from pippin.errors import FeatureValueError, SpecificationError


def suppression(count=None, classes=3, iou=0.5, confidence=0.2, per_class=False, thresholds=False, dtype="float64"):
    made = model("nonMaximumSuppression", {}, {})
    kind = made.nonMaximumSuppression
    kind.iouThreshold, kind.confidenceThreshold = iou, confidence
    kind.pickTop.perClass = per_class
    for name, width in (("confidence", classes), ("coordinates", 4)):
        setattr(kind, f"{name}InputFeatureName", f"raw_{name}")
        setattr(kind, f"{name}OutputFeatureName", name)
        for described, called in ((made.description.input, f"raw_{name}"), (made.description.output, name)):
            array = described.add(name=called).type.multiArrayType
            array.dataType = {"float64": 65600, "float32": 65568}[dtype]
            if called != name:
                for lower, upper in ((0, -1), (width, width)):
                    array.shapeRange.sizeRanges.add(lowerBound=lower, upperBound=upper)
            elif isinstance(count, tuple):
                for lower, upper in (count, (width, width)):
                    array.shapeRange.sizeRanges.add(lowerBound=lower, upperBound=upper)
            elif count is not None:
                array.shape.extend([count, width])
    if thresholds:
        for name in ("iou", "confidence"):
            setattr(kind, f"{name}ThresholdInputFeatureName", f"{name}Threshold")
            made.description.input.add(name=f"{name}Threshold").type.doubleType.SetInParent()
    return made


def detections(seed, count, classes=3):
    rng = np.random.default_rng(seed)
    centres = rng.random((6, 2))[rng.integers(0, 6, count)]  # few places, so that boxes overlap
    boxes = np.concatenate([centres + rng.normal(0, 0.03, (count, 2)), rng.uniform(0.1, 0.2, (count, 2))], 1)
    confidence = rng.random((count, classes)) ** 2
    return {"raw_confidence": confidence, "raw_coordinates": boxes}


def overlap(a, b):
    low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    high = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    common = np.prod(np.maximum(high - low, 0))
    return common / (np.prod(a[2:]) + np.prod(b[2:]) - common)


def expected(raw_confidence, raw_coordinates, iou, confidence, per_class):
    best = raw_confidence.max(1)
    kept = []
    for i in sorted(np.flatnonzero(best >= confidence), key=lambda i: -best[i]):
        rivals = [j for j in kept if not per_class or raw_confidence[i].argmax() == raw_confidence[j].argmax()]
        if all(overlap(raw_coordinates[i], raw_coordinates[j]) <= iou for j in rivals):
            kept.append(i)
    return raw_confidence[kept], raw_coordinates[kept]


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("iou", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("confidence", [0.0, 0.4, 2.0])
def test_all_that_stay(per_class, iou, confidence):
    found = pippin.load(suppression(iou=iou, confidence=confidence, per_class=per_class), cache=False)
    for seed in range(3):
        given = detections(seed, 40)
        outputs = found.predict(given)
        right = expected(**given, iou=iou, confidence=confidence, per_class=per_class)
        for name, values in zip(("confidence", "coordinates"), right, strict=True):
            assert outputs[name].shape == values.shape
            np.testing.assert_array_equal(outputs[name], values)


def test_no_boxes_at_all():
    outputs = predict(suppression(), raw_confidence=np.zeros((0, 3)), raw_coordinates=np.zeros((0, 4)))
    assert outputs["confidence"].shape == (0, 3) and outputs["coordinates"].shape == (0, 4)


def test_a_box_at_the_threshold_stays():
    given = {"raw_confidence": [[0.2, 0, 0], [np.nextafter(0.2, 0), 0, 0]], "raw_coordinates": np.eye(4)[:2] + 0.1}
    assert len(predict(suppression(confidence=0.2), **given)["confidence"]) == 1


@pytest.mark.parametrize("count", [3, 50, (0, 4), (10, 12), (5, -1)])
def test_as_many_rows_as_are_described(count):
    given = detections(7, 40)
    right = expected(**given, iou=0.5, confidence=0.2, per_class=False)
    outputs = predict(suppression(count), **given)
    low, high = (count, count) if isinstance(count, int) else count
    size = max(low, len(right[0]) if high < 0 else min(high, len(right[0])))
    for name, values in zip(("confidence", "coordinates"), right, strict=True):
        padded = np.zeros((size, values.shape[1]))
        padded[: len(values)] = values[:size]
        np.testing.assert_array_equal(outputs[name], padded)


def test_thresholds_of_a_prediction():
    found = pippin.load(suppression(thresholds=True, dtype="float32"), cache=False)
    given = {name: values.astype(np.float32) for name, values in detections(1, 30).items()}
    for iou, confidence in ((0.5, 0.2), (0.1, 0.6), (0.9, 0.05)):
        outputs = found.predict({**given, "iouThreshold": iou, "confidenceThreshold": confidence})
        right = expected(**given, iou=iou, confidence=confidence, per_class=False)
        np.testing.assert_array_equal(outputs["confidence"], right[0])
        assert outputs["confidence"].dtype == np.float32
    outputs = found.predict(given)  # those of the model
    np.testing.assert_array_equal(outputs["confidence"], expected(**given, iou=0.5, confidence=0.2, per_class=False)[0])
    with pytest.raises(FeatureValueError, match=r"must be between 0 and 1, got 1.5"):
        found.predict({**given, "iouThreshold": 1.5})


def test_thresholds_that_are_named_but_not_described():
    made = suppression()
    made.nonMaximumSuppression.iouThresholdInputFeatureName = "iouThreshold"
    given = detections(1, 30)
    right = expected(**given, iou=0.5, confidence=0.2, per_class=False)
    np.testing.assert_array_equal(predict(made, **given)["confidence"], right[0])


def test_a_model_that_contradicts_itself():
    made = suppression()
    made.nonMaximumSuppression.confidenceInputFeatureName = "other"
    with pytest.raises(SpecificationError, match=r"takes 'other', but the declared inputs are: raw_confidence"):
        pippin.load(made, cache=False)
    made = suppression((5, 9))
    made.description.output[1].type.multiArrayType.shapeRange.sizeRanges[0].upperBound = 3
    made.description.output[1].type.multiArrayType.shapeRange.sizeRanges[0].lowerBound = 0
    with pytest.raises(SpecificationError, match=r"at least 5 and at most 3"):
        pippin.load(made, cache=False)
    made = suppression()
    made.description.output.add(name="more").type.doubleType.SetInParent()
    with pytest.raises(SpecificationError, match=r"the output 'more' is declared"):
        pippin.load(made, cache=False)
