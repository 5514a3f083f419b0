"""Boosting of scikit-learn: trees that correct one another, and trees that vote."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Branch, Forest, Leaf, Tree, lookup
from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import Value
from .classified import Classified, OfForest, OfScores, labels_of
from .registry import convert, converts, name_of
from .table import Table
from .trees import class_values, regression_values, tree_of


def _start(estimator: Any) -> np.ndarray:
    """The numbers before the first tree; they must be the same for every row."""
    if estimator.init_ != "zero" and type(estimator.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise UnsupportedModelError(
            f"{name_of(estimator)} starts from {name_of(estimator.init_)}; only a constant start is converted"
        )
    row = np.zeros((1, estimator.n_features_in_), np.float32)
    found: np.ndarray = np.asarray(estimator._raw_predict_init(row), np.float64).reshape(-1)
    return found


def _gradient_forest(estimator: Any) -> Forest:
    forest = Forest(_start(estimator))
    for stage in estimator.estimators_:
        for dimension, each in enumerate(stage):
            tree = tree_of(each, regression_values(each) * estimator.learning_rate)
            forest.trees.append([_moved(node, dimension) for node in tree])
    return forest


def _moved(node: Branch | Leaf, dimension: int) -> Branch | Leaf:
    return node if isinstance(node, Branch) else Leaf({dimension: node.values[0]})


@converts("sklearn", "GradientBoostingClassifier")
def gradient_classifier(estimator: Any, table: Table) -> Classified:
    forest = _gradient_forest(estimator)
    if estimator.loss == "exponential":  # its probability is the logistic function of twice the sum
        forest.base *= 2
        forest.trees = [[_scaled(node, 2.0) for node in tree] for tree in forest.trees]
    link = "logistic" if forest.dimensions == 1 else "softmax"
    return OfForest(table.graph, labels_of(estimator.classes_, name_of(estimator)), table.numbers(), forest, link)


def _scaled(node: Branch | Leaf, factor: float) -> Branch | Leaf:
    return node if isinstance(node, Branch) else Leaf({d: v * factor for d, v in node.values.items()})


@converts("sklearn", "GradientBoostingRegressor")
def gradient_regressor(estimator: Any, table: Table) -> Value:
    return table.graph.trees(table.numbers(), _gradient_forest(estimator))


class Memberships:
    """Splits by sets of categories: a tree cannot ask for a set, so each set is an element made before the trees."""

    def __init__(self) -> None:
        self.sets: dict[tuple[int, frozenset[int], bool], int] = {}

    def place(self, feature: int, members: frozenset[int], missing: bool) -> int:
        """The number of the element that is 1 for members, and for missing or unknown ones if `missing`."""
        return self.sets.setdefault((feature, members, missing), len(self.sets))

    def joined(self, table: Table, x: Value) -> Value:
        """The row with the elements of all sets after it."""
        if not self.sets:
            return x
        forest = Forest(np.zeros(len(self.sets)))
        for feature in sorted({feature for feature, _, _ in self.sets}):
            mine = [(place, key) for key, place in self.sets.items() if key[0] == feature]
            known = sorted(set().union(*(members for _, (_, members, _) in mine)))
            rows = {float(c): {p: 1.0 for p, (_, members, _) in mine if c in members} for c in known}
            missing = {p: 1.0 for p, (_, _, goes) in mine if goes}
            # A number that no set has is no member, a missing one goes where the split sends it.
            forest.trees.append(lookup(feature, rows, {}, missing))
        return table.graph.concat([x, table.graph.row(table.graph.trees(x, forest))])


def _histogram(estimator: Any, table: Table) -> tuple[Value, Forest]:
    if estimator._preprocessor is not None:
        table = convert(estimator._preprocessor, table)
    x, sets, width = table.numbers(), Memberships(), table.width
    base = np.asarray(estimator._baseline_prediction, np.float64).reshape(-1)
    forest = Forest(base)
    for stage in estimator._predictors:
        for dimension, predictor in enumerate(stage):
            forest.trees.append(_histogram_tree(predictor, dimension, sets, width))
    return sets.joined(table, x), forest


def _histogram_tree(predictor: Any, dimension: int, sets: Memberships, width: int) -> Tree:
    tree: Tree = []
    for node in predictor.nodes:
        left, right, missing = int(node["left"]), int(node["right"]), bool(node["missing_go_to_left"])
        if node["is_leaf"]:
            tree.append(Leaf({dimension: float(node["value"])}))
        elif node["is_categorical"]:
            bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
            members = frozenset(c for c in range(256) if bits[c // 32] >> np.uint32(c % 32) & np.uint32(1))
            place = width + sets.place(int(node["feature_idx"]), members, missing)
            tree.append(Branch(place, 0.5, right, left))
        else:
            tree.append(Branch(int(node["feature_idx"]), float(node["num_threshold"]), left, right, missing))
    return tree


@converts("sklearn", "HistGradientBoostingClassifier")
def histogram_classifier(estimator: Any, table: Table) -> Classified:
    x, forest = _histogram(estimator, table)
    link = "logistic" if forest.dimensions == 1 else "softmax"
    return OfForest(table.graph, labels_of(estimator.classes_, name_of(estimator)), x, forest, link)


@converts("sklearn", "HistGradientBoostingRegressor")
def histogram_regressor(estimator: Any, table: Table) -> Value:
    x, forest = _histogram(estimator, table)
    raw = table.graph.trees(x, forest)
    if estimator.loss in ("poisson", "gamma"):
        return table.graph.step(lambda g, x: g.exp(x), raw, width=1)
    return raw


@converts("sklearn", "AdaBoostClassifier")
def adaptive_classifier(estimator: Any, table: Table) -> Classified:
    """Each member votes for one class with its weight; the probabilities are a softmax of the votes."""
    count, total = len(estimator.classes_), float(np.sum(estimator.estimator_weights_))
    labels, x = labels_of(estimator.classes_, name_of(estimator)), table.numbers()
    members = list(zip(estimator.estimators_, estimator.estimator_weights_, strict=False))
    # The votes of K classes: the weight for the class, -weight / (K - 1) for others, over the sum of weights, and
    # over K - 1 in the softmax; with two classes, half of the difference to each side.
    scale = 1 / total / (count - 1)
    if not all(hasattr(each, "tree_") for each, _ in members):
        votes = [convert(each, table).winner() for each, _ in members]
        weights = np.concatenate([_vote(np.eye(count), w * scale) for _, w in members], axis=0)
        return OfScores(table.graph, labels, table.graph.concat(votes), weights.T, np.zeros(count), "softmax")
    forest = Forest(np.zeros(count))
    for each, weight in members:
        chosen = np.eye(count)[class_values(each).argmax(axis=1)]
        forest.trees.append(tree_of(each, _vote(chosen, weight * scale)))
    return OfForest(table.graph, labels, x, forest, "softmax")


def _vote(chosen: np.ndarray, weight: float) -> np.ndarray:
    votes: np.ndarray = np.where(chosen > 0, weight, -weight / (chosen.shape[1] - 1))
    return votes


@converts("sklearn", "AdaBoostRegressor")
def adaptive_regressor(estimator: Any, table: Table) -> Value:
    """The weighted median of the members."""
    members, weights = estimator.estimators_, np.asarray(estimator.estimator_weights_, np.float64)
    graph, count = table.graph, len(members)
    weights = weights[:count]
    if all(hasattr(each, "tree_") for each in members):
        trees = [[_moved(n, i) for n in tree_of(m, regression_values(m))] for i, m in enumerate(members)]
        row = graph.trees(table.numbers(), Forest(np.zeros(count), trees))
    else:
        row = graph.concat([convert(member, table) for member in members])

    def median(g: ProgramBuilder, x: Tensor) -> Tensor:
        order = g.argsort(x)
        below = g.cumsum(g.gather(weights / weights.sum(), order))
        reached = g.select(g.greater_equal(below, 0.5), np.ones(count), np.zeros(count))
        place = g.argmax(reached)
        return g.gather(x, g.gather(order, place))

    return graph.step(median, row, width=1)
