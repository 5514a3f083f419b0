"""Vectors: scaler, normalizer, extractor, vectorizers, identity: against numpy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

import coremltools as ct
import pippin
from lowering.classical.specs import DOUBLE, INT, INTS, STRING, STRINGS, model, pipeline, predict, rows
from pippin.errors import FeatureValueError, SpecificationError, UnsupportedModelError

X = rows(0, 30, 4) * [1, 10, 0.1, 5] + [0, 3, -2, 0]


def convert(estimator, inputs="x"):
    return ct.converters.sklearn.convert(estimator, inputs, "y").get_spec()


@pytest.mark.parametrize("estimator", [StandardScaler(), *(Normalizer(norm=n) for n in ("l1", "l2"))], ids=str)
def test_scikit_learn(estimator):
    spec = convert(estimator.fit(X), ["a", "b", "c", "d"])
    found = pippin.load(spec, cache=False)
    for row, right in zip(X, estimator.transform(X), strict=True):
        np.testing.assert_allclose(found.predict(dict(zip("abcd", row, strict=True)))["y"], right, rtol=1e-12)


def scaler(shift, scale, x=(4,), y=(4,)):
    made = model("scaler", {"x": x}, {"y": y})
    made.scaler.shiftValue.extend(shift)
    made.scaler.scaleValue.extend(scale)
    return made


@pytest.mark.parametrize("shift", [[], [2.5], [1, 2, 3, 4]])
@pytest.mark.parametrize("scale", [[], [-3.0], [0.1, 1e9, 0, -1]])
def test_scaler(shift, scale):
    right = (X[0] + np.array(shift or [0])) * np.array(scale or [1])
    np.testing.assert_array_equal(predict(scaler(shift, scale), x=X[0])["y"], right)
    grid = predict(scaler(shift, scale, (2, 2), (2, 2)), x=X[0].reshape(2, 2))["y"]
    np.testing.assert_array_equal(grid, right.reshape(2, 2))


def test_min_max_is_a_scaler():
    estimator = MinMaxScaler().fit(X)
    made = scaler(-estimator.data_min_, estimator.scale_)
    np.testing.assert_allclose(predict(made, x=X[3])["y"], estimator.transform(X[3:4])[0], rtol=1e-12)


def test_an_integer_that_scaling_would_cut_is_an_error():
    made = scaler([1], [0.5], INT, INT)
    found = predict(made, x=3)["y"]
    assert found == 2 and type(found) is int
    with pytest.raises(FeatureValueError, match=r"'y' must be an integer, got 2.5"):
        predict(made, x=4)


@pytest.mark.parametrize("x", [[3.0, -4.0, 1.0], [-1.0, -2.0, -4.0], [0.0, 0.0, 0.0]])
def test_the_largest_number(x):
    """The proto's formula is max(x), without the absolute values that scikit-learn takes."""
    made = model("normalizer", {"x": (3,)}, {"y": (3,)})
    np.testing.assert_allclose(predict(made, x=x)["y"], np.array(x) / (max(x) or 1), rtol=1e-12)


@pytest.mark.parametrize("norm", [0, 1, 2])
def test_nothing_is_divided_by_zero(norm):
    made = model("normalizer", {"x": (3,)}, {"y": (3,)})
    made.normalizer.normType = norm
    np.testing.assert_array_equal(predict(made, x=np.zeros(3))["y"], np.zeros(3))


def extractor(indices, output, shape=(2, 3)):
    made = model("arrayFeatureExtractor", {"x": shape}, {"y": output})
    made.arrayFeatureExtractor.extractIndex.extend(indices)
    return made


