"""Nearest neighbors: lowers the classifier that returns the most frequent label among the nearest samples.

All distances are computed, for either kind of index; both find the same neighbors. Source: `NearestNeighbors.proto`.
"""

from __future__ import annotations

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import FunctionDescription
from .. import limits
from ..lowered_model import Lowered
from .feature_graph import FLOAT, INT, Classical


def lower_nearest_neighbors(asset: Asset, function: FunctionDescription) -> Lowered:
    """Classify by vote of the nearest samples; the shares of the votes are the probabilities.

    A vote weighs 1, or 1 / distance; a sample at distance 0 then outvotes all others. Ties go to the first label in
    sort order.
    """
    g = Classical(asset, function)
    index, samples = g.message.nearestNeighborsIndex, _samples(g)
    labels = asset.description.class_labels or ()
    if len(labels) != len(samples):
        raise SpecificationError(
            f"the {g.kind} must have one label per sample, got {len(samples)} samples and {len(labels)} labels"
        )
    x = g.row(int(index.numberOfDimensions) or None)
    if not len(samples):
        return g.finished(g.classify(g.Identity(np.ones((1, 1), FLOAT)), [_default_label(g)]))
    classes = sorted(set(labels))
    number = {label: i for i, label in enumerate(classes)}
    limits.constant(len(classes) * (len(classes) + len(labels)))
    votes_of = np.eye(len(classes))[[number[label] for label in labels]]
    distance = g.Sub(samples.astype(FLOAT), x)
    squared = g.ReduceSum(g.Mul(distance, distance), [1], keepdims=0)
    nearest, found = g.TopK(squared, np.array([_count(g, len(samples))], INT), largest=0)
    votes = g.Gather(votes_of, found)
    if g.message.WhichOneof("WeightingScheme") == "inverseDistanceWeighting":
        same = g.Equal(nearest, 0.0)
        any_same = g.ReduceMax(g.cast(same, FLOAT))
        inverse = g.Div(1.0, g.Sqrt(g.Where(same, 1.0, nearest)))
        weights = g.Where(g.Greater(any_same, 0.0), g.cast(same, FLOAT), inverse)
        votes = g.Mul(votes, g.Unsqueeze(weights, [1]))
    total = g.ReduceSum(votes, [0], keepdims=1)
    return g.finished(g.classify(g.Div(total, g.ReduceSum(total, keepdims=1)), classes))


def _samples(g: Classical) -> np.ndarray:
    """(samples, dimensions)."""
    index = g.message.nearestNeighborsIndex
    if index.WhichOneof("DistanceFunction") not in (None, "squaredEuclideanDistance"):
        raise UnsupportedModelError(f"the {g.kind} has the unsupported distance {index.WhichOneof('DistanceFunction')}")
    rows = [sample.vector for sample in index.floatSamples]
    wrong = next((len(row) for row in rows if len(row) != index.numberOfDimensions), None)
    if wrong is not None:
        raise SpecificationError(
            f"a sample has {wrong} numbers, but the {g.kind} has {index.numberOfDimensions} dimensions"
        )
    return np.array(rows, np.float32).reshape(len(rows), index.numberOfDimensions)


def _count(g: Classical, samples: int) -> int:
    count = int(g.message.numberOfNeighbors.defaultValue)
    if count < 1:
        raise SpecificationError(f"the number of neighbors of the {g.kind} must be at least 1, got {count}")
    return min(count, samples)


def _default_label(g: Classical) -> str | int:
    kind = g.message.WhichOneof("DefaultClassLabel")
    if kind is None:
        raise SpecificationError(f"the {g.kind} has neither samples nor a default label")
    label: str | int = getattr(g.message, kind)
    return label
