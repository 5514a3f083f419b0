"""LightGBM: its trees compare in float64, as Core ML does."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Branch, Forest, Leaf, Tree
from ..parts.values import Value
from .boosting import Memberships
from .classified import Classified, OfForest, labels_of
from .encoding import coded
from .registry import converts, name_of
from .table import Table

_IDENTITY = {
    "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom",
}  # fmt: skip
_ZERO = float(np.float32(1e-35))
_EXPONENTIAL = {"poisson", "gamma", "tweedie"}


class Booster:
    def __init__(self, booster: Any) -> None:
        self.dump = booster.dump_model()
        name, *options = str(self.dump.get("objective", "custom")).split()
        self.objective, self.options = name, dict(o.partition(":")[::2] for o in options)
        self.outputs = int(self.dump["num_tree_per_iteration"])
        self.categories = booster.pandas_categorical or []
        self.averaged = "average_output" in self.dump and bool(self.dump["average_output"])

    def forest(self, table: Table) -> tuple[Value, Forest]:
        table = self._coded(table)
        forest, sets, x = Forest(np.zeros(self.outputs)), Memberships(), table.numbers()
        trees = self.dump["tree_info"]
        scale = self.outputs / len(trees) if self.averaged and trees else 1.0
        scale *= float(self.options.get("sigmoid", 1)) if self.objective in ("binary", "multiclassova") else 1.0
        for number, found in enumerate(trees):
            tree: Tree = []
            _grow(found["tree_structure"], tree, number % self.outputs, scale, sets, table.width)
            forest.trees.append(tree)
        self._ranges(table)
        return sets.joined(table, x), forest

    def _coded(self, table: Table) -> Table:
        """Columns of pandas categories as their codes; an unknown one is missing."""
        infos = self.dump.get("feature_infos", {})
        names = [n for n in self.dump["feature_names"] if "values" in infos.get(n, {}) and len(infos[n]["values"])]
        if not self.categories:
            return table
        places = [i for i, n in enumerate(self.dump["feature_names"]) if n in names]
        if len(places) != len(self.categories):
            places = _categorical_columns(self.dump)
        found = Table(table.graph, [])
        for column in range(table.width):
            one = table.select([column])
            if column in places:
                one = coded(one, self.categories[places.index(column)])
            found = found + one
        return found

    def _ranges(self, table: Table) -> None:
        for column, name in enumerate(self.dump["feature_names"]):
            info = self.dump.get("feature_infos", {}).get(name, {})
            place = table.columns[column]
            if not isinstance(place, int):
                continue
            if info.get("values"):
                table.graph.categories[place] = list(info["values"])
            elif "min_value" in info and info["min_value"] < info["max_value"]:
                table.select([column]).seen(info["min_value"], info["max_value"])


def _categorical_columns(dump: Any) -> list[int]:
    raise UnsupportedModelError(
        "this LightGBM model has pandas categories, and categorical columns that were given by number as well, so the"
        " columns of the categories cannot be told; give all as pandas categories"
    )


def _grow(node: Any, tree: Tree, target: int, scale: float, sets: Memberships, width: int) -> int:
    place = len(tree)
    if "split_index" not in node:
        if "leaf_coeff" in node:
            raise UnsupportedModelError(
                "LightGBM's linear trees have a linear model in each leaf, which Core ML has not"
            )
        tree.append(Leaf({target: float(node["leaf_value"]) * scale}))
        return place
    tree.append(Leaf({}))
    true = _grow(node["left_child"], tree, target, scale, sets, width)
    false = _grow(node["right_child"], tree, target, scale, sets, width)
    tree[place] = _branch(node, true, false, sets, width)
    return place


def _bound(threshold: float) -> float:
    """LightGBM takes numbers from -1e-35 to 1e-35 (as a float32) for 0."""
    if not -_ZERO <= threshold <= _ZERO:
        return threshold
    return _ZERO if threshold >= 0 else float(np.nextafter(-_ZERO, -np.inf))


def _branch(node: Any, true: int, false: int, sets: Memberships, width: int) -> Branch:
    feature, kind = int(node["split_feature"]), node["missing_type"]
    if node["decision_type"] == "==":
        members = frozenset(int(c) for c in str(node["threshold"]).split("||"))
        return Branch(width + sets.place(feature, members, missing=False), 0.5, false, true)
    threshold, to_left = _bound(float(node["threshold"])), bool(node["default_left"])
    if kind == "None":  # NaN counts as 0
        return Branch(feature, threshold, true, false, threshold >= 0)
    if kind == "Zero" and to_left != (threshold >= 0):
        raise UnsupportedModelError(
            "this LightGBM model takes 0 for a missing value (zero_as_missing); replace 0 by NaN before training"
        )
    return Branch(feature, threshold, true, false, to_left)


@converts("lightgbm", "LGBMRegressor", "LGBMRanker", "Booster")
def regressor(estimator: Any, table: Table) -> Any:
    booster = _of(estimator)
    if booster.objective in ("binary", "multiclass", "multiclassova"):
        return _classified(booster, table, list(range(max(booster.outputs, 2))))
    x, forest = booster.forest(table)
    raw = table.graph.trees(x, forest)
    if booster.objective in _EXPONENTIAL:
        return table.graph.step(lambda g, x: g.exp(x), raw, width=1)
    if booster.objective in ("cross_entropy", "xentropy"):
        return table.graph.step(lambda g, x: g.sigmoid(x), raw, width=1)
    if "sqrt" in booster.options:  # x * |x|
        return table.graph.step(lambda g, x: g.mul(x, g.abs(x)), raw, width=1)
    if booster.objective not in _IDENTITY:
        raise UnsupportedModelError(
            f"{name_of(estimator)} has the objective {booster.objective!r}, which is not converted"
        )
    return raw


@converts("lightgbm", "LGBMClassifier")
def classifier(estimator: Any, table: Table) -> Classified:
    return _classified(_of(estimator), table, labels_of(estimator.classes_, name_of(estimator)))


def _classified(booster: Booster, table: Table, classes: list[Any]) -> Classified:
    if booster.objective not in ("binary", "multiclass", "multiclassova"):
        raise UnsupportedModelError(
            f"a classifier of LightGBM has the objective {booster.objective!r}; converted are"
            " binary, multiclass and multiclassova"
        )
    x, forest = booster.forest(table)
    link = {"binary": "logistic", "multiclass": "softmax", "multiclassova": "separate"}[booster.objective]
    return OfForest(table.graph, classes, x, forest, link)


def _of(estimator: Any) -> Booster:
    return Booster(estimator if name_of(estimator) == "Booster" else estimator.booster_)
