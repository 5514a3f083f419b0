"""Discriminant analysis: classes as normal distributions, with one covariance for all or one for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from .classified import Classified, OfScores, labels_of
from .registry import converts, name_of
from .table import Table


@converts("sklearn", "LinearDiscriminantAnalysis")
def linear_discriminant(estimator: Any, table: Table) -> Classified:
    labels = labels_of(estimator.classes_, name_of(estimator))
    link = "logistic" if len(labels) == 2 else "softmax"
    mean = getattr(estimator, "xbar_", None)
    x, offset = table.numbers(), np.asarray(estimator.intercept_, np.float64)
    if mean is not None:  # far from 0 the sum of products loses digits
        x, offset = table.graph.scale(x, -mean, 1.0), offset + estimator.coef_ @ mean
    return OfScores(table.graph, labels, x, estimator.coef_, offset, link)


@converts("sklearn", "QuadraticDiscriminantAnalysis")
def quadratic_discriminant(estimator: Any, table: Table) -> Classified:
    """-1/2 (sum of squared distances along the axes of each class + log determinant) + log prior."""
    graph, centre = table.graph, np.mean(estimator.means_, axis=0)
    x, scores = graph.scale(table.numbers(), -centre, 1.0), []
    rows = zip(estimator.rotations_, estimator.scalings_, estimator.means_, estimator.priors_, strict=True)
    for rotation, scaling, mean, prior in rows:
        place = (mean - centre) @ rotation
        constant = -0.5 * (place**2 / scaling).sum() - 0.5 * np.log(scaling).sum() + np.log(prior)
        scores.append(graph.quadratic(x, np.asarray(rotation).T, -0.5 / scaling, place / scaling, constant))
    count = len(scores)
    spread = np.sqrt([np.abs(r**2 @ s) for r, s in zip(estimator.rotations_, estimator.scalings_, strict=True)])
    table.seen((estimator.means_ - 2 * spread).min(axis=0), (estimator.means_ + 2 * spread).max(axis=0))
    labels = labels_of(estimator.classes_, name_of(estimator))
    return OfScores(graph, labels, graph.concat(scores), np.eye(count), np.zeros(count), "softmax")
