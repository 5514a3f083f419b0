"""Generalized linear models: lowers regressors and classifiers with one weight per input number.

Source: `GLMRegressor.proto`, `GLMClassifier.proto`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import FunctionDescription
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, Classical
from .normal_distribution import normal_distribution

_LOGIT, _PROBIT = "Logit", "Probit"


def lower_glm_regressor(asset: Asset, function: FunctionDescription) -> Lowered:
    """transform(weights @ x + offset), one number or several."""
    g = Classical(asset, function)
    transform = g.message.PostEvaluationTransform.Name(g.message.postEvaluationTransform)
    g.give(g.only_output, _transformed(g, _scores(g), transform))
    return g.finished()


def lower_glm_classifier(asset: Asset, function: FunctionDescription) -> Lowered:
    """Class probabilities from the scores.

    Two classes need one score. More have a score each (one versus rest), or a score for all but the first, which is
    the reference class with score 0.
    """
    g = Classical(asset, function)
    classes = asset.description.class_labels or ()
    transform = g.message.PostEvaluationTransform.Name(g.message.postEvaluationTransform)
    scores = _scores(g)
    if len(classes) == 2 and scores.static_size(1) == 1:
        second = _transformed(g, scores, transform)
        probabilities = g.Concat(g.Sub(1.0, second), second, axis=1)
    elif g.message.classEncoding == g.message.ClassEncoding.Value("OneVsRest"):
        each = _transformed(g, scores, transform)
        probabilities = g.Div(each, g.ReduceSum(each, [1], keepdims=1))
    elif transform == _LOGIT:
        probabilities = g.Softmax(g.Concat(np.zeros((1, 1), FLOAT), scores, axis=1), axis=1)
    else:
        raise UnsupportedModelError(
            f"{asset.name}: a {transform} classifier of {len(classes)} classes with a reference class"
            " has no closed form"
        )
    return g.finished(g.classify(probabilities, classes))


def _scores(g: Classical) -> Tensor:
    weights: Any = [row.value for row in g.message.weights]
    if not weights or len({len(row) for row in weights}) != 1 or len(g.message.offset) != len(weights):
        raise SpecificationError(
            f"the {g.kind} has {len(weights)} rows of weights of lengths {sorted({len(row) for row in weights})}"
            f" and {len(g.message.offset)} offsets; it needs rows of one length and an offset for each"
        )
    matrix = np.array(weights, FLOAT)
    x = g.row(matrix.shape[1])
    return g.Add(g.MatMul(x, np.ascontiguousarray(matrix.T)), np.array(g.message.offset, FLOAT))


def _transformed(g: Classical, scores: Tensor, transform: str) -> Tensor:
    if transform == _LOGIT:
        return g.Sigmoid(scores)
    if transform == _PROBIT:
        return normal_distribution(g, scores)
    return scores
