"""Values: converts inputs and outputs between coremltools and Pippin, in the forms that Apple's extension uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FeatureShapeError
from ..format.description import EnumeratedShapes, FeatureDescription, Image, MultiArray, ShapeRange
from ..runtime.model import Model


def to_features(model: Model, data: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the inputs of `MLModel.predict` to features of the model.

    Core ML silently converts an array to the declared element type and truncates fractions; Pippin itself raises an
    error.
    """
    described = {f.name: f for f in model.description.function(model.function_name).inputs}
    return {name: _to_feature(described.get(name), value) for name, value in data.items()}


def _to_feature(feature: FeatureDescription | None, value: Any) -> Any:
    if feature is None or not isinstance(feature.type, MultiArray):
        return value
    _check_shape(feature.type, np.shape(value))
    if isinstance(value, np.generic | np.ndarray) and feature.type.dtype.is_integer and value.dtype.kind in "fb":
        return np.trunc(value).astype(feature.type.dtype.numpy)
    return value


def _check_shape(kind: MultiArray, shape: tuple[int, ...]) -> None:
    """Check flexible shapes, with Core ML's error texts, since programs match on them."""
    if isinstance(kind.flexibility, EnumeratedShapes) and not kind.allows(shape):
        given = " x ".join(map(str, shape))
        raise FeatureShapeError(
            f"MultiArray Shape ({given}) was not in enumerated set of allowed shapes: {kind.allowed}"
        )
    if isinstance(kind.flexibility, ShapeRange) and len(shape) == len(kind.flexibility.ranges):
        for axis, (size, allowed) in enumerate(zip(shape, kind.flexibility.ranges, strict=True)):
            if size not in allowed:
                raise FeatureShapeError(f"Size ({size}) of dimension ({axis}) is not in allowed range ({allowed})")


def from_outputs(model: Model, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Convert outputs to what `MLModel.predict` returns: float32 for float16 arrays, RGBA for color images."""
    colors = {
        f.name: f.type.color
        for f in model.description.function(model.function_name).outputs
        if isinstance(f.type, Image)
    }
    return {name: _from_output(value, name in colors) for name, value in outputs.items()}


def _from_output(value: Any, image: bool) -> Any:
    if image:
        return value.convert("RGBA") if value.mode == "RGB" else value
    return from_array(value) if isinstance(value, np.ndarray) else value


def from_array(array: np.ndarray) -> np.ndarray:
    """An array as Apple's extension returns it: float16 as float32, a scalar as an array of one element."""
    array = array.reshape(1) if array.ndim == 0 else array
    return array.astype(np.float32) if array.dtype == np.float16 else array
