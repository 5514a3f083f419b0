"""Recommender: lowers the item-similarity recommender, which ranks items by their similarity to given items.

Source: `ItemSimilarityRecommender.proto`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import Dictionary, FunctionDescription
from .. import limits
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, INT, Classical, Pairs


def lower_item_similarity_recommender(asset: Asset, function: FunctionDescription) -> Lowered:
    """The score of an item k is the sum of similarity(k, i) * (score(i) - shift(k)) over the input items i.

    Items are sorted by score, ties by the order of the table. The excluded items are left out (without an exclusion
    input, the input items are), and so are all items outside a restriction, unless it is empty.
    """
    g = Classical(
        asset, function, {asset.specification.itemSimilarityRecommender.numRecommendationsInputFeatureName: -1}
    )
    names, from_item, to_item, similarity, shift = _table(g)
    count = len(names)
    place, score = _observed(g, g.message.itemInputFeatureName, names)
    zeros = np.zeros(count, FLOAT)
    seen = g.ScatterElements(zeros, place, g.Expand(np.float64(1), g.Shape(place)), axis=0)
    scores = g.ScatterElements(zeros, place, score, axis=0)
    gain = g.Sub(g.Gather(scores, from_item), shift[to_item])
    weighted = g.Mul(g.Mul(gain, similarity), g.Gather(seen, from_item))
    total = g.ScatterElements(zeros, to_item, weighted, axis=0, reduction="add")
    excluded, restriction = g.message.itemExclusionInputFeatureName, g.message.itemRestrictionInputFeatureName
    allowed = g.Equal(_mask(g, excluded, names, count) if excluded in g.inputs else seen, 0.0)
    if restriction in g.inputs:
        inside = _mask(g, restriction, names, count)
        allowed = g.And(allowed, g.Or(g.Greater(inside, 0.0), g.Equal(g.ReduceSum(inside, keepdims=1), 0.0)))
    kept = g.Compress(g.tensor(np.arange(count)), allowed, axis=0)
    values, order = g.TopK(g.Gather(total, kept), _limit(g, kept))
    items = g.Gather(_ids(g, names), g.Gather(kept, order))
    for feature in function.outputs:
        if feature.name == g.message.recommendedItemListOutputFeatureName:
            g.give(feature, items)
        elif feature.name == g.message.recommendedItemScoreOutputFeatureName:
            g.give(feature, Pairs(items, values) if isinstance(feature.type, Dictionary) else values)
    return g.finished()


def _table(g: Classical) -> tuple[list[Any], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The item names; the source item, target item and value of each similarity; the shift of each item."""
    rows, shifts, numbers = [], {}, set()
    for item in g.message.itemItemSimilarities:
        shifts[item.itemId] = item.itemScoreAdjustment
        numbers.add(item.itemId)
        for other in item.similarItemList:
            rows.append((item.itemId, other.itemId, other.similarityScore))
            numbers.add(other.itemId)
    names: list[Any] = list(g.message.itemStringIds.vector) or list(g.message.itemInt64Ids.vector)
    highest = max(numbers, default=-1)
    if not names:
        limits.constant(4 * (highest + 1))  # a list of numbers and three tables
        names = list(range(highest + 1))
    if not names or highest >= len(names) or len(set(names)) != len(names):
        raise SpecificationError(
            f"the {g.kind} has {len(names)} item names and similarities for item {highest};"
            " names must be unique, one for each item, counted from 0"
        )
    shift = np.zeros(len(names), FLOAT)
    shift[list(shifts)] = list(shifts.values())
    first, second = (np.array([row[i] for row in rows], INT) for i in (0, 1))
    return names, first, second, np.array([row[2] for row in rows], FLOAT), shift


def _observed(g: Classical, name: str, names: list[Any]) -> tuple[Tensor, Tensor]:
    """The indices and scores of the input items; the score is 1 in a sequence. Unknown items are dropped."""
    value = g.input(name)
    keys = value.keys if isinstance(value, Pairs) else g.Reshape(value, [-1])
    score = value.values if isinstance(value, Pairs) else g.Expand(np.float64(1), g.Shape(keys))
    if (keys.dtype == object) != isinstance(names[0], str):
        raise UnsupportedModelError(
            f"'{name}' is declared as {g.described(name).type}, which does not match the type of the item names"
        )
    place = g.lookup(g.cast(keys, keys.dtype if keys.dtype == object else INT), names, range(len(names)), -1)
    known = g.GreaterOrEqual(place, np.int64(0))
    return g.Compress(place, known, axis=0), g.Compress(score, known, axis=0)


def _mask(g: Classical, name: str, names: list[Any], count: int) -> Tensor:
    place, _ = _observed(g, name, names)
    return g.ScatterElements(np.zeros(count, FLOAT), place, g.Expand(np.float64(1), g.Shape(place)), axis=0)


def _limit(g: Classical, kept: Tensor) -> Tensor:
    """The number of items to return: the requested number, at most all."""
    name = g.message.numRecommendationsInputFeatureName
    if name not in g.inputs:
        return g.Shape(kept)
    number = g.Reshape(g.cast(g.number(g.inputs[name], name), INT), [1])
    return g.Where(g.Less(number, np.int64(0)), g.Shape(kept), g.Min(number, g.Shape(kept)))


def _ids(g: Classical, names: list[Any]) -> Tensor:
    return g.strings(names) if isinstance(names[0], str) else g.tensor(np.array(names, INT))
