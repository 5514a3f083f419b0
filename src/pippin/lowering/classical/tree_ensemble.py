"""Tree ensemble: sums of decision trees, as ONNX's TreeEnsemble in float64, and what follows the sum.

Source: `TreeEnsemble.proto`; `TreeEnsemble` of ai.onnx.ml 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import SpecificationError
from ...format.asset import Asset
from ...format.description import FunctionDescription
from ..graph import Tensor
from ..lowered import Lowered
from .classical import FLOAT, INT, Classical

_LEAF = 6
_EQUAL, _NOT_EQUAL = 4, 5
_SUM = 1
# From so many trees on, two threads are faster than one, although they wait for each other.
_MANY = 4000

# (tree, node) of the message, by its numbers.
_Nodes = Mapping[int, Any]


def lower_tree_ensemble_regressor(asset: Asset, function: FunctionDescription) -> Lowered:
    """The transformed sum, one number or several."""
    g = Classical(asset, function)
    g.give(g.only_output, _transformed(g, _sums(g)))
    return g.finished()


def lower_tree_ensemble_classifier(asset: Asset, function: FunctionDescription) -> Lowered:
    """A sum for each class, or for all but the first; a single one of two classes belongs to the second."""
    g = Classical(asset, function)
    classes = asset.description.class_labels or ()
    sums = _sums(g)
    probabilities = _transformed(g, sums)
    if len(classes) == 2 and probabilities.static_size(1) == 1:
        probabilities = g.Concat(g.Sub(1.0, probabilities), probabilities, axis=1)
    return g.finished(g.classify(probabilities, classes))


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
    raise SpecificationError(f"the {g.kind} has the unknown transform {number} after its evaluation")


def _sums(g: Classical) -> Tensor:
    """(1, dimensions): the base prediction and the values of the leaf that each tree comes to."""
    parameters = g.message.treeEnsemble
    base = np.array(parameters.basePredictionValue, FLOAT)
    dimensions = parameters.numPredictionDimensions or len(base) or 1
    base = base if len(base) else np.zeros(dimensions, FLOAT)
    if len(base) != dimensions:
        raise SpecificationError(f"the {g.kind} has {dimensions} dimensions and {len(base)} base predictions")
    forest = _Forest(dimensions, base.copy())
    for tree, nodes in _trees(parameters.nodes).items():
        forest.add(tree, nodes)
    x = _features(g, forest.width)
    if not forest.roots:
        return g.Identity(forest.base[None])
    g.serial = len(forest.roots) < _MANY
    return _evaluated(g, x, forest)


def _features(g: Classical, width: int) -> Tensor:
    """The row of features; at least as many as the trees look at, since engines do not check that."""
    x = g.row()
    known = x.shape[1] if x.shape else None
    if known is None:
        return g.Gather(x, np.arange(width), axis=1)
    if known < width:
        raise SpecificationError(f"the trees look at feature {width - 1}, but the inputs hold {known} numbers")
    return x


def _trees(messages: Any) -> dict[int, dict[int, Any]]:
    trees: dict[int, dict[int, Any]] = {}
    for node in messages:
        nodes = trees.setdefault(node.treeId, {})
        if node.nodeId in nodes:
            raise SpecificationError(f"the tree {node.treeId} has two nodes with the number {node.nodeId}")
        nodes[node.nodeId] = node
    return trees


@dataclass
class _Forest:
    """The arrays of ONNX's TreeEnsemble. Children are numbers of nodes, or of leaves where the flag says so."""

    dimensions: int
    base: np.ndarray
    roots: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    true: list[int] = field(default_factory=list)
    true_leaf: list[int] = field(default_factory=list)
    false: list[int] = field(default_factory=list)
    false_leaf: list[int] = field(default_factory=list)
    leaves: list[dict[int, float]] = field(default_factory=list)
    """The values of each leaf by dimension."""
    leaf_trees: list[int] = field(default_factory=list)

    @property
    def width(self) -> int:
        return max(self.features, default=-1) + 1

    def add(self, tree: int, nodes: _Nodes) -> None:
        """Raises SpecificationError where the nodes are no tree."""
        root = self._root(tree, nodes)
        if nodes[root].nodeBehavior == _LEAF:  # the same wherever it is evaluated
            for index, value in self._values(tree, nodes[root]).items():
                self.base[index] += value
            return
        branches = [number for number, node in nodes.items() if node.nodeBehavior != _LEAF]
        places = {number: len(self.features) + i for i, number in enumerate(branches)}
        self.roots.append(places[root])
        for number in branches:
            self._branch(tree, nodes, nodes[number], places)

    def _branch(self, tree: int, nodes: _Nodes, node: Any, places: Mapping[int, int]) -> None:
        mode, tracks = node.nodeBehavior, node.missingValueTracksTrueChild
        children = [node.trueChildNodeId, node.falseChildNodeId]
        if mode == _NOT_EQUAL:
            # NaN is not equal to anything, which would lead it to the true child whatever the node says of it.
            mode, tracks, children = _EQUAL, not tracks, children[::-1]
        self.features.append(node.branchFeatureIndex)
        self.splits.append(node.branchFeatureValue)
        self.modes.append(mode)
        self.missing.append(int(tracks))
        for child, places_of, flags in zip(
            children, (self.true, self.false), (self.true_leaf, self.false_leaf), strict=True
        ):
            leaf = nodes[child].nodeBehavior == _LEAF
            flags.append(int(leaf))
            places_of.append(self._leaf(tree, nodes[child]) if leaf else places[child])

    def _leaf(self, tree: int, node: Any) -> int:
        self.leaves.append(self._values(tree, node))
        self.leaf_trees.append(len(self.roots) - 1)
        return len(self.leaves) - 1

    def _values(self, tree: int, node: Any) -> dict[int, float]:
        values: dict[int, float] = {}
        for info in node.evaluationInfo:
            if info.evaluationIndex >= self.dimensions:
                raise SpecificationError(
                    f"a leaf of the tree {tree} has a value for the dimension {info.evaluationIndex};"
                    f" there are {self.dimensions}"
                )
            values[info.evaluationIndex] = values.get(info.evaluationIndex, 0.0) + info.evaluationValue
        return values

    def _root(self, tree: int, nodes: _Nodes) -> int:
        """The one node that is nobody's child; every other one must be the child of one node."""
        parents: dict[int, int] = {}
        for number, node in nodes.items():
            if node.nodeBehavior > _LEAF:
                raise SpecificationError(f"the tree {tree} has a node of the unknown behavior {node.nodeBehavior}")
            if node.nodeBehavior == _LEAF:
                continue
            for child in (node.trueChildNodeId, node.falseChildNodeId):
                if child not in nodes:
                    raise SpecificationError(
                        f"the node {number} of the tree {tree} leads to {child}, which is not there"
                    )
                if child in parents:
                    raise SpecificationError(f"two nodes of the tree {tree} lead to {child}")
                parents[child] = number
        roots = nodes.keys() - parents.keys()
        if len(roots) != 1:
            raise SpecificationError(f"the tree {tree} has {len(roots)} roots; one is needed")
        (root,) = roots
        below = [root]  # a cycle apart from the root has no way to it
        for number in below:
            if nodes[number].nodeBehavior != _LEAF:
                below += [nodes[number].trueChildNodeId, nodes[number].falseChildNodeId]
        if len(below) != len(nodes):
            raise SpecificationError(f"{len(nodes) - len(below)} nodes of the tree {tree} cannot be reached")
        return root


