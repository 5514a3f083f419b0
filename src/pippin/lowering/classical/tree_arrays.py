"""Forest: converts the trees of an ensemble to the attribute arrays of ONNX's tree operators.

Source: `TreeEnsemble.proto`; `TreeEnsemble` of ai.onnx.ml 5, `TreeEnsembleRegressor` of ai.onnx.ml 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import numpy_helper

from ...errors import SpecificationError
from .feature_graph import FLOAT

LEAF = 6
_EQUAL, _NOT_EQUAL = 4, 5
_SUM = 1
# Node behaviors by number; ONNX's newer operator uses the same numbers.
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF")

# The nodes of one tree by ID.
Nodes = Mapping[int, Any]


@dataclass
class Forest:
    """The trees that have branches. `base` is the base prediction plus the values of trees without branches.

    A child is the index of a branch, or of a leaf if its flag is set. The branches of a tree are contiguous, root
    first.
    """

    base: np.ndarray
    """(dimensions)"""
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
    visited: float = 0.0
    """Expected number of branches that a prediction visits, if both children of a branch are equally likely."""

    @property
    def dimensions(self) -> int:
        return len(self.base)

    @property
    def width(self) -> int:
        return max(self.features, default=-1) + 1

    def add(self, tree: int, nodes: Nodes) -> None:
        """Add a tree. Raises SpecificationError if the nodes do not form one."""
        order = _order(tree, nodes)
        root = order[0]
        if nodes[root].nodeBehavior == LEAF:  # a constant
            for index, value in self._values(tree, nodes[root]).items():
                self.base[index] += value
            return
        self.roots.append(len(self.features))
        branches = [number for number in order if nodes[number].nodeBehavior != LEAF]
        places = {number: len(self.features) + i for i, number in enumerate(branches)}
        likely = {root: 1.0}
        for number in branches:
            node = nodes[number]
            likely[node.trueChildNodeId] = likely[node.falseChildNodeId] = likely[number] / 2
            self.visited += likely[number]
            self._branch(tree, nodes, node, places)

    @property
    def bound(self) -> float:
        """Upper bound of the absolute value of any sum."""
        highest = np.zeros(len(self.roots))
        np.maximum.at(highest, self.leaf_trees, [max(map(abs, leaf.values()), default=0.0) for leaf in self.leaves])
        return float(highest.sum())

    def carry_base(self) -> None:
        """Add the base to every leaf of the first tree; one of them is always reached."""
        for leaf, tree in zip(self.leaves, self.leaf_trees, strict=True):
            for index in np.flatnonzero(self.base) if tree == 0 else ():
                leaf[int(index)] = leaf.get(int(index), 0.0) + float(self.base[index])
        self.base[:] = 0

    def _branch(self, tree: int, nodes: Nodes, node: Any, places: Mapping[int, int]) -> None:
        mode, tracks = node.nodeBehavior, node.missingValueTracksTrueChild
        children = [node.trueChildNodeId, node.falseChildNodeId]
        if mode == _NOT_EQUAL:
            # NaN equals nothing, so it would always take the true child and ignore missingValueTracksTrueChild.
            mode, tracks, children = _EQUAL, not tracks, children[::-1]
        self.features.append(node.branchFeatureIndex)
        self.splits.append(node.branchFeatureValue)
        self.modes.append(mode)
        self.missing.append(int(tracks))
        for child, places_of, flags in zip(
            children, (self.true, self.false), (self.true_leaf, self.false_leaf), strict=True
        ):
            leaf = nodes[child].nodeBehavior == LEAF
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
                    f"a leaf of tree {tree} has a value for dimension {info.evaluationIndex},"
                    f" but the number of dimensions is {self.dimensions}"
                )
            values[info.evaluationIndex] = values.get(info.evaluationIndex, 0.0) + info.evaluationValue
        return values

    def ensemble(self, targets: Sequence[int], weights: np.ndarray, count: int) -> dict[str, Any]:
        """The attributes of TreeEnsemble; each leaf adds its weight to one of `count` targets."""
        return {
            "aggregate_function": _SUM,
            "post_transform": 0,
            "n_targets": count,
            "tree_roots": self.roots,
            "nodes_featureids": self.features,
            "nodes_splits": numpy_helper.from_array(np.array(self.splits, FLOAT)),
            "nodes_modes": numpy_helper.from_array(np.array(self.modes, np.uint8)),
            "nodes_missing_value_tracks_true": self.missing,
            "nodes_truenodeids": self.true,
            "nodes_trueleafs": self.true_leaf,
            "nodes_falsenodeids": self.false,
            "nodes_falseleafs": self.false_leaf,
            "leaf_targetids": targets,
            "leaf_weights": numpy_helper.from_array(weights),
        }

    def regressor(self, count: int) -> dict[str, Any]:
        """The attributes of TreeEnsembleRegressor; a leaf adds its values to several of `count` targets.

        Leaves are nodes too, numbered after the branches. A tree consists of its root and the nodes that follow.
        """
        branches, leaves = len(self.features), len(self.leaves)
        branch_trees = np.repeat(np.arange(len(self.roots)), np.diff([*self.roots, branches]))
        trees = np.concatenate([branch_trees, self.leaf_trees])
        order = np.argsort(trees, kind="stable")

        def nodes(of_branches: Sequence[int] | np.ndarray, of_leaves: int = 0) -> np.ndarray:
            return np.concatenate([np.asarray(of_branches), np.full(leaves, of_leaves)])[order]

        def children(numbers: Sequence[int], are_leaves: Sequence[int]) -> list[int]:
            return nodes(np.array(numbers) + branches * np.array(are_leaves)).tolist()

        values = [(leaf, index, value) for leaf, found in enumerate(self.leaves) for index, value in found.items()]
        holders = np.array([leaf for leaf, _, _ in values])
        return {
            "n_targets": count,
            "nodes_treeids": trees[order].tolist(),
            "nodes_nodeids": order.tolist(),
            "nodes_featureids": nodes(self.features).tolist(),
            "nodes_values_as_tensor": numpy_helper.from_array(nodes(np.array(self.splits, FLOAT))),
            "nodes_modes": [_MODES[mode] for mode in nodes(self.modes, LEAF)],
            "nodes_missing_value_tracks_true": nodes(self.missing).tolist(),
            "nodes_truenodeids": children(self.true, self.true_leaf),
            "nodes_falsenodeids": children(self.false, self.false_leaf),
            "target_treeids": np.array(self.leaf_trees)[holders].tolist(),
            "target_nodeids": (branches + holders).tolist(),
            "target_ids": [index for _, index, _ in values],
            "target_weights_as_tensor": numpy_helper.from_array(np.array([value for _, _, value in values], FLOAT)),
        }


def _order(tree: int, nodes: Nodes) -> list[int]:
    """All node IDs, root first. The root is the only node without a parent; all others must have exactly one."""
    parents: dict[int, int] = {}
    for number, node in nodes.items():
        if node.nodeBehavior > LEAF:
            raise SpecificationError(f"tree {tree} has a node with the unknown behavior {node.nodeBehavior}")
        if node.nodeBehavior == LEAF:
            continue
        for child in (node.trueChildNodeId, node.falseChildNodeId):
            if child not in nodes:
                raise SpecificationError(f"node {number} of tree {tree} has the child {child}, which does not exist")
            if child in parents:
                raise SpecificationError(f"tree {tree} has two branches to node {child}")
            parents[child] = number
    roots = nodes.keys() - parents.keys()
    if len(roots) != 1:
        raise SpecificationError(f"tree {tree} must have one root, got {len(roots)}")
    reached = list(roots)  # a separate cycle cannot be reached from the root
    for number in reached:
        if nodes[number].nodeBehavior != LEAF:
            reached += [nodes[number].trueChildNodeId, nodes[number].falseChildNodeId]
    if len(reached) != len(nodes):
        raise SpecificationError(f"tree {tree} has {len(nodes) - len(reached)} unreachable nodes")
    return reached
