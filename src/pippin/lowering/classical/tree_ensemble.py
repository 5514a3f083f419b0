"""Tree ensemble: lowers sums of decision trees to ONNX's tree operators in float64, and the transform of the sum.

Source: `TreeEnsemble.proto`; `TreeEnsemble` of ai.onnx.ml 5; `TreeEnsembleRegressor` of ai.onnx.ml up to 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SpecificationError
from ...format.asset import Asset
from ...format.description import FunctionDescription
from .. import limits
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, INT, Classical
from .tree_arrays import Forest

# Expected branches per thread. Below this, synchronizing a second thread costs more than it gains.
_BRANCHES_PER_THREAD = 1250
# From this many trees, ONNX Runtime uses several threads (`parallel_tree_` in its tree_ensemble_common.h). With fewer
# trees, classes often tie, and only the last bits of the float64 sums decide the label.
_PARALLEL_TREES = 81
# Minimum number of sums per thread. With fewer, the sums of two threads share a cache line (false sharing at every
# leaf: 500 trees of 3 classes take 11.6 us, 9.7 us with a fourth sum).
_MIN_SUMS = 4
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def lower_tree_ensemble_regressor(asset: Asset, function: FunctionDescription) -> Lowered:
    """The transformed sum: one number or several."""
    g = Classical(asset, function)
    g.give(g.only_output, _transformed(g, _sums(g, exact=True)))
    return g.finished()


def lower_tree_ensemble_classifier(asset: Asset, function: FunctionDescription, only: bool = True) -> Lowered:
    """A sum for each class, or for all but the first; with two classes, a single sum is that of the second.

    `only` means that the graph has no other tree ensemble, since a graph has one version of an operator set. The
    probabilities of many trees are then rounded to float32, which is faster.
    """
    g = Classical(asset, function)
    classes = asset.description.class_labels or ()
    sums = _sums(g, exact=not only or g.message.postEvaluationTransform != 0)
    padding = sums.static_size(1) - len(_base(g))
    probabilities = _transformed(g, sums)
    if len(classes) == 2 and probabilities.static_size(1) == 1:
        probabilities = g.Concat(g.Sub(1.0, probabilities), probabilities, axis=1)
    return g.finished(g.classify(probabilities, classes, padding=padding))


def _transformed(g: Classical, sums: Tensor) -> Tensor:
    names = g.asset.specification.DESCRIPTOR.file.pool.FindEnumTypeByName(
        "CoreML.Specification.TreeEnsemblePostEvaluationTransform"
    ).values_by_number
    number = g.message.postEvaluationTransform
    match names[number].name if number in names else number:
        case "NoTransform":
            return sums
        case "Classification_SoftMax":
            return g.Softmax(sums, axis=1)
        case "Regression_Logistic":
            return g.Sigmoid(sums)
        case "Classification_SoftMaxWithZeroClassReference":
            return g.Softmax(g.Concat(np.zeros((1, 1), FLOAT), sums, axis=1), axis=1)
    raise SpecificationError(f"the {g.kind} has the unknown post-evaluation transform {number}")


def _sums(g: Classical, exact: bool) -> Tensor:
    """The base prediction plus the values of the leaf that each tree reaches, (1, dimensions), in float64.

    Unless `exact`, in float32 and padded with zeros if that is faster.
    """
    forest = Forest(_base(g))
    for tree, nodes in _trees(g.message.treeEnsemble.nodes).items():
        forest.add(tree, nodes)
    x = _features(g, forest.width)
    if not forest.roots:
        return g.Identity(forest.base[None])
    if len(forest.roots) >= _PARALLEL_TREES:
        g.threads = max(1, int(forest.visited) // _BRANCHES_PER_THREAD)
    return _evaluated(g, x, forest, exact)


def _base(g: Classical) -> np.ndarray:
    """The base prediction (dimensions)."""
    parameters = g.message.treeEnsemble
    base = np.array(parameters.basePredictionValue, FLOAT)
    dimensions = int(parameters.numPredictionDimensions)
    if dimensions < 1:
        raise SpecificationError(f"the {g.kind} has {dimensions} prediction dimensions; it needs at least 1")
    base = base if len(base) else limits.full([dimensions], 0, FLOAT)
    if len(base) != dimensions:
        raise SpecificationError(
            f"the {g.kind} needs one base prediction per dimension,"
            f" got {dimensions} dimensions and {len(base)} base predictions"
        )
    return base


def _features(g: Classical, width: int) -> Tensor:
    """The row of features, checked to be as wide as the trees need; engines do not check that."""
    x = g.row()
    known = x.shape[1] if x.shape else None
    if known is None:
        return g.Gather(x, limits.arange(0, width, dtype=INT), axis=1)
    if known < width:
        raise SpecificationError(
            f"the trees use feature {width - 1}, but the inputs provide {known} numbers, counted from 0"
        )
    return x


def _trees(messages: Any) -> dict[int, dict[int, Any]]:
    trees: dict[int, dict[int, Any]] = {}
    for node in messages:
        nodes = trees.setdefault(node.treeId, {})
        if node.nodeId in nodes:
            raise SpecificationError(f"tree {node.treeId} has two nodes with the ID {node.nodeId}")
        nodes[node.nodeId] = node
    return trees


def _evaluated(g: Classical, x: Tensor, forest: Forest, exact: bool) -> Tensor:
    """The sums (1, dimensions).

    A leaf of ONNX's TreeEnsemble has one value. If leaves have several and the sums must be `exact`, each tree returns
    the index of its leaf and the values are looked up, so each tree is evaluated only once.
    """
    several = any(len(values) > 1 for values in forest.leaves)
    if several or forest.dimensions == 1:
        forest.carry_base()
    if not several:
        pairs = [next(iter(values.items()), (0, 0.0)) for values in forest.leaves]
        targets, weights = [index for index, _ in pairs], [value for _, value in pairs]
        sums = _ensemble(g, x, forest, targets, np.array(weights, FLOAT), forest.dimensions)
        return g.Add(sums, forest.base) if forest.base.any() else sums
    if not exact and len(forest.roots) >= _PARALLEL_TREES and forest.bound < _FLOAT32_MAX:
        return _regressor(g, x, forest)
    table = limits.full((len(forest.leaves), forest.dimensions), 0, FLOAT)
    for row, values in zip(table, forest.leaves, strict=True):
        row[list(values)] = list(values.values())
    numbers = np.arange(len(forest.leaves), dtype=FLOAT)
    reached = _ensemble(g, x, forest, forest.leaf_trees, numbers, len(forest.roots))
    return g.ReduceSum(g.Gather(table, g.cast(reached, INT)), [1], keepdims=0)


def _ensemble(g: Classical, x: Tensor, forest: Forest, targets: list[int], weights: np.ndarray, count: int) -> Tensor:
    attributes = forest.ensemble(targets, weights, count)
    return g.other("ai.onnx.ml", "TreeEnsemble", [x], [(FLOAT, (1, count))], **attributes)[0]


def _regressor(g: Classical, x: Tensor, forest: Forest) -> Tensor:
    """The sums (1, dimensions or more) in float32; the operator adds in float64 and rounds at the end."""
    count = forest.dimensions
    if g.threads != 1:
        count = max(count, _MIN_SUMS)
    made = [(np.dtype(np.float32), (1, count))]
    return g.other("ai.onnx.ml", "TreeEnsembleRegressor", [x], made, last=4, **forest.regressor(count))[0]
