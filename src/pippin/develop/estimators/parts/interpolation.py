"""Interpolation: piecewise linear functions. Trees find the segment in float64, a step computes along it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .forest import EQUAL, Branch, Forest, Leaf, Tree, steps
from .graph import Graph
from .program import ProgramBuilder, Tensor
from .values import Value


def interpolated(graph: Graph, value: Value, points: Sequence[Any], heights: Sequence[Any]) -> Value:
    """For each of n numbers its function through ascending points; constant outside of them.

    At an x that several points share, the value is the mean of the first and the last.
    """
    value, count = graph.row(value), len(points)
    forest = Forest(np.zeros(3 * count))
    for column, (xs, ys) in enumerate(zip(points, heights, strict=True)):
        forest.trees.append(_tree(column, count, np.asarray(xs, np.float64), np.asarray(ys, np.float64)))
    segments = graph.trees(value, forest)
    chosen = np.zeros((count, 4 * count))
    chosen[:, :count], chosen[:, count : 2 * count] = np.eye(count), -np.eye(count)
    along = graph.row(graph.linear(graph.concat([value, segments]), chosen))
    rest = graph.select(segments, range(count, 3 * count))

    def step(g: ProgramBuilder, along: Tensor, rest: Tensor) -> Tensor:
        low, slope = (g.gather(rest, np.arange(start, start + count)) for start in (0, count))
        return g.add(low, g.mul(slope, along))

    return graph.step(step, along, rest, width=count)


def _tree(column: int, count: int, xs: np.ndarray, ys: np.ndarray) -> Tree:
    """A tree that gives where the segment starts, its height there and its slope."""

    def leaf(x: float, y: float, slope: float) -> Mapping[int, float]:
        return {column: float(x), count + column: float(y), 2 * count + column: float(slope)}

    known, firsts = np.unique(xs, return_index=True)
    lasts = np.append(firsts[1:], len(xs)) - 1
    # A leaf's own start keeps `along` small: outside, the slope is 0.
    values = [leaf(known[0], ys[0], 0.0)]
    for number, last in enumerate(lasts):
        following = firsts[number + 1] if number + 1 < len(firsts) else None
        slope = 0.0 if following is None else (ys[following] - ys[last]) / (xs[following] - xs[last])
        values.append(leaf(known[number], ys[last], slope))
    tree = steps(column, known.tolist(), values)
    for number in np.flatnonzero(lasts > firsts):
        _at_point(
            tree, column, values[number + 1], leaf(known[number], (ys[firsts[number]] + ys[lasts[number]]) / 2, 0.0)
        )
    return tree


def _at_point(tree: Tree, column: int, segment: Mapping[int, float], here: Mapping[int, float]) -> None:
    """Give the point that starts a segment a value of its own."""
    place = next(i for i, node in enumerate(tree) if isinstance(node, Leaf) and node.values is segment)
    tree[place] = Branch(column, segment[column], len(tree), len(tree) + 1, behavior=EQUAL)
    tree += [Leaf(here), Leaf(segment)]
