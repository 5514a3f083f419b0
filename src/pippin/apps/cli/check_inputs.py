"""Input checks: names, shapes and element types, before a model is compiled for minutes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import FeatureTypeError, MissingFeatureError, UnexpectedFeatureError
from ...features.arrays import check_shape
from ...format.description import FeatureDescription, FunctionDescription, ModelDescription, MultiArray


def check_inputs(features: Mapping[str, Any], function: FunctionDescription, model: ModelDescription) -> None:
    """Raise FeatureError for inputs that no prediction of this function can accept. What only the lowered model knows
    is checked by the prediction itself."""
    described = {feature.name: feature for feature in function.inputs}
    for name in features:
        if name not in described:
            raise UnexpectedFeatureError(f"the model has no input '{name}' (inputs: {', '.join(described) or 'none'})")
    program = model.kind == "mlProgram"  # in other kinds, an input may be a sequence or have a default
    for name, feature in described.items():
        if name in features:
            _check(feature, features[name], program)
        elif program and not feature.optional:
            raise MissingFeatureError(
                f"the input '{name}' is missing ({feature.type}); pass it with --input {name}=..."
            )


def _check(feature: FeatureDescription, value: Any, program: bool) -> None:
    kind = feature.type
    if not program or not isinstance(kind, MultiArray) or not isinstance(value, np.ndarray):
        return
    if kind.dtype.is_integer and value.dtype.kind == "f":
        raise FeatureTypeError(
            f"'{feature.name}' must hold {kind.dtype.value} numbers, got an array of {value.dtype}"
            " (round and cast it first)"
        )
    if not (value.shape == () and kind.shape == (1,)):
        check_shape(feature.name, value.shape, kind)
