"""First non-finite: predicts once more, watched, and names the operation that makes the first NaN or infinity."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..configuration import Configuration
from ..program import open_model
from ..runtime.session import Session
from ..specialization.nonfinite import StateArray
from ..specialization.nonfinite_origin import Origin as Origin
from ..specialization.nonfinite_origin import Watched
from ..specialization.specializer import lower_function

if TYPE_CHECKING:
    from ..format.asset import Asset


def first_nonfinite(
    model: str | os.PathLike[str] | bytes | Asset | Any,
    features: Mapping[str, Any],
    configuration: Configuration | None = None,
    state: Mapping[str, np.ndarray] | None = None,
) -> Origin | None:
    """The operation, layer or input that the first NaN or infinity among the outputs comes from; None if there is none
    in float32, so that it arises from the precision or the range of an output's type.

    `state` are the arrays of the states before the prediction. The model is lowered and compiled again, by ONNX Runtime
    without fused operators, and every value is counted: this takes many times the memory and time of a prediction.
    Raises what `pippin.load` and `Model.predict` raise.
    """
    asset = open_model(model)
    configuration = configuration or Configuration()
    lowered = lower_function(asset, configuration, rounds=True)
    watched = Watched(lowered)
    function = asset.description.function(lowered.name)
    arrays = {port.name: port.zeros() for port in lowered.states}
    arrays |= {name: np.asarray(array).astype(arrays[name].dtype) for name, array in (state or {}).items()}
    states = {name: array.view(StateArray) for name, array in arrays.items()}
    Session(function, lowered, watched, asset.name, ()).run(features, states or None)
    return watched.origin