def test_array_feature_extractor():
    x = np.arange(6.0).reshape(2, 3) * 10
    np.testing.assert_array_equal(predict(extractor([5, 0, 3, 3], (4,)), x=x)["y"], [50, 0, 30, 30])
    assert predict(extractor([4], DOUBLE), x=x)["y"] == 40.0
    assert predict(extractor([4], INT), x=x)["y"] == 40
    with pytest.raises(FeatureValueError, match=r"'y' must be an integer, got 0.5"):
        predict(extractor([0], INT), x=np.full((2, 3), 0.5))


def vectorizer(columns, inputs, size):
    made = model("featureVectorizer", inputs, {"y": (size,)})
    for name, count in columns:
        made.featureVectorizer.inputList.add(inputColumn=name, inputDimensions=count)
    return made


def test_feature_vectorizer():
    inputs = {"n": INT, "a": (2, 2), "d": INTS, "x": DOUBLE}
    made = vectorizer([("x", 1), ("d", 4), ("a", 4), ("n", 1)], inputs, 10)
    y = predict(made, x=0.5, n=7, a=[[1, 2], [3, 4]], d={3: 9.0, 0: -1})["y"]
    np.testing.assert_array_equal(y, [0.5, -1, 0, 0, 9, 1, 2, 3, 4, 7])
    np.testing.assert_array_equal(predict(made, x=0, n=0, a=np.zeros((2, 2)), d={})["y"], np.zeros(10))
    with pytest.raises(FeatureValueError, match=r"keys of 'd' must be at least 0 and below 4, got 4"):
        predict(made, x=0, n=0, a=np.zeros((2, 2)), d={4: 1.0})


def dict_vectorizer(keys, given, output):
    made = model("dictVectorizer", {"x": given}, {"y": output})
    kind = made.dictVectorizer
    (kind.stringToIndex if isinstance(keys[0], str) else kind.int64ToIndex).vector.extend(keys)
    return made


def test_dict_vectorizer_of_the_proto():
    made = dict_vectorizer(["a", "c", "b", "z"], STRINGS, (4,))
    np.testing.assert_array_equal(predict(made, x={"a": 4, "c": 8})["y"], [4, 8, 0, 0])
    np.testing.assert_array_equal(predict(made, x={"z": 1, "other": 5})["y"], [0, 0, 0, 1])
    np.testing.assert_array_equal(predict(made, x={})["y"], np.zeros(4))


def test_dict_vectorizer_to_a_dictionary():
    assert predict(dict_vectorizer([2**40, -7], INTS, INTS), x={-7: 2.5, 0: 1})["y"] == {1: 2.5}


def test_the_map_knows_the_type_of_the_keys():
    """coremltools describes strings where the keys of a DictVectorizer are integers."""
    inner = dict_vectorizer([3, 1], STRINGS, (2,))
    for made in (inner, pipeline([inner], {"x": STRINGS}, {"y": (2,)})):
        np.testing.assert_array_equal(predict(made, x={1: 2.5})["y"], [0, 2.5])


def test_dict_vectorizer_of_scikit_learn():
    words = [{"foo": 1.0, "bar": 2.0}, {"bar": 3.0, "baz": 0.5}, {"ü": -1.0}, {"foo": 1.0, "unseen": 4.0}]
    estimator = DictVectorizer(sparse=False).fit(words[:3])
    found = pippin.load(convert(estimator), cache=False)
    for given, right in zip(words, estimator.transform(words), strict=True):
        np.testing.assert_array_equal(found.predict({"x": given})["y"], right)


EVERY_TYPE = {"d": DOUBLE, "i": INT, "s": STRING, "t": STRINGS, "n": INTS, "a": (2, 3), "w": "[string]", "m": "[int]"}
EVERY_VALUE = {
    "d": -1.5, "i": 2**62 + 1, "s": "grüße", "t": {"b": 1.0, "a": -2.0}, "n": {2**53 + 1: 3.0}, "a": rows(1, 2, 3),
    "w": ["x", "", "z"], "m": [3, -(2**60)],
}  # fmt: skip


