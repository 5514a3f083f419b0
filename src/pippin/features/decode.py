"""Decode: converts an engine's arrays to the output features that the model declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from typing import Any, TypeAlias

import numpy as np

from ..errors import PippinError, PredictionError, SpecificationError
from ..format.description import ColorSpace, Dictionary, Double, FeatureDescription, Image, Int64, MultiArray, String
from ..format.description import Sequence as SequenceType
from ..lowering.lowered_model import Labels, Port
from ..support.boundary import described
from .images import decode_image
from .outputs import Outputs

# Number of classes up to which Python finds the most probable one faster than numpy.
_FEW = 32

Decode: TypeAlias = Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
"""Converts all of an engine's arrays to the outputs of a model."""
_Decoder: TypeAlias = Callable[[Mapping[str, np.ndarray]], Any]
_Fill: TypeAlias = Callable[[Mapping[str, np.ndarray], dict[str, Any]], None]


def make_decode(features: Many[FeatureDescription], ports: Many[Port], labels: Labels | None) -> Decode:
    """Return a function that decodes the values of `features`, in this order.

    Raises SpecificationError if the description names an output that the program does not have. The function raises
    PredictionError if there are too few probabilities, or NaN among them.
    """
    names = [feature.name for feature in features]
    of_labels = {labels.label_output, labels.probabilities_output}.intersection(names) if labels else set()
    by_name = {port.name: port for port in ports}
    for name in names:
        if name not in by_name and name not in of_labels:
            known = ", ".join(sorted(by_name)) or "none"
            raise SpecificationError(f"the output '{name}' is described, but the program has only: {known}")
    decoders = [(f.name, _decoder(f, by_name[f.name])) for f in features if f.name not in of_labels]
    if labels is None or not of_labels:
        return _each(decoders)
    empty = dict.fromkeys(names)
    fill = _classification(labels, of_labels)

    def decode(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        outputs = Outputs(empty)
        fill(arrays, outputs)
        name = ""
        try:
            for name, one in decoders:
                outputs[name] = one(arrays)
        except Exception as error:
            raise _failed(name, error) from error
        return outputs

    return decode


def _each(decoders: Many[tuple[str, _Decoder]]) -> Decode:
    def decode(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        outputs, name = Outputs(), ""
        try:
            for name, one in decoders:  # a comprehension costs one more call
                outputs[name] = one(arrays)
        except Exception as error:
            raise _failed(name, error) from error
        return outputs

    return decode


def _decoder(feature: FeatureDescription, port: Port) -> _Decoder:
    name, tensor = feature.name, port.tensor
    match feature.type:
        case Image(color=color):
            _check_image(name, port, color)
            return lambda arrays: decode_image(name, arrays[tensor], color)
        case Int64() | Double():
            _check_not_empty(name, port)
            if isinstance(feature.type, Int64):
                return lambda arrays: _integer(name, arrays[tensor])
            return lambda arrays: float(arrays[tensor].item(0))
        case String():
            return lambda arrays: str(arrays[tensor].reshape(-1)[0])
        case SequenceType():
            return lambda arrays: arrays[tensor].reshape(-1).tolist()
        case Dictionary():
            if port.keys is None:
                raise SpecificationError(
                    f"the output '{name}' is described as a {feature.type}, but the model computes an array"
                )
            keys = port.key_tensor
            return lambda arrays: dict(zip(arrays[keys].tolist(), arrays[tensor].tolist(), strict=True))
        case MultiArray(dtype=dtype, shape=shape):
            # Core ML has no scalar multiarray: it describes a program's scalar with the shape (1).
            one = shape == (1,) and port.type.shape == ()
            if port.sequence:
                return _sequence_decoder(tensor, dtype.numpy, shape)
            return _array_decoder(tensor, dtype.numpy, (1,) if one else None)
    return lambda arrays: arrays[tensor]


def _failed(name: str, error: Exception) -> PippinError:
    """The error to raise for an output that could not be decoded."""
    if isinstance(error, PippinError):
        return error
    return PredictionError(f"the output '{name}' cannot be returned as it is described: {described(error)}")


def _integer(name: str, array: np.ndarray) -> int:
    value = array.item(0)
    if value != value or value in (np.inf, -np.inf):
        raise PredictionError(f"the output '{name}' is an integer, but the model computed {value}")
    return int(value)


def _check_not_empty(name: str, port: Port) -> None:
    if 0 in (port.type.shape or ()):
        raise SpecificationError(f"the output '{name}' is one number, but the model computes none: {port.type}")


def _check_image(name: str, port: Port, color: ColorSpace) -> None:
    """Raise SpecificationError for a shape that is known not to be that of an image."""
    shape, channels = port.type.shape, 3 if color in (ColorSpace.RGB, ColorSpace.BGR) else 1
    if shape is None:
        return
    if len(shape) < 3 or shape[-3] not in (None, channels) or any(size not in (None, 1) for size in shape[:-3]):
        raise SpecificationError(
            f"the output '{name}' is described as an image of {channels} channels, but the model computes {port.type};"
            f" expected {channels} x height x width"
        )


def _array_decoder(tensor: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> _Decoder:
    def decode(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        array = arrays[tensor]
        if array.dtype != dtype:
            with np.errstate(over="ignore"):  # out of float16 range becomes infinity, as on the device
                array = array.astype(dtype)
        return array if shape is None else array.reshape(shape)

    return decode


def _sequence_decoder(tensor: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> _Decoder:
    """Reshape a sequence of one step as described, or to [channel] or [channel, height, width]; keep longer ones."""

    def decode(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        array = arrays[tensor].astype(dtype, copy=False)
        if array.shape[:2] != (1, 1):
            return array
        if shape is not None and np.prod(shape) == array.size:
            return array.reshape(shape)
        return array.reshape(-1) if array.shape[3:] == (1, 1) else array.reshape(array.shape[2:])

    return decode


def _classification(labels: Labels, described: set[str | None]) -> _Fill:
    """Decode the label, the probabilities or both in one pass."""
    classes, port, count = labels.classes, labels.probabilities, len(labels.classes)
    label = labels.label_output if labels.label_output in described else None
    probabilities = labels.probabilities_output if labels.probabilities_output in described else None

    few = count <= _FEW

    def fill(arrays: Mapping[str, np.ndarray], outputs: dict[str, Any]) -> None:
        array = arrays[port].ravel()
        if len(array) != count:
            array = _first(array, count)
        values = array.tolist() if few or probabilities is not None else []
        if probabilities is not None:
            outputs[probabilities] = dict(zip(classes, values))  # noqa: B905  (`strict` takes 50 % longer)
        if label is not None:
            total = sum(values) if few else np.nan
            # The sum is NaN if one value is, or if there are infinities of both signs.
            most = values.index(max(values)) if total == total else _most(label, array)
            outputs[label] = classes[most]

    return fill


def _first(probabilities: np.ndarray, count: int) -> np.ndarray:
    if len(probabilities) < count:
        raise PredictionError(f"the program returned {len(probabilities)} probabilities for {count} classes")
    return probabilities[:count]


def _most(label: str, probabilities: np.ndarray) -> int:
    most = int(probabilities.argmax())  # the index of a NaN, if there is one
    if probabilities[most] != probabilities[most]:
        raise PredictionError(f"'{label}': the probabilities contain NaN, so no class is the most probable")
    return most
