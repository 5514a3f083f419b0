"""Neighbors: predictions from the nearest training rows, as one ML Program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedModelError
from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import Value
from .classified import Classified, OfProbabilities, labels_of, winner
from .registry import converts, name_of, refuses
from .table import Table

refuses(
    "sklearn",
    "the number of neighbors within a radius differs from row to row, and there may be none",
    "RadiusNeighborsClassifier",
    "RadiusNeighborsRegressor",
)


def _rows(estimator: Any, table: Table) -> tuple[Value, np.ndarray]:
    """The centred columns and training rows, so that float32 has digits for their differences."""
    rows = estimator._fit_X
    rows = np.asarray(rows.todense() if hasattr(rows, "todense") else rows, np.float64)
    table.seen(rows.min(axis=0), rows.max(axis=0))
    centre = rows.mean(axis=0)
    return table.graph.scale(table.numbers(), -centre, 1.0), rows - centre


def _distances(g: ProgramBuilder, x: Tensor, rows: np.ndarray, estimator: Any) -> Tensor:
    """From each row, as the estimator measures; only their order and their size matter."""
    metric, power = estimator.effective_metric_, estimator.effective_metric_params_.get("p", 2)
    apart = g.sub(x, rows)
    match metric:
        case "euclidean":
            return g.sqrt(g.sum(g.square(apart), axis=1))
        case "manhattan" | "cityblock" | "l1":
            return g.sum(g.abs(apart), axis=1)
        case "chebyshev":
            return g.max(g.abs(apart), axis=1)
        case "minkowski" if "w" not in estimator.effective_metric_params_:
            return g.pow(g.sum(g.pow(g.abs(apart), float(power)), axis=1), 1 / float(power))
    raise UnsupportedModelError(
        f"{name_of(estimator)} measures with {metric!r}; converted are euclidean, manhattan, chebyshev and minkowski"
    )


def _weights(g: ProgramBuilder, distances: Tensor, estimator: Any) -> Tensor | None:
    """1 / distance; rows at distance 0 count alone. None: all the same."""
    if estimator.weights in (None, "uniform"):
        return None
    if estimator.weights != "distance":
        raise UnsupportedModelError(
            f"{name_of(estimator)} weighs with a function of its own; converted are 'uniform' and 'distance'"
        )
    count = distances.shape[0]
    same = g.equal(distances, 0.0)
    here = g.select(same, np.ones(count), np.zeros(count))
    near = g.div(1.0, g.select(same, np.ones(count), distances))
    return g.select(g.greater(g.sum(here), 0.0), here, near)


def _averaged(estimator: Any, table: Table, targets: np.ndarray) -> Value:
    """The weighted mean of the targets (rows, outputs) of the nearest rows."""
    x, rows = _rows(estimator, table)
    targets = np.asarray(targets, np.float64).reshape(len(rows), -1)
    count = int(estimator.n_neighbors)
    origin = targets.mean(axis=0)

    def step(g: ProgramBuilder, x: Tensor) -> Tensor:
        distances, places = g.nearest(_distances(g, x, rows, estimator), count)
        near = g.gather(targets - origin, places)
        weights = _weights(g, distances, estimator)
        if weights is None:
            mean = g.mul(g.sum(near), 1 / count)
        else:
            shares = g.reshape(g.div(weights, g.sum(weights)), (1, count))
            mean = g.reshape(g.matmul(shares, near), (targets.shape[1],))
        return g.add(mean, origin)

    return table.graph.step(step, x, width=targets.shape[1])


@converts("sklearn", "KNeighborsClassifier")
def classifier(estimator: Any, table: Table) -> Classified:
    if isinstance(estimator.classes_, list):
        raise UnsupportedModelError(f"{name_of(estimator)} predicts several labels; a Core ML classifier has one")
    chosen = np.eye(len(estimator.classes_))[np.asarray(estimator._y).reshape(-1)]
    return OfProbabilities(
        table.graph, labels_of(estimator.classes_, name_of(estimator)), _averaged(estimator, table, chosen)
    )


@converts("sklearn", "KNeighborsRegressor")
def regressor(estimator: Any, table: Table) -> Value:
    return _averaged(estimator, table, estimator._y)


@converts("sklearn", "NearestCentroid")
def centroid(estimator: Any, table: Table) -> Classified:
    """The label of the nearest centre."""
    if estimator.metric != "euclidean" or estimator.shrink_threshold is not None:
        raise UnsupportedModelError("NearestCentroid is converted for euclidean distances without shrinking")
    from .classified import OfScores

    # The nearest has the highest x @ c - c @ c / 2.
    centres, graph = np.asarray(estimator.centroids_, np.float64), table.graph
    middle = centres.mean(axis=0)
    x, centres = graph.scale(table.numbers(), -middle, 1.0), centres - middle
    labels, offset = labels_of(estimator.classes_, name_of(estimator)), -0.5 * (centres**2).sum(axis=1)
    table.seen(estimator.centroids_.min(axis=0) - 1, estimator.centroids_.max(axis=0) + 1)
    if len(labels) == 2:
        return OfScores(graph, labels, x, centres[1:] - centres[:1], offset[1:] - offset[:1], "")
    return OfScores(graph, labels, x, centres, offset, "")


@converts("sklearn", "KMeans", "MiniBatchKMeans", "BisectingKMeans")
def clusters(estimator: Any, table: Table) -> Classified:
    """The number of the nearest centre; for a pipeline its distances."""
    return Clusters(estimator, table)


class Clusters(Classified):
    has_probabilities = False

    def __init__(self, estimator: Any, table: Table) -> None:
        self.graph = table.graph
        self.centres = np.asarray(estimator.cluster_centers_, np.float64)
        self.classes = list(range(len(self.centres)))
        table.seen(self.centres.min(axis=0) - 1, self.centres.max(axis=0) + 1)
        self.middle = self.centres.mean(axis=0)
        self.x = table.graph.scale(table.numbers(), -self.middle, 1.0)

    def end(self) -> Any:
        from .classified import OfScores

        centres = self.centres - self.middle
        offset = -0.5 * (centres**2).sum(axis=1)
        if len(centres) == 2:
            return OfScores(self.graph, self.classes, self.x, centres[1:] - centres[:1], offset[1:] - offset[:1], "").end()
        return OfScores(self.graph, self.classes, self.x, centres, offset, "").end()

    def transformed(self) -> Value:
        centres = self.centres - self.middle

        def step(g: ProgramBuilder, x: Tensor) -> Tensor:
            return g.sqrt(g.sum(g.square(g.sub(x, centres)), axis=1))

        return self.graph.step(step, self.x, width=len(centres))

    def winner(self) -> Value:
        return winner(self.graph, self.graph.scale(self.transformed(), 0.0, -1.0))
