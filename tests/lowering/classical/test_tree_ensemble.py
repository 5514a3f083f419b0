"""Tree ensemble: against scikit-learn, xgboost, and a plain walk from node to node."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import coremltools as ct
import pippin
from lowering.classical.specs import DOUBLE, INT, INTS, STRING, STRINGS, labelled, model, pipeline, predict, rows
from pippin.errors import SpecificationError
from pippin.lowering.lower_model import lower_model
from pippin.program.opening import open_model

X = rows(0, 150, 4)
TARGET = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
THREE = np.digitize(TARGET, [-0.5, 0.5])
TWO = (TARGET > 0).astype(int)
NAMES = ["a", "b", "c", "d"]
LEAF = 6


def loaded(estimator):
    return pippin.load(ct.converters.sklearn.convert(estimator, NAMES, "target").get_spec(), cache=False)


def features(row):
    return dict(zip(NAMES, map(float, row), strict=True))


REGRESSORS = [
    DecisionTreeRegressor(max_depth=6, random_state=0),
    RandomForestRegressor(20, random_state=0),
    GradientBoostingRegressor(n_estimators=30, random_state=0),
]
CLASSIFIERS = [
    DecisionTreeClassifier(max_depth=5, random_state=0),
    RandomForestClassifier(20, max_depth=5, random_state=0),
    GradientBoostingClassifier(n_estimators=15, random_state=0),
]


@pytest.mark.parametrize("estimator", REGRESSORS, ids=lambda e: type(e).__name__)
def test_regressors(estimator):
    points = X.astype(np.float32)  # scikit-learn's trees compare in float32
    estimator.fit(points, TARGET)
    found = loaded(estimator)
    values = [found.predict(features(row))["target"] for row in points[:40]]
    np.testing.assert_allclose(values, estimator.predict(points[:40]), rtol=1e-12)


@pytest.mark.parametrize("classes", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda e: type(e).__name__)
def test_classifiers(estimator, classes):
    points = X.astype(np.float32)
    estimator.fit(points, classes)
    found = loaded(estimator)
    for row, right, label in zip(
        points[:40], estimator.predict_proba(points[:40]), estimator.predict(points[:40]), strict=True
    ):
        outputs = found.predict(features(row))
        if isinstance(estimator, RandomForestClassifier) and len(right) == 3:
            right = right * 20  # the converter adds up the shares of the trees, and divides them only for two classes
        np.testing.assert_allclose([outputs["classProbability"][i] for i in range(len(right))], right, atol=2e-7)
        assert outputs["target"] == label


@pytest.mark.parametrize("classes", [None, TWO, THREE], ids=["regression", "two", "three"])
def test_xgboost(classes):
    """The converter knows no base score: it is 0.5 for regressors, and 0 in the scores of classifiers."""
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(1)
    points = np.where(rng.random(X.shape) < 0.2, np.nan, X).astype(np.float32)
    options = {"n_estimators": 12, "max_depth": 4, "base_score": 0.5, "random_state": 0}
    if classes is None:
        estimator = xgboost.XGBRegressor(**options).fit(points, TARGET)
        spec = ct.converters.xgboost.convert(estimator, NAMES, "target").get_spec()
    else:
        estimator = xgboost.XGBClassifier(**options).fit(points, classes)
        spec = ct.converters.xgboost.convert(estimator, NAMES, "target", mode="classifier").get_spec()
    found = pippin.load(spec, cache=False)
    for row in points[:40]:
        outputs = found.predict(features(row))
        if classes is None:
            assert outputs["target"] == pytest.approx(float(estimator.predict(row[None])[0]), abs=1e-5)
        else:
            right = estimator.predict_proba(row[None])[0]
            np.testing.assert_allclose([outputs["classProbability"][i] for i in range(len(right))], right, atol=1e-5)


MODES = {
    0: lambda x, t: x <= t,
    1: lambda x, t: x < t,
    2: lambda x, t: x >= t,
    3: lambda x, t: x > t,
    4: lambda x, t: x == t,
    5: lambda x, t: x != t,
}


def grow(parameters, rng, tree, depth, modes, thresholds, values, width=3):
    """A random tree; node numbers are scattered on purpose."""
    numbers = iter(rng.permutation(1000).tolist())

    def node(level):
        number = next(numbers)
        made = parameters.nodes.add(treeId=tree, nodeId=number)
        if level == depth or (level and rng.random() < 0.2):
            made.nodeBehavior = LEAF
            for index, value in values().items():
                made.evaluationInfo.add(evaluationIndex=index, evaluationValue=value)
            return number
        made.nodeBehavior = int(rng.choice(modes))
        made.branchFeatureIndex = int(rng.integers(width))
        made.branchFeatureValue = float(rng.choice(thresholds))
        made.missingValueTracksTrueChild = bool(rng.integers(2))
        place = len(parameters.nodes) - 1
        children = node(level + 1), node(level + 1)
        parameters.nodes[place].trueChildNodeId, parameters.nodes[place].falseChildNodeId = children
        return number

    return node(0)


def walk(parameters, x):
    """The sums, by the words of the proto."""
    total = np.array(parameters.basePredictionValue)
    trees = {}
    for node in parameters.nodes:
        trees.setdefault(node.treeId, {})[node.nodeId] = node
    for nodes in trees.values():
        children = {
            c for n in nodes.values() if n.nodeBehavior != LEAF for c in (n.trueChildNodeId, n.falseChildNodeId)
        }
        (number,) = nodes.keys() - children
        while nodes[number].nodeBehavior != LEAF:
            node = nodes[number]
            value = x[node.branchFeatureIndex]
            missing = node.missingValueTracksTrueChild
            holds = missing if np.isnan(value) else MODES[node.nodeBehavior](value, node.branchFeatureValue)
            number = node.trueChildNodeId if holds else node.falseChildNodeId
        for info in nodes[number].evaluationInfo:
            total[info.evaluationIndex] += info.evaluationValue
    return total


EDGES = [0.0, 1.0, 2.0, 3.0, 0.1, 1 + 2**-40, np.nextafter(0.1, 1), 2**53 + 2.0, -1e300]


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("modes", [*([m] for m in MODES), list(MODES)], ids=str)
def test_every_mode_at_its_edges(modes, dimensions):
    """Thresholds that float32 cannot tell from their neighbors, NaN in both directions, one and several values a leaf."""
    rng = np.random.default_rng(dimensions)
    made = model("treeEnsembleRegressor", {"x": (3,)}, {"y": DOUBLE if dimensions == 1 else (dimensions,)}, "y")
    parameters = made.treeEnsembleRegressor.treeEnsemble
    parameters.numPredictionDimensions = dimensions
    parameters.basePredictionValue.extend(rng.standard_normal(dimensions))

    def values():
        return {i: rng.standard_normal() for i in range(dimensions) if dimensions == 1 or rng.random() < 0.7}

    for tree in range(30):
        grow(parameters, rng, tree * 3, int(rng.integers(0, 6)), modes, EDGES, values)
    found = pippin.load(made, cache=False)
    candidates = [*EDGES, *np.nextafter(EDGES, np.inf), *np.nextafter(EDGES, -np.inf), np.nan, np.inf, -np.inf, -0.0]
    for _ in range(200):
        x = rng.choice(candidates, 3)
        np.testing.assert_allclose(found.predict({"x": x})["y"], walk(parameters, x), rtol=1e-12, atol=1e-12)


def many_trees(count, seed=0):
    rng = np.random.default_rng(seed)
    made = model("treeEnsembleRegressor", {"x": (3,)}, {"y": DOUBLE}, "y")
    parameters = made.treeEnsembleRegressor.treeEnsemble
    parameters.numPredictionDimensions = 1
    parameters.basePredictionValue.append(0.5)
    for tree in range(count):
        grow(parameters, rng, tree, 5, [0], [-1.0, -0.5, 0.0, 0.5, 1.0], lambda: {0: 1e-3 * rng.standard_normal()})
    return made


def test_float64_is_kept_over_many_trees():
    made = many_trees(400)
    found = pippin.load(made, cache=False)
    for x in rows(3, 10, 3):
        assert found.predict({"x": x})["y"] == pytest.approx(
            walk(made.treeEnsembleRegressor.treeEnsemble, x)[0], rel=1e-13
        )


def shares(count, classes, depth, scale=1.0, modes=(0,), seed=0):
    """A classifier whose leaves have a value for each class, as scikit-learn's forests have; some have fewer."""
    rng = np.random.default_rng(seed)
    made = model("treeEnsembleClassifier", {"x": (3,)}, {"y": INT, "p": INTS}, "y", "p")
    labelled(made.treeEnsembleClassifier, list(range(10, 10 + classes)))
    parameters = made.treeEnsembleClassifier.treeEnsemble
    parameters.numPredictionDimensions = classes
    parameters.basePredictionValue.extend(rng.standard_normal(classes))

    def values():
        return {i: scale * rng.standard_normal() for i in range(classes) if rng.random() < 0.9}

    for tree in range(count):
        grow(parameters, rng, tree, depth, modes, EDGES, values)
    return made


