"""Estimators: every kind against its own library, on 2,000 rows, some of them on the thresholds of trees."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pippin
from develop.estimator_cases import TRIED, Case, fitted, rows

pytest.importorskip("sklearn", "1.9", reason="needs the scikit-learn of the extra 'estimators'")
for library in ("xgboost", "lightgbm", "catboost"):
    pytest.importorskip(library, reason="needs the extra 'estimators'")

from develop.classifiers_and_regressors import ALL

FLOAT32 = ("XGB", "CatBoost")


@pytest.mark.parametrize("case", ALL, ids=str)
def test_predicts_what_the_library_predicts(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = fitted(case)
        converted = pippin.from_estimator(estimator, check=False)
        x = rows(case, 5, TRIED)
        x = x if case.data == "codes" else on_thresholds(converted.spec, x)
        compare(converted, estimator, x, 1e-5 if case.name.startswith(FLOAT32) else 1e-6)


def compare(converted, estimator, x, tolerance):
    """Labels equal, probabilities and numbers within the tolerance (numbers: of the largest)."""
    model = converted.load()
    found = [dict(model.predict(features)) for features in converted.features(x)]
    if "classLabel" not in found[0]:
        right = np.asarray(estimator.predict(x), float).reshape(len(found), -1)
        numbers = np.array([np.ravel(f["prediction"]) for f in found])
        assert np.abs(numbers - right).max() <= tolerance * max(1, np.abs(right).max())
        return
    labels = np.ravel(estimator.predict(x))
    assert [str(f["classLabel"]) for f in found] == [str(label) for label in labels.tolist()]
    if "classProbability" not in found[0]:
        assert not hasattr(estimator, "predict_proba") or "nearestcentroid" in str(estimator).lower()
        return
    right = estimator.predict_proba(x)
    keys = [c.item() if isinstance(c, np.generic) else c for c in estimator.classes_]
    scores = np.array([[f["classProbability"][key] for key in keys] for f in found])
    assert np.abs(scores - right).max() <= tolerance


def on_thresholds(spec, x):
    """The rows, with some numbers replaced by thresholds of the model and their neighbours."""
    known: dict[int, list[float]] = {}
    for kind in ("treeEnsembleClassifier", "treeEnsembleRegressor"):
        if spec.WhichOneof("Type") == kind:
            for node in getattr(spec, kind).treeEnsemble.nodes:
                if (
                    node.nodeBehavior != 6
                    and abs(node.branchFeatureValue) < 1e30
                    and node.branchFeatureIndex < x.shape[1]
                ):
                    known.setdefault(node.branchFeatureIndex, []).append(node.branchFeatureValue)
    random = np.random.default_rng(9)
    for column, bounds in known.items():
        chosen = random.choice(bounds, len(x) // 4)
        turned = np.array(
            [chosen, np.nextafter(chosen, np.inf), np.nextafter(chosen, -np.inf), chosen.astype(np.float32)]
        )
        places = random.choice(len(x), len(chosen), replace=False)
        x[places, column] = turned[random.integers(0, 4, len(chosen)), np.arange(len(chosen))]
    return x
