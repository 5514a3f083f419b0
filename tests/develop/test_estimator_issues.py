"""Reported faults of coremltools' converters, and what a converted model must be: legal, opened by others, checked."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import pippin
from pippin.errors import ConfigurationError, ConversionError, UnsupportedModelError

pytest.importorskip("sklearn", "1.9", reason="needs the scikit-learn of the extra 'estimators'")
lightgbm = pytest.importorskip("lightgbm", reason="needs the extra 'estimators'")
xgboost = pytest.importorskip("xgboost", "3", reason="needs the XGBoost of the extra 'estimators'")
catboost = pytest.importorskip("catboost", reason="needs the extra 'estimators'")

from sklearn import (
    compose,
    datasets,
    ensemble,
    feature_extraction,
    linear_model,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.multioutput import MultiOutputClassifier

from develop.estimator_cases import TRIED, numbers, targets

X, OTHER = numbers(0, 300), numbers(5, TRIED)
THREE, NUMBER = targets(X, "three"), targets(X, "regression")


def probabilities(converted, rows):
    model = converted.load()
    return np.array([list(model.predict(f)["classProbability"].values()) for f in converted.features(rows)])


def by_class(converted, rows, classes):
    model = converted.load()
    return np.array([[model.predict(f)["classProbability"][c] for c in classes] for f in converted.features(rows)])


def test_issue_50_probabilities_of_gradient_boosting():
    options = {"min_weight_fraction_leaf": 0.5, "max_features": 1, "max_depth": 1, "random_state": 1}
    data = datasets.load_diabetes().data
    target = np.digitize(data[:, 2], np.histogram(data[:, 2], bins=2)[1]) - 1
    estimator = ensemble.GradientBoostingClassifier(**options).fit(data, target)
    found = by_class(pippin.from_estimator(estimator, check=data), data, range(3))
    assert np.abs(found - estimator.predict_proba(data)).max() < 1e-12


def test_a_whole_pipeline_with_a_text():
    """A vectorizer, its weights and a classifier in one pipeline."""
    texts = ["good film", "bad film", "good good plot", "bad bad plot", "so so"] * 8
    steps = pipeline.make_pipeline(
        feature_extraction.text.CountVectorizer(),
        feature_extraction.text.TfidfTransformer(),
        naive_bayes.MultinomialNB(),
    )
    estimator = steps.fit(texts, ["up", "down", "up", "down", "so"] * 8)
    assert pippin.from_estimator(estimator).features(["good plot"]) == [{"text": {"good": 1.0, "plot": 1.0}}]
    converted = pippin.from_estimator(estimator, inputs=["review"], check=texts)
    assert converted.features(["good good film"]) == [{"review": {"good": 2.0, "film": 1.0}}]
    assert converted.load().predict({"review": {"good": 2, "film": 1}})["classLabel"] == "up"


def test_issue_724_probabilities_of_xgboost():
    """Seven classes: probabilities, not the sums of the trees."""
    classes = np.digitize(NUMBER, np.quantile(NUMBER, np.arange(1, 7) / 7))
    estimator = xgboost.XGBClassifier(n_estimators=8, n_jobs=1).fit(X, classes)
    found = by_class(pippin.from_estimator(estimator, check=OTHER[:200]), OTHER[:200], range(7))
    assert np.abs(found - estimator.predict_proba(OTHER[:200])).max() < 1e-5
    assert found.sum(axis=1) == pytest.approx(1)


def test_issue_1541_forests_of_several_classes():
    x, y = datasets.make_classification(1000, 8, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
    estimator = ensemble.RandomForestClassifier(13, max_depth=2, random_state=0).fit(x[:670], y[:670])
    found = by_class(pippin.from_estimator(estimator, check=x), x[670:], range(3))
    assert np.abs(found - estimator.predict_proba(x[670:])).max() < 1e-12


def test_issue_2436_a_classifier_of_xgboost_with_names_and_gaps():
    """A table with names, missing numbers, weights for the rarer class, and a base score that training finds."""
    table = pd.DataFrame(X, columns=list("abcdef")).mask(np.random.default_rng(0).random(X.shape) < 0.1)
    estimator = xgboost.XGBClassifier(n_estimators=10, scale_pos_weight=5, n_jobs=1).fit(table, THREE == 2)
    converted = pippin.from_estimator(estimator, check=table)
    assert [each.name for each in converted.inputs] == list("abcdef")
    found = by_class(converted, table, [0, 1])
    assert np.abs(found - estimator.predict_proba(table)).max() < 1e-5


def test_issue_2596_the_newest_xgboost():
    """Regression: XGBoost 3 keeps its base score as a list; coremltools was off by 2.4 standard deviations."""
    estimator = xgboost.XGBRegressor(n_estimators=10, n_jobs=1).fit(X, NUMBER)
    converted = pippin.from_estimator(estimator, check=OTHER)
    model = converted.load()
    found = np.array([model.predict(f)["prediction"] for f in converted.features(OTHER)])
    np.testing.assert_allclose(found, estimator.predict(OTHER), atol=1e-5 * np.abs(NUMBER).max())


def test_issue_53_a_stump_of_xgboost_is_not_off_by_a_constant():
    options = {"learning_rate": 0.1, "max_delta_step": 0.1, "max_depth": 1, "objective": "reg:squarederror"}
    data = datasets.load_diabetes(as_frame=True)
    booster = xgboost.train(options, xgboost.DMatrix(data.data, data.target), 1)
    converted = pippin.from_estimator(booster, check=data.data)
    model, right = converted.load(), booster.predict(xgboost.DMatrix(data.data))
    found = np.array([model.predict(f)["prediction"] for f in converted.features(data.data)])
    assert np.abs(found - right).max() < 1e-4


def test_boosters_without_their_estimators():
    data = xgboost.DMatrix(X, THREE)
    for booster in (
        xgboost.train({"objective": "multi:softprob", "num_class": 3}, data, 6),
        lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(X, THREE), 6),
        lightgbm.train({"objective": "regression", "verbose": -1}, lightgbm.Dataset(X, NUMBER), 6),
    ):
        pippin.from_estimator(booster, check=OTHER[:300])


def test_training_that_stopped_early():
    estimator = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, n_jobs=1)
    estimator.fit(X, THREE, eval_set=[(OTHER, targets(OTHER, "three"))], verbose=False)
    assert estimator.best_iteration < 58
    pippin.from_estimator(estimator, check=OTHER[:300])


def people(count=300):
    random = np.random.default_rng(count)
    colors, sizes = ["blue", "green", "grey", "red"], [3, 7, 9]
    return pd.DataFrame(
        {
            "a": random.normal(size=count),
            "color": pd.Categorical(random.choice(colors, count), categories=colors),
            "size": pd.Categorical(random.choice(sizes, count), categories=sizes),
        }
    )


@pytest.mark.parametrize(
    "estimator",
    [
        xgboost.XGBClassifier(n_estimators=12, enable_categorical=True, max_cat_to_onehot=1, n_jobs=1),
        xgboost.XGBClassifier(n_estimators=12, enable_categorical=True, n_jobs=1),
        lightgbm.LGBMClassifier(
            n_estimators=12, min_data_per_group=1, cat_smooth=1, max_cat_to_onehot=1, verbose=-1, n_jobs=1
        ),
        ensemble.HistGradientBoostingClassifier(max_iter=12),
    ],
    ids=["XGBoost-sets", "XGBoost-single", "LightGBM", "HistGradientBoosting"],
)
@pytest.mark.parametrize("made_up", [False, True])
def test_categories_of_pandas_are_strings_of_the_model(estimator, made_up):
    table = people()
    wanted = (table["a"] > 0) ^ table["color"].isin(["red", "grey"]) ^ (table["size"] == 7)
    estimator.fit(table, wanted.astype(int))
    converted = pippin.from_estimator(estimator, check=None if made_up else people(500))
    assert [each.kind for each in converted.inputs] == ["number", "string", "number"]


KINDS = [
    tree.DecisionTreeClassifier(max_depth=3),
    linear_model.LogisticRegression(max_iter=20),
    naive_bayes.GaussianNB(),
    neighbors.KNeighborsClassifier(3),
    pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.LogisticRegression(max_iter=20)),
]


@pytest.mark.parametrize("estimator", KINDS, ids=lambda e: type(e).__name__)
def test_is_saved_and_opened_by_others(estimator, tmp_path):
    import coremltools as ct

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, THREE)
    converted = pippin.from_estimator(estimator)
    path = tmp_path / ("model.mlpackage" if converted.has_program else "model.mlmodel")
    assert converted.save(path) == path
    described = ct.models.MLModel(str(path)).get_spec().description
    assert described.predictedFeatureName == "classLabel"
    features = converted.features(OTHER[:1])[0]
    assert dict(pippin.load(path, cache=False).predict(features)) == dict(converted.load().predict(features))


def test_features_between_parts_have_one_type():
    """Core ML refuses a pipeline whose models declare a feature differently."""
    estimator = pipeline.make_pipeline(preprocessing.StandardScaler(), neighbors.KNeighborsClassifier(3)).fit(X, THREE)
    whole = pippin.from_estimator(estimator).spec
    known = {feature.name: feature.type for feature in whole.description.input}
    for model in (
        whole.pipelineClassifier.pipeline.models if whole.HasField("pipelineClassifier") else whole.pipeline.models
    ):
        assert all(feature.type == known[feature.name] for feature in model.description.input)
        known.update({feature.name: feature.type for feature in model.description.output})
    assert all(feature.type == known[feature.name] for feature in whole.description.output)


def test_a_program_is_saved_as_a_package_only(tmp_path):
    converted = pippin.from_estimator(neighbors.KNeighborsClassifier(3).fit(X, THREE))
    with pytest.raises(ConfigurationError, match=r"ML Program.*save it as model.mlpackage"):
        converted.save(tmp_path / "model.mlmodel")


def test_what_differs_is_not_returned(monkeypatch):
    estimator = linear_model.LogisticRegression(max_iter=20).fit(X, THREE)
    right = linear_model.LogisticRegression.predict_proba
    monkeypatch.setattr(linear_model.LogisticRegression, "predict_proba", lambda self, x: right(self, x) + 2e-6)
    with pytest.raises(ConversionError, match=r"row 0: the LogisticRegression gives the probabilities"):
        pippin.from_estimator(estimator, check=X)
    pippin.from_estimator(estimator, check=X, tolerance=1e-5)


REFUSED = [
    (neighbors.RadiusNeighborsClassifier(50), "number of neighbors within a radius differs"),
    (svm.SVC(kernel=lambda a, b: a @ b.T), "Core ML has linear, poly, rbf and sigmoid"),
    (pipeline.make_pipeline(preprocessing.FunctionTransformer(np.sin), linear_model.Ridge()), "calls 'sin'"),
    (
        pipeline.make_pipeline(
            preprocessing.QuantileTransformer(n_quantiles=9, output_distribution="normal"), linear_model.Ridge()
        ),
        "inverse error function",
    ),
    (MultiOutputClassifier(tree.DecisionTreeClassifier()), "no Core ML model is known"),
    (lightgbm.LGBMRegressor(linear_tree=True, n_estimators=3, verbose=-1), "linear model in each leaf"),
    (xgboost.XGBClassifier(missing=-1, n_estimators=2), "takes -1 for a missing value"),
]


@pytest.mark.parametrize(("estimator", "reason"), REFUSED, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_what_is_refused_says_why(estimator, reason):
    several = np.stack([THREE, THREE], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, several if isinstance(estimator, MultiOutputClassifier) else THREE)
        with pytest.raises(UnsupportedModelError, match=reason):
            pippin.from_estimator(estimator, check=X)


def test_categories_of_catboost_are_refused():
    table = people().astype({"color": str, "size": str})
    estimator = catboost.CatBoostClassifier(
        iterations=2, cat_features=["color"], verbose=False, allow_writing_files=False
    )
    estimator.fit(table[["a", "color"]], table["a"] > 0)
    with pytest.raises(UnsupportedModelError, match=r"categorical features.*encode them before"):
        pippin.from_estimator(estimator)


def test_wrong_calls():
    with pytest.raises(ConfigurationError, match="not fitted"):
        pippin.from_estimator(linear_model.Ridge(), inputs=["a"])
    fitted = linear_model.Ridge().fit(X, NUMBER)
    with pytest.raises(ConfigurationError, match="has 6 columns, but 2 names"):
        pippin.from_estimator(fitted, inputs=["a", "b"])
    with pytest.raises(ConfigurationError, match="'a' is there twice"):
        pippin.from_estimator(fitted, inputs=list("aabcde"))
    with pytest.raises(UnsupportedModelError, match="strings and integers"):
        pippin.from_estimator(_with_fractions())


def _with_fractions():
    found = tree.DecisionTreeClassifier(max_depth=2).fit(X, THREE)
    found.classes_ = np.array([0.5, 1.5, 2.5])
    return found


def test_names_given_and_outputs_beside_them():
    fitted = linear_model.Ridge().fit(X, NUMBER)
    converted = pippin.from_estimator(fitted, inputs=[*"abcde", "prediction"], check=OTHER[:50])
    assert [f.name for f in converted.spec.description.input] == [*"abcde", "prediction"]
    assert [f.name for f in converted.spec.description.output] == ["prediction_"]


def test_columns_that_are_dropped_are_no_inputs():
    table = pd.DataFrame(X, columns=list("abcdef"))
    columns = compose.make_column_transformer(("passthrough", ["b", "f"]))
    estimator = pipeline.make_pipeline(columns, linear_model.Ridge()).fit(table, NUMBER)
    converted = pippin.from_estimator(estimator, check=pd.DataFrame(OTHER[:50], columns=list("abcdef")))
    assert [f.name for f in converted.spec.description.input] == ["b", "f"]
    assert converted.features(OTHER[:1]) == [{"b": OTHER[0, 1], "f": OTHER[0, 5]}]
