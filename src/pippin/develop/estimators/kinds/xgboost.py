"""XGBoost: its trees, read from its JSON form; they compare in float32 and sum in float32."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Branch, Forest, Leaf, Tree, of_float32
from ..parts.values import Value
from .boosting import Memberships
from .classified import Classified, OfForest, OfScores, labels_of
from .encoding import coded
from .registry import converts, name_of
from .table import Table

FLOAT32_SUMS = 1e-5
"""How exact probabilities are of a library that adds its trees up in float32."""
_IDENTITY = {
    "reg:squarederror", "reg:absoluteerror", "reg:quantileerror", "reg:pseudohubererror", "reg:squaredlogerror",
    "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw", "reg:linear",
}  # fmt: skip
_LOGISTIC = {"binary:logistic", "reg:logistic"}
_EXPONENTIAL = {"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"}
_SOFTMAX = {"multi:softprob", "multi:softmax"}


class Booster:
    """The parameters of a booster. `rounds` is the number of those that predictions use; None: all."""

    def __init__(self, booster: Any, rounds: int | None) -> None:
        learner = json.loads(bytes(booster.save_raw("json")))["learner"]
        self.objective: str = learner["objective"]["name"]
        parameters = learner["learner_model_param"]
        self.outputs = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
        base = json.loads(parameters["base_score"].replace("E", "e"))
        self.base = np.broadcast_to(np.asarray(base, np.float64).reshape(-1), (self.outputs,)).copy()
        self.kind = learner["gradient_booster"]["name"]
        boosted = learner["gradient_booster"]
        self.drops = boosted.get("weight_drop")
        self.model = boosted.get("gbtree", boosted)["model"]
        self.types = learner.get("feature_types") or []
        self.rounds = rounds

    def margin(self) -> np.ndarray:
        """The base score before the transform of the objective."""
        if self.objective in _LOGISTIC or self.objective == "binary:logitraw":
            with np.errstate(divide="ignore"):
                return np.log(self.base / (1 - self.base))
        return np.log(self.base) if self.objective in _EXPONENTIAL else self.base

    def forest(self, table: Table) -> tuple[Value, Forest]:
        table.graph.tolerance = FLOAT32_SUMS
        table = self._coded(table)
        forest, sets, x = Forest(self.margin()), Memberships(), table.numbers()
        trees, targets = self.model["trees"], self.model["tree_info"]
        count = len(trees) if self.rounds is None else int(self.model["iteration_indptr"][self.rounds])
        for number in range(count):
            weight = 1.0 if self.drops is None else float(self.drops[number])
            forest.trees.append(_tree(trees[number], int(targets[number]), weight, sets, table.width))
        for column, kind in enumerate(self.types):
            place = table.columns[column]
            if kind == "c" and isinstance(place, int) and table.graph.categories[place] is None:
                table.graph.categories[place] = sorted(
                    {int(c) for f, s, _ in sets.sets for c in s if f == column} | {0}
                )
        return sets.joined(table, x), forest

    def _coded(self, table: Table) -> Table:
        """Columns of categories that the model keeps the names of (since XGBoost 3.1) as their codes."""
        found = Table(table.graph, [])
        kept = self.model.get("cats", {}).get("enc", [])
        for column in range(table.width):
            one = table.select([column])
            names = _names(kept[column]) if column < len(kept) else []
            found = found + (coded(one, names) if names else one)
        return found


def _names(found: Any) -> list[Any]:
    """The categories of a column: the bytes of all strings and where each ends, or numbers."""
    values = found["values"]
    if "offsets" not in found:
        return list(values)
    text, ends = bytes(v % 256 for v in values), found["offsets"]
    return [text[a:b].decode() for a, b in pairwise(ends)]


def _tree(found: Any, target: int, weight: float, sets: Memberships, width: int) -> Tree:
    left, right = found["left_children"], found["right_children"]
    conditions = np.asarray(found["split_conditions"], np.float32)
    bounds = of_float32(conditions, strict=True)
    several = int(found["tree_param"].get("size_leaf_vector", 1)) > 1
    tree: Tree = []
    for node, (to_left, to_right) in enumerate(zip(left, right, strict=True)):
        goes_left = bool(found["default_left"][node])
        if to_left < 0:
            tree.append(_leaf(found, node, target, weight, several, float(conditions[node])))
        elif found["split_type"][node] == 1:
            place = width + sets.place(int(found["split_indices"][node]), _right(found, node), not goes_left)
            tree.append(Branch(place, 0.5, to_left, to_right))
        else:
            tree.append(Branch(int(found["split_indices"][node]), float(bounds[node]), to_left, to_right, goes_left))
    return tree


def _leaf(found: Any, node: int, target: int, weight: float, several: bool, value: float) -> Leaf:
    if not several:
        return Leaf({target: value * weight})
    count = int(found["tree_param"]["size_leaf_vector"])
    if "leaf_weights" in found:
        place = int(found["right_children"][node])
        row = found["leaf_weights"][place * count : (place + 1) * count]
    else:
        row = found["base_weights"][node * count : (node + 1) * count]
    return Leaf({d: float(np.float32(v)) * weight for d, v in enumerate(row)})


def _right(found: Any, node: int) -> frozenset[int]:
    """The categories that go right."""
    segment = found["categories_nodes"].index(node)
    start, size = found["categories_segments"][segment], found["categories_sizes"][segment]
    return frozenset(int(c) for c in found["categories"][start : start + size])


@converts("xgboost", "XGBRegressor", "XGBRFRegressor", "XGBRanker", "Booster")
def regressor(estimator: Any, table: Table) -> Any:
    booster = _of(estimator)
    if booster.objective in _SOFTMAX or booster.objective == "binary:logistic":
        classes = list(range(max(booster.outputs, 2)))
        return _classified(booster, table, classes)
    raw = _raw(booster, table)
    if booster.objective in _EXPONENTIAL:
        return table.graph.step(lambda g, x: g.exp(x), raw, width=raw.width)
    if booster.objective in _LOGISTIC:
        return table.graph.step(lambda g, x: g.sigmoid(x), raw, width=raw.width)
    if booster.objective in _IDENTITY:
        return raw
    raise UnsupportedModelError(f"{name_of(estimator)} has the objective {booster.objective!r}, which is not converted")


@converts("xgboost", "XGBClassifier", "XGBRFClassifier")
def classifier(estimator: Any, table: Table) -> Classified:
    return _classified(_of(estimator), table, labels_of(estimator.classes_, name_of(estimator)))


def _classified(booster: Booster, table: Table, classes: list[Any]) -> Classified:
    if booster.objective not in _SOFTMAX | _LOGISTIC:
        raise UnsupportedModelError(
            f"a classifier of XGBoost has the objective {booster.objective!r}; converted are"
            f" {', '.join(sorted(_SOFTMAX | _LOGISTIC))}"
        )
    link = "logistic" if booster.objective in _LOGISTIC else "softmax"
    if booster.kind == "gblinear":
        weights, offset = _linear(booster, table)
        return OfScores(table.graph, classes, _present(table), weights, offset, link)
    x, forest = booster.forest(table)
    return OfForest(table.graph, classes, x, forest, link)


def _raw(booster: Booster, table: Table) -> Value:
    if booster.kind == "gblinear":
        weights, offset = _linear(booster, table)
        return table.graph.linear(_present(table), weights, offset)
    x, forest = booster.forest(table)
    return table.graph.trees(x, forest)


def _present(table: Table) -> Value:
    """A linear booster leaves out what is missing."""
    return table.graph.filled(table.numbers(), np.zeros(table.width))


def _linear(booster: Booster, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """The weights (outputs, columns) and offsets of a linear booster."""
    table.graph.tolerance = FLOAT32_SUMS
    found = np.asarray(booster.model["weights"], np.float64).reshape(table.width + 1, booster.outputs)
    return found[:-1].T, found[-1] + booster.margin()[0]  # XGBoost adds the first base score to all


def _of(estimator: Any) -> Booster:
    if name_of(estimator) == "Booster":
        return Booster(estimator, None)
    best = getattr(estimator, "best_iteration", None) if estimator.early_stopping_rounds is not None else None
    missing = estimator.missing
    if missing is not None and not np.isnan(missing):
        raise UnsupportedModelError(
            f"{name_of(estimator)} takes {missing} for a missing value; a Core ML model takes NaN: replace it before"
        )
    return Booster(estimator.get_booster(), None if best is None else best + 1)
