"""Forest: decision trees as Core ML writes them, from the arrays that the libraries keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

AT_MOST, LESS, EQUAL = 0, 1, 4
"""Node behaviors of `TreeEnsemble.proto`."""
_LEAF = 6
_LARGEST = float(np.finfo(np.float64).max)


class Branch(NamedTuple):
    feature: int
    threshold: float
    true: int
    false: int
    missing_true: bool = False
    behavior: int = AT_MOST


class Leaf(NamedTuple):
    values: Mapping[int, float]
    """By dimension."""


Tree = list[Branch | Leaf]
"""The nodes by number, root first."""


@dataclass
class Forest:
    """Trees that are summed, in float64, and the numbers that they are added to."""

    base: np.ndarray
    trees: list[Tree] = field(default_factory=list)

    @property
    def dimensions(self) -> int:
        return len(self.base)

    def ranges(self, width: int) -> np.ndarray:
        """The lowest and highest threshold of each feature (width, 2), NaN where there is none."""
        found = np.full((width, 2), np.nan)
        for tree in self.trees:
            for node in tree:
                if isinstance(node, Branch) and abs(node.threshold) < 1e300:
                    row = found[node.feature]
                    row[:] = np.fmin(row[0], node.threshold), np.fmax(row[1], node.threshold)
        return found

    def thresholds(self, count: int) -> dict[int, list[float]]:
        """The first thresholds of each feature."""
        found: dict[int, list[float]] = {}
        for tree in self.trees:
            for node in tree:
                if isinstance(node, Branch) and abs(node.threshold) < 1e300:
                    some = found.setdefault(node.feature, [])
                    if len(some) < count:
                        some.append(node.threshold)
        return found

    def fill(self, message: Any, transform: int) -> None:
        """Write the trees to a TreeEnsembleRegressor or TreeEnsembleClassifier."""
        ensemble = message.treeEnsemble
        ensemble.numPredictionDimensions = self.dimensions
        ensemble.basePredictionValue.extend(self.base)
        message.postEvaluationTransform = transform
        constant: Tree = [Leaf({0: 0.0})]
        for number, tree in enumerate(self.trees or [constant]):
            for place, node in enumerate(tree):
                made = ensemble.nodes.add(treeId=number, nodeId=place)
                if isinstance(node, Leaf):
                    made.nodeBehavior = _LEAF
                    for dimension, value in (node.values or {0: 0.0}).items():
                        made.evaluationInfo.add(evaluationIndex=dimension, evaluationValue=value)
                    continue
                made.nodeBehavior = node.behavior
                made.branchFeatureIndex, made.branchFeatureValue = node.feature, node.threshold
                made.trueChildNodeId, made.falseChildNodeId = node.true, node.false
                made.missingValueTracksTrueChild = node.missing_true


def of_float32(thresholds: Any, strict: bool = False) -> np.ndarray:
    """Thresholds for float64 numbers that decide as `float32(x) <= threshold` does (`strict`: `<`).

    A number decides as the float32 that it is rounded to. The bound between two neighbours is half-way; on it the
    rounding goes to the even one.
    """
    exact = np.asarray(thresholds, np.float64)
    with np.errstate(over="ignore"):
        low = exact.astype(np.float32)
    low = np.where(low.astype(np.float64) > exact, np.nextafter(low, np.float32(-np.inf)), low)
    if strict:
        low = np.where(low.astype(np.float64) == exact, np.nextafter(low, np.float32(-np.inf)), low)
    with np.errstate(over="ignore"):
        high = np.nextafter(low, np.float32(np.inf))
    middle = (low.astype(np.float64) + high.astype(np.float64)) / 2
    even = low.view(np.uint32) % 2 == 0
    bound = np.where(even, middle, np.nextafter(middle, -np.inf))
    return np.clip(np.where(np.isfinite(bound), bound, exact), -_LARGEST, _LARGEST)


def from_arrays(
    left: Sequence[int],
    right: Sequence[int],
    features: Sequence[int],
    thresholds: np.ndarray,
    missing_left: np.ndarray,
    values: np.ndarray,
    first_dimension: int = 0,
) -> Tree:
    """A tree whose branches go left if `x <= threshold`; a node without a left child (-1) is a leaf."""
    tree: Tree = []
    for i, (to_left, to_right) in enumerate(zip(left, right, strict=True)):
        if to_left < 0:
            tree.append(Leaf({first_dimension + d: float(v) for d, v in enumerate(values[i])}))
        else:
            tree.append(
                Branch(int(features[i]), float(thresholds[i]), int(to_left), int(to_right), bool(missing_left[i]))
            )
    return tree


def lookup(
    feature: int,
    table: Mapping[float, Mapping[int, float]],
    other: Mapping[int, float],
    missing: Mapping[int, float] | None = None,
) -> Tree:
    """A tree that gives what a table has for exactly this number; other numbers and NaN have their own values."""
    tree: Tree = [Branch(feature, _LARGEST, 2, 1), Leaf(other if missing is None else missing)]
    keys = sorted(table)

    def grow(some: Sequence[float]) -> int:
        place = len(tree)
        tree.append(Leaf(other))
        if not some:
            return place
        if len(some) == 1:
            true = _appended(tree, Leaf(table[some[0]]))
            tree[place] = Branch(feature, float(some[0]), true, _appended(tree, Leaf(other)), behavior=EQUAL)
            return place
        middle = len(some) // 2
        below, above = grow(some[:middle]), grow(some[middle:])
        tree[place] = Branch(feature, float(some[middle]), below, above, behavior=LESS)
        return place

    grow(keys)
    return tree


def steps(feature: int, bounds: Sequence[float], values: Sequence[Mapping[int, float]], behavior: int = LESS) -> Tree:
    """A tree that gives `values[i]` for the i-th interval between ascending bounds."""
    tree: Tree = []

    def grow(low: int, high: int) -> int:
        place = _appended(tree, Leaf(values[low]))
        if low < high:
            middle = (low + high) // 2
            below, above = grow(low, middle), grow(middle + 1, high)
            tree[place] = Branch(feature, float(bounds[middle]), below, above, behavior=behavior)
        return place

    grow(0, len(bounds))
    return tree


def _appended(tree: Tree, node: Branch | Leaf) -> int:
    tree.append(node)
    return len(tree) - 1
