"""Categories: one-hot encoders and mappings, against scikit-learn and plain dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import OneHotEncoder

import coremltools as ct
import pippin
from lowering.classical.specs import DOUBLE, INT, INTS, STRING, model, predict
from pippin.errors import FeatureTypeError, FeatureValueError, SpecificationError, UnsupportedModelError


def encoder(categories, output, ignore=False, given=None, sparse=False):
    strings = isinstance(categories[0], str)
    made = model("oneHotEncoder", {"x": given or (STRING if strings else INT)}, {"y": output})
    kind = made.oneHotEncoder
    (kind.stringCategories if strings else kind.int64Categories).vector.extend(categories)
    kind.handleUnknown = int(ignore)
    kind.outputSparse = sparse
    return made


CATEGORIES = {"strings": ["low", "mid", "größte"], "integers": [2**60, -3, 0]}


@pytest.mark.parametrize("name", CATEGORIES)
@pytest.mark.parametrize("sparse", [False, True])
def test_every_category(name, sparse):
    categories = CATEGORIES[name]
    found = pippin.load(encoder(categories, INTS if sparse else (3,), sparse=sparse), cache=False)
    for place, category in enumerate(categories):
        y = found.predict({"x": category})["y"]
        if sparse:
            assert y == {place: 1.0}
        else:
            np.testing.assert_array_equal(y, np.eye(3)[place])


def test_unknown_categories():
    for categories, unknown in ((CATEGORIES["strings"], "Low"), (CATEGORIES["integers"], 2**60 + 1)):
        np.testing.assert_array_equal(predict(encoder(categories, (3,), True), x=unknown)["y"], np.zeros(3))
        assert predict(encoder(categories, INTS, True), x=unknown)["y"] == {}
        with pytest.raises(FeatureValueError, match=rf"'x' must be one of the categories .*, got {unknown}"):
            predict(encoder(categories, (3,)), x=unknown)


def test_scikit_learn():
    rng = np.random.default_rng(0)
    X = np.stack([rng.integers(0, 4, 30), rng.normal(size=30).round(2), rng.integers(5, 9, 30)], 1)
    from sklearn.compose import ColumnTransformer

    right = ColumnTransformer([("a", OneHotEncoder(sparse_output=False), [0, 2])]).fit_transform(X)
    parts = [encoder(sorted(set(X[:, i].astype(int).tolist())), (4,)) for i in (0, 2)]
    for row, expected in zip(X, right, strict=True):
        found = np.concatenate([predict(p, x=int(row[i]))["y"] for p, i in zip(parts, (0, 2), strict=True)])
        np.testing.assert_array_equal(found, expected)


def test_the_converter_of_coremltools():
    """It numbers categories from 0, whatever they are, so that these must be such numbers."""
    numbers = np.array([[0, 1.0], [1, 2.0], [2, 0.0], [0, 3.0]])
    estimator = OneHotEncoder(handle_unknown="ignore").fit(numbers[:3])
    found = pippin.load(ct.converters.sklearn.convert(estimator, ["x", "y"], "out").get_spec(), cache=False)
    for row, right in zip(numbers, estimator.transform(numbers).toarray(), strict=True):
        np.testing.assert_array_equal(found.predict({"x": row[0], "y": row[1]})["out"], right)


def mapping(pairs, default=None, given=None, output=None):
    strings = isinstance(next(iter(pairs)), str)
    made = model(
        "categoricalMapping",
        {"x": given or (STRING if strings else INT)},
        {"y": output or (INT if strings else STRING)},
    )
    kind = made.categoricalMapping
    (kind.stringToInt64Map if strings else kind.int64ToStringMap).map.update(pairs)
    if default is not None:
        setattr(kind, "int64Value" if isinstance(default, int) else "strValue", default)
    return made


@pytest.mark.parametrize(
    ("pairs", "default", "unknown"),
    [({"a": 1, "b": 2**60 + 1, "": -4}, -1, "c"), ({5: "five", 2**60 + 1: "much", -1: ""}, "?", 2**60)],
    ids=["strings to integers", "integers to strings"],
)
def test_mappings(pairs, default, unknown):
    for made in (mapping(pairs, default), mapping(pairs)):
        found = pippin.load(made, cache=False)
        assert {key: found.predict({"x": key})["y"] for key in pairs} == pairs
    assert predict(mapping(pairs, default), x=unknown)["y"] == default
    with pytest.raises(FeatureValueError, match=rf"'x' must be one of .*has no default, got {unknown}"):
        predict(mapping(pairs), x=unknown)


GIVEN = {
    "a number for a string": (encoder(["a"], (1,)), 3, FeatureTypeError, "'x' must be a string, got int"),
    "a string for an integer": (encoder([1], (1,)), "1", FeatureTypeError, "'x' must be an integer, got str"),
    "a fraction": (encoder([1], (1,)), 1.5, FeatureTypeError, "'x' must be an integer, got float 1.5"),
    "a fraction for a category": (
        encoder([1], (1,), given=DOUBLE),
        1.5,
        FeatureValueError,
        "must be an integer, got 1.5",
    ),
    "too large": (encoder([1], (1,)), 2**63, FeatureValueError, "does not fit int64"),
    "bytes": (encoder(["a"], (1,)), b"a", FeatureTypeError, "got bytes"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_values_of_another_kind(name):
    made, value, error, message = GIVEN[name]
    with pytest.raises(error, match=message):
        predict(made, x=value)


@pytest.mark.parametrize("value", [1, 1.0, np.int32(1), np.float64(1), np.array([1]), True])
def test_integers_in_all_forms(value):
    assert predict(encoder([0, 1], INTS), x=value)["y"] == {1: 1.0}


@pytest.mark.parametrize("value", ["b", np.str_("b"), np.array(["b"])])
def test_strings_in_all_forms(value):
    assert predict(encoder(["a", "b"], INTS), x=value)["y"] == {1: 1.0}


DAMAGES = {
    "no categories": (lambda: model("oneHotEncoder", {"x": INT}, {"y": INTS}), SpecificationError, "no categories"),
    "a string": (
        lambda: encoder([1], (1,), given=STRING),
        UnsupportedModelError,
        "'x' is declared as String, .* takes integers",
    ),
    "no mapping": (lambda: model("categoricalMapping", {"x": INT}, {"y": STRING}), SpecificationError, "no mapping"),
    "a default of another type": (lambda: mapping({"a": 1}, "b"), SpecificationError, "the default 'b'"),
    "an output of another kind": (lambda: mapping({"a": 1}, output=STRING), UnsupportedModelError, "'y' is declared"),
    "an output of another size": (lambda: encoder([1, 2], (3,)), SpecificationError, "the shape 3, but its size is 2"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_that_contradicts_itself(name):
    make, error, message = DAMAGES[name]
    with pytest.raises(error, match=message):
        pippin.load(make(), cache=False)
