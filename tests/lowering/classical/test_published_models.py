"""Real models that other people published: against the library they came from where it is there, else for sense."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import pippin


def load(path):
    return pippin.load(path, cache=False)


XGBOOST = ["0_and_nan", "2_numeric_items_100_random_nested_dict_context_binary_reward", "a_z"]


@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost(name, shared_models, tmp_path):
    """The same trees in xgboost's own format, on values at the thresholds, between them, and NaN."""
    xgboost = pytest.importorskip("xgboost")
    folder = shared_models / "classical" / f"xgboost-{name}"
    shutil.copy(folder / "model.xgb", tmp_path / "model.bin")
    booster = xgboost.Booster(model_file=str(tmp_path / "model.bin"))
    found = load(folder / "model.mlmodel")
    names = [feature.name for feature in found.description.function().inputs]
    trees = found_trees(folder / "model.mlmodel")
    thresholds = np.unique([node.branchFeatureValue for node in trees]).astype(np.float32)
    rng = np.random.default_rng(0)
    points = rng.choice(thresholds, (60, len(names))) + rng.choice([0, 0, 1e-3, -1e-3], (60, len(names)))
    points[rng.random(points.shape) < 0.3] = np.nan
    points = points.astype(np.float32)
    right = booster.predict(xgboost.DMatrix(points, feature_names=booster.feature_names), output_margin=False)
    values = [found.predict(dict(zip(names, map(float, row), strict=True)))["target"] for row in points]
    np.testing.assert_allclose(values, right, atol=1e-3)
    assert np.std(values) > 0


def found_trees(path):
    from pippin.format.asset import open_asset

    return open_asset(path).specification.treeEnsembleRegressor.treeEnsemble.nodes


def test_titanic(shared_models):
    model = load(shared_models / "classical" / "titanic-pipeline-trees.mlmodel")
    woman = model.predict({"Pclass": 1.0, "Sex": "female", "Age": 30.0})
    man = model.predict({"Pclass": 3.0, "Sex": "male", "Age": 30.0})
    assert (woman["Survived"], man["Survived"]) == (1, 0)
    for outputs in (woman, man):
        assert sum(outputs["SurvivedProbability"].values()) == pytest.approx(1)


def test_happiness(shared_models):
    model = load(shared_models / "classical" / "happiness-forest-regressor.mlmodel")
    names = [feature.name for feature in model.description.function().inputs]
    low, high = (model.predict(dict.fromkeys(names, value))["Happiness"] for value in (1.0, 9.0))
    assert np.isfinite([low, high]).all() and low != high


def test_iris(shared_models):
    """The three species, by flowers of the data set that everybody knows."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    model = load(shared_models / "classical" / "iris-svm.mlmodel")
    names = ["Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width"]
    right = 0
    for row, target in zip(iris.data, iris.target, strict=True):
        right += iris.target_names[target] in model.predict(dict(zip(names, row, strict=True)))["Species"].lower()
    assert right >= 143, "of 150"


def test_one_hot(shared_models):
    model = load(shared_models / "classical" / "one-hot.mlmodel")
    categories = one_hot_categories(shared_models / "classical" / "one-hot.mlmodel")
    rng = np.random.default_rng(0)
    for _ in range(5):
        chosen = [int(rng.choice(known)) for known in categories]
        expected = np.concatenate([np.array(known) == c for known, c in zip(categories, chosen, strict=True)])
        np.testing.assert_array_equal(
            model.predict({"input": np.array(chosen, float)})["transformed_features"], expected
        )


def one_hot_categories(path):
    from pippin.format.asset import open_asset

    parts = open_asset(path).parts()
    return [
        p.specification.oneHotEncoder.int64Categories.vector for p in parts if p.description.kind == "oneHotEncoder"
    ]


def test_sentiment(shared_models):
    model = load(shared_models / "classical" / "sentiment-polarity-dict-vectorizer.mlmodel")
    good = model.predict({"input": {"great": 2, "excellent": 1, "wonderful": 1, "notaword": 1}})
    bad = model.predict({"input": {"terrible": 2, "boring": 1, "waste": 1}})
    assert (good["classLabel"], bad["classLabel"]) == ("Pos", "Neg")
    assert sum(good["classProbability"].values()) == pytest.approx(1)


def test_sleep(shared_models):
    """Linear: the effect of a cup of coffee is the same in the morning and in the evening."""
    model = load(shared_models / "classical" / "sleep-glm-regressor.mlmodel")

    def sleep(wake, coffee):
        return model.predict({"wake": wake, "estimatedSleep": 8.0, "coffee": coffee})["actualSleep"]

    assert sleep(25_000, 2) - sleep(25_000, 1) == pytest.approx(sleep(30_000, 5) - sleep(30_000, 4), rel=1e-9)
    assert 3600 < sleep(25_000, 1) < 12 * 3600


def test_spam(shared_models):
    path = shared_models / "classical" / "spam-glm.mlmodel"
    model, rng = load(path), np.random.default_rng(0)
    from pippin.format.asset import open_asset

    message = open_asset(path).specification.glmClassifier
    weights = np.array(message.weights[0].value)
    for _ in range(5):
        x = rng.integers(0, 2, 8713).astype(float)
        second = 1 / (1 + np.exp(-(weights @ x + message.offset[0])))
        outputs = model.predict({"message": x})
        np.testing.assert_allclose(
            list(outputs["classProbability"].values()), [1 - second, second], rtol=1e-9, atol=1e-12
        )
        assert outputs["label"] == list(outputs["classProbability"])[int(second > 0.5)]


def test_the_boxes_of_a_detector(shared_models):
    """YOLO: a program and non-maximum suppression in one graph; a blank picture has no objects."""
    model = load(shared_models / "program" / "yolov8n.mlpackage")
    assert "onnxruntime" in model.engine.split("+")  # which has the suppression
    rng = np.random.default_rng(0)
    blank = np.full((640, 640, 3), 114, np.uint8)
    picture = rng.integers(0, 256, (40, 40, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    for image in (blank, picture):
        some = model.predict({"image": image, "iouThreshold": 0.45, "confidenceThreshold": 0.25})
        more = model.predict({"image": image, "iouThreshold": 1.0, "confidenceThreshold": 0.0001})
        assert some["confidence"].shape[1:] == (80,) and some["coordinates"].shape[1:] == (4,)
        assert len(some["confidence"]) < len(more["confidence"]) == len(more["coordinates"])
        best = more["confidence"].max(1)
        assert (np.diff(best) <= 0).all() and best.min() >= 0.0001
    assert len(model.predict({"image": blank})["confidence"]) <= 3  # with the thresholds of the model
    assert json.dumps(some["confidence"].tolist())
