"""Generalized linear: regressors and classifiers with one weight for each number that comes in.

Core ML computes them in float64; so does this. Source: `GLMRegressor.proto`, `GLMClassifier.proto`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import SpecificationError, UnsupportedModelError
from ..format.asset import Asset
from ..format.description import Double, FeatureDescription, FunctionDescription, Int64, MultiArray
from ..types import DataType, TensorType
from .graph import Graph, Tensor
from .lowered import Labels, Lowered, Port

_TYPE = np.dtype(np.float64)
_NONE, _LOGIT, _PROBIT = "NoTransform", "Logit", "Probit"


def lower_glm_regressor(asset: Asset, function: FunctionDescription) -> Lowered:
    """transform(weights @ x + offset), one number or several."""
    message = asset.specification.glmRegressor
    g, ports, x = _inputs(function)
    transform = message.PostEvaluationTransform.Name(message.postEvaluationTransform)
    result = _transformed(g, _scores(g, x, message), transform)
    name = function.predicted_feature_name or function.outputs[0].name
    named = g.Identity(g.Reshape(result, [-1]))
    output = Port(name, TensorType(DataType.FLOAT64, named.shape), _TYPE)
    return _lowered(g, function, ports, output, named, None)


def lower_glm_classifier(asset: Asset, function: FunctionDescription) -> Lowered:
    """The probabilities of two classes by one score, of more by a score each (one versus rest), or by a score for
    all but the first (the reference class, whose score is 0)."""
    message = asset.specification.glmClassifier
    classes = asset.description.class_labels or ()
    g, ports, x = _inputs(function)
    transform = message.PostEvaluationTransform.Name(message.postEvaluationTransform)
    scores = _scores(g, x, message)
    if len(classes) == 2 and len(message.weights) == 1:
        second = _transformed(g, scores, transform)
        probabilities = g.Concat(g.Sub(1.0, second), second, axis=1)
    elif message.classEncoding == message.ClassEncoding.Value("OneVsRest"):
        each = _transformed(g, scores, transform)
        probabilities = g.Div(each, g.ReduceSum(each, [1], keepdims=1))
    elif transform == _LOGIT:
        reference = g.Sub(g.Slice(scores, [0], [1], [1]), g.Slice(scores, [0], [1], [1]))
        probabilities = g.Softmax(g.Concat(reference, scores, axis=1), axis=1)
    else:
        raise UnsupportedModelError(
            f"{asset.name}: a {transform} classifier of {len(classes)} classes with a reference"
        )
    label = function.predicted_feature_name or function.outputs[0].name
    name = f"{label}/probabilities"
    output = Port(name, TensorType(DataType.FLOAT64, probabilities.shape), _TYPE)
    labels = Labels(name, classes, label, function.predicted_probabilities_name or None)
    return _lowered(g, function, ports, output, probabilities, labels)


def _inputs(function: FunctionDescription) -> tuple[Graph, list[Port], Tensor]:
    """The ports, and all numbers that come in as one row (1, n)."""
    g = Graph()
    ports, rows = [], []
    for feature in function.inputs:
        shape = _shape(feature)
        ports.append(Port(feature.name, TensorType(DataType.FLOAT64, shape), _TYPE))
        rows.append(g.Reshape(Tensor(feature.name, _TYPE, shape), [1, -1]))
    return g, ports, rows[0] if len(rows) == 1 else g.Concat(*rows, axis=1)


def _shape(feature: FeatureDescription) -> tuple[int, ...]:
    match feature.type:
        case Int64() | Double():
            return (1,)
        case MultiArray(shape=shape) if shape is not None:
            return shape
    raise UnsupportedModelError(f"the input '{feature.name}' is a {feature.type}; a linear model takes numbers")


def _scores(g: Graph, x: Tensor, message: Any) -> Tensor:
    weights = np.array([row.value for row in message.weights], _TYPE)
    count = x.static_size(1)
    if weights.ndim != 2 or weights.shape[1] != count or len(message.offset) != len(weights):
        raise SpecificationError(
            f"the model has weights of shape {weights.shape} and {len(message.offset)} offsets for {count} numbers"
        )
    return g.Add(g.MatMul(x, np.ascontiguousarray(weights.T)), np.array(message.offset, _TYPE))


def _transformed(g: Graph, scores: Tensor, transform: str) -> Tensor:
    if transform == _LOGIT:
        return g.Sigmoid(scores)
    if transform == _PROBIT:  # the distribution function of the normal distribution
        return g.Mul(g.Add(g.Erf(g.Mul(scores, 1 / math.sqrt(2))), 1.0), 0.5)
    return scores


def _lowered(
    g: Graph, function: FunctionDescription, ports: list[Port], output: Port, result: Tensor, labels: Labels | None
) -> Lowered:
    inputs = [Tensor(port.name, port.dtype, port.type.shape) for port in ports]
    named = g.named(result, output.name)
    return Lowered(function.name, g.model(function.name, inputs, [named]), tuple(ports), (output,), (), (), labels)
