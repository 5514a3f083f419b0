"""Neural networks of scikit-learn: an ML Program of linear layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....errors import UnsupportedModelError
from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import Value
from .classified import Classified, OfProbabilities, labels_of
from .registry import converts, name_of
from .table import Table


def _layers(estimator: Any, table: Table, classes: int = 0) -> Value:
    count = len(estimator.coefs_)

    def activated(g: ProgramBuilder, x: Tensor, name: str) -> Tensor:
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            "identity": lambda x: x,
            "logistic": g.sigmoid,
            "tanh": g.tanh,
            "relu": g.relu,
            "softmax": g.softmax,
        }
        return functions[name](x)

    def step(g: ProgramBuilder, x: Tensor) -> Tensor:
        for number, (weights, offset) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
            x = g.linear(x, weights.T, offset)
            if number < count - 1:
                x = activated(g, x, estimator.activation)
            elif classes == 2:
                x = g.concat([g.sigmoid(g.mul(x, -1.0)), g.sigmoid(x)])
            else:
                x = activated(g, x, estimator.out_activation_)
        return x

    width = 2 if classes == 2 else len(estimator.intercepts_[-1])
    return table.graph.step(step, table.numbers(), width=width)


@converts("sklearn", "MLPClassifier")
def classifier(estimator: Any, table: Table) -> Classified:
    labels = labels_of(estimator.classes_, name_of(estimator))
    if estimator.out_activation_ == "logistic" and len(labels) != 2:
        raise UnsupportedModelError(f"{name_of(estimator)} predicts several labels; a Core ML classifier has one")
    return OfProbabilities(table.graph, labels, _layers(estimator, table, len(labels)))


@converts("sklearn", "MLPRegressor")
def regressor(estimator: Any, table: Table) -> Value:
    return _layers(estimator, table)
