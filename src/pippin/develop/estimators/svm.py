"""Support vector machines: the format has LIBSVM's own parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedModelError
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
        if len(self.classes) != 2:
            return super().decision()
        estimator = self.estimator

        def fill(message: Any) -> None:
            _kernel(estimator, message)
            message.coefficients.alpha.extend(-_coefficients(estimator)[0])
            message.rho = float(estimator._intercept_[0])
            for row in _vectors(estimator):
                message.denseSupportVectors.vectors.add().values.extend(row)

        return self.graph.row(self.graph.part("supportVectorRegressor", [self.x], NUMBER, 1, fill))

    def winner(self) -> Value:
        if len(self.classes) != 2:
            return super().winner()
        return winner(self.graph, self.graph.linear(self.decision(), [[0.0], [1.0]]))


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
