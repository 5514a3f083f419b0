"""Decode: from an engine's arrays to the features that the model declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from typing import Any, TypeAlias

import numpy as np

from ..errors import PredictionError, SpecificationError
from ..format.description import Dictionary, Double, FeatureDescription, Image, Int64, MultiArray, String
from ..format.description import Sequence as SequenceType
from ..lowering.lowered import Labels, Port
from .images import decode_image

Decoder: TypeAlias = Callable[[Mapping[str, np.ndarray]], Any]


def make_decoders(features: Many[FeatureDescription], ports: Many[Port], labels: Labels | None) -> dict[str, Decoder]:
    """For each output of the model a function from all of an engine's arrays to its value.

    Raises SpecificationError where the description names an output that the program does not have.
    """
    by_name = {port.name: port for port in ports}
    decoders: dict[str, Decoder] = {}
    for feature in features:
        if labels and feature.name == labels.label_output:
            decoders[feature.name] = _label_decoder(feature.name, labels)
        elif labels and feature.name == labels.probabilities_output:
            decoders[feature.name] = _probabilities_decoder(labels)
        elif feature.name in by_name:
            decoders[feature.name] = _decoder(feature, by_name[feature.name])
        else:
            known = ", ".join(sorted(by_name)) or "none"
            raise SpecificationError(f"the output '{feature.name}' is described, but the program has only: {known}")
    return decoders


def _decoder(feature: FeatureDescription, port: Port) -> Decoder:
    name, tensor = feature.name, port.tensor
    match feature.type:
        case Image(color=color):
            return lambda arrays: decode_image(name, arrays[tensor], color)
        case Int64() | Double():
            number = int if isinstance(feature.type, Int64) else float
            return lambda arrays: number(arrays[tensor].item(0))
        case String():
            return lambda arrays: str(arrays[tensor].reshape(-1)[0])
        case SequenceType():
            return lambda arrays: arrays[tensor].reshape(-1).tolist()
        case Dictionary():
            keys = port.key_tensor
            return lambda arrays: dict(zip(arrays[keys].tolist(), arrays[tensor].tolist(), strict=True))
        case MultiArray(dtype=dtype, shape=shape):
            # Core ML has no scalar multiarray: a program's scalar is described with the shape (1).
            one = shape == (1,) and port.type.shape == ()
            if port.sequence:
                return _sequence_decoder(tensor, dtype.numpy, shape)
            return _array_decoder(tensor, dtype.numpy, (1,) if one else None)
    return lambda arrays: arrays[tensor]


def _array_decoder(tensor: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> Decoder:
    def decode(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        array = arrays[tensor]
        if array.dtype != dtype:
            with np.errstate(over="ignore"):  # beyond float16 is infinity, as it would be on the device
                array = array.astype(dtype)
        return array if shape is None else array.reshape(shape)

    return decode


def _sequence_decoder(tensor: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> Decoder:
    """A sequence of one step as it is described, or as [channel] or [channel, height, width]; a longer one as it is."""

    def decode(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        array = arrays[tensor].astype(dtype, copy=False)
        if array.shape[:2] != (1, 1):
            return array
        if shape is not None and np.prod(shape) == array.size:
            return array.reshape(shape)
        return array.reshape(-1) if array.shape[3:] == (1, 1) else array.reshape(array.shape[2:])

    return decode


def _label_decoder(name: str, labels: Labels) -> Decoder:
    def decode(arrays: Mapping[str, np.ndarray]) -> Any:
        probabilities = arrays[labels.probabilities].reshape(-1)
        most = int(probabilities.argmax())  # of a NaN where there is one
        if probabilities[most] != probabilities[most]:
            raise PredictionError(f"'{name}': the probabilities contain NaN, so that no class is the most probable")
        return labels.classes[most]

    return decode


def _probabilities_decoder(labels: Labels) -> Decoder:
    def decode(arrays: Mapping[str, np.ndarray]) -> dict[Any, float]:
        probabilities = arrays[labels.probabilities].reshape(-1).tolist()
        return dict(zip(labels.classes, probabilities, strict=True))

    return decode
