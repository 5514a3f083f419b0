"""Transformers: numbers, categories, missing values and texts, each against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import pippin

pytest.importorskip("sklearn", "1.9", reason="needs the scikit-learn of the extra 'estimators'")

from sklearn import (
    compose,
    decomposition,
    feature_extraction,
    feature_selection,
    impute,
    linear_model,
    pipeline,
    random_projection,
    tree,
)
from sklearn import preprocessing as pre
from sklearn.cluster import KMeans
from sklearn.feature_extraction import text as texts

from develop.estimator_cases import TRIED, numbers, targets

X, OTHER = numbers(0, 300), numbers(5, TRIED)
Y = targets(X, "three")
HOLES = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
OTHER_HOLES = np.where(np.random.default_rng(2).random(OTHER.shape) < 0.1, np.nan, OTHER)
WHOLE, OTHER_WHOLE = np.floor(X[:, [0, 1, 2, 5]]), np.floor(OTHER[:, [0, 1, 2, 5]])
KNOWN = (WHOLE, WHOLE)

NUMBERS = {
    "StandardScaler": pre.StandardScaler(),
    "StandardScaler-no-mean": pre.StandardScaler(with_mean=False),
    "MinMaxScaler": pre.MinMaxScaler((-1, 2)),
    "MinMaxScaler-clip": pre.MinMaxScaler(clip=True),
    "MaxAbsScaler": pre.MaxAbsScaler(),
    "RobustScaler": pre.RobustScaler(),
    "Normalizer-l1": pre.Normalizer("l1"),
    "Normalizer-l2": pre.Normalizer(),
    "Normalizer-max": pre.Normalizer("max"),
    "Binarizer": pre.Binarizer(threshold=0.7),
    "KBinsDiscretizer": pre.KBinsDiscretizer(4, encode="ordinal"),
    "KBinsDiscretizer-onehot": pre.KBinsDiscretizer(3, strategy="uniform"),
    "PolynomialFeatures": pre.PolynomialFeatures(3),
    "PolynomialFeatures-pairs": pre.PolynomialFeatures(2, interaction_only=True, include_bias=False),
    "PowerTransformer": pipeline.make_pipeline(pre.RobustScaler(), pre.PowerTransformer()),
    "QuantileTransformer": pre.QuantileTransformer(n_quantiles=50),
    "FunctionTransformer": pre.FunctionTransformer(np.tanh),
    "FunctionTransformer-none": pre.FunctionTransformer(),
    "PCA": decomposition.PCA(3),
    "PCA-whiten": decomposition.PCA(4, whiten=True),
    "IncrementalPCA": decomposition.IncrementalPCA(2),
    "TruncatedSVD": decomposition.TruncatedSVD(2, random_state=0),
    "FactorAnalysis": decomposition.FactorAnalysis(2),
    "GaussianRandomProjection": random_projection.GaussianRandomProjection(3, random_state=0),
    "SparseRandomProjection": random_projection.SparseRandomProjection(3, random_state=0),
    "KMeans": pipeline.make_pipeline(KMeans(4, random_state=0), pre.StandardScaler()),
    "VarianceThreshold": feature_selection.VarianceThreshold(0.5),
    "SelectKBest": feature_selection.SelectKBest(k=3),
    "SelectPercentile": feature_selection.SelectPercentile(percentile=40),
    "SelectFromModel": feature_selection.SelectFromModel(tree.DecisionTreeClassifier(random_state=0)),
    "RFE": feature_selection.RFE(linear_model.LinearRegression(), n_features_to_select=2),
    "SequentialFeatureSelector": feature_selection.SequentialFeatureSelector(
        linear_model.Ridge(), n_features_to_select=2, cv=2
    ),
    "FeatureUnion": pipeline.make_union(pre.StandardScaler(), decomposition.PCA(2)),
    "ColumnTransformer": compose.make_column_transformer(
        (pre.MinMaxScaler(), [3, 1]), ("drop", [0]), remainder="passthrough"
    ),
    "RandomTreesEmbedding": __import__("sklearn.ensemble").ensemble.RandomTreesEmbedding(
        5, max_depth=3, random_state=0
    ),
}
MISSING = {
    "SimpleImputer": impute.SimpleImputer(),
    "SimpleImputer-median": impute.SimpleImputer(strategy="median", add_indicator=True),
    "SimpleImputer-constant": impute.SimpleImputer(strategy="constant", fill_value=-3.5),
    "MissingIndicator": impute.MissingIndicator(features="all"),
    "StandardScaler": pre.StandardScaler(),
}
CATEGORIES = {
    "OneHotEncoder": pre.OneHotEncoder(),
    "OneHotEncoder-drop": pre.OneHotEncoder(drop="first"),
    "OneHotEncoder-infrequent": pre.OneHotEncoder(min_frequency=20, handle_unknown="infrequent_if_exist"),
    "OneHotEncoder-ignore": pre.OneHotEncoder(handle_unknown="ignore"),
    "OrdinalEncoder": pre.OrdinalEncoder(),
    "OrdinalEncoder-unknown": pre.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "OrdinalEncoder-nan": pre.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    "TargetEncoder": pre.TargetEncoder(random_state=0),
}


def transformed(estimator, fit, rows, y=Y, tolerance=1e-6):
    """The model's output on all rows, compared with the transformer's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(fit, y)
        converted = pippin.from_estimator(estimator, check=False)
        right = estimator.transform(rows)
    right = np.asarray(right.toarray() if hasattr(right, "toarray") else right, float)
    model = converted.load()
    found = np.array([np.ravel(model.predict(features)["transformed"]) for features in converted.features(rows)])
    assert found.shape == right.shape
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * max(1, np.nanmax(np.abs(right))))
    return converted


