"""Linear models: one weight for each column, and what becomes of the sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import Value
from .classified import Classified, OfProbabilities, OfScores, labels_of
from .registry import convert, converts, name_of
from .table import Table

_IDENTITY = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LarsCV",
    "LassoLars", "LassoLarsCV", "LassoLarsIC", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV",
    "BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "SGDRegressor", "LinearSVR",
    "PassiveAggressiveRegressor", "QuantileRegressor", "MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
)  # fmt: skip
_MORE = 3e-7
_LABELS_ONLY = ("RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron", "PassiveAggressiveClassifier")


@converts("sklearn", *_IDENTITY)
def linear_regressor(estimator: Any, table: Table) -> Value:
    return table.graph.linear(table.numbers(), estimator.coef_, estimator.intercept_)


@converts("sklearn", "PoissonRegressor", "GammaRegressor", "TweedieRegressor")
def generalized_regressor(estimator: Any, table: Table) -> Value:
    """The exponential of the sum, if the link is the logarithm."""
    raw = table.graph.linear(table.numbers(), estimator.coef_, estimator.intercept_)
    if "Log" in type(estimator._base_loss.link).__name__:
        return table.graph.step(lambda g, x: g.exp(x), raw, width=1)
    return raw


@converts("sklearn", "RANSACRegressor")
def consensus_regressor(estimator: Any, table: Table) -> Any:
    return convert(estimator.estimator_, table)


@converts("sklearn", "PLSRegression", "PLSCanonical", "CCA")
def projected_regressor(estimator: Any, table: Table) -> Value:
    """Centred columns times the coefficients (targets, columns)."""
    centred = table.graph.scale(table.numbers(), -estimator._x_mean, 1.0)
    return table.graph.linear(centred, estimator.coef_, estimator.intercept_)


@converts("sklearn", "LogisticRegression", "LogisticRegressionCV")
def logistic_classifier(estimator: Any, table: Table) -> Classified:
    """A softmax of the scores, with two classes a logistic function; liblinear compares each class with the rest."""
    one_row = len(estimator.coef_) == 1
    link = "logistic" if one_row or estimator.solver == "liblinear" else "softmax"
    return _scores(estimator, table, link)


@converts("sklearn", *_LABELS_ONLY)
def label_classifier(estimator: Any, table: Table) -> Classified:
    return _scores(estimator, table, "")


@converts("sklearn", "SGDClassifier")
def descent_classifier(estimator: Any, table: Table) -> Classified:
    if estimator.loss == "modified_huber":
        return _modified_huber(estimator, table)
    return _scores(estimator, table, "logistic" if estimator.loss == "log_loss" else "")


def _scores(estimator: Any, table: Table, link: str) -> OfScores:
    labels = labels_of(estimator.classes_, name_of(estimator))
    return OfScores(table.graph, labels, table.numbers(), estimator.coef_, estimator.intercept_, link)


def _modified_huber(estimator: Any, table: Table) -> Classified:
    """Scores from -1 to 1 as 0 to 1, over their sum; equal shares if all are 0.

    The label is that of the highest score, which other classes may share the highest probability with: it gets a little
    more.
    """
    scores, count = _scores(estimator, table, "").decision(), len(estimator.classes_)

    def step(g: ProgramBuilder, x: Tensor) -> Tensor:
        each = g.clip(g.mul(g.add(x, 1.0), 0.5), 0.0, 1.0)
        if count == 2:
            return g.concat([g.sub(1.0, each), each])
        total = g.sum(each)
        none = g.equal(total, 0.0)
        shares = g.div(each, g.select(none, np.ones(1), total))
        best = g.equal(g.tensor(np.arange(count)), g.argmax(x))
        return g.add(
            g.select(none, np.full(count, 1 / count), shares), g.select(best, np.full(count, _MORE), np.zeros(count))
        )

    labels = labels_of(estimator.classes_, name_of(estimator))
    return OfProbabilities(table.graph, labels, table.graph.step(step, scores, width=count))