def lowered(made):
    asset = open_model(made)
    return lower_model(asset, asset.description.function())


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 4, 9])
@pytest.mark.parametrize(("trees", "depth"), [(1, 3), (90, 3), (1000, 5)], ids=str)
def test_leaves_of_several_values(trees, depth, classes):
    """Of one tree, of many, and of so many branches that two threads walk; sums are rounded to float32 at the end."""
    made = shares(trees, classes, depth, modes=list(MODES))
    found, parameters = pippin.load(made, cache=False), made.treeEnsembleClassifier.treeEnsemble
    for x in np.random.default_rng(1).choice([*EDGES, np.nan, np.inf], (30, 3)):
        outputs, right = found.predict({"x": x}), walk(parameters, x)
        np.testing.assert_allclose(list(outputs["p"].values()), right, rtol=1e-6, atol=1e-6 * trees**0.5)
        assert list(outputs["p"]) == list(range(10, 10 + classes)) and outputs["y"] == 10 + int(np.argmax(right))


def test_sums_beyond_float32():
    made = shares(20, 3, 3, scale=1e38)
    outputs, x = predict(made, x=np.zeros(3)), np.zeros(3)
    np.testing.assert_allclose(
        list(outputs["p"].values()), walk(made.treeEnsembleClassifier.treeEnsemble, x), rtol=1e-12
    )


