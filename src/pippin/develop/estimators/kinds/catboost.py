"""CatBoost: its trees, symmetric or not, read from its JSON form; they compare in float32."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Branch, Forest, Leaf, Tree, of_float32
from ..parts.values import Value
from .classified import Classified, OfForest, labels_of
from .registry import converts, name_of
from .table import Table
from .xgboost import FLOAT32_SUMS

_IDENTITY = {
    "RMSE", "MAE", "Quantile", "MAPE", "Huber", "Expectile", "LogCosh", "Lq", "MultiRMSE", "PairLogit",
    "PairLogitPairwise", "YetiRank", "YetiRankPairwise", "QueryRMSE", "QuerySoftMax",
}  # fmt: skip
_EXPONENTIAL = {"Poisson", "Tweedie"}


def _read(estimator: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json")
        found = json.loads(path.read_text(encoding="utf-8"))
    for name in ("categorical_features", "text_features", "embedding_features"):
        if found["features_info"].get(name):
            raise UnsupportedModelError(
                f"{name_of(estimator)} has {name.replace('_', ' ')}, which CatBoost turns into numbers with hashes and"
                " statistics that its model keeps inside; encode them before (OneHotEncoder or TargetEncoder)"
            )
    return found


class _Trees:
    def __init__(self, found: Any) -> None:
        self.features = found["features_info"].get("float_features", [])
        scale, bias = found["scale_and_bias"]
        self.scale, self.base = float(scale), np.asarray(bias, np.float64).reshape(-1)
        trees = found.get("oblivious_trees")
        self.forest = Forest(self.base.copy())
        for tree in trees if trees is not None else found.get("trees", []):
            made: Tree = []
            if trees is not None:
                self._symmetric(tree, made, len(tree["splits"] or []) - 1, 0)
            else:
                self._any(tree, made)
            self.forest.trees.append(made)

    def _symmetric(self, tree: Any, made: Tree, level: int, leaf: int) -> int:
        """All nodes of a level have one split; the splits are the bits of the leaf's number."""
        place = len(made)
        if level < 0:
            count = self.forest.dimensions
            made.append(self._leaf(tree["leaf_values"][leaf * count : (leaf + 1) * count]))
            return place
        made.append(Leaf({}))
        below = self._symmetric(tree, made, level - 1, leaf)
        above = self._symmetric(tree, made, level - 1, leaf | 1 << level)
        made[place] = self._branch(tree["splits"][level], below, above)
        return place

    def _any(self, node: Any, made: Tree) -> int:
        place = len(made)
        if "split" not in node:
            value = node["value"]
            made.append(self._leaf(value if isinstance(value, list) else [value]))
            return place
        made.append(Leaf({}))
        below = self._any(node["left"], made)
        above = self._any(node["right"], made)
        made[place] = self._branch(node["split"], below, above)
        return place

    def _leaf(self, values: Any) -> Leaf:
        return Leaf({d: float(v) * self.scale for d, v in enumerate(values)})

    def _branch(self, split: Any, below: int, above: int) -> Branch:
        if split["split_type"] != "FloatFeature":
            raise UnsupportedModelError(f"CatBoost's splits of type {split['split_type']} are not converted")
        feature = self.features[int(split["float_feature_index"])]
        missing_below = feature.get("nan_value_treatment", "AsIs") != "AsTrue"
        bound = float(of_float32(np.float32(split["border"])))
        return Branch(int(feature["flat_feature_index"]), bound, below, above, missing_below)


def _loss(estimator: Any) -> str:
    return str(estimator.get_all_params().get("loss_function", "")).partition(":")[0]


@converts("catboost", "CatBoostRegressor", "CatBoostRanker", "CatBoost")
def regressor(estimator: Any, table: Table) -> Any:
    loss = _loss(estimator)
    if loss in ("Logloss", "CrossEntropy", "MultiClass"):
        return classifier(estimator, table)
    if loss not in _IDENTITY | _EXPONENTIAL:
        raise UnsupportedModelError(f"{name_of(estimator)} has the loss function {loss!r}, which is not converted")
    table.graph.tolerance = FLOAT32_SUMS
    forest = _Trees(_read(estimator)).forest
    raw: Value = table.graph.trees(table.numbers(), forest)
    return table.graph.step(lambda g, x: g.exp(x), raw, width=raw.width) if loss in _EXPONENTIAL else raw


@converts("catboost", "CatBoostClassifier")
def classifier(estimator: Any, table: Table) -> Classified:
    loss = _loss(estimator)
    if loss not in ("Logloss", "CrossEntropy", "MultiClass"):
        raise UnsupportedModelError(
            f"{name_of(estimator)} has the loss function {loss!r}; converted are Logloss, CrossEntropy and MultiClass"
        )
    table.graph.tolerance = FLOAT32_SUMS
    forest = _Trees(_read(estimator)).forest
    labels = labels_of(estimator.classes_, name_of(estimator))
    link = "softmax" if loss == "MultiClass" else "logistic"
    return OfForest(table.graph, labels, table.numbers(), forest, link)
