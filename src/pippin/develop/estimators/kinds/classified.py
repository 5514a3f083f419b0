"""Classified: how a classifier decides, so that it can end a model or be a member of another estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Forest
from ..parts.graph import LOGISTIC, SOFTMAX, Graph
from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import HASHES, Part, Step, Value

_UNSATURATED = 2.0**-20
"""Scores without probabilities are scaled by this before a logistic function, which is flat far from 0."""


def labels_of(classes: Any, name: str) -> list[Any]:
    """Class labels as strings or integers: Core ML has no others."""
    found: list[Any] = np.asarray(classes).tolist()
    if all(isinstance(c, str) for c in found):
        return found
    if all(isinstance(c, bool | int | float) and float(c).is_integer() for c in found):
        return [int(c) for c in found]
    raise UnsupportedModelError(
        f"{name} has the class labels {found[:4]}; Core ML has strings and integers: train it on `y.astype(str)`"
    )


class Classified:
    """`classes` are the labels in the estimator's order. A tie is won by the first, in Core ML as in the libraries."""

    graph: Graph
    classes: list[Any]
    has_probabilities = True

    def end(self) -> Part | Step:
        """The part that ends the model."""
        return ended(self.graph, self.probabilities(), self.classes)

    def probabilities(self) -> Value:
        """The probabilities as a row."""
        raise NotImplementedError

    def decision(self) -> Value:
        """What `decision_function` gives, as a row."""
        raise UnsupportedModelError("this classifier's `decision_function` is not converted")

    def winner(self) -> Value:
        """A row with a one at the predicted class."""
        return winner(self.graph, self.probabilities())


def ended(graph: Graph, probabilities: Value, classes: Sequence[Any]) -> Part | Step:
    """A program that names the class of a row of probabilities."""
    row = graph.row(probabilities)
    return graph.classifier(Step([row], function=lambda g, p: p), classes)


def winner(graph: Graph, scores: Value) -> Value:
    """A one at the place of the highest number; of equal ones, the first."""
    count = scores.width

    def step(g: ProgramBuilder, x: Tensor) -> Tensor:
        best = g.equal(g.tensor(np.arange(count)), g.argmax(x))
        return g.select(best, np.ones(count), np.zeros(count))

    return graph.step(step, scores, width=count)


@dataclass
class OfProbabilities(Classified):
    graph: Graph
    classes: list[Any]
    value: Value

    def probabilities(self) -> Value:
        return self.value


@dataclass
class OfScores(Classified):
    """A row of scores, one for each class, or one of the second of two classes.

    `link` says what makes probabilities of them: "softmax", "logistic" (for more than one score: each against the
    rest, then divided by the sum) or "" (nothing: labels only).
    """

    graph: Graph
    classes: list[Any]
    x: Value
    weights: np.ndarray
    offset: np.ndarray
    link: str

    def __post_init__(self) -> None:
        self.weights = np.atleast_2d(np.asarray(self.weights, np.float64))
        self.offset = np.broadcast_to(np.asarray(self.offset, np.float64).reshape(-1), (len(self.weights),)).copy()
        self.has_probabilities = bool(self.link)

    def end(self) -> Part | Step:
        return self.graph.classifier(self._part(), self.classes)

    def _part(self) -> Part:
        weights, offset, each = self.weights, self.offset, self.link == "logistic" and len(self.weights) > 1
        if self.link == "softmax" and len(weights) > 1:
            # Classes are compared with the first, whose score is 0: the same softmax.
            weights, offset = weights[1:] - weights[0], offset[1:] - offset[0]
        if not self.link:
            weights, offset, each = weights * _UNSATURATED, offset * _UNSATURATED, len(weights) > 1

        def fill(message: Any) -> None:
            for row, number in zip(weights, offset, strict=True):
                message.weights.add().value.extend(row)
                message.offset.append(number)
            message.classEncoding = int(each)

        return Part([self.x], type="glmClassifier", fill=fill)

    def decision(self) -> Value:
        return self.graph.row(self.graph.linear(self.x, self.weights, self.offset))

    def probabilities(self) -> Value:
        if not self.link:
            raise UnsupportedModelError("a classifier without `predict_proba` cannot give probabilities to another")
        return as_row(self.graph, self._part(), len(self.classes))

    def winner(self) -> Value:
        scores = self.decision()
        return winner(self.graph, self.graph.linear(scores, [[0.0], [1.0]]) if scores.width == 1 else scores)


@dataclass
class OfForest(Classified):
    """The sums of trees: probabilities, or scores with a link as in `OfScores`.

    "logistic" is for one score, "separate" for one logistic function for each class.
    """

    graph: Graph
    classes: list[Any]
    x: Value
    forest: Forest
    link: str = ""

    def end(self) -> Part | Step:
        if self.link == "separate":
            return ended(self.graph, self.probabilities(), self.classes)
        return self.graph.classifier(self._part(), self.classes)

    def _part(self) -> Part:
        transform = {"": 0, "softmax": SOFTMAX, "logistic": LOGISTIC}[self.link]
        self.graph.known(self.x, self.forest)
        return Part([self.x], type="treeEnsembleClassifier", fill=lambda m: self.forest.fill(m, transform))

    def decision(self) -> Value:
        return self.graph.row(self.graph.trees(self.x, self.forest))

    def probabilities(self) -> Value:
        if self.link == "separate":
            return separate(self.graph, self.decision())
        return as_row(self.graph, self._part(), len(self.classes)) if self.link else self.decision()


def as_row(graph: Graph, node: Part | Step, count: int) -> Value:
    """The probabilities of a classical classifier as a row, in float64: its labels are the places."""
    graph.classifier(node, list(range(count)))
    probabilities = node.outputs[1]
    probabilities.kind, probabilities.width = HASHES, count
    return graph.concat([probabilities])


def separate(graph: Graph, scores: Value) -> Value:
    """Each score through a logistic function, not divided by their sum."""
    return graph.step(lambda g, x: g.sigmoid(x), scores, width=scores.width)