def test_two_ensembles_in_a_pipeline():
    """No version of ONNX's operators for classical models has both kinds; both are computed in float64 then."""
    classifier, regressor = shares(30, 3, 4), many_trees(30)
    made = pipeline([classifier, regressor], {"x": (3,)}, {"y": DOUBLE, "p": INTS})
    made.pipeline.models[1].description.output[0].name = "sum"
    made.description.output[0].name = "sum"
    outputs = predict(made, x=(x := np.array([0.3, -0.2, 1.0])))
    right = walk(classifier.treeEnsembleClassifier.treeEnsemble, x)
    np.testing.assert_allclose(list(outputs["p"].values()), right, rtol=1e-12)
    assert outputs["sum"] == pytest.approx(walk(regressor.treeEnsembleRegressor.treeEnsemble, x)[0], rel=1e-12)


def test_the_label_of_many_shares_inside_a_pipeline():
    """What stands beside the sums of two threads is no class of the model that takes the label."""
    classifier = shares(1000, 3, 5)
    del classifier.treeEnsembleClassifier.treeEnsemble.basePredictionValue[:]
    classifier.treeEnsembleClassifier.treeEnsemble.basePredictionValue.extend([-1e3, -2e3, -3e3])
    vectorizer = model("dictVectorizer", {"p": INTS}, {"row": (3,)})
    vectorizer.dictVectorizer.int64ToIndex.vector.extend([10, 11, 12])
    made = pipeline([classifier, vectorizer], {"x": (3,)}, {"row": (3,), "y": INT})
    outputs = predict(made, x=np.zeros(3))
    right = walk(classifier.treeEnsembleClassifier.treeEnsemble, np.zeros(3))
    np.testing.assert_allclose(outputs["row"], right, rtol=1e-6)
    assert outputs["y"] == 10


