"""Support vector machines: the format has LIBSVM's own parameters."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import NUMBER, Part, Step, Value
from .classified import Classified, OfScores, labels_of, winner
from .registry import converts, name_of
from .table import Table


def _kernel(estimator: Any, message: Any) -> None:
    gamma, constant = float(estimator._gamma), float(estimator.coef0)
    match estimator.kernel:
        case "linear":
            message.kernel.linearKernel.SetInParent()
        case "rbf":
            message.kernel.rbfKernel.gamma = gamma
        case "poly":
            kernel = message.kernel.polyKernel
            kernel.degree, kernel.gamma, kernel.c = int(estimator.degree), gamma, constant
        case "sigmoid":
            message.kernel.sigmoidKernel.gamma, message.kernel.sigmoidKernel.c = gamma, constant


def _check_kernel(estimator: Any) -> None:
    if estimator.kernel not in ("linear", "rbf", "poly", "sigmoid"):
        raise UnsupportedModelError(
            f"{name_of(estimator)} has the kernel {estimator.kernel!r}; Core ML has linear, poly, rbf and sigmoid"
        )


def _vectors(estimator: Any) -> np.ndarray:
    found = estimator.support_vectors_
    return np.asarray(found.todense() if hasattr(found, "todense") else found, np.float64)


def _coefficients(estimator: Any) -> np.ndarray:
    found = estimator._dual_coef_
    return np.asarray(found.todense() if hasattr(found, "todense") else found, np.float64)


@converts("sklearn", "OneClassSVM")
def one_class(estimator: Any, table: Table) -> Classified:
    """1 for an inlier, where the decision function is above 0, and -1 for an outlier."""
    return OfScores(table.graph, [-1, 1], regressor(estimator, table), np.ones((1, 1)), np.zeros(1), "")


@converts("sklearn", "SVR", "NuSVR")
def regressor(estimator: Any, table: Table) -> Value:
    _check_kernel(estimator)
    vectors = _vectors(estimator)
    table.seen(vectors.min(axis=0), vectors.max(axis=0))

    def fill(message: Any) -> None:
        _kernel(estimator, message)
        message.coefficients.alpha.extend(_coefficients(estimator)[0])
        message.rho = -float(estimator._intercept_[0])
        for row in vectors:
            message.denseSupportVectors.vectors.add().values.extend(row)

    return table.graph.part("supportVectorRegressor", [table.numbers()], NUMBER, 1, fill)


class OfVectors(Classified):
    """The votes of all pairs of classes, or with `probability=True` their coupled probabilities."""

    def __init__(self, estimator: Any, table: Table) -> None:
        self.graph, self.estimator = table.graph, estimator
        self.classes = labels_of(estimator.classes_, name_of(estimator))
        self.table, self.x = table, table.numbers()
        self.has_probabilities = bool(estimator.probability) and len(estimator._probA) > 0

    def end(self) -> Part | Step:
        return self.graph.classifier(Part([self.x], type="supportVectorClassifier", fill=self._fill), self.classes)

    def _fill(self, message: Any) -> None:
        estimator = self.estimator
        _kernel(estimator, message)
        for row in _coefficients(estimator):
            message.coefficients.add().alpha.extend(row)
        for row in _vectors(estimator):
            message.denseSupportVectors.vectors.add().values.extend(row)
        message.numberOfSupportVectorsPerClass.extend(int(n) for n in estimator._n_support)
        message.rho.extend(-np.asarray(estimator._intercept_, np.float64))
        if self.has_probabilities:
            message.probA.extend(np.asarray(estimator._probA, np.float64))
            message.probB.extend(np.asarray(estimator._probB, np.float64))

    def probabilities(self) -> Value:
        raise UnsupportedModelError(
            f"{name_of(self.estimator)} gives its probabilities to another estimator, which is not converted;"
            " use CalibratedClassifierCV or a classifier with its own probabilities"
        )

    def decision(self) -> Value:
        """With two classes what LIBSVM computes, negated. With more, the votes of the pairs, and below 1/3 what their
        decisions add up to: see `_ovr_decision_function` of scikit-learn."""
        count = len(self.classes)
        if count == 2:
            return self.graph.row(self._pair(0, 1, -1.0))
        if self.estimator.decision_function_shape != "ovr":
            raise UnsupportedModelError(
                f"{name_of(self.estimator)} gives the decisions of all pairs to another estimator; converted is"
                " decision_function_shape='ovr'"
            )

        def step(g: ProgramBuilder, votes: Tensor, sums: Tensor) -> Tensor:
            return g.add(votes, g.div(sums, g.mul(g.add(g.abs(sums), 1.0), 3.0)))

        decisions = self._pairs()
        _, signs = _matrices(count)
        return self.graph.step(step, self._votes(decisions), self.graph.linear(decisions, signs), width=count)

    def winner(self) -> Value:
        if len(self.classes) == 2:
            return winner(self.graph, self.graph.linear(self.decision(), [[0.0], [1.0]]))
        return winner(self.graph, self._votes(self._pairs()))

    def _votes(self, decisions: Value) -> Value:
        """How many pairs each class wins; a decision of 0 is won by the second."""
        count = len(self.classes)
        won, _ = _matrices(count)

        def step(g: ProgramBuilder, x: Tensor) -> Tensor:
            first = g.select(g.greater(x, 0.0), np.ones(x.shape), np.zeros(x.shape))
            return g.linear(g.concat([first, g.sub(1.0, first)]), won)

        return self.graph.step(step, decisions, width=count)

    def _pairs(self) -> Value:
        pairs = combinations(range(len(self.classes)), 2)
        return self.graph.concat([self._pair(i, j, 1.0) for i, j in pairs])

    def _pair(self, i: int, j: int, sign: float) -> Value:
        """LIBSVM's decision between two classes: above 0 it is the first."""
        estimator, pairs = self.estimator, list(combinations(range(len(self.classes)), 2))
        starts = np.cumsum([0, *estimator._n_support])
        one, other = (np.arange(starts[c], starts[c + 1]) for c in (i, j))
        coefficients = _coefficients(estimator)
        alpha = sign * np.concatenate([coefficients[j - 1][one], coefficients[i][other]])
        vectors = _vectors(estimator)[np.concatenate([one, other])]
        offset = sign * float(estimator._intercept_[pairs.index((i, j))])

        def fill(message: Any) -> None:
            _kernel(estimator, message)
            message.coefficients.alpha.extend(alpha)
            message.rho = -offset
            for row in vectors:
                message.denseSupportVectors.vectors.add().values.extend(row)

        return self.graph.part("supportVectorRegressor", [self.x], NUMBER, 1, fill)


def _matrices(count: int) -> tuple[np.ndarray, np.ndarray]:
    """What the pairs' outcomes (won by the first, by the second) and decisions count for each class."""
    pairs = list(combinations(range(count), 2))
    won, signs = np.zeros((count, 2 * len(pairs))), np.zeros((count, len(pairs)))
    for number, (i, j) in enumerate(pairs):
        won[i, number] = won[j, len(pairs) + number] = 1
        signs[i, number], signs[j, number] = 1, -1
    return won, signs


@converts("sklearn", "SVC", "NuSVC")
def classifier(estimator: Any, table: Table) -> Classified:
    _check_kernel(estimator)
    vectors = _vectors(estimator)
    table.seen(vectors.min(axis=0), vectors.max(axis=0))
    if getattr(estimator, "break_ties", False):
        raise UnsupportedModelError(
            f"{name_of(estimator)} with break_ties=True decides by its decision function; Core ML decides by votes"
        )
    return OfVectors(estimator, table)
