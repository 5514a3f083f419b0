"""Espresso: converts a neural network compiled by Apple back to the `NeuralNetwork` message of its source model.

Supports only layers and parameters whose meaning is certain: their weights were compared with the original models.
Any other layer, mode or parameter is rejected by name; nothing is guessed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SpecificationError, UnsupportedModelError
from ..support.regular_files import is_regular, read_regular
from .coremldata import FILE, read_coremldata
from .espresso_files import Network, open_network
from .git_lfs_pointer import is_pointer
from .schema import messages

_FLOAT32 = 65568
_LEGACY_VERSION = 1
_LEAKY_RELU, _SIGMOID = 2, 3
_LABELS_OF = "neuralNetworkClassifier"

# Parameters without effect on predictions.
_SILENT = {"type", "name", "bottom", "top", "weights", "blob_weights", "blob_biases", "attributes", "debug_info"}


class Layer:
    """One layer of the file. Parameters not read by `get` or `real` must be 0, absent or without effect."""

    def __init__(self, network: Network, row: Mapping[str, Any]) -> None:
        self.network = network
        self.row = row
        self.kind = str(row.get("type"))
        self.name = str(row.get("name", ""))
        self.bottom, self.top = (self._names(key) for key in ("bottom", "top"))
        self.known: set[str] = set()

    def get(self, key: str, default: int) -> int:
        """An integer parameter, from 0 to 2^31 - 1."""
        self.known.add(key)
        value = self.row.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise SpecificationError(f"{self}: {key} must be an integer from 0 to 2^31 - 1, got {value!r}")
        return value

    def real(self, key: str) -> float:
        self.known.add(key)
        value = self.row.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecificationError(f"{self}: {key} must be a number, got {value!r}")
        return float(value)

    def blob(self, key: str, *shape: int) -> np.ndarray:
        return self.network.weights.read(self.row.get(key), shape, self.name)

    def refuse(self, what: str) -> None:
        raise UnsupportedModelError(f"{self}: {what}; open the .mlmodel or .mlpackage it was compiled from")

    def finish(self) -> None:
        """Reject parameters that were not read and have an effect."""
        for key, value in self.row.items():
            if key not in self.known and key not in _SILENT and value not in (0, {}, [], "", None):
                self.refuse(f"unknown parameter {key} = {value!r}")

    def __str__(self) -> str:
        return f"{self.network.path}: [{self.kind}] '{self.name}'"

    def _names(self, key: str) -> list[str]:
        names = _split(self.row.get(key))
        if not names:
            raise SpecificationError(f"{self.network.path}: layer '{self.name}' has no '{key}'")
        return names


def read_espresso(folder: Path) -> Any:
    """The `Model` message of a compiled neural network, with its layers.

    Raises UnsupportedModelError for unknown layers and parameters; PackageError, SpecificationError or WeightError if
    a file is missing or damaged.
    """
    network = open_network(folder)
    if network.has_preprocessing:
        raise UnsupportedModelError(
            f"{network.path}: compiled image preprocessing (transform_params) is not supported, its format is unknown;"
            " open the .mlmodel or .mlpackage it was compiled from"
        )
    model = _described(folder, network)
    kind = model.WhichOneof("Type")
    if kind == _LABELS_OF:
        raise UnsupportedModelError(
            f"{folder}: compiled classifiers are not supported, the location of their class labels is unknown;"
            " open the .mlmodel or .mlpackage it was compiled from"
        )
    message = getattr(model, kind)
    _check_bottoms(network, [feature.name for feature in model.description.input])
    for row in network.layers:
        layer = Layer(network, row)
        if layer.kind not in _LAYERS:
            layer.refuse("unknown layer type")
        _LAYERS[layer.kind](layer, message.layers)
        layer.finish()
    return model


def _check_bottoms(network: Network, given: Sequence[str]) -> None:
    """Raise SpecificationError for a layer that reads what is neither given nor written by a layer: the file is
    damaged, whatever else is unknown about it."""
    known = {*given, *(name for row in network.layers for name in _split(row.get("top")))}
    for row in network.layers:
        missing = next((name for name in _split(row.get("bottom")) if name not in known), None)
        if missing is not None:
            raise SpecificationError(
                f"{Layer(network, row)}: no network input or other layer provides its input '{missing}'"
            )


def _split(names: Any) -> list[str]:
    return [name.strip() for name in names.split(",")] if isinstance(names, str) and names else []


def _described(folder: Path, network: Network) -> Any:
    """The description in coremldata.bin; inferred from the layers if that file is a Git LFS pointer."""
    path = folder / FILE
    if not is_regular(path) or not is_pointer(read_regular(path)):
        model = read_coremldata(path)
        if not (model.WhichOneof("Type") or "").startswith("neuralNetwork"):
            raise SpecificationError(f"{path} describes a {model.WhichOneof('Type')} model, but its folder has layers")
        return model
    log = logging.getLogger("pippin.format")
    log.addHandler(logging.NullHandler())
    log.warning("%s is a Git LFS pointer; names and shapes are taken from the layers", path)
    model = messages("Model").Model(specificationVersion=_LEGACY_VERSION)
    model.neuralNetwork.SetInParent()
    layers = [Layer(network, row) for row in network.layers]
    taken, given = ({name for layer in layers for name in getattr(layer, end)} for end in ("bottom", "top"))
    ends = ((model.description.input, taken - given), (model.description.output, given - taken))
    for features, names in ends:
        for name in sorted(names):
            array = features.add(name=name).type.multiArrayType
            array.dataType = _FLOAT32
            array.shape.extend(_shape(network, name))
    return model


def _shape(network: Network, name: str) -> list[int]:
    """[channel, height, width]. Only a batch and sequence size of 1 has been observed."""
    sizes = network.shapes.get(name, {})
    found = [sizes.get(key, 1) for key in ("k", "h", "w", "n", "seq")]
    if not all(isinstance(size, int) and 0 < size < 1 << 31 for size in found):
        raise SpecificationError(f"{network.path}: sizes of blob '{name}' must be positive integers, got {sizes}")
    if found[3:] != [1, 1]:
        raise UnsupportedModelError(f"{network.path}: blob '{name}' is a batch or sequence; its layout is unknown")
    return found[:3]


def _convolution(layer: Layer, layers: Any) -> None:
    """Weights are [C][K / groups][Ny][Nx], transposed [K][C / groups][Ny][Nx]; both as in the message."""
    transposed = layer.kind == "deconvolution"
    channels, kernels, groups = layer.get("C", 0), layer.get("K", 0), layer.get("n_groups", 1)
    size = layer.get("Ny", 0), layer.get("Nx", 0)
    if not all((channels, kernels, groups, *size)) or kernels % groups or channels % groups:
        raise SpecificationError(f"{layer}: sizes C, K, n_groups, Ny, Nx are zero or inconsistent")
    if transposed and groups > 1:
        layer.refuse("grouped deconvolution is not supported, its weight order is unknown")
    new, message = _add(layer, layers, "convolution", relu=layer.get("fused_relu", 0))
    message.outputChannels, message.kernelChannels, message.nGroups = channels, kernels // groups, groups
    message.kernelSize.extend(size)
    message.stride.extend((layer.get("stride_y", 1), layer.get("stride_x", 1)))
    message.dilationFactor.extend((1, 1))
    message.isDeconvolution = transposed
    _padding(layer, message)
    shape = (kernels, channels) if transposed else (channels, kernels // groups)
    message.weights.floatValue.extend(layer.blob("blob_weights", *shape, *size).reshape(-1))
    if layer.get("has_biases", 0):
        message.hasBias = True
        message.bias.floatValue.extend(layer.blob("blob_biases", channels))
    layer.get("n_parallel", 1)  # parallelization hint, no effect on the result
    new()


def _padding(layer: Layer, message: Any) -> None:
    mode = layer.get("pad_mode", 0)
    sides = [layer.get(f"pad_{side}", 0) for side in ("t", "b", "l", "r")]
    if mode == 1:
        message.same.SetInParent()
        return
    if mode != 0:
        layer.refuse(f"unknown pad_mode {mode}")
    message.valid.SetInParent()
    if any(sides):
        for before, after in (sides[:2], sides[2:]):
            message.valid.paddingAmounts.borderAmounts.add(startEdgeSize=before, endEdgeSize=after)


def _activation(layer: Layer, layers: Any) -> None:
    """Mode 2 is leaky ReLU and mode 3 a sigmoid, as shown by networks whose sources are public."""
    mode = layer.get("mode", -1) if "mode" in layer.row else -1
    if mode not in (_LEAKY_RELU, _SIGMOID):
        layer.refuse(f"unknown activation mode {mode}")
    new, message = _add(layer, layers, "activation")
    if mode == _SIGMOID:
        message.sigmoid.SetInParent()
    else:
        message.leakyReLU.alpha = layer.real("alpha")
    new()


def _inner_product(layer: Layer, layers: Any) -> None:
    before, after = layer.get("nB", 0), layer.get("nC", 0)
    if not before or not after:
        raise SpecificationError(f"{layer}: sizes must be positive, got nB = {before}, nC = {after}")
    new, message = _add(layer, layers, "innerProduct", relu=layer.get("has_relu", 0))
    message.inputChannels, message.outputChannels = before, after
    message.weights.floatValue.extend(layer.blob("blob_weights", after, before).reshape(-1))
    if layer.get("has_biases", 0):
        message.hasBias = True
        message.bias.floatValue.extend(layer.blob("blob_biases", after))
    new()


def _pool(layer: Layer, layers: Any) -> None:
    if layer.get("avg_or_max", 0) != 1:
        layer.refuse("average pooling is not supported: it is unknown whether it counts the padding")
    if layer.get("is_global", 0):
        layer.refuse("global pooling is not supported: the meaning of is_global is not certain")
    sizes = [layer.get(f"{what}_{axis}", 0) for what in ("size", "stride") for axis in ("y", "x")]
    if not all(sizes):
        raise SpecificationError(f"{layer}: sizes must be positive, got {sizes}")
    new, message = _add(layer, layers, "pooling")
    message.kernelSize.extend(sizes[:2])
    message.stride.extend(sizes[2:])
    _padding(layer, message)
    new()


def _add(layer: Layer, layers: Any, kind: str, relu: int = 0) -> tuple[Callable[[], None], Any]:
    """Add a layer. Returns a function that appends its fused ReLU, and the parameter message of the layer."""
    if len(layer.bottom) != 1 or len(layer.top) != 1:
        raise SpecificationError(
            f"{layer}: expected one bottom and one top, found {len(layer.bottom)} and {len(layer.top)}"
        )
    (top,) = layer.top
    inner = f"{top}/before_relu" if relu else top
    made = layers.add(name=layer.name or top)
    made.input.append(layer.bottom[0])
    made.output.append(inner)

    def finish() -> None:
        if relu:
            rectifier = layers.add(name=f"{layer.name or top}/relu")
            rectifier.input.append(inner)
            rectifier.output.append(top)
            rectifier.activation.ReLU.SetInParent()

    return finish, getattr(made, kind)


_LAYERS: Mapping[str, Callable[[Layer, Any], None]] = {
    "convolution": _convolution,
    "deconvolution": _convolution,
    "activation": _activation,
    "inner_product": _inner_product,
    "pool": _pool,
}
