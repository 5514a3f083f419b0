"""Neighbors: predictions from the nearest training rows, as one ML Program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import Value
from .classified import Classified, OfProbabilities, OfScores, labels_of, winner
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
        case "minkowski" if estimator.effective_metric_params_.get("w") is None:
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


def _averaged(estimator: Any, table: Table, targets: np.ndarray, centred: bool = True) -> Value:
    """The weighted mean of the targets (rows, outputs) of the nearest rows."""
    x, rows = _rows(estimator, table)
    targets = np.asarray(targets, np.float64).reshape(len(rows), -1)
    count = int(estimator.n_neighbors)
    origin = targets.mean(axis=0) * centred  # the same shares must stay the same

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
        table.graph,
        labels_of(estimator.classes_, name_of(estimator)),
        _averaged(estimator, table, chosen, centred=False),
    )


@converts("sklearn", "KNeighborsRegressor")
def regressor(estimator: Any, table: Table) -> Value:
    return _averaged(estimator, table, estimator._y)


@converts("sklearn", "NearestCentroid")
def centroid(estimator: Any, table: Table) -> Classified:
    """A softmax of squared distances in units of the spread, and of the priors: both linear once x @ x is left out."""
    if estimator.metric != "euclidean":
        raise UnsupportedModelError(f"NearestCentroid is converted for euclidean distances, got {estimator.metric!r}")
    centres, spread = np.asarray(estimator.centroids_, np.float64), np.asarray(estimator.within_class_std_dev_)
    middle, scale = centres.mean(axis=0), np.where(spread == 0, 1.0, spread)
    table.seen(centres.min(axis=0) - 1, centres.max(axis=0) + 1)
    x, centres = table.graph.scale(table.numbers(), -middle, 1 / scale), (centres - middle) / scale
    labels = labels_of(estimator.classes_, name_of(estimator))
    offset = -(centres**2).sum(axis=1) + 2 * np.log(estimator.class_prior_)
    if np.isclose(estimator.class_prior_, 1 / len(labels)).all():
        # The label is that of the nearest centre without the spread: the probabilities would be another classifier's.
        return OfScores(table.graph, labels, x, 2 * centres * scale**2, -(centres**2 @ scale**2), "")
    return OfScores(table.graph, labels, x, 2 * centres, offset, "softmax")


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
        centres = self.centres - self.middle
        offset = -0.5 * (centres**2).sum(axis=1)
        if len(centres) == 2:
            return OfScores(
                self.graph, self.classes, self.x, centres[1:] - centres[:1], offset[1:] - offset[:1], ""
            ).end()
        return OfScores(self.graph, self.classes, self.x, centres, offset, "").end()

    def transformed(self) -> Value:
        centres = self.centres - self.middle

        def step(g: ProgramBuilder, x: Tensor) -> Tensor:
            return g.sqrt(g.sum(g.square(g.sub(x, centres)), axis=1))

        return self.graph.step(step, self.x, width=len(centres))

    def winner(self) -> Value:
        return winner(self.graph, self.graph.scale(self.transformed(), 0.0, -1.0))
