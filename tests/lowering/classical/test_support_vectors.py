"""Support vectors: against LIBSVM, as scikit-learn carries it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR

import coremltools as ct
import pippin
from lowering.classical.specs import DOUBLE, STRING, labelled, model, predict, rows
from pippin.errors import SpecificationError

X = rows(0, 90, 3)
SCORES = X @ np.array([1.0, -0.7, 0.3]) + 0.5 * X[:, 0] * X[:, 1]
KERNELS = [
    {"kernel": "linear"},
    {"kernel": "rbf", "gamma": 0.4},
    {"kernel": "poly", "degree": 3, "gamma": 0.6, "coef0": 0.5},
    {"kernel": "poly", "degree": 2, "gamma": 1.1, "coef0": -0.2},
    {"kernel": "poly", "degree": 0, "gamma": 1.0},
    {"kernel": "sigmoid", "gamma": 0.1, "coef0": 0.3},
]
CLASSES = {2: ["no", "yes"], 3: [7, -2, 40], 5: ["a", "b", "c", "d", "e"]}


def classes(count):
    return np.array(CLASSES[count], dtype=object if count != 3 else int)[
        np.searchsorted(np.quantile(SCORES, np.linspace(0, 1, count + 1)[1:-1]), SCORES)
    ]


def loaded(estimator):
    return pippin.load(ct.converters.sklearn.convert(estimator, ["x", "y", "z"], "target").get_spec(), cache=False)


def features(row):
    return dict(zip("xyz", row.tolist(), strict=True))


@pytest.mark.parametrize("options", KERNELS, ids=str)
@pytest.mark.parametrize("kind", [SVR, NuSVR])
def test_regression(kind, options):
    estimator = kind(**options).fit(X, SCORES)
    found = loaded(estimator)
    values = [found.predict(features(row))["target"] for row in X[:20]]
    np.testing.assert_allclose(values, estimator.predict(X[:20]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", CLASSES)
@pytest.mark.parametrize("options", KERNELS, ids=str)
def test_the_votes_of_pairs(options, count):
    estimator = SVC(**options, decision_function_shape="ovo").fit(X, classes(count))
    found = loaded(estimator)
    assert [found.predict(features(row))["target"] for row in X[:30]] == estimator.predict(X[:30]).tolist()


@pytest.mark.parametrize("count", CLASSES)
@pytest.mark.parametrize("kind", [SVC, NuSVC])
def test_probabilities(kind, count):
    options = {"nu": 0.2} if kind is NuSVC else {}
    estimator = kind(probability=True, random_state=0, gamma=0.4, **options).fit(X, classes(count))
    found = loaded(estimator)
    expected = estimator.predict_proba(X[:20])
    for row, right in zip(X[:20], expected, strict=True):
        outputs = found.predict(features(row))
        probabilities = [outputs["classProbability"][label] for label in estimator.classes_]
        # scikit-learn iterates for two classes as well, up to an error of 0.005.
        np.testing.assert_allclose(probabilities, right, atol=5e-3 if count == 2 else 1e-9)
        assert outputs["target"] == estimator.classes_[np.argmax(probabilities)]
        assert sum(probabilities) == pytest.approx(1)


@pytest.mark.parametrize("estimator", [LinearSVC(), LinearSVR()])
def test_linear_ones_are_generalized_linear_models(estimator):
    estimator.fit(X, classes(3) if isinstance(estimator, LinearSVC) else SCORES)
    found = loaded(estimator)
    values = [found.predict(features(row))["target"] for row in X[:20]]
    np.testing.assert_allclose(values, estimator.predict(X[:20]), rtol=1e-9)


def sparse_model():
    made = model("supportVectorRegressor", {"x": (4,)}, {"y": DOUBLE}, "y")
    svm = made.supportVectorRegressor
    svm.kernel.rbfKernel.gamma = 0.5
    for nodes in ({1: 1.0, 3: -2.0}, {4: 0.5}, {}):
        vector = svm.sparseSupportVectors.vectors.add()
        for index, value in nodes.items():
            vector.nodes.add(index=index, value=value)
    svm.coefficients.alpha.extend([0.3, -1.2, 2.0])
    svm.rho = 0.25
    return made


def test_sparse_vectors_count_from_one():
    vectors = np.array([[1, 0, -2, 0], [0, 0, 0, 0.5], [0, 0, 0, 0]])
    for x in rows(1, 5, 4):
        kernel = np.exp(-0.5 * ((vectors - x) ** 2).sum(1))
        assert predict(sparse_model(), x=x)["y"] == pytest.approx(kernel @ [0.3, -1.2, 2.0] - 0.25, rel=1e-12)


def classifier():
    made = model("supportVectorClassifier", {"x": (2,)}, {"label": STRING}, "label")
    svm = made.supportVectorClassifier
    svm.kernel.linearKernel.SetInParent()
    svm.numberOfSupportVectorsPerClass.extend([1, 1])
    for values in ([1.0, 0.0], [0.0, 1.0]):
        svm.denseSupportVectors.vectors.add(values=values)
    svm.coefficients.add(alpha=[1.0, -1.0])
    svm.rho.append(0.0)
    labelled(svm, ["first", "second"])
    return made


def test_a_tie_goes_to_the_second_of_a_pair():
    assert predict(classifier(), x=[2.0, 1.0])["label"] == "first"
    assert predict(classifier(), x=[1.0, 1.0])["label"] == "second"  # the decision is 0, and must be positive


def test_nan_is_no_class():
    with pytest.raises(pippin.errors.PredictionError, match=r"'label'.*NaN"):
        predict(classifier(), x=[np.nan, 1.0])


DAMAGES = {
    "no kernel": (lambda m: m.kernel.Clear(), "has no kernel"),
    "one coefficient too few": (lambda m: m.coefficients[0].alpha.pop(), "coefficient rows of lengths"),
    "one vector too many": (lambda m: m.denseSupportVectors.vectors.add(values=[1, 2]), "3 support vectors and 2"),
    "vectors of two lengths": (lambda m: m.denseSupportVectors.vectors[0].values.append(3), "different lengths"),
    "no rho": (lambda m: m.ClearField("rho"), "0 values of rho"),
    "a class too many": (lambda m: m.stringClassLabels.vector.append("third"), "3 classes"),
    "probA without probB": (lambda m: m.probA.append(1), "1 probA and 0 probB"),
    "negative counts": (lambda m: m.numberOfSupportVectorsPerClass.__setitem__(slice(None), [3, -1]), "-1 support"),
    "another width": (
        lambda m: [v.values.append(1) for v in m.denseSupportVectors.vectors],
        "needs 3 numbers, but its inputs provide 2",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_that_contradicts_itself(name):
    damage, message = DAMAGES[name]
    made = classifier()
    damage(made.supportVectorClassifier)
    with pytest.raises(SpecificationError, match=message):
        pippin.load(made, cache=False)


def test_sparse_index_zero():
    made = sparse_model()
    made.supportVectorRegressor.sparseSupportVectors.vectors[0].nodes.add(index=0, value=1)
    with pytest.raises(SpecificationError, match=r"index of a sparse support vector must be at least 1, got 0"):
        pippin.load(made, cache=False)
