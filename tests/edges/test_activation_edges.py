"""Edges of activations: each formula of MIL, computed by numpy in float64."""

from __future__ import annotations

import math

import numpy as np
from coremltools.converters.mil.mil import Builder as mb

from edges.catalogue import check, edge, edges
from edges.values import floats, mixed

X = floats(1, 3, 2, 4)
_erf = np.vectorize(math.erf)
ALPHA, BETA = np.array([0.1, -2, 3], np.float32), np.array([1, 0.5, -1], np.float32)


# Places whose largest channel is far below that of others.
APART = [
    (np.random.default_rng(0).standard_normal((1, 4, 7, 9)) * s - 9 * s * np.arange(9)).astype(np.float32)
    for s in (3, 300)
]


def per_channel(values):
    return values.astype(np.float64)[:, None, None]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0)


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def activation(operation, compute, *, label="", x=X, rtol=2e-6, atol=1e-7, halves=False, **constants):
    def build(x):
        return getattr(mb, operation)(x=x, **constants)

    def expect(x):
        return np.asarray(compute(x.astype(np.float64)), np.float32)

    return edge(operation, build, expect, label=label, rtol=rtol, atol=atol, halves=halves, x=x)


ACTIVATIONS = [
    activation("relu", lambda x: np.maximum(x, 0), halves=True),
    activation("relu6", lambda x: np.clip(x, 0, 6), halves=True),
    activation("leaky_relu", lambda x: np.where(x < 0, 0.1 * x, x), alpha=0.1),
    activation("leaky_relu", lambda x: np.where(x < 0, -2 * x, x), alpha=-2.0, label="a negative slope"),
    activation("clamped_relu", lambda x: np.minimum(np.where(x < 0, 0.1 * x, x), 2), alpha=0.1, beta=2.0),
    activation("elu", lambda x: np.where(x < 0, 0.7 * np.expm1(x), x), alpha=0.7, atol=3e-7),
    activation("gelu", lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), mode="EXACT", atol=2e-6),
    activation("gelu", lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
               mode="TANH_APPROXIMATION", label="tanh", atol=2e-6),
    activation("gelu", lambda x: x * sigmoid(1.702 * x), mode="SIGMOID_APPROXIMATION", label="sigmoid", atol=2e-6),
    activation("silu", lambda x: x * sigmoid(x), halves=True, rtol=1e-5),
    activation("sigmoid", sigmoid, halves=True, rtol=1e-4, atol=1e-37),
    activation("sigmoid_hard", lambda x: np.clip(0.2 * x + 0.5, 0, 1), alpha=0.2, beta=0.5),
    activation("sigmoid_hard", lambda x: np.clip(0.5 * x, 0, 1), label="without beta", alpha=0.5, beta=0.0),
    activation("sigmoid_hard", lambda x: np.where(np.isfinite(x), 0.3, np.nan), label="without alpha", alpha=0.0, beta=0.3),
    activation("scaled_tanh", lambda x: 2 * np.tanh(0.5 * x), alpha=2.0, beta=0.5),
    activation("softplus", softplus, halves=True, rtol=1e-4, atol=1e-37),
    activation("softplus_parametric", lambda x: per_channel(ALPHA) * softplus(per_channel(BETA) * x), alpha=ALPHA, beta=BETA,
               rtol=1e-5),
    activation("softsign", lambda x: x / (1 + np.abs(x)), halves=True),
    activation("thresholded_relu", lambda x: np.where(x >= 0.5, x, 0), alpha=0.5),
    activation("prelu", lambda x: np.where(x < 0, per_channel(ALPHA) * x, x), alpha=ALPHA),
    activation("linear_activation", lambda x: 2 * x + 1, alpha=2.0, beta=1.0, rtol=1e-6),
    activation("softmax", softmax, axis=-1, rtol=1e-4),
    activation("softmax", lambda x: softmax(x.swapaxes(1, 3)).swapaxes(1, 3), label="of channels far apart", axis=1, x=APART),
    activation("softmax", softmax, label="mixed", axis=-1, x=mixed(1, 3, 2, 4), rtol=1e-4),
]  # fmt: skip


@edges(ACTIVATIONS)
def test_activations(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)
