"""Neural networks: lowers the inputs, layers and outputs of a neural network to an ONNX model."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ProgramError, SpecificationError, UnsupportedModelError
from ..format.asset import Asset
from ..format.description import (
    ColorSpace,
    Double,
    EnumeratedShapes,
    FeatureDescription,
    FunctionDescription,
    Image,
    Int64,
    MultiArray,
    ShapeRange,
)
from ..types import DataType, Shape, TensorType
from . import layers as layers  # registers every layer
from .lower_layers import EXACT_MAPPING, Network, check_inputs_of_layers
from .lowered_model import Labels, Lowered, Port, Source, check_labels, check_scores, output_name
from .onnx_builder import Tensor
from .weight_arrays import WeightArrays


def lower_network(asset: Asset, function: FunctionDescription, joined: bool = False) -> Lowered:
    """Lower a neural network; `joined` says that other models of a pipeline compute its inputs.

    Raises UnsupportedOperationError or ProgramError, naming the layer.
    """
    message = getattr(asset.specification, asset.description.kind)
    check_inputs_of_layers(message.layers, [feature.name for feature in function.inputs])
    network = Network(message)
    inputs = [_input(network, feature) for feature in function.inputs]
    if not joined:
        network.first.update(tensor.name for _, tensor in inputs)
    network.layers(message.layers)
    labels, outputs = _outputs(network, asset, function, [port for port, _ in inputs])
    results = [*(tensor for _, tensor in outputs), *network.check_outputs, *network.index_outputs.values()]
    weights = WeightArrays()
    model = network.model(function.name, [tensor for _, tensor in inputs], results, weights)
    ports = tuple(port for port, _ in inputs), tuple(port for port, _ in outputs)
    sources = tuple(Source(layer.name, layer.WhichOneof("layer") or "") for layer in message.layers)
    return Lowered(
        function.name, model, *ports, states=(), written=(), labels=labels, sources=sources,
        checks=tuple(network.checks), index_checks=tuple(network.index_checks), weights=(weights,),
    )  # fmt: skip


def _input(network: Network, feature: FeatureDescription) -> tuple[Port, Tensor]:
    """The port and tensor of an input. The network sees the value preprocessed and at its working rank."""
    shape = _port_shape(feature)
    sequence = _is_sequence(network, feature)
    if sequence:
        shape = (None, 1, *shape, *(1,) * (3 - len(shape)))
    # Declared element types concern the caller only: a network computes in float32.
    port = Port(feature.name, TensorType(DataType.FLOAT32, shape), np.dtype(np.float32), sequence=sequence)
    tensor = Tensor(feature.name, port.dtype, shape)
    network.label = feature.name
    value = tensor
    if isinstance(feature.type, Image):
        value = _preprocessed(network, feature, value)
        if network.message.imageInputShapeMapping != EXACT_MAPPING:
            value = network.Unsqueeze(value, [0])
    elif not network.exact:
        value = _of_rank_5(network, value)
    network.values[feature.name] = value
    return port, tensor


_SEQUENTIAL = frozenset({"simpleRecurrent", "gru", "uniDirectionalLSTM", "biDirectionalLSTM", "embedding"})


def _is_sequence(network: Network, feature: FeatureDescription) -> bool:
    """Whether an array described as [channel] may also be passed as a sequence [sequence, 1, channel, 1, 1].

    Only in networks from before 2019 with sequence layers, and not for states.
    """
    if network.exact or not isinstance(feature.type, MultiArray) or feature.type.flexibility is not None:
        return False
    shape = feature.type.shape or ()
    layers = [layer for layer in network.message.layers if layer.WhichOneof("layer") in _SEQUENTIAL]
    states = {name for layer in layers for name in layer.input[1:]}
    return len(shape) in (1, 3) and shape[1:] in ((), (1, 1)) and bool(layers) and feature.name not in states


def _port_shape(feature: FeatureDescription) -> Shape:
    """The declared shape, with None for sizes that vary between predictions."""
    match feature.type:
        case MultiArray(shape=shape, flexibility=None) if shape is not None:
            return shape
        case MultiArray(shape=shape, flexibility=ShapeRange(ranges)):
            return tuple(r.lower if r.lower == r.upper else None for r in ranges)
        case MultiArray(shape=shape, flexibility=EnumeratedShapes(shapes)):
            columns = zip(*{*shapes, shape or shapes[0]}, strict=True)
            return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in columns)
        case Image(width, height, color, sizes):
            channels = 3 if color in (ColorSpace.RGB, ColorSpace.BGR) else 1
            return (1, channels, None, None) if sizes else (1, channels, height, width)
        case Int64() | Double():
            return (1,)
    raise UnsupportedModelError(f"the input '{feature.name}' is {feature.type}, which neural networks do not support")


def _of_rank_5(network: Network, x: Tensor) -> Tensor:
    """Expand [channel] or [channel, height, width] to [sequence, batch, channel, height, width]."""
    axes = {1: [0, 1, 3, 4], 3: [0, 1], 2: [2, 3, 4], 4: [1], 5: []}.get(x.rank)
    if axes is None:
        raise UnsupportedModelError(f"the input '{x.name}' must have rank 1 to 5, got {x.rank}")
    return network.Unsqueeze(x, axes) if axes else x


def _preprocessed(network: Network, feature: FeatureDescription, x: Tensor) -> Tensor:
    """The input after its declared preprocessing: x * scale + bias per channel, or x minus the mean image."""
    color = feature.type.color if isinstance(feature.type, Image) else None
    for message in network.message.preprocessing:
        if message.featureName not in ("", feature.name):
            continue
        if message.WhichOneof("preprocessor") == "scaler":
            scaler = message.scaler
            bias = [scaler.redBias, scaler.greenBias, scaler.blueBias]
            bias = bias[::-1] if color is ColorSpace.BGR else bias if color is ColorSpace.RGB else [scaler.grayBias]
            scale = scaler.channelScale or 1.0  # unset in files that only have a bias
            x = network.Add(network.Mul(x, scale), np.array(bias, np.float32).reshape(-1, 1, 1))
        else:
            x = network.Sub(x, _mean_image(feature, message.meanImage, x))
    return x


def _mean_image(feature: FeatureDescription, message: Any, x: Tensor) -> np.ndarray:
    mean = np.array(message.meanImage, np.float32)
    sizes = [1 if d is None else d for d in (x.shape or ())[1:]]
    if mean.size != prod(sizes):
        raise ProgramError(
            f"the mean image of '{feature.name}' has {mean.size} numbers, but the image has {prod(sizes)}"
            f" ({' x '.join(map(str, sizes))})"
        )
    return mean.reshape(sizes)


def _outputs(
    network: Network, asset: Asset, function: FunctionDescription, inputs: list[Port]
) -> tuple[Labels | None, list[tuple[Port, Tensor]]]:
    labels, found = None, []
    if not function.outputs:
        raise SpecificationError("the network describes no output")
    if asset.description.kind == "neuralNetworkClassifier":
        labels = _labels(network, asset, function)
        raw = network.tensor(network.values[_probabilities(network)])
        check_scores(raw.static_shape, labels.classes)
        found.append(_output(network, raw, labels.probabilities, inputs))
    for feature in function.outputs:
        if labels and feature.name in (labels.label_output, labels.probabilities_output):
            continue
        if feature.name not in network.values:
            raise ProgramError(f"the output '{feature.name}' is described, but no layer produces it")
        value = network.tensor(network.values[feature.name], np.float32)
        found.append(_output(network, _declared(network, value, feature), feature.name, inputs))
    return labels, found


def _output(network: Network, value: Tensor, name: str, inputs: list[Port]) -> tuple[Port, Tensor]:
    sequence = not network.exact and value.rank == 5 and None in (value.shape or ())[:2]
    kind = TensorType(DataType.FLOAT32, value.shape)
    port = Port(name, kind, value.dtype, output_name(name, inputs), sequence=sequence)
    return port, network.named(value, port.tensor)


def _declared(network: Network, value: Tensor, feature: FeatureDescription) -> Tensor:
    """A rank-5 output as the described array: drops leading, then trailing axes of size 1."""
    if network.exact:
        return _without_image_axes(network, value, feature)
    if isinstance(feature.type, Image):
        return network.Squeeze(value, [0]) if value.rank == 5 else value
    if not isinstance(feature.type, MultiArray) or value.rank != 5:
        return value
    described = feature.type.shape
    if described is not None and value.static_shape is not None and prod(described) == prod(value.static_shape):
        return network.Reshape(value, list(described))
    sizes = value.shape or ()
    if sizes[:2] != (1, 1):
        return value
    rank = len(described) if described is not None else 1 if sizes[3:] == (1, 1) else 3
    return network.Squeeze(value, [0, 1, 3, 4] if rank == 1 else [0, 1])


def _without_image_axes(network: Network, value: Tensor, feature: FeatureDescription) -> Tensor:
    """Drop the extra leading axis of an array network that was converted to take images."""
    described = feature.type.shape if isinstance(feature.type, MultiArray) else None
    sizes = value.static_shape
    if not described or sizes is None or len(sizes) != len(described) + 1 or prod(sizes) != prod(described):
        return value
    return network.Reshape(value, list(described))


def _probabilities(network: Network) -> str:
    """Name of the value with a classifier's probabilities: the one the file names, else the last layer's output."""
    named = network.message.labelProbabilityLayerName
    if not network.message.layers:
        raise ProgramError("the network has no layers")
    if named in network.values:
        return str(named)
    layers = [layer for layer in network.message.layers if named and layer.name == named]
    last = layers[0] if layers else network.message.layers[-1]
    if not last.output:
        raise ProgramError(f"the layer '{last.name}' has no output, but should compute the probabilities")
    return str(last.output[0])


def _labels(network: Network, asset: Asset, function: FunctionDescription) -> Labels:
    label = function.predicted_feature_name or function.outputs[0].name
    classes = asset.description.class_labels or ()
    check_labels(classes, asset.description.kind)
    described = {feature.name for feature in function.outputs}
    probabilities = function.predicted_probabilities_name
    return Labels(f"{label}/probabilities", classes, label, probabilities if probabilities in described else None)
