"""Pipelines: classical models behind each other, nested, and beside programs and networks; in one graph."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import coremltools as ct
import pippin
from lowering.classical.specs import DOUBLE, INT, INTS, STRING, STRINGS, model, pipeline, predict, rows
from lowering.classical.test_categories import encoder, mapping
from lowering.classical.test_tree_ensemble import stump
from lowering.classical.test_vectors import dict_vectorizer, extractor, scaler, vectorizer
from pippin.errors import FeatureValueError, SpecificationError, UnsupportedModelError
from support.small_models import converted


def renamed(made, **names):
    for described in (made.description.input, made.description.output):
        for feature in described:
            feature.name = names.get(feature.name, feature.name)
    if made.description.predictedFeatureName:
        made.description.predictedFeatureName = names.get(made.description.predictedFeatureName, "y")
    return made


@pytest.mark.parametrize("last", [LinearRegression(), RandomForestRegressor(5, random_state=0)], ids=str)
def test_scikit_learn(last):
    X = rows(0, 60, 3).astype(np.float32)
    estimator = Pipeline([("scale", StandardScaler()), ("last", last)]).fit(X, X @ [1, -2, 0.5])
    found = pippin.load(ct.converters.sklearn.convert(estimator, ["a", "b", "c"], "y").get_spec(), cache=False)
    for row, right in zip(X[:10], estimator.predict(X[:10]), strict=True):
        assert found.predict(dict(zip("abc", row, strict=True)))["y"] == pytest.approx(right, rel=1e-5, abs=1e-6)


def features_of_a_person():
    """A name becomes a dictionary under the same name, as Create ML writes it; then all is one array."""
    one_hot = renamed(encoder(["f", "m"], INTS), x="sex", y="sex")
    joined = renamed(
        vectorizer([("age", 1), ("sex", 2), ("class", 1)], {"age": DOUBLE, "sex": INTS, "class": INT}, 4), y="row"
    )
    inputs = {"age": DOUBLE, "sex": STRING, "class": INT}
    return pipeline([one_hot, joined], inputs, {"row": (4,)})


def test_a_name_that_is_given_anew():
    np.testing.assert_array_equal(
        predict(features_of_a_person(), **{"age": 3.5, "sex": "m", "class": 2})["row"], [3.5, 0, 1, 2]
    )


def classifier(labels, name="label"):
    made = stump(
        "treeEnsembleClassifier",
        {name: STRING if isinstance(labels[0], str) else INT, "p": STRINGS if isinstance(labels[0], str) else INTS},
        1,
        name,
    )
    made.treeEnsembleClassifier.postEvaluationTransform = 2
    kind = made.treeEnsembleClassifier
    (kind.stringClassLabels if isinstance(labels[0], str) else kind.int64ClassLabels).vector.extend(labels)
    return made


def test_nested_to_a_classifier():
    picked = renamed(extractor([0], DOUBLE, (4,)), x="row", y="x")
    made = pipeline(
        [features_of_a_person(), picked, classifier(["young", "old"])],
        {"age": DOUBLE, "sex": STRING, "class": INT}, {"label": STRING, "p": STRINGS}, "label", "pipelineClassifier", "p",
    )  # fmt: skip
    right = 1 / (1 + np.exp(0.25))
    outputs = predict(made, **{"age": 30.0, "sex": "f", "class": 1})
    assert outputs["label"] == "young"
    assert outputs["p"] == pytest.approx({"young": 1 - right, "old": right}, rel=1e-12)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 2**60 + 1]], ids=["strings", "integers"])
def test_a_label_goes_on(labels):
    """What a classifier says is mapped, and its probabilities are vectorized, in the same graph."""
    strings = isinstance(labels[0], str)
    back = {"no": 10, "yes": 20} if strings else {3: "no", 2**60 + 1: "yes"}
    mapped = renamed(mapping(back), x="label", y="mapped")
    spread = renamed(dict_vectorizer(labels, STRINGS if strings else INTS, (2,)), x="p", y="row")
    made = pipeline(
        [classifier(labels), mapped, spread], {"x": DOUBLE},
        {"mapped": INT if strings else STRING, "row": (2,), "label": STRING if strings else INT},
    )  # fmt: skip
    for x, place in ((0.0, 1), (1.0, 0)):
        outputs = predict(made, x=x)
        score = 1 / (1 + np.exp(-0.75 if place else 0.25))
        assert (outputs["label"], outputs["mapped"]) == (labels[place], back[labels[place]])
        np.testing.assert_allclose(outputs["row"], [1 - score, score], rtol=1e-12)


def test_two_classifiers():
    first, second = classifier(["a", "b"], "one"), classifier(["c", "d"], "two")
    second.description.output[1].name = "q"
    made = pipeline([first, renamed(mapping({"a": 0, "b": 1}), x="one", y="x"), second], {"x": DOUBLE}, {"two": STRING})
    assert predict(made, x=0.0) == {"two": "c"}  # "b" is 1, which is above the split
    assert predict(made, x=1.0) == {"two": "d"}


def test_the_probabilities_of_two_classifiers_go_on():
    """Under names that the pipeline does not give, while it describes a label of its own."""
    parts = []
    for place, labels in enumerate(([0, 1], [0, 1])):
        one = classifier(labels, f"label{place}")
        one.description.output[1].name = f"p{place}"
        parts += [one, renamed(vectorizer([(f"p{place}", 2)], {f"p{place}": INTS}, 2), y=f"row{place}")]
    last = renamed(extractor([1], DOUBLE, (2,)), x="row1", y="x")
    ends = pipeline(
        [*parts, last, classifier([5, 6])], {"x": DOUBLE}, {"label": INT, "row0": (2,), "row1": (2,)}, "label", "pipelineClassifier",
    )  # fmt: skip
    outputs = predict(ends, x=0.0)
    score = 1 / (1 + np.exp(-0.75))
    np.testing.assert_allclose([outputs["row0"], outputs["row1"]], [[1 - score, score]] * 2, rtol=1e-12)
    assert outputs["label"] == 5  # the score, 0.68, is above the split


def test_a_check_inside_a_pipeline():
    with pytest.raises(FeatureValueError, match=r"'sex' must be one of the categories 'f', 'm', got x"):
        predict(features_of_a_person(), **{"age": 1.0, "sex": "x", "class": 1})


def test_a_program_between_classical_models():
    program = converted(lambda z: mb.mul(x=mb.relu(x=z), y=np.float32(2), name="w"), z=(4,)).get_spec()
    before = renamed(scaler([1], [1]), y="z")
    after = renamed(scaler([0], [10]), x="w")
    made = pipeline([before, program, after], {"x": (4,)}, {"y": (4,)})
    made.specificationVersion = program.specificationVersion
    model = pippin.load(made, cache=False)
    assert model.engine == "onnxruntime"
    np.testing.assert_allclose(model.predict({"x": [-3, -1, 0, 2]})["y"], [0, 0, 20, 60], rtol=1e-6)


def test_a_network_before_a_classifier():
    builder = NeuralNetworkBuilder([("image", datatypes.Array(3))], [("x", datatypes.Array(1))])
    builder.add_inner_product("dense", np.array([[1.0, 2.0, -1.0]]), np.array([0.5]), 3, 1, True, "image", "x")
    made = pipeline(
        [builder.spec, renamed(extractor([0], DOUBLE, (1,)), y="x"), classifier(["low", "high"])],
        {"image": (3,)},
        {"label": STRING, "p": STRINGS},
        "label",
    )
    assert predict(made, image=[0.0, 0, 1])["label"] == "high"
    assert predict(made, image=[5.0, 0, 0])["label"] == "low"


BAD = {
    "nothing gives it": (lambda: pipeline([scaler([], [])], {"q": (4,)}, {"y": (4,)}), SpecificationError, "takes 'x', which no input or earlier model provides"),
    "another kind of value": (
        lambda: pipeline([renamed(encoder(["a"], INTS), y="y"), scaler([], [])], {"x": (4,)}, {"y": (4,)}),
        SpecificationError, "'x'",
    ),
    "a dictionary for numbers": (
        lambda: pipeline([renamed(encoder(["a"], INTS), x="s", y="x"), scaler([], [])], {"s": STRING}, {"y": (4,)}),
        SpecificationError, "takes 'x' as numbers, got a dictionary with integer keys",
    ),
    "a kind that is not executed": (
        lambda: pipeline([model("wordTagger", {"x": STRING}, {"y": STRING})], {"x": STRING}, {"y": STRING}),
        UnsupportedModelError, "wordTagger",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_pipelines_that_do_not_fit(name):
    make, error, message = BAD[name]
    with pytest.raises(error, match=message):
        pippin.load(make(), cache=False)
