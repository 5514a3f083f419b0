"""Activation: lowers activation layers and names the activations of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .weights import stored


@layer("activation")
def activation(n: Network, p: Any, x: Tensor) -> Any:
    kind = p.WhichOneof("NonlinearityType")
    if kind not in _ACTIVATIONS:
        raise UnsupportedOperationError(f"unknown activation '{kind}'")
    return _ACTIVATIONS[kind](n, getattr(p, kind), n.tensor(x))


def _by_channel(n: Network, x: Tensor, values: np.ndarray) -> np.ndarray:
    """Reshape per-channel parameters (PReLU and the like) to broadcast over [..., C, H, W]."""
    return values if values.size == 1 else values.reshape(-1, *[1] * min(x.rank - 1, 2))


def _parametric_softplus(n: Network, p: Any, x: Tensor) -> Any:
    alpha, beta = (_by_channel(n, x, stored(w)) for w in (p.alpha, p.beta))
    return n.Mul(alpha, n.Softplus(n.Mul(beta, x)))


def _prelu(n: Network, p: Any, x: Tensor) -> Any:
    slope = _by_channel(n, x, stored(p.alpha))
    return n.Add(n.Max(x, 0.0), n.Mul(slope, n.Min(x, 0.0)))


_ACTIVATIONS: Mapping[str, Callable[[Network, Any, Tensor], Any]] = {
    "linear": lambda n, p, x: n.Add(n.Mul(x, np.float32(p.alpha)), np.float32(p.beta)),
    "ReLU": lambda n, p, x: n.Relu(x),
    "leakyReLU": lambda n, p, x: n.LeakyRelu(x, alpha=p.alpha),
    "thresholdedReLU": lambda n, p, x: n.mil("thresholded_relu", x=x, alpha=np.float32(p.alpha)),
    "PReLU": _prelu,
    "tanh": lambda n, p, x: n.Tanh(x),
    "scaledTanh": lambda n, p, x: n.Mul(n.Tanh(n.Mul(x, np.float32(p.beta))), np.float32(p.alpha)),
    "sigmoid": lambda n, p, x: n.Sigmoid(x),
    "sigmoidHard": lambda n, p, x: n.mil("sigmoid_hard", x=x, alpha=p.alpha, beta=p.beta),
    "ELU": lambda n, p, x: n.Elu(x, alpha=p.alpha),
    "softsign": lambda n, p, x: n.Softsign(x),
    "softplus": lambda n, p, x: n.Softplus(x),
    "parametricSoftplus": _parametric_softplus,
}

# Activations of recurrent layers: MIL's name and the parameters that it implies.
_RECURRENT: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "linear": ("linear", (1.0, 0.0)),
    "ReLU": ("relu", ()),
    "tanh": ("tanh", ()),
    "scaledTanh": ("scaled_tanh", (1.0, 1.0)),
    "sigmoid": ("sigmoid", ()),
    "sigmoidHard": ("hard_sigmoid", (0.2, 0.5)),
}


def recurrent_name(p: Any) -> str:
    """MIL's name of a recurrent layer's activation.

    Raises UnsupportedOperationError for an unknown activation and for parameters that MIL's name does not imply.
    """
    kind = p.WhichOneof("NonlinearityType")
    if kind not in _RECURRENT:
        raise UnsupportedOperationError(f"unknown activation '{kind}' in a recurrent layer")
    name, implied = _RECURRENT[kind]
    given = tuple(getattr(getattr(p, kind), field) for field in ("alpha", "beta")[: len(implied)])
    if any(given) and not np.allclose(given, implied):
        raise UnsupportedOperationError(
            f"the activation '{kind}' has the parameters {given}; only {implied} is supported in a recurrent layer"
        )
    return name
