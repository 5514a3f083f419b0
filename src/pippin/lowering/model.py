"""Model: which lowering serves which kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import UnsupportedModelError
from ..format.asset import Asset
from ..format.description import FunctionDescription
from ..program import read_program
from .feature_models import REPLACEABLE, lower_feature_model, lower_sound_preprocessing
from .generalized_linear import lower_glm_classifier, lower_glm_regressor
from .lower import lower
from .lower_network import lower_network
from .lowered import Lowered
from .pipeline import join


def lower_model(asset: Asset, function: FunctionDescription, float16: np.dtype[Any] | type = np.float32) -> Lowered:
    """The ONNX model of one function of a model. `float16` is the type in which float16 values are computed.

    Raises UnsupportedModelError for a kind of model that is not executed here, and the errors of the lowering.
    """
    kind = asset.description.kind
    if kind == "mlProgram":
        return lower(read_program(asset), function.name, float16)
    if kind in _PIPELINES:
        parts = [
            (part.description.function(), lower_model(part, part.description.function(), float16))
            for part in asset.parts()
        ]
        return join(function, parts)
    if kind not in _KINDS:
        raise UnsupportedModelError(
            f"{asset.name} is a {kind} model; this version executes ML Programs, neural networks,"
            " generalized linear models, and pipelines of these"
        )
    return _KINDS[kind](asset, function)


_PIPELINES = ("pipeline", "pipelineClassifier", "pipelineRegressor")
_KINDS: Mapping[str, Callable[[Asset, FunctionDescription], Lowered]] = {
    "neuralNetwork": lower_network,
    "neuralNetworkClassifier": lower_network,
    "neuralNetworkRegressor": lower_network,
    "glmRegressor": lower_glm_regressor,
    "glmClassifier": lower_glm_classifier,
    "soundAnalysisPreprocessing": lower_sound_preprocessing,
    **dict.fromkeys(REPLACEABLE, lower_feature_model),
}
