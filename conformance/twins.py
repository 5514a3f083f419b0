"""Twins: checks of models published in two formats or with known outputs for some inputs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pippin
from pippin.format.description import Image

from .case import Case, agree, cat, seeded_features

_TOLERANCE = 1e-3


def twin(relative: str, tolerance: float = _TOLERANCE) -> Callable[[Case], str]:
    """Compare with the same model in another format on the same inputs; `relative` is its path in the models folder."""

    def check(case: Case) -> str:
        other = pippin.load(case.path.parents[1] / relative, cache=False)
        model = next(iter(case.models.values()))
        features = seeded_features(model)
        for feature in model.description.function().inputs:
            if isinstance(feature.type, Image):
                features[feature.name] = cat((feature.type.width, feature.type.height))
        found, expected = case.predict(features, tolerance), other.predict(features)
        for name, value in expected.items():
            agree(name, found[name], value, tolerance)
        return f"matches {relative} within {tolerance:g}; {case.engines}"

    return check


def product(case: Case) -> str:
    x, y = np.random.default_rng(0).standard_normal((2, 1, 10)).astype(np.float16)
    (found,) = case.predict({"x": x, "y": y}).values()
    np.testing.assert_allclose(found, x * y, rtol=1e-3)
    return f"computes x * y, as its program text declares; {case.engines}"


def plane(case: Case) -> str:
    """A linear function of three numbers has constant differences."""
    names = [feature.name for feature in next(iter(case.models.values())).description.function().inputs]

    def price(*values: float) -> float:
        (found,) = case.predict(dict(zip(names, values, strict=True))).values()
        return float(found)

    for axis in np.eye(3):
        steps = [price(*(at + axis)) - price(*at) for at in (np.zeros(3), np.array([5.0, 2.0, 700.0]))]
        assert abs(steps[0] - steps[1]) < 1e-6 * abs(steps[0]), steps
    return f"linear in its three inputs; {case.engines}"


def boosted(case: Case) -> str:
    """Compare with the same trees in xgboost on values at and near the thresholds, a third of them missing."""
    try:
        import xgboost
    except ImportError:
        return f"finite; {case.engines}; xgboost is not installed"
    from pippin.format.asset import open_asset

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(
            case.path.with_name("model.xgb"), Path(folder) / "model.bin"
        )  # xgboost detects the format by the suffix
        booster = xgboost.Booster(model_file=str(Path(folder) / "model.bin"))
    nodes = open_asset(case.path).specification.treeEnsembleRegressor.treeEnsemble.nodes
    model, random = next(iter(case.models.values())), np.random.default_rng(0)
    names = [feature.name for feature in model.description.function().inputs]
    thresholds = np.unique([node.branchFeatureValue for node in nodes]).astype(np.float32)
    points = random.choice(thresholds, (60, len(names))) + random.choice([0, 0, 1e-3, -1e-3], (60, len(names)))
    points[random.random(points.shape) < 0.3] = np.nan
    points = points.astype(np.float32)
    expected = booster.predict(xgboost.DMatrix(points, feature_names=booster.feature_names))
    found = [model.predict(dict(zip(names, map(float, row), strict=True)))["target"] for row in points]
    worst = float(np.abs(np.array(found) - expected).max())
    assert worst < _TOLERANCE and np.std(found) > 0, worst
    return f"differs by {worst:.1g} from xgboost, missing values included; {case.engines}"


def answers(output: str, *rows: tuple[dict[str, Any], Any]) -> Callable[[Case], str]:
    """Compare an output with known values for some inputs."""

    def check(case: Case) -> str:
        for features, expected in rows:
            found = case.predict(features)[output]
            assert found == expected, f"{output} must be {expected!r} for {features}, got {found!r}"
        return f"{', '.join(str(expected) for _, expected in rows)} as expected; {case.engines}"

    return check


def given(features: dict[str, Any]) -> Callable[[Case], str]:
    """Outputs must be finite for the given inputs."""

    def check(case: Case) -> str:
        found = case.predict(features)
        assert all(np.isfinite(value).all() for value in found.values() if isinstance(value, float | np.ndarray))
        return f"finite and of the declared type on a realistic input; {case.engines}"

    return check


def one_hot(case: Case) -> str:
    """The last known category of each column must give a one at the end of its segment and zeros before it."""
    from pippin.format.asset import open_asset

    parts = (part.specification for part in open_asset(case.path).parts())
    known = [list(p.oneHotEncoder.int64Categories.vector) for p in parts if p.HasField("oneHotEncoder")]
    found = case.predict({"input": np.array([column[-1] for column in known], float)})["transformed_features"]
    np.testing.assert_array_equal(found, np.concatenate([np.eye(len(column))[-1] for column in known]))
    return f"{len(known)} columns encoded as expected; {case.engines}"


WORDS = {"great": 2, "excellent": 1, "wonderful": 1}, {"terrible": 2, "boring": 1, "waste": 1}
IRIS = "Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width"
XGBOOST = "0_and_nan", "2_numeric_items_100_random_nested_dict_context_binary_reward", "a_z"
TWINS: dict[str, Callable[[Case], str]] = {
    "compiled/add.mlmodelc": product,
    "compiled/mars-habitat-pricer.mlmodelc": plane,
    "compiled/silero-vad-unified.mlmodelc": twin("program/silero-vad-unified.mlpackage"),
    "compiled/silero-vad-palette-4bit.mlmodelc": twin("program/silero-vad-palette-4bit.mlpackage"),
    "compiled/waifu-anime-noise0.mlmodelc": twin("network/waifu-anime-noise0.mlmodel"),
    "compiled/yolov8n.mlmodelc": twin("program/yolov8n.mlpackage", 1e-2),  # float16
    **{f"classical/xgboost-{name}/model.mlmodel": boosted for name in XGBOOST},
    "classical/titanic-pipeline-trees.mlmodel": answers(
        "Survived",
        ({"Pclass": 1.0, "Sex": "female", "Age": 30.0}, 1),
        ({"Pclass": 3.0, "Sex": "male", "Age": 30.0}, 0),
    ),
    "classical/sentiment-polarity-dict-vectorizer.mlmodel": answers(
        "classLabel", ({"input": WORDS[0]}, "Pos"), ({"input": WORDS[1]}, "Neg")
    ),
    "classical/one-hot.mlmodel": one_hot,
    "classical/iris-svm.mlmodel": given(dict(zip(IRIS, (5.1, 3.5, 1.4, 0.2), strict=True))),
    "classical/sleep-glm-regressor.mlmodel": given({"wake": 25_000, "estimatedSleep": 8.0, "coffee": 2}),
}
"""Checks by path in the models folder."""
