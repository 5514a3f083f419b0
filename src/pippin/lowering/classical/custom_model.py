"""Custom models: lowers a model implemented by a registered Python class to one node that runs in Python.

The node holds the specification; `specialization/custom_model_operator.py` runs it. Source: `CustomModel.proto`.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from ...extend.custom_models import class_of
from ...format.asset import Asset
from ...format.description import ColorSpace, FeatureDescription, FunctionDescription, Image
from ...types import DataType, TensorType
from ..lowered_model import Lowered, Port, Source, output_name
from ..onnx_builder import Graph, Tensor
from .feature_graph import feature_port

NODE = "CustomModel"


def lower_custom_model(asset: Asset, function: FunctionDescription) -> Lowered:
    """One Python node. Raises UnsupportedModelError if no class is registered under the model's class name."""
    g = Graph()
    name = asset.specification.customModel.className
    class_of(name)
    inputs, outputs = custom_ports(function)
    taken = [tensor for port in inputs for tensor in _tensors(port)]
    given = [tensor for port in outputs for tensor in _tensors(port)]
    g.label = "customModel"
    specification = base64.b64encode(asset.specification.SerializeToString()).decode()
    types = [(tensor.dtype, tensor.shape) for tensor in given]
    named = g.python(NODE, name, {"specification": specification}, taken, [], types, [t.name for t in given])
    model = g.model(function.name, taken, named)
    return Lowered(function.name, model, inputs, outputs, (), (), None, sources=(Source(g.label, NODE),))


def custom_ports(function: FunctionDescription) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Ports for the inputs and the outputs of the node."""
    inputs = tuple(_port(feature) for feature in function.inputs)
    outputs = (_port(feature) for feature in function.outputs)
    return inputs, tuple(Port(p.name, p.type, p.dtype, output_name(p.name, inputs), p.keys) for p in outputs)


def _port(feature: FeatureDescription) -> Port:
    if isinstance(feature.type, Image):
        image: Any = feature.type
        channels = 3 if image.color in (ColorSpace.RGB, ColorSpace.BGR) else 1
        sizes = (None, None) if image.sizes else (image.height, image.width)
        return Port(feature.name, TensorType(DataType.FLOAT32, (1, channels, *sizes)), np.dtype(np.float32))
    return feature_port(feature)


def _tensors(port: Port) -> list[Tensor]:
    found = [Tensor(port.tensor, port.dtype, port.type.shape)]
    return found if port.keys is None else [*found, Tensor(port.key_tensor, port.keys, port.type.shape)]
