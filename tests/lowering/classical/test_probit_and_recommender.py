"""Probit and recommender: Bayesian probit regression and item similarities, against scipy and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression

import pippin
from lowering.classical.specs import DOUBLE, INTS, STRING, STRINGS, labelled, model, predict, rows
from pippin.errors import FeatureValueError, SpecificationError, UnsupportedModelError
from pippin.lowering.classical.normal_distribution import normal_distribution
from pippin.lowering.onnx_builder import Graph, Tensor

WEIGHTS = {0: {1: (0.5, 4.0), 2: (-1.0, 2.0)}, 1: {0: (0.25, 10.0)}, 3: {7: (2.0, 1.0)}}
NAMES = {"mean": "mean", "variance": "variance", "pessimisticProbability": "low", "sampledProbability": "sampled"}


def probit(given=(4,)):
    inputs = {"x": given, "optimism": "double?", "scale": "double?", "cut": "double?"}
    made = model("bayesianProbitRegressor", inputs, dict.fromkeys(NAMES.values(), DOUBLE), "mean")
    kind = made.bayesianProbitRegressor
    kind.numberOfFeatures = 4
    kind.bias.mean, kind.bias.precision = -0.3, 5.0
    for feature, weights in WEIGHTS.items():
        message = kind.features.add(featureId=feature)
        for value, (mean, precision) in weights.items():
            message.weights.add(featureValue=value).featureWeight.mean = mean
            message.weights[-1].featureWeight.precision = precision
    kind.regressionInputFeatureName, kind.optimismInputFeatureName = "x", "optimism"
    kind.samplingScaleInputFeatureName, kind.samplingTruncationInputFeatureName = "scale", "cut"
    for field, name in NAMES.items():
        setattr(kind, f"{field}OutputFeatureName", name)
    return made


@pytest.mark.parametrize("x", [[1, 0, 9, 7], [2, 5, 0, 0], [0, 0, 0, 0]])
def test_bayesian_probit(x):
    there = [WEIGHTS[i][v] for i, v in enumerate(x) if v in WEIGHTS.get(i, {})]
    mean = -0.3 + sum(m for m, _ in there)
    variance = 1 / 5 + sum(1 / p for _, p in there)
    dictionary = {i: float(v) for i, v in enumerate(x)}
    for outputs in (predict(probit(), x=x), predict(probit(INTS), x=dictionary)):
        assert outputs["mean"] == pytest.approx(mean, rel=1e-12)
        assert outputs["variance"] == pytest.approx(variance, rel=1e-12)
        assert outputs["low"] == pytest.approx(scipy.stats.norm.cdf(mean), rel=1e-12)
    low = predict(probit(), x=x, optimism=-2.0)["low"]
    assert low == pytest.approx(scipy.stats.norm.cdf(mean - 2 * np.sqrt(variance)), rel=1e-12)


def test_samples_follow_the_score():
    found = pippin.load(probit(), cache=False)
    x = [1, 0, 9, 7]
    mean, deviation = found.predict({"x": x})["mean"], np.sqrt(found.predict({"x": x})["variance"])
    drawn = scipy.stats.norm.ppf([found.predict({"x": x})["sampled"] for _ in range(400)])
    assert abs(drawn.mean() - mean) < 5 * deviation / 20 and 0.8 < drawn.std() / deviation < 1.2
    cut = scipy.stats.norm.ppf([found.predict({"x": x, "cut": 0.5})["sampled"] for _ in range(50)])
    assert np.abs(cut - mean).max() <= 0.5 * deviation * (1 + 1e-9)
    assert found.predict({"x": x, "scale": 0.0})["sampled"] == pytest.approx(scipy.stats.norm.cdf(mean), rel=1e-12)


def test_probit_that_contradicts_itself():
    made = probit()
    made.bayesianProbitRegressor.bias.precision = 0
    with pytest.raises(SpecificationError, match=r"must be positive, got 0.0"):
        pippin.load(made, cache=False)
    made = probit()
    made.bayesianProbitRegressor.numberOfFeatures = 3
    with pytest.raises(SpecificationError, match=r"feature 3, but only 3 features"):
        pippin.load(made, cache=False)
    with pytest.raises(UnsupportedModelError, match=r"takes integer keys"):
        pippin.load(probit(STRINGS), cache=False)
    with pytest.raises(FeatureValueError, match=r"keys of 'x' must be at least 0 and below 4, got 4"):
        predict(probit(INTS), x={4: 1.0})


def test_the_normal_distribution():
    import onnxruntime

    x = np.concatenate([np.linspace(-39, 39, 2001), [-7.0710678, 7.0710679, 0, -0.0, np.inf, -np.inf, np.nan]])
    g = Graph()
    y = g.named(normal_distribution(g, Tensor("x", x.dtype, x.shape)), "y")
    session = onnxruntime.InferenceSession(g.model("g", [Tensor("x", x.dtype, x.shape)], [y]).SerializeToString())
    right = scipy.stats.norm.cdf(x)
    np.testing.assert_allclose(session.run(["y"], {"x": x})[0], right, rtol=3e-9, atol=1e-15)


def glm(weights, offset, labels=None, transform=0, encoding=0):
    kind = "glmClassifier" if labels else "glmRegressor"
    outputs = {"y": STRING, "p": STRINGS} if labels else {"y": DOUBLE if len(weights) == 1 else (len(weights),)}
    made = model(kind, {"x": (len(weights[0]),)}, outputs, "y")
    message = getattr(made, kind)
    for row in weights:
        message.weights.add(value=row)
    message.offset.extend(offset)
    message.postEvaluationTransform = transform
    if labels:
        message.classEncoding = encoding
        labelled(message, labels)
    return made


TRANSFORMS = [lambda s: s, lambda s: 1 / (1 + np.exp(-s)), scipy.stats.norm.cdf]


@pytest.mark.parametrize("transform", range(3))
def test_linear_regressors(transform):
    weights, x = rows(0, 2, 5), rows(1, 1, 5)[0]
    right = TRANSFORMS[transform](weights @ x + [0.5, -1])
    np.testing.assert_allclose(predict(glm(weights, [0.5, -1], transform=transform), x=x)["y"], right, rtol=1e-12)
    assert predict(glm(weights[:1], [0.5], transform=transform), x=x)["y"] == pytest.approx(right[0], rel=1e-12)


@pytest.mark.parametrize("transform", range(2))
def test_linear_classifiers_of_two(transform):
    weights, x = rows(0, 1, 5), rows(1, 1, 5)[0]
    second = TRANSFORMS[transform + 1](weights @ x + 0.5)[0]
    outputs = predict(glm(weights, [0.5], ["no", "yes"], transform), x=x)
    assert outputs["p"] == pytest.approx({"no": 1 - second, "yes": second}, rel=1e-12)


def test_linear_classifiers_of_more():
    X, labels = rows(2, 60, 3), np.repeat(["a", "b", "c"], 20)
    estimator = LogisticRegression().fit(X, labels)
    shifted = estimator.coef_ - estimator.coef_[0]  # against the first class
    made = glm(shifted[1:], (estimator.intercept_ - estimator.intercept_[0])[1:], ["a", "b", "c"])
    for x, right in zip(X[:10], estimator.predict_proba(X[:10]), strict=True):
        np.testing.assert_allclose(list(predict(made, x=x)["p"].values()), right, rtol=1e-9)
    with pytest.raises(UnsupportedModelError, match=r"no closed form"):
        pippin.load(glm(shifted[1:], [0, 0], ["a", "b", "c"], transform=1), cache=False)


SIMILAR = {0: {1: 0.5, 2: 0.25}, 1: {0: 0.5, 3: 0.9}, 3: {2: 0.7}}
SHIFTS = {0: 0.0, 1: 0.1, 3: 0.2}


def recommender(names=None, given="{string: double}", more=(), scores=None):
    outputs = {"items": "[string]" if names and isinstance(names[0], str) else "[int]"}
    outputs["scores"] = scores or (STRINGS if names and isinstance(names[0], str) else INTS)
    made = model("itemSimilarityRecommender", {"x": given, **dict(more)}, outputs)
    kind = made.itemSimilarityRecommender
    for item, similar in SIMILAR.items():
        message = kind.itemItemSimilarities.add(itemId=item, itemScoreAdjustment=SHIFTS[item])
        for other, score in similar.items():
            message.similarItemList.add(itemId=other, similarityScore=score)
    if names:
        (kind.itemStringIds if isinstance(names[0], str) else kind.itemInt64Ids).vector.extend(names)
    kind.itemInputFeatureName = "x"
    for name in dict(more):
        setattr(kind, f"{name}InputFeatureName", name)
    kind.recommendedItemListOutputFeatureName, kind.recommendedItemScoreOutputFeatureName = "items", "scores"
    return made


def score(given):
    """By the formula in the proto."""
    total = np.zeros(4)
    for item, value in given.items():
        for other, similarity in SIMILAR.get(item, {}).items():
            total[other] += similarity * (value - SHIFTS.get(other, 0.0))
    return total


FILMS = ["alien", "brazil", "casablanca", "dune"]


def test_recommendations():
    given = {"alien": 2.0, "brazil": 1.0, "unknown": 9.0}
    total = score({0: 2.0, 1: 1.0})
    outputs = predict(recommender(FILMS), x=given)
    assert outputs["items"] == ["dune", "casablanca"]
    assert outputs["scores"] == pytest.approx({"dune": total[3], "casablanca": total[2]}, rel=1e-12)
    total = score({1: 1.0})
    assert predict(recommender(given="[int]"), x=[1])["scores"] == pytest.approx(
        {3: total[3], 0: total[0], 2: total[2]}
    )
    assert predict(recommender([10, 20, 30, 40], given=INTS), x={20: 1.0})["items"] == [40, 10, 30]


def test_what_is_asked_of_recommendations():
    more = {"numRecommendations": "int?", "itemRestriction": "[string]?", "itemExclusion": "[string]?"}
    found = pippin.load(recommender(FILMS, more=more), cache=False)
    assert found.predict({"x": {"brazil": 1.0}})["items"] == [
        "dune",
        "alien",
        "brazil",
        "casablanca",
    ]  # nothing is excluded
    given = {"x": {"brazil": 1.0}, "itemExclusion": ["dune"]}
    assert found.predict(given)["items"] == ["alien", "brazil", "casablanca"]
    assert found.predict({**given, "numRecommendations": 1})["items"] == ["alien"]
    assert found.predict({**given, "numRecommendations": 0})["items"] == []
    assert found.predict({**given, "numRecommendations": 99})["items"] == ["alien", "brazil", "casablanca"]
    assert found.predict({**given, "itemRestriction": ["casablanca", "dune"]})["items"] == ["casablanca"]


def test_recommender_that_contradicts_itself():
    for names in (FILMS[:3], [*FILMS[:3], "alien"]):
        with pytest.raises(SpecificationError, match=r"similarities for item 3"):
            pippin.load(recommender(names), cache=False)
    with pytest.raises(UnsupportedModelError, match=r"does not match the type of the item names"):
        pippin.load(recommender(FILMS, given=INTS), cache=False)
