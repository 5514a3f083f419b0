"""Meta: estimators that combine others: votes, stacks, bags, calibration, one against the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Forest
from ..parts.graph import Graph
from ..parts.interpolation import interpolated
from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import Value
from .classified import Classified, OfForest, OfProbabilities, OfScores, labels_of
from .registry import convert, converts, name_of
from .table import Table
from .trees import class_values, regression_values, tree_of


def averaged(graph: Graph, values: list[Value], weights: Any = None) -> Value:
    """The weighted mean of rows."""
    count, width = len(values), values[0].width
    shares = np.full(count, 1 / count) if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
    if all(value.kind == "number" for value in values):
        return graph.linear(graph.row(graph.concat(values)), shares[None])

    def step(g: ProgramBuilder, *xs: Tensor) -> Tensor:
        rows = g.concat([g.reshape(x, (1, width)) for x in xs])
        return g.reshape(g.matmul(shares[None], rows), (width,))

    return graph.step(step, *values, width=width)


def _classifier(estimator: Any, table: Table) -> Classified:
    made = convert(estimator, table)
    if not isinstance(made, Classified):
        raise UnsupportedModelError(f"{name_of(estimator)} is not a classifier")
    return made


def _regressor(estimator: Any, table: Table) -> Value:
    made = convert(estimator, table)
    if not isinstance(made, Value):
        raise UnsupportedModelError(f"{name_of(estimator)} is not a regressor")
    return made


def _members(estimator: Any) -> tuple[list[Any], Any]:
    """The fitted members and their weights: those of dropped members do not count."""
    weights = estimator.weights
    if weights is not None:
        named = zip(estimator.estimators, weights, strict=True)
        weights = [weight for (_, member), weight in named if member not in (None, "drop")]
    return list(estimator.estimators_), weights


@converts("sklearn", "VotingClassifier")
def voting(estimator: Any, table: Table) -> Classified:
    members, weights = _members(estimator)
    made = [_classifier(member, table) for member in members]
    labels = labels_of(estimator.classes_, name_of(estimator))
    hard = estimator.voting == "hard"
    rows = [each.winner() if hard else each.probabilities() for each in made]
    result = OfProbabilities(table.graph, labels, averaged(table.graph, rows, weights))
    result.has_probabilities = not hard
    return result


@converts("sklearn", "VotingRegressor")
def voting_regressor(estimator: Any, table: Table) -> Value:
    members, weights = _members(estimator)
    return averaged(table.graph, [_regressor(member, table) for member in members], weights)


@converts("sklearn", "StackingClassifier", "StackingRegressor")
def stacking(estimator: Any, table: Table) -> Any:
    """The members' predictions are the columns of the last estimator."""
    columns = Table(table.graph, [])
    for member, method in zip(estimator.estimators_, estimator.stack_method_, strict=True):
        columns = columns + _stacked(member, method, table)
    if estimator.passthrough:
        columns = columns + table
    made = convert(estimator.final_estimator_, columns)
    if isinstance(made, Classified):
        made.classes = labels_of(estimator.classes_, name_of(estimator))
    return made


def _stacked(member: Any, method: str, table: Table) -> Table:
    made = convert(member, table)
    if isinstance(made, Value):
        return Table.of(table.graph, made)
    if method == "decision_function":
        return Table.of(table.graph, made.decision())
    if method != "predict_proba":
        raise UnsupportedModelError(f"{name_of(member)} gives labels to the last estimator, which is not converted")
    found = Table.of(table.graph, made.probabilities())
    return found.select([1]) if found.width == 2 else found


@converts("sklearn", "BaggingClassifier")
def bagging(estimator: Any, table: Table) -> Classified:
    labels, count = labels_of(estimator.classes_, name_of(estimator)), len(estimator.classes_)
    pairs = list(zip(estimator.estimators_, estimator.estimators_features_, strict=True))
    if all(type(e).__name__ in ("DecisionTreeClassifier", "ExtraTreeClassifier") for e, _ in pairs):
        forest, share = Forest(np.zeros(count)), 1 / len(pairs)
        for member, columns in pairs:
            values = np.zeros((member.tree_.node_count, count))
            values[:, np.asarray(member.classes_, int)] = class_values(member) * share
            forest.trees.append(tree_of(member, values, columns))
        return OfForest(table.graph, labels, table.numbers(), forest)
    made = [_classifier(member, table.select(columns)) for member, columns in pairs]
    rows = [each.probabilities() if each.has_probabilities else each.winner() for each in made]
    if any(row.width != count for row in rows):
        raise UnsupportedModelError(f"{name_of(estimator)} has members that saw only some of the classes")
    return OfProbabilities(table.graph, labels, averaged(table.graph, rows))


@converts("sklearn", "BaggingRegressor")
def bagging_regressor(estimator: Any, table: Table) -> Value:
    pairs = list(zip(estimator.estimators_, estimator.estimators_features_, strict=True))
    if all(type(e).__name__ in ("DecisionTreeRegressor", "ExtraTreeRegressor") for e, _ in pairs):
        share = 1 / len(pairs)
        trees = [tree_of(member, regression_values(member) * share, columns) for member, columns in pairs]
        return table.graph.trees(table.numbers(), Forest(np.zeros(regression_values(pairs[0][0]).shape[1]), trees))
    return averaged(table.graph, [_regressor(member, table.select(columns)) for member, columns in pairs])


