"""Imputer: every kind of value, against numpy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.impute import SimpleImputer

import coremltools as ct
import pippin
from lowering.classical.specs import DOUBLE, INT, INTS, STRING, STRINGS, model, predict
from pippin.errors import MissingFeatureError, SpecificationError, UnsupportedModelError

NAN = float("nan")


def imputer(kind, imputed, value=None, output=None, **replaced):
    made = model("imputer", {"x": kind}, {"y": output or (kind.rstrip("?") if isinstance(kind, str) else kind)})
    field = getattr(made.imputer, imputed)
    if hasattr(field, "vector"):
        field.vector.extend(value)
    elif hasattr(field, "map"):
        field.map.update(value)
    else:
        setattr(made.imputer, imputed, value)
    for name, what in replaced.items():
        setattr(made.imputer, name, what)
    return made


ROWS = {
    "nan": (imputer(DOUBLE, "imputedDoubleValue", 2.5), [(NAN, 2.5), (1.0, 1.0)]),
    "a number": (imputer(DOUBLE, "imputedDoubleValue", 2.5, replaceDoubleValue=-1), [(-1.0, 2.5), (3.0, 3.0)]),
    "nan by name": (imputer(DOUBLE, "imputedDoubleValue", 2.5, replaceDoubleValue=NAN), [(NAN, 2.5), (-1.0, -1.0)]),
    "an integer": (imputer(INT, "imputedInt64Value", 2**60 + 1, replaceInt64Value=0), [(0, 2**60 + 1), (5, 5)]),
    "a string": (
        imputer(STRING, "imputedStringValue", "?", replaceStringValue="n/a"),
        [("n/a", "?"), ("", ""), ("a", "a")],
    ),
    "an empty string": (imputer(STRING, "imputedStringValue", "?"), [("", "?"), ("a", "a")]),
    "not given": (imputer("double?", "imputedDoubleValue", 2.5), [(None, 2.5), (1.0, 1.0), (NAN, 2.5)]),
    "no number given": (imputer("double?", "imputedDoubleValue", 2.5, replaceDoubleValue=7), [(None, 2.5), (7.0, 2.5)]),
    "no integer given": (imputer("int?", "imputedInt64Value", 4), [(None, 4), (0, 0), (2**60 + 1, 2**60 + 1)]),
    "no string given": (imputer("string?", "imputedStringValue", "?"), [(None, "?"), ("b", "b")]),
    "a dictionary": (
        imputer(STRINGS, "imputedStringDictionary", {"a": 1.0, "b": 2.0}),
        [({"a": NAN, "c": 5.0}, {"a": 1.0, "c": 5.0}), ({"b": 7.0}, {"b": 7.0}), ({}, {"a": 1.0, "b": 2.0})],
    ),
    "a dictionary of integers": (
        imputer(INTS, "imputedInt64Dictionary", {7: -1.0}, replaceDoubleValue=0),
        [({7: 0.0, 1: 3.0}, {7: -1.0, 1: 3.0}), ({1: 0.0}, {1: 0.0}), ({}, {7: -1.0})],
    ),
    "no dictionary given": (imputer("{string: double}?", "imputedStringDictionary", {"a": 1.0}), [(None, {"a": 1.0})]),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name):
    made, cases = ROWS[name]
    found = pippin.load(made, cache=False)
    for given, expected in cases:
        y = found.predict({} if given is None else {"x": given})["y"]
        assert y == expected and type(y) is type(expected)


def test_arrays():
    x = [[NAN, 1.0], [2.0, NAN]]
    every = imputer((2, 2), "imputedDoubleArray", [10, 20, 30, 40])
    np.testing.assert_array_equal(predict(every, x=x)["y"], [[10, 1], [2, 40]])
    one = imputer((2, 2), "imputedDoubleValue", 9.0)
    np.testing.assert_array_equal(predict(one, x=x)["y"], [[9, 1], [2, 9]])
    zeros = imputer((3,), "imputedInt64Array", [4, 5, 6], replaceDoubleValue=0)
    np.testing.assert_array_equal(predict(zeros, x=[0, 7, 0])["y"], [4, 7, 6])
    integers = imputer(((3,), "int32"), "imputedInt64Array", [4, 5, 6], replaceInt64Value=-1)
    y = predict(integers, x=np.array([-1, 2, -1], np.int32))["y"]
    np.testing.assert_array_equal(y, [4, 2, 6])
    assert y.dtype == np.int32


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
def test_scikit_learn(strategy):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((40, 5)) < 0.3, np.nan, rng.integers(0, 4, (40, 5)))
    estimator = SimpleImputer(strategy=strategy).fit(X)
    found = pippin.load(ct.converters.sklearn.convert(estimator, "x", "y").get_spec(), cache=False)
    for row, right in zip(X, estimator.transform(X), strict=True):
        np.testing.assert_allclose(found.predict({"x": row})["y"], right, rtol=1e-12)


def test_what_is_not_optional_must_be_given():
    with pytest.raises(MissingFeatureError, match=r"'x' is missing"):
        predict(ROWS["nan"][0])


DAMAGES = {
    "nothing to put in": (lambda: model("imputer", {"x": DOUBLE}, {"y": DOUBLE}), SpecificationError, "has no imputed value"),
    "a string for a number": (lambda: imputer(DOUBLE, "imputedStringValue", "a"), UnsupportedModelError, "inserts 'a'"),
    "a number for a string": (lambda: imputer(STRING, "imputedDoubleValue", 1.0), UnsupportedModelError, "inserts 1.0"),
    "replaces a string": (
        lambda: imputer(DOUBLE, "imputedDoubleValue", 1.0, replaceStringValue="a"), UnsupportedModelError, "replaces 'a'",
    ),
    "another size": (lambda: imputer((3,), "imputedDoubleArray", [1, 2]), SpecificationError, "2 imputed values for an array"),
    "other keys": (lambda: imputer(INTS, "imputedStringDictionary", {"a": 1.0}), SpecificationError, "does not match the key or value type"),
    "a number for a dictionary": (lambda: imputer(INTS, "imputedDoubleValue", 1.0), UnsupportedModelError, "cannot apply .* to a dictionary"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_that_contradicts_itself(name):
    make, error, message = DAMAGES[name]
    with pytest.raises(error, match=message):
        pippin.load(make(), cache=False)
