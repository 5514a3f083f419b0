"""Bayesian probit: lowers the Bayesian probit regressor, a sum of independent normal weights per feature value.

Source of the message: `BayesianProbitRegressor.proto`, which gives no formula. The score is that of T. Graepel et al.,
"Web-scale Bayesian click-through rate prediction" (2010): the bias plus the weights of the values that are present. It
is normal; its mean and variance are the sums of theirs. The proto leaves two outputs open. Defined here: the
pessimistic probability is P(mean + optimism * deviation) and the sampled one P(mean + scale * z * deviation), with z
standard normal and clipped to +-truncation, and P the normal distribution function.
"""

from __future__ import annotations

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import FunctionDescription
from .. import limits
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, INT, STRING, Classical, Pairs
from .normal_distribution import normal_distribution


def lower_bayesian_probit_regressor(asset: Asset, function: FunctionDescription) -> Lowered:
    """Feature values are an array, or a dictionary keyed by feature number. A value without a weight adds nothing."""
    g = Classical(asset, function)
    rows = [
        (feature.featureId, weight.featureValue, weight.featureWeight.mean, _variance(weight.featureWeight.precision))
        for feature in g.message.features
        for weight in feature.weights
    ]
    ids, values, means, variances = np.array(rows, FLOAT).reshape(-1, 4).T.copy()
    count = int(g.message.numberOfFeatures)
    limits.tensor([count])
    if len(ids) and ids.max() >= count:
        raise SpecificationError(
            f"the {g.kind} has weights for feature {int(ids.max())}, but only {count} features, counted from 0"
        )
    present = g.cast(g.Equal(g.Gather(_values(g, count), ids.astype(INT)), values), FLOAT)
    mean = g.Add(g.ReduceSum(g.Mul(present, means), keepdims=0), g.message.bias.mean)
    variance = g.Add(g.ReduceSum(g.Mul(present, variances), keepdims=0), _variance(g.message.bias.precision))
    deviation = g.Sqrt(variance)
    optimism = _parameter(g, g.message.optimismInputFeatureName, 0.0)
    shifts = {
        g.message.pessimisticProbabilityOutputFeatureName: lambda: optimism,
        g.message.sampledProbabilityOutputFeatureName: lambda: _sample(g),
    }
    for feature in function.outputs:
        if feature.name == g.message.meanOutputFeatureName:
            g.give(feature, mean)
        elif feature.name == g.message.varianceOutputFeatureName:
            g.give(feature, variance)
        elif feature.name in shifts:
            score = g.Add(mean, g.Mul(shifts[feature.name](), deviation))
            g.give(feature, normal_distribution(g, g.Reshape(score, [1])))
    return g.finished()


def _variance(precision: float) -> float:
    if not precision > 0:
        raise SpecificationError(f"the precision of a weight must be positive, got {precision}")
    return 1 / precision


def _values(g: Classical, count: int) -> Tensor:
    """The value of each feature (count); NaN, which matches no weight, for keys that the dictionary lacks."""
    name = g.message.regressionInputFeatureName
    value = g.input(name)
    if not isinstance(value, Pairs):
        return g.Reshape(g.number(value, name), [count])
    if value.keys.dtype == STRING:
        raise UnsupportedModelError(
            f"'{name}' is declared as {g.described(name).type}, but the {g.kind} takes integer keys"
        )
    inside = g.And(g.GreaterOrEqual(value.keys, np.int64(0)), g.Less(value.keys, np.int64(count)))
    g.refuse(g.Not(inside), value.keys, f"the keys of '{name}' must be at least 0 and below {count}, got")
    keys, values = (g.Compress(t, inside, axis=0) for t in (value.keys, value.values))
    return g.ScatterElements(limits.full([count], np.nan), keys, values, axis=0)


def _parameter(g: Classical, name: str, default: float) -> Tensor:
    if name not in g.inputs:
        return g.tensor(np.array(default, FLOAT))
    given = g.Reshape(g.number(g.inputs[name], name), [])
    return g.Where(g.IsNaN(given), default, given)  # NaN: optional and missing


def _sample(g: Classical) -> Tensor:
    z = g.cast(g.RandomNormal(shape=[1], dtype=1), FLOAT)
    truncation = _parameter(g, g.message.samplingTruncationInputFeatureName, np.inf)
    scale = _parameter(g, g.message.samplingScaleInputFeatureName, 1.0)
    return g.Mul(g.Min(g.Max(z, g.Neg(truncation)), truncation), scale)