@converts("sklearn", "CalibratedClassifierCV")
def calibrated(estimator: Any, table: Table) -> Classified:
    labels = labels_of(estimator.classes_, name_of(estimator))
    rows = [_calibrated(each, table, len(labels)) for each in estimator.calibrated_classifiers_]
    return OfProbabilities(table.graph, labels, rows[0] if len(rows) == 1 else averaged(table.graph, rows))


def _calibrated(one: Any, table: Table, count: int) -> Value:
    """The scores of one member, each through its calibrator, over their sum."""
    inner = one.estimator
    made = _classifier(inner, table)
    scores = made.decision() if hasattr(inner, "decision_function") else made.probabilities()
    if count == 2 and scores.width == 2:
        scores = table.graph.select(scores, [1])
    if one.method not in ("sigmoid", "isotonic"):
        raise UnsupportedModelError(f"CalibratedClassifierCV with method={one.method!r} is not converted")

    each = table.graph.concat([_through(table.graph, scores, k, one) for k in range(len(one.calibrators))])

    def step(g: ProgramBuilder, each: Tensor) -> Tensor:
        if count == 2:
            return g.concat([g.sub(1.0, each), each])
        total = g.sum(each)
        none = g.equal(total, 0.0)
        shares = g.div(each, g.select(none, np.ones(1), total))
        return g.select(none, np.full(count, 1 / count), shares)

    return table.graph.step(step, each, width=count)


def _through(graph: Graph, scores: Value, place: int, one: Any) -> Value:
    """A score through its calibrator."""
    calibrator, score = one.calibrators[place], graph.select(scores, [place])
    if one.method == "sigmoid":
        return graph.row(graph.linear(score, [[-float(calibrator.a_)]], -float(calibrator.b_), logistic=True))
    return interpolated(graph, score, [calibrator.X_thresholds_], [calibrator.y_thresholds_])


@converts("sklearn", "IsotonicRegression")
def isotonic(estimator: Any, table: Table) -> Value:
    points, heights = estimator.X_thresholds_, estimator.y_thresholds_
    if estimator.out_of_bounds != "clip":
        raise UnsupportedModelError("IsotonicRegression is converted with out_of_bounds='clip': a model cannot raise")
    table.seen(points[0], points[-1])
    return interpolated(table.graph, table.numbers(), [points], [heights])


@converts("sklearn", "OneVsRestClassifier")
def one_against_rest(estimator: Any, table: Table) -> Classified:
    if estimator.multilabel_:
        raise UnsupportedModelError("OneVsRestClassifier with several labels at once has no Core ML classifier")
    made = [_classifier(member, table) for member in estimator.estimators_]
    labels = labels_of(estimator.classes_, name_of(estimator))
    if len(made) == 1:
        made[0].classes = labels
        return made[0]
    if all(isinstance(each, OfScores) and len(each.weights) == 1 for each in made):
        some: Any = made
        weights, offset = np.concatenate([e.weights for e in some]), np.concatenate([e.offset for e in some])
        return OfScores(table.graph, labels, some[0].x, weights, offset, some[0].link)
    rows = [table.graph.select(each.probabilities(), [1]) for each in made]

    def step(g: ProgramBuilder, *xs: Tensor) -> Tensor:
        each = g.concat(xs)
        return g.div(each, g.sum(each))

    return OfProbabilities(table.graph, labels, table.graph.step(step, *rows, width=len(rows)))


@converts("sklearn", "MultiOutputRegressor")
def several_targets(estimator: Any, table: Table) -> Value:
    return table.graph.concat([_regressor(member, table) for member in estimator.estimators_])


@converts("sklearn", "DummyRegressor")
def constant(estimator: Any, table: Table) -> Value:
    return table.graph.trees(table.numbers(), Forest(np.asarray(estimator.constant_, np.float64).reshape(-1)))


@converts("sklearn", "DummyClassifier")
def constant_class(estimator: Any, table: Table) -> Classified:
    if estimator.strategy not in ("prior", "most_frequent", "constant"):
        raise UnsupportedModelError(f"DummyClassifier with strategy={estimator.strategy!r} is random")
    row = np.asarray(estimator.predict_proba(np.zeros((1, 1))), np.float64)[0]
    labels = labels_of(estimator.classes_, name_of(estimator))
    return OfForest(table.graph, labels, table.numbers(), Forest(row))


@converts("sklearn", "IsolationForest")
def isolation(estimator: Any, table: Table) -> Classified:
    """1 for an inlier and -1 for an outlier, by the mean depth of the leaves that a row reaches."""
    depths = Forest(np.zeros(1))
    for number, (member, columns) in enumerate(zip(estimator.estimators_, estimator.estimators_features_, strict=True)):
        lengths = estimator._decision_path_lengths[number] + estimator._average_path_length_per_tree[number] - 1.0
        depths.trees.append(tree_of(member, np.asarray(lengths, np.float64)[:, None], columns))
    from sklearn.ensemble._iforest import _average_path_length

    # The score 2^(-depth / (trees * average)) is above -offset for an outlier: a bound on the sum of depths.
    scale = len(estimator.estimators_) * float(_average_path_length([estimator._max_samples])[0])
    bound = -np.log2(-estimator.offset_) * scale
    total = table.graph.trees(table.numbers(), depths)
    return OfScores(table.graph, [-1, 1], total, np.ones((1, 1)), np.array([-bound]), "")