@pytest.mark.parametrize("name", NUMBERS)
def test_of_numbers(name):
    transformed(NUMBERS[name], X, OTHER)


@pytest.mark.parametrize("name", MISSING)
def test_of_missing_numbers(name):
    transformed(MISSING[name], HOLES, OTHER_HOLES)


@pytest.mark.parametrize("name", CATEGORIES)
@pytest.mark.parametrize("strings", [False, True], ids=["numbers", "strings"])
def test_of_categories(name, strings):
    fit, rows = (WHOLE, OTHER_WHOLE) if "unknown" in name or "ignore" in name or "nan" in name else KNOWN
    if name in ("OneHotEncoder-infrequent", "TargetEncoder"):
        rows = OTHER_WHOLE
    if strings:
        fit, rows = (np.char.add("v", part.astype(int).astype(str)).astype(object) for part in (fit, rows))
    converted = transformed(CATEGORIES[name], fit, rows)
    assert {each.kind for each in converted.inputs} == {"string" if strings else "number"}


@pytest.mark.parametrize("coder", [pre.OneHotEncoder(), pre.OrdinalEncoder()], ids=["one-hot", "ordinal"])
def test_of_missing_categories(coder):
    fit = np.array([["red", "a"], [None, "b"], ["blue", "a"], ["red", None]], object)
    transformed(coder, fit, fit, y=None)


def test_strings_are_imputed_before_they_are_encoded():
    fit = np.array([["red"], [np.nan], ["blue"], ["red"]], object)
    steps = pipeline.make_pipeline(impute.SimpleImputer(strategy="most_frequent"), pre.OneHotEncoder())
    transformed(steps, fit, fit, y=None)


WORDS = ["the cat sat", "the dog ran and ran", "a cat and a dog", "birds sing", "the bird ran", "Cats, dogs & birds"]
VECTORIZERS = {
    "CountVectorizer": texts.CountVectorizer(),
    "CountVectorizer-pairs": texts.CountVectorizer(ngram_range=(1, 2), stop_words=["the"]),
    "CountVectorizer-binary": texts.CountVectorizer(binary=True),
    "CountVectorizer-characters": texts.CountVectorizer(analyzer="char_wb", ngram_range=(2, 3)),
    "TfidfVectorizer": texts.TfidfVectorizer(),
    "TfidfVectorizer-sublinear": texts.TfidfVectorizer(sublinear_tf=True, norm="l1"),
    "TfidfTransformer": pipeline.make_pipeline(texts.CountVectorizer(), texts.TfidfTransformer()),
    "HashingVectorizer": texts.HashingVectorizer(n_features=64),
    "HashingVectorizer-counts": texts.HashingVectorizer(n_features=32, norm=None, alternate_sign=False),
}


@pytest.mark.parametrize("name", VECTORIZERS)
def test_of_texts(name):
    transformed(VECTORIZERS[name], WORDS, [*WORDS, "", "unknown words only", "ran ran ran dog"], y=None)


def test_of_dictionaries():
    rows = [{"city": "Rome", "size": 2.0}, {"city": "Oslo", "size": 1.5}, {"size": 3.0}]
    transformed(feature_extraction.DictVectorizer(), rows, [*rows, {"city": "Bern", "other": 1.0}], y=None)


def people(seed, count):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": np.where(random.random(count) < 0.1, np.nan, random.uniform(1, 90, count)),
            "fare": random.gamma(2, 20, count),
            "sex": random.choice(["female", "male"], count),
            "port": random.choice(["S", "C", "Q", None], count),
            "class": random.integers(1, 4, count),
            "note": [" ".join(random.choice(["good", "bad", "late", "new"], 3)) for _ in range(count)],
        }
    )


def survived(table):
    return ((table["sex"] == "female") ^ (table["class"] > 2) ^ table["note"].str.contains("bad")).astype(int)


def test_a_whole_pipeline_keeps_names_and_categories():
    """Named columns of a table, with missing numbers, categories and a text, into a classifier."""
    columns = compose.ColumnTransformer(
        [
            ("numbers", pipeline.make_pipeline(impute.SimpleImputer(), pre.StandardScaler()), ["age", "fare"]),
            ("kinds", pre.OneHotEncoder(handle_unknown="ignore"), ["sex", "port"]),
            ("text", texts.TfidfVectorizer(), "note"),
        ],
        remainder="passthrough",
    )
    table, rows = people(0, 400), people(1, TRIED)
    estimator = pipeline.make_pipeline(columns, linear_model.LogisticRegression()).fit(table, survived(table))
    converted = pippin.from_estimator(estimator, check=rows)
    assert [each.name for each in converted.inputs] == list(table.columns)
    assert [each.kind for each in converted.inputs] == ["number", "number", "string", "string", "number", "words"]
    model = converted.load()
    first = converted.features(rows)[0]
    assert model.predict(first)["classLabel"] == estimator.predict(rows[:1])[0]
    unknown = {**first, "port": "Atlantis"}
    other = rows[:1].assign(port="Atlantis")
    found = model.predict(unknown)["classProbability"][1]
    assert found == pytest.approx(estimator.predict_proba(other)[0, 1], abs=1e-6)