@pytest.mark.parametrize(
    ("trees", "depth", "several"), [(10, 3, False), (80, 9, False), (2000, 1, False), (1000, 5, True)], ids=str
)
def test_so_many_threads_as_there_is_work_for(trees, depth, several):
    assert (lowered(shares(trees, 3, depth)).threads > 1) is several


TRANSFORMS = {
    "NoTransform": lambda s: s,
    "Classification_SoftMax": lambda s: np.exp(s) / np.exp(s).sum(),
    "Regression_Logistic": lambda s: 1 / (1 + np.exp(-s)),
    "Classification_SoftMaxWithZeroClassReference": lambda s: np.append(1, np.exp(s)) / (1 + np.exp(s).sum()),
}


def stump(kind, outputs, dimensions, predicted="y"):
    made = model(kind, {"x": DOUBLE}, outputs, predicted)
    parameters = getattr(made, kind).treeEnsemble
    parameters.numPredictionDimensions = dimensions
    parameters.basePredictionValue.extend([0.25] * dimensions)
    parameters.nodes.add(treeId=0, nodeId=0, branchFeatureValue=0.5, trueChildNodeId=1, falseChildNodeId=2)
    for number, sign in ((1, 1), (2, -1)):
        leaf = parameters.nodes.add(treeId=0, nodeId=number, nodeBehavior=LEAF)
        for index in range(dimensions):
            leaf.evaluationInfo.add(evaluationIndex=index, evaluationValue=sign * (0.5 + index))
    return made


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_transforms(transform, dimensions):
    right = TRANSFORMS[transform](0.25 + 0.5 + np.arange(dimensions))
    made = stump("treeEnsembleRegressor", {"y": DOUBLE if len(right) == 1 else (len(right),)}, dimensions)
    number = list(TRANSFORMS).index(transform)
    made.treeEnsembleRegressor.postEvaluationTransform = number
    np.testing.assert_allclose(predict(made, x=0.0)["y"], right, rtol=1e-12)
    made = stump("treeEnsembleClassifier", {"y": STRING, "p": STRINGS}, dimensions)
    made.treeEnsembleClassifier.postEvaluationTransform = number
    right = np.array([1 - right[0], right[0]]) if len(right) == 1 else right
    labels = [f"class {i}" for i in range(len(right))]
    labelled(made.treeEnsembleClassifier, labels)
    outputs = predict(made, x=0.0)
    np.testing.assert_allclose([outputs["p"][label] for label in labels], right, rtol=1e-12)
    assert outputs["y"] == labels[int(np.argmax(right))]


def test_integer_labels():
    made = stump("treeEnsembleClassifier", {"y": INT, "p": INTS}, 2)
    labelled(made.treeEnsembleClassifier, [2**60 + 1, -5])
    assert predict(made, x=0.0)["y"] == -5
    assert predict(made, x=1.0)["y"] == 2**60 + 1


