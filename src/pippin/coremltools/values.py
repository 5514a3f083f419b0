"""Values: what crosses between coremltools and Pippin, in the forms that Apple's own extension takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FeatureShapeError
from ..format.description import EnumeratedShapes, FeatureDescription, Image, MultiArray, ShapeRange
from ..runtime.model import Model


def to_features(model: Model, data: Mapping[str, Any]) -> dict[str, Any]:
    """What `MLModel.predict` was given, as features of the model.

    Core ML converts the element type of an array to the declared one without asking, fractions cut off; Pippin
    itself would refuse that.
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
    """Flexible shapes, in the words of Core ML's own errors, which programs look for."""
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
    """What `MLModel.predict` returns: float16 arrays as float32, colour images with an alpha channel."""
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
    """An array as Apple's extension returns it: there is no float16, and no array without an axis."""
    array = array.reshape(1) if array.ndim == 0 else array
    return array.astype(np.float32) if array.dtype == np.float16 else array
