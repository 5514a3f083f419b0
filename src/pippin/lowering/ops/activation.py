"""Activation: functions applied to each element, and softmax."""

from __future__ import annotations

from ..builder import Builder
from ..graph import Tensor
from ..registry import Lowering, lowers, lowers_table

_UNARY = {"relu": "Relu", "sigmoid": "Sigmoid", "softsign": "Softsign"}


def _unary(onnx_kind: str) -> Lowering:
    return lambda g, x: g.emit(onnx_kind, x)


lowers_table(_UNARY, _unary)


@lowers("leaky_relu")
def leaky_relu(g: Builder, x: Tensor, alpha: float = 0.01) -> Tensor:
    return g.LeakyRelu(x, alpha=alpha)
