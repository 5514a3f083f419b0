"""Encode: converts a feature value to the array that an engine takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..errors import FeatureShapeError, FeatureTypeError, UnsupportedModelError
from ..format.description import Dictionary, Double, FeatureDescription, Image, Int64, MultiArray, Sequence, String
from ..lowering.lowered_model import Port
from ..types import Shape
from .arrays import check_shape, to_array
from .categories import encode_dictionary, encode_integer, encode_sequence, encode_string
from .images import encode_image

Encoder: TypeAlias = Callable[[Any], Any]
"""Converts a value to an array, or a dictionary to two: its values and its keys."""


def make_encoder(feature: FeatureDescription, port: Port) -> Encoder:
    """Return a function that converts values of this feature to arrays of the port's dtype.

    Raises UnsupportedModelError for a kind of feature that the model does not accept. The function raises subclasses
    of FeatureError.
    """
    match feature.type:
        case MultiArray() as kind:
            return _multiarray_encoder(feature.name, kind, port)
        case Image() as image:
            return lambda value: encode_image(feature.name, value, image, port.dtype)
        case Int64() if port.dtype.kind == "i":
            return lambda value: encode_integer(feature.name, value, port.dtype)
        case Int64() | Double():
            return _number_encoder(feature.name, port)
        case String() if port.dtype == object:
            return lambda value: encode_string(feature.name, value)
        case Dictionary() if port.keys is not None:
            keyed = Dictionary("string" if port.keys.kind == "O" else "int64")
            return lambda value: encode_dictionary(feature.name, value, keyed)
        case Sequence() as sequence:
            return lambda value: encode_sequence(feature.name, value, sequence)
    raise UnsupportedModelError(
        f"the input '{feature.name}' has the type {feature.type}, which this model does not accept"
    )


def _multiarray_encoder(name: str, kind: MultiArray, port: Port) -> Encoder:
    if kind.shape is None and port.type.shape == ():
        return _number_encoder(name, port)  # ONNX Runtime takes any array for a scalar
    dtype, declared = port.dtype, kind.dtype
    expected = kind.shape if kind.flexibility is None else None
    sequence = port.type.shape if port.sequence else None

    def encode(value: Any) -> np.ndarray:
        if type(value) is np.ndarray and value.dtype == dtype and value.flags.c_contiguous:
            array = value
        elif isinstance(value, str | bytes | dict) or value is None:
            raise FeatureTypeError(f"'{name}' must be a {kind}, got {type(value).__name__}")
        else:
            array = to_array(name, value, declared, dtype)
        if sequence is not None:
            return _as_sequence(name, array, kind, sequence)
        if array.shape != expected:
            if array.shape == () and expected == (1,):
                return array.reshape(1)
            check_shape(name, array.shape, kind)
        return array

    return encode


def _as_sequence(name: str, array: np.ndarray, kind: MultiArray, shape: Shape) -> np.ndarray:
    """Convert a sequence, or one step in its described shape, to [sequence, batch, channel, height, width]."""
    if array.ndim == len(shape) and array.shape[0] > 0 and array.shape[1:] == shape[1:]:
        return array
    if array.ndim == len(shape):
        raise FeatureShapeError(
            f"'{name}': a sequence must have the shape [sequence] x {' x '.join(map(str, shape[1:]))},"
            f" got {' x '.join(map(str, array.shape))}"
        )
    check_shape(name, array.shape, kind)
    return array.reshape(1, *(size or 1 for size in shape[1:]))


def _number_encoder(name: str, port: Port) -> Encoder:
    shape = tuple(d or 1 for d in port.type.shape or ())
    float64 = port.dtype == np.float64

    def encode(value: Any) -> np.ndarray:
        if type(value) is float and float64:
            return np.array(value).reshape(shape)
        array = to_array(name, value, port.type.dtype, port.dtype)
        if array.size != 1:
            raise FeatureTypeError(f"'{name}' must be one number, got an array of {array.size}")
        return array.reshape(shape)

    return encode


def default_value(feature: FeatureDescription, port: Port) -> Any:
    """The default of an optional input (zeros if the model declares none); None if the input is required."""
    if feature.optional and isinstance(feature.type, Dictionary):
        return np.zeros(0), np.zeros(0, port.keys)
    if feature.optional and isinstance(feature.type, Sequence):
        return encode_sequence(feature.name, [], feature.type, short=True)
    if port.default is not None:
        shape = feature.type.shape if isinstance(feature.type, MultiArray) else (1,)
        return None if shape is None else np.full(shape, port.default, port.dtype)
    if not feature.optional or not isinstance(feature.type, MultiArray) or feature.type.shape is None:
        return None
    sizes = [size or 1 for size in port.type.shape or ()] if port.sequence else feature.type.shape
    return np.full(sizes, feature.type.default or 0, port.dtype)
