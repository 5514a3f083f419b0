"""Nearest neighbors: against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import coremltools as ct
import pippin
from lowering.classical.specs import INT, INTS, STRING, STRINGS, labelled, model, predict, rows
from pippin.errors import SpecificationError

X = rows(0, 80, 3).astype(np.float32)
LABELS = {
    "strings": np.array(["red", "green", "blue"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)],
    "integers": np.array([11, -5, 2**40])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)],
}


def neighbors(samples, labels, count, weighted=False, tree=False, dimensions=3):
    strings = isinstance(labels[0], str) if labels else True
    made = model(
        "kNearestNeighborsClassifier", {"x": ((dimensions,), "float32")},
        {"label": STRING if strings else INT, "labelProbs": STRINGS if strings else INTS}, "label", "labelProbs",
    )  # fmt: skip
    kind = made.kNearestNeighborsClassifier
    kind.numberOfNeighbors.defaultValue = count
    kind.nearestNeighborsIndex.numberOfDimensions = dimensions
    for sample in samples:
        kind.nearestNeighborsIndex.floatSamples.add(vector=sample)
    (kind.nearestNeighborsIndex.singleKdTreeIndex if tree else kind.nearestNeighborsIndex.linearIndex).SetInParent()
    (kind.inverseDistanceWeighting if weighted else kind.uniformWeighting).SetInParent()
    if labels:
        labelled(kind, labels)
    return made


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [1, 4, 200])
def test_scikit_learn(name, weighted, count):
    labels = LABELS[name]
    fitted = min(count, len(X))
    estimator = KNeighborsClassifier(fitted, weights="distance" if weighted else "uniform").fit(X, labels)
    found = pippin.load(neighbors(X, labels.tolist(), count, weighted, tree=count == 4), cache=False)
    points = np.concatenate([rows(1, 25, 3).astype(np.float32), X[:5]])  # the last ones are samples themselves
    for x, right, label in zip(points, estimator.predict_proba(points), estimator.predict(points), strict=True):
        outputs = found.predict({"x": x})
        assert outputs["label"] == label
        np.testing.assert_allclose([outputs["labelProbs"][c] for c in estimator.classes_], right, rtol=1e-6, atol=1e-9)


def test_the_converter_of_coremltools():
    estimator = KNeighborsClassifier(3, algorithm="kd_tree").fit(
        X, np.unique(LABELS["strings"], return_inverse=True)[1]
    )
    found = pippin.load(ct.converters.sklearn.convert(estimator, "x", "y").get_spec(), cache=False)
    for x in rows(2, 20, 3):
        assert found.predict({"x": x})["y"] == estimator.predict(x[None])[0]


def test_without_samples_the_default_answers():
    made = neighbors([], [], 3)
    with pytest.raises(SpecificationError, match=r"neither samples nor a default label"):
        pippin.load(made, cache=False)
    made.kNearestNeighborsClassifier.defaultStringLabel = "nobody"
    assert predict(made, x=[0, 0, 0]) == {"label": "nobody", "labelProbs": {"nobody": 1.0}}


DAMAGES = {
    "labels": (lambda k: k.stringClassLabels.vector.pop(), "80 samples and 79 labels"),
    "a short sample": (lambda k: k.nearestNeighborsIndex.floatSamples[3].vector.pop(), "a sample has 2 numbers"),
    "no neighbors": (lambda k: setattr(k.numberOfNeighbors, "defaultValue", 0), "must be at least 1, got 0"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_that_contradicts_itself(name):
    damage, message = DAMAGES[name]
    made = neighbors(X, LABELS["strings"].tolist(), 3)
    damage(made.kNearestNeighborsClassifier)
    with pytest.raises(SpecificationError, match=message):
        pippin.load(made, cache=False)