def _evaluated(g: Classical, x: Tensor, forest: _Forest) -> Tensor:
    """(1, dimensions), with the base prediction, which where it is simpler every leaf of the first tree carries.

    A leaf of ONNX's has one value. Where leaves have several, each tree gives the number of its leaf instead, and the
    values are looked up: every tree is walked once.
    """
    if forest.dimensions == 1 or not forest.base.any():
        for leaf, tree in zip(forest.leaves, forest.leaf_trees, strict=True):
            if tree == 0 and forest.base.any():
                leaf[0] = leaf.get(0, 0.0) + forest.base[0]
        forest.base[:] = 0
    if all(len(values) <= 1 for values in forest.leaves):
        pairs = [next(iter(values.items()), (0, 0.0)) for values in forest.leaves]
        targets, weights = [index for index, _ in pairs], [value for _, value in pairs]
        sums = _ensemble(g, x, forest, targets, np.array(weights, FLOAT), forest.dimensions)
        return g.Add(sums, forest.base) if forest.base.any() else sums
    table = np.zeros((len(forest.leaves), forest.dimensions), FLOAT)
    for row, tree, values in zip(table, forest.leaf_trees, forest.leaves, strict=True):
        row[list(values)] = list(values.values())
        row += forest.base if tree == 0 else 0
    numbers = np.arange(len(forest.leaves), dtype=FLOAT)
    reached = _ensemble(g, x, forest, forest.leaf_trees, numbers, len(forest.roots))
    return g.ReduceSum(g.Gather(table, g.cast(reached, INT)), [1], keepdims=0)


def _ensemble(g: Classical, x: Tensor, forest: _Forest, targets: list[int], weights: np.ndarray, count: int) -> Tensor:
    from onnx import numpy_helper

    (result,) = g.other(
        "ai.onnx.ml",
        "TreeEnsemble",
        [x],
        [(FLOAT, (1, count))],
        aggregate_function=_SUM,
        post_transform=0,
        n_targets=count,
        tree_roots=forest.roots,
        nodes_featureids=forest.features,
        nodes_splits=numpy_helper.from_array(np.array(forest.splits, FLOAT)),
        nodes_modes=numpy_helper.from_array(np.array(forest.modes, np.uint8)),
        nodes_missing_value_tracks_true=forest.missing,
        nodes_truenodeids=forest.true,
        nodes_trueleafs=forest.true_leaf,
        nodes_falsenodeids=forest.false,
        nodes_falseleafs=forest.false_leaf,
        leaf_targetids=targets,
        leaf_weights=numpy_helper.from_array(weights),
    )
    return result