def test_every_kind_of_feature_passes():
    found = predict(model("identity", EVERY_TYPE, EVERY_TYPE), **EVERY_VALUE)
    for name, value in EVERY_VALUE.items():
        np.testing.assert_array_equal(found[name], value)
        assert type(found[name]) is type(value)
    assert list(found["t"]) == ["b", "a"]


def test_identity_under_another_name():
    assert predict(model("identity", {"x": DOUBLE}, {"y": DOUBLE}), x=3.0) == {"y": 3.0}


def test_class_confidences_pass():
    made = model("classConfidenceThresholding", {"x": STRINGS}, {"x": STRINGS})
    curve = made.classConfidenceThresholding.precisionRecallCurves.add()
    curve.precisionValues.vector.extend([0.5, 1.0])
    curve.precisionConfidenceThresholds.vector.extend([0.1, 0.9])
    assert predict(made, x={"cat": 0.25, "dog": 0.5}) == {"x": {"cat": 0.25, "dog": 0.5}}
    curve.recallValues.vector.append(1.0)
    with pytest.raises(SpecificationError, match=r"got 0 thresholds and 1 values"):
        pippin.load(made, cache=False)


DAMAGES = {
    "two inputs": (lambda: model("scaler", {"x": DOUBLE, "z": DOUBLE}, {"y": DOUBLE}), SpecificationError, "got 2 and 1"),
    "scales": (lambda: scaler([], [1, 2, 3]), SpecificationError, "3 values in scaleValue, but its input has the shape"),
    "a string to scale": (lambda: model("scaler", {"x": STRING}, {"y": DOUBLE}), UnsupportedModelError, "'x' is declared as String, but this scaler takes numbers"),
    "an output of another size": (lambda: scaler([], [], (4,), (5,)), SpecificationError, "the shape 5, but its size is 4"),
    "an output of another kind": (lambda: scaler([], [], (4,), STRING), UnsupportedModelError, "'y' is declared as String"),
    "a dictionary as an output": (lambda: scaler([], [], (4,), INTS), UnsupportedModelError, "this scaler returns no dictionary"),
    "an index too far": (lambda: extractor([6], DOUBLE), SpecificationError, "reads index 6, but 'x' has size 6"),
    "no index": (lambda: extractor([], DOUBLE), SpecificationError, "no indices"),
    "a column that is no input": (lambda: vectorizer([("q", 1)], {"x": DOUBLE}, 1), SpecificationError, "takes 'q', but the declared inputs are: x"),
    "a column of another size": (lambda: vectorizer([("x", 2)], {"x": DOUBLE}, 2), SpecificationError, "'x' must have size 2 .*, got 1"),
    "string keys": (lambda: vectorizer([("x", 2)], {"x": STRINGS}, 2), UnsupportedModelError, "takes integer keys"),
    "no columns": (lambda: vectorizer([], {"x": DOUBLE}, 2), SpecificationError, "at least one input and one output, got 0 and 1"),
    "no keys": (lambda: model("dictVectorizer", {"x": INTS}, {"y": (1,)}), SpecificationError, "has no Map"),
    "a key twice": (lambda: dict_vectorizer(["a", "a"], STRINGS, (2,)), SpecificationError, "has a duplicate key"),
    "no dictionary": (lambda: dict_vectorizer(["a"], STRING, (1,)), UnsupportedModelError, "takes a dictionary"),
    "an unknown norm": (lambda: _norm(9), SpecificationError, "unknown norm 9"),
    "an output from nowhere": (lambda: model("identity", {"x": DOUBLE}, {"x": DOUBLE, "y": DOUBLE}), SpecificationError, "has no matching input"),
}  # fmt: skip


def _norm(number):
    made = model("normalizer", {"x": (3,)}, {"y": (3,)})
    made.normalizer.normType = number
    return made


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_that_contradicts_itself(name):
    make, error, message = DAMAGES[name]
    with pytest.raises(error, match=message):
        pippin.load(make(), cache=False)