def test_inputs_that_are_not_given_are_missing():
    made = model("treeEnsembleRegressor", {"x": "double?", "n": "int?"}, {"y": DOUBLE}, "y")
    parameters = made.treeEnsembleRegressor.treeEnsemble
    parameters.CopyFrom(stump("treeEnsembleRegressor", {"y": DOUBLE}, 1).treeEnsembleRegressor.treeEnsemble)
    parameters.nodes[0].branchFeatureIndex = 1
    for tracks, expected in ((True, 0.75), (False, -0.25)):
        parameters.nodes[0].missingValueTracksTrueChild = tracks
        assert predict(made)["y"] == expected
    assert predict(made, n=1)["y"] == -0.25 and predict(made, n=0)["y"] == 0.75


def test_trees_of_one_leaf():
    made = stump("treeEnsembleRegressor", {"y": DOUBLE}, 1)
    nodes = made.treeEnsembleRegressor.treeEnsemble.nodes
    nodes.add(treeId=1, nodeId=0, nodeBehavior=LEAF).evaluationInfo.add(evaluationValue=10)
    assert predict(made, x=0.0)["y"] == 10.75
    del nodes[:3]
    assert predict(made, x=0.0)["y"] == 10.25


def test_an_array_of_unknown_length_is_not_read_beyond_its_end():
    made = stump("treeEnsembleRegressor", {"y": DOUBLE}, 1)
    made.description.input[0].type.multiArrayType.dataType = 65600
    parameters = made.treeEnsembleRegressor.treeEnsemble
    parameters.nodes[0].branchFeatureIndex = 3
    assert predict(made, x=np.array([0, 0, 0, 9.0, 0]))["y"] == -0.25
    with pytest.raises(pippin.errors.PredictionError):
        predict(made, x=np.zeros(2))


DAMAGES = {
    "a child that is not there": (
        lambda n, p: setattr(n[0], "trueChildNodeId", 9),
        "the child 9, which does not exist",
    ),
    "two ways to a node": (lambda n, p: setattr(n[0], "trueChildNodeId", 2), "two branches to node 2"),
    "a circle": (
        lambda n, p: n.add(treeId=0, nodeId=7, trueChildNodeId=7, falseChildNodeId=7),
        "two branches to node 7",
    ),
    "a circle of two": (
        lambda n, p: (
            [n.add(treeId=0, nodeId=i, trueChildNodeId=j, falseChildNodeId=k) for i, j, k in ((7, 8, 9), (8, 7, 10))]
            + [n.add(treeId=0, nodeId=i, nodeBehavior=LEAF) for i in (9, 10)]
        ),
        "tree 0 has 4 unreachable nodes",
    ),
    "two roots": (lambda n, p: n.add(treeId=0, nodeId=7, nodeBehavior=LEAF), "must have one root, got 2"),
    "the same number twice": (lambda n, p: n.add(treeId=0, nodeId=1, nodeBehavior=LEAF), "two nodes with the ID 1"),
    "a dimension too far": (
        lambda n, p: setattr(n[1].evaluationInfo[0], "evaluationIndex", 1),
        "dimension 1, but the number of dimensions is 1",
    ),
    "a feature too far": (lambda n, p: setattr(n[0], "branchFeatureIndex", 1), "feature 1, but the inputs provide 1"),
    "an unknown behavior": (lambda n, p: setattr(n[0], "nodeBehavior", 9), "unknown behavior 9"),
    "base predictions": (lambda n, p: p.basePredictionValue.append(1), "1 dimensions and 2 base predictions"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_no_tree(name):
    damage, message = DAMAGES[name]
    made = stump("treeEnsembleRegressor", {"y": DOUBLE}, 1)
    parameters = made.treeEnsembleRegressor.treeEnsemble
    damage(parameters.nodes, parameters)
    with pytest.raises(SpecificationError, match=message):
        pippin.load(made, cache=False)


def test_as_many_labels_as_probabilities():
    made = stump("treeEnsembleClassifier", {"y": INT}, 3)
    labelled(made.treeEnsembleClassifier, [1, 2, 3, 4])
    with pytest.raises(SpecificationError, match=r"4 class labels for 3 scores"):
        pippin.load(made, cache=False)
