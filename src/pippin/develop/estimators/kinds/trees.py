"""Trees of scikit-learn: decision trees and the ensembles that average them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Forest, Tree, from_arrays, of_float32
from ..parts.values import Value
from .classified import Classified, OfForest, labels_of
from .registry import converts, name_of
from .table import Table


def tree_of(estimator: Any, values: np.ndarray, columns: Any = None) -> Tree:
    """A fitted tree whose nodes give `values` (nodes, dimensions); `columns` are the numbers of its features.

    scikit-learn rounds its inputs to float32, Core ML compares in float64: see `of_float32`.
    """
    tree = estimator.tree_
    features = tree.feature if columns is None else np.asarray(columns)[np.maximum(tree.feature, 0)]
    missing = getattr(tree, "missing_go_to_left", None)
    missing = np.zeros(tree.node_count, bool) if missing is None else missing.astype(bool)
    return from_arrays(tree.children_left, tree.children_right, features, of_float32(tree.threshold), missing, values)


def class_values(estimator: Any) -> np.ndarray:
    """What `predict_proba` gives at each node (nodes, classes)."""
    _one_output(estimator)
    found: np.ndarray = estimator.tree_.value[:, 0, : estimator.n_classes_]
    return found


def regression_values(estimator: Any) -> np.ndarray:
    """What `predict` gives at each node (nodes, outputs)."""
    found: np.ndarray = estimator.tree_.value[:, :, 0]
    return found


def _one_output(estimator: Any) -> None:
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise UnsupportedModelError(
            f"{name_of(estimator)} predicts {estimator.n_outputs_} labels at once; a Core ML classifier has one:"
            " train and convert one for each"
        )


@converts("sklearn", "DecisionTreeClassifier", "ExtraTreeClassifier")
def tree_classifier(estimator: Any, table: Table) -> Classified:
    forest = Forest(np.zeros(estimator.n_classes_), [tree_of(estimator, class_values(estimator))])
    return OfForest(table.graph, labels_of(estimator.classes_, name_of(estimator)), table.numbers(), forest)


@converts("sklearn", "DecisionTreeRegressor", "ExtraTreeRegressor")
def tree_regressor(estimator: Any, table: Table) -> Value:
    forest = Forest(np.zeros(estimator.n_outputs_), [tree_of(estimator, regression_values(estimator))])
    return table.graph.trees(table.numbers(), forest)


@converts("sklearn", "RandomForestClassifier", "ExtraTreesClassifier")
def forest_classifier(estimator: Any, table: Table) -> Classified:
    _one_output(estimator)
    share = 1 / len(estimator.estimators_)
    trees = [tree_of(each, class_values(each) * share) for each in estimator.estimators_]
    forest = Forest(np.zeros(estimator.n_classes_), trees)
    return OfForest(table.graph, labels_of(estimator.classes_, name_of(estimator)), table.numbers(), forest)


@converts("sklearn", "RandomForestRegressor", "ExtraTreesRegressor")
def forest_regressor(estimator: Any, table: Table) -> Value:
    share = 1 / len(estimator.estimators_)
    trees = [tree_of(each, regression_values(each) * share) for each in estimator.estimators_]
    return table.graph.trees(table.numbers(), Forest(np.zeros(estimator.n_outputs_), trees))


@converts("sklearn", "RandomTreesEmbedding")
def embedding(estimator: Any, table: Table) -> Table:
    """A one for the leaf that each tree reaches."""
    encoder, trees, start = estimator.one_hot_encoder_, [], 0
    for each, leaves in zip(estimator.estimators_, encoder.categories_, strict=True):
        values = np.zeros((each.tree_.node_count, len(leaves)))
        values[leaves, np.arange(len(leaves))] = 1
        tree = each.tree_
        trees.append(
            from_arrays(
                tree.children_left, tree.children_right, tree.feature, of_float32(tree.threshold),
                np.zeros(tree.node_count, bool), values, start,
            )
        )  # fmt: skip
        start += len(leaves)
    return Table.of(table.graph, table.graph.trees(table.numbers(), Forest(np.zeros(start), trees)))
