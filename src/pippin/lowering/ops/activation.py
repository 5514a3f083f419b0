"""Activation: lowers elementwise activation functions and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Lowering, lowers, lowers_table

_UNARY = {"relu": "Relu", "sigmoid": "Sigmoid", "softplus": "Softplus", "softsign": "Softsign"}


def _unary(onnx_kind: str) -> Lowering:
    return lambda g, x: g.emit(onnx_kind, x)


lowers_table(_UNARY, _unary)


@lowers("clamped_relu")
def clamped_relu(g: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return g.Min(g.LeakyRelu(x, alpha=alpha), g.cast(beta, x.dtype))


@lowers("elu")
def elu(g: Builder, x: Tensor, alpha: float) -> Tensor:
    return g.Elu(x, alpha=alpha)


@lowers("gelu")
def gelu(g: Builder, x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return g.Mul(x, g.Sigmoid(g.Mul(x, 1.702)))
    return g.Gelu(x, approximate="none" if mode == "EXACT" else "tanh")


@lowers("leaky_relu")
def leaky_relu(g: Builder, x: Tensor, alpha: float) -> Tensor:
    return g.LeakyRelu(x, alpha=alpha)


@lowers("linear_activation")
def linear_activation(g: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return g.Add(g.Mul(x, g.cast(alpha, x.dtype)), g.cast(beta, x.dtype))


@lowers("prelu")
def prelu(g: Builder, x: Tensor, alpha: np.ndarray) -> Tensor:
    return g.PRelu(x, _per_channel(alpha, len(x.shape or ())))


@lowers("relu6")
def relu6(g: Builder, x: Tensor) -> Tensor:
    return g.Clip(x, 0.0, 6.0)


@lowers("scaled_tanh")
def scaled_tanh(g: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return g.Mul(g.Tanh(g.Mul(x, g.cast(beta, x.dtype))), g.cast(alpha, x.dtype))


@lowers("sigmoid_hard")
def sigmoid_hard(g: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    if alpha and beta:
        return g.HardSigmoid(x, alpha=alpha, beta=beta)
    return g.Clip(g.Add(g.Mul(x, alpha), beta), 0.0, 1.0)  # OpenVINO takes its own default for a 0


@lowers("silu")
def silu(g: Builder, x: Tensor) -> Tensor:
    return g.Mul(x, g.Sigmoid(x))


@lowers("softmax")
def softmax(g: Builder, x: Tensor, axis: int = -1) -> Tensor:
    return g.Softmax(x, axis=axis)


@lowers("softplus_parametric")
def softplus_parametric(g: Builder, x: Tensor, alpha: np.ndarray, beta: np.ndarray) -> Tensor:
    rank = len(x.shape or ())
    return g.Mul(g.Softplus(g.Mul(x, _per_channel(beta, rank))), _per_channel(alpha, rank))


@lowers("thresholded_relu")
def thresholded_relu(g: Builder, x: Tensor, alpha: float) -> Tensor:
    # ONNX's ThresholdedRelu excludes the threshold, MIL's includes it.
    return g.Where(g.GreaterOrEqual(x, g.cast(alpha, x.dtype)), x, 0)


def _per_channel(values: np.ndarray, rank: int) -> Any:
    """A vector, reshaped to broadcast over axis 1 of a tensor of this rank."""
    return np.reshape(values, (-1, *[1] * (rank - 2)))
