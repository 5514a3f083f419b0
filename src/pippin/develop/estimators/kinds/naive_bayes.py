"""Naive Bayes: sums of logarithms, and a softmax of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..parts.forest import AT_MOST, Forest, lookup, steps
from .classified import Classified, OfForest, OfScores, labels_of
from .registry import converts, name_of
from .table import Table


@converts("sklearn", "GaussianNB")
def gaussian(estimator: Any, table: Table) -> Classified:
    """Squares and products in float64: see `Graph.quadratic`."""
    graph, centre = table.graph, estimator.theta_.mean(axis=0)
    x, scores = graph.scale(table.numbers(), -centre, 1.0), []
    for mean, variance, prior in zip(estimator.theta_, estimator.var_, estimator.class_prior_, strict=True):
        place = mean - centre
        constant = np.log(prior) - 0.5 * np.log(2 * np.pi * variance).sum() - 0.5 * (place**2 / variance).sum()
        scores.append(graph.quadratic(x, np.eye(len(mean)), -0.5 / variance, place / variance, constant))
    spread = 2 * np.sqrt(estimator.var_)
    table.seen((estimator.theta_ - spread).min(axis=0), (estimator.theta_ + spread).max(axis=0))
    count, labels = len(scores), labels_of(estimator.classes_, name_of(estimator))
    return OfScores(graph, labels, graph.concat(scores), np.eye(count), np.zeros(count), "softmax")


@converts("sklearn", "MultinomialNB")
def multinomial(estimator: Any, table: Table) -> Classified:
    table.seen(0, 10)
    labels = labels_of(estimator.classes_, name_of(estimator))
    weights, offset = estimator.feature_log_prob_, estimator.class_log_prior_
    return OfScores(table.graph, labels, table.numbers(), weights, offset, "softmax")


@converts("sklearn", "ComplementNB")
def complement(estimator: Any, table: Table) -> Classified:
    table.seen(0, 10)
    labels, weights = labels_of(estimator.classes_, name_of(estimator)), estimator.feature_log_prob_
    offset = estimator.class_log_prior_ if len(labels) == 1 else np.zeros(len(labels))
    return OfScores(table.graph, labels, table.numbers(), weights, offset, "softmax")


@converts("sklearn", "BernoulliNB")
def bernoulli(estimator: Any, table: Table) -> Classified:
    """A tree for each column: its logarithms below and above the bound."""
    yes, count = estimator.feature_log_prob_, len(estimator.classes_)
    no = np.log(1 - np.exp(yes))
    bound = 0.5 if estimator.binarize is None else float(estimator.binarize)
    forest = Forest(np.array(estimator.class_log_prior_, np.float64))
    for column in range(yes.shape[1]):
        values = [{k: float(side[k, column]) for k in range(count)} for side in (no, yes)]
        forest.trees.append(steps(column, [bound], values, AT_MOST))
    table.seen(bound - 1, bound + 1)
    labels = labels_of(estimator.classes_, name_of(estimator))
    return OfForest(table.graph, labels, table.numbers(), forest, "softmax")


@converts("sklearn", "CategoricalNB")
def categorical(estimator: Any, table: Table) -> Classified:
    """A tree for each column: the logarithms of each category, an integer."""
    count = len(estimator.classes_)
    forest = Forest(np.array(estimator.class_log_prior_, np.float64))
    for column, logs in enumerate(estimator.feature_log_prob_):
        rows = {float(c): {k: float(logs[k, c]) for k in range(count)} for c in range(logs.shape[1])}
        forest.trees.append(lookup(column, rows, {}))
        _integers(table, column, logs.shape[1])
    labels = labels_of(estimator.classes_, name_of(estimator))
    return OfForest(table.graph, labels, table.numbers(), forest, "softmax")


def _integers(table: Table, column: int, count: int) -> None:
    place = table.columns[column]
    if isinstance(place, int):
        table.graph.categories[place] = list(range(count))
