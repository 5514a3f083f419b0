"""Sample inputs: seeded random values that match a model's description, for measuring."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..features.encode import make_encoder
from ..features.narrowed import narrowed
from ..format.description import (
    ColorSpace,
    Dictionary,
    Double,
    FeatureDescription,
    FunctionDescription,
    Image,
    Int64,
    MultiArray,
    Sequence,
    String,
)
from ..lowering.lowered_model import Lowered
from ..types import Shape

# Integers are often indices, so draw small ones, which are in range everywhere: token types are 0 or 1.
_INDICES = 2
# Size used for an axis of unknown size.
_UNKNOWN = 8
# String value; the model may or may not know it.
_WORD = "a"


def example_inputs(function: FunctionDescription, lowered: Lowered, seed: int = 0) -> dict[str, np.ndarray]:
    """One array per input and state, in the form engines take; floats are normally distributed.

    Raises UnsupportedError for an input type that has no sample values.
    """
    random = np.random.default_rng(seed)
    ports = {port.name: port for port in lowered.inputs}
    arrays: dict[str, np.ndarray] = {}
    for feature in function.inputs:
        if feature.name not in ports:
            raise UnsupportedError(f"'{feature.name}' is in the description, but is not an input of the program")
        port = ports[feature.name]
        feature = narrowed(feature, port)
        encoded = make_encoder(feature, port)(_value(feature, random, port.type.shape or ()))
        arrays |= dict(zip(port.tensors, encoded if port.keys is not None else (encoded,), strict=True))
    for check in lowered.index_checks:
        if check.before:
            arrays[check.tensor] = check.clipped(arrays[check.tensor])
    return arrays | {port.name: port.zeros() for port in lowered.states}


def image_tensors(function: FunctionDescription, lowered: Lowered) -> set[str]:
    """The inputs that hold pixels, which are never NaN."""
    images = {
        feature.name
        for feature in function.inputs
        if isinstance(feature.type, Image) and feature.type.color is not ColorSpace.GRAYSCALE_FLOAT16
    }
    return {port.tensor for port in lowered.inputs if port.name in images}


def example_features(function: FunctionDescription, seed: int = 0) -> dict[str, Any]:
    """A value per input, in the form `predict` takes; floats are normally distributed, images are noise.

    Raises UnsupportedError for an input type that has no sample values.
    """
    random = np.random.default_rng(seed)
    return {feature.name: _value(feature, random) for feature in function.inputs}


def _value(feature: FeatureDescription, random: np.random.Generator, sizes: Shape = ()) -> object:
    match feature.type:
        case Image(width=width, height=height, color=color):
            channels = () if color in (ColorSpace.GRAYSCALE, ColorSpace.GRAYSCALE_FLOAT16) else (3,)
            return random.integers(0, 256, (height, width, *channels)).astype(np.uint8)
        case MultiArray(dtype=dtype, shape=shape):
            known = tuple(_UNKNOWN if d is None else d for d in (sizes if shape is None else shape))
            drawn = random.standard_normal(known) if dtype.is_float else random.integers(0, _INDICES, known)
            return drawn.astype(dtype.numpy)
        case Int64():
            return int(random.integers(0, _INDICES))
        case Double():
            return float(random.standard_normal())
        case String():
            return _WORD
        case Sequence(element=element, length=length):
            return [_WORD if element == "string" else 0] * max(length.lower, 1)
        case Dictionary(key=key):
            return {_WORD if key == "string" else 0: float(random.standard_normal())}
    raise UnsupportedError(f"cannot generate a sample value for '{feature.name}' ({feature.type})")
