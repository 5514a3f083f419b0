"""Custom layers: lowers a custom layer to a node that runs the Python code registered under its class name."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...extend.custom_layers import CustomLayer
from ..layer_registry import layer
from ..lower_layers import Network
from .weights import stored


@layer("custom")
def custom(n: Network, p: Any, *x: Any) -> Any:
    """Inputs and outputs are float32 arrays with the axes of the network."""
    parameters = {name: _value(value) for name, value in p.parameters.items()}
    weights = [_weights(w) for w in p.weights]
    inputs = [n.tensor(value, np.float32) for value in x]
    code = CustomLayer(p.className, parameters, weights)
    shapes = code.output_shapes([(None,) * t.rank if t.shape is None else t.shape for t in inputs], len(n.layer.output))
    return n.python("CustomLayer", p.className, parameters, inputs, weights, [(np.float32, shape) for shape in shapes])


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


def _weights(params: Any) -> np.ndarray:
    """A flat array: float32, or uint8 for raw bytes without quantization parameters."""
    if params.rawValue and not params.HasField("quantization"):
        return np.frombuffer(params.rawValue, np.uint8)
    return stored(params)
