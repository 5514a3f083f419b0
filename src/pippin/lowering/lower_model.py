"""Model: selects the lowering for each kind of model; an asset and one of its functions in, a `Lowered` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import PippinError, SpecificationError, UnsupportedModelError
from ..format.asset import Asset
from ..format.description import FunctionDescription
from ..format.onnx_file import KIND as ONNX
from ..program import PROGRAMS, read_program
from ..support.boundary import boundary
from . import limits
from .apple_feature_models import REPLACEABLE, lower_feature_model, lower_sound_preprocessing
from .classical.bayesian_probit import lower_bayesian_probit_regressor
from .classical.category_encoders import lower_categorical_mapping, lower_one_hot_encoder
from .classical.custom_model import lower_custom_model
from .classical.feature_engineering import (
    lower_array_feature_extractor,
    lower_class_confidence_thresholding,
    lower_dict_vectorizer,
    lower_feature_vectorizer,
    lower_identity,
    lower_normalizer,
    lower_scaler,
)
from .classical.generalized_linear import lower_glm_classifier, lower_glm_regressor
from .classical.imputer import lower_imputer
from .classical.nearest_neighbors import lower_nearest_neighbors
from .classical.non_maximum_suppression import lower_non_maximum_suppression
from .classical.recommender import lower_item_similarity_recommender
from .classical.support_vectors import lower_svm_classifier, lower_svm_regressor
from .classical.tree_ensemble import lower_tree_ensemble_classifier, lower_tree_ensemble_regressor
from .lower_network import lower_network
from .lower_onnx import lower_onnx
from .lower_program import lower
from .lowered_model import Lowered
from .made_pipelines import descriptions
from .pipeline import check_sources, closed, join


def lower_model(
    asset: Asset, function: FunctionDescription, float16: np.dtype[Any] | type = np.float32, rounds: bool = False
) -> Lowered:
    """Lower one function of a model to ONNX. `float16` is the type used to compute float16 values; with `rounds`, every
    result that is declared float16 is rounded to float16.

    Raises UnsupportedModelError for an unsupported kind of model, and the errors of its lowering.
    """
    with limits.allowing(asset.size), boundary(SpecificationError, f"{asset.name} cannot be lowered"):
        lowered = _lower(asset, function, float16, rounds, _tree_ensembles(asset))
        return closed(lowered, {feature.name for feature in function.inputs})


def _lower(
    asset: Asset, function: FunctionDescription, float16: np.dtype[Any] | type, rounds: bool, trees: int,
    joined: bool = False,
) -> Lowered:  # fmt: skip
    """`trees` is the number of tree ensembles in the whole model; `joined` is set for a part of a pipeline."""
    kind = asset.description.kind
    limits.described(function)
    if kind == ONNX:
        return lower_onnx(asset, function)
    if kind in PROGRAMS:
        return lower(read_program(asset), function.name, float16, rounds, joined)
    if kind.startswith("neuralNetwork"):
        return lower_network(asset, function, joined)
    if kind in _PIPELINES:
        parts = asset.parts()
        described = descriptions(parts)
        check_sources(function, described)
        lowered = (_part(part, one, float16, rounds, trees) for part, one in zip(parts, described, strict=True))
        return join(function, list(zip(described, lowered, strict=True)))
    if kind == "linkedModel":
        linked = asset.linked()
        lowered_link = _lower(linked, linked.description.function(), float16, rounds, trees, joined)
        return replace(lowered_link, name=function.name)
    if kind == "treeEnsembleClassifier":
        return lower_tree_ensemble_classifier(asset, function, only=trees == 1)
    if kind not in _KINDS:
        raise UnsupportedModelError(f"{asset.name} is a {kind} model, which this version does not support")
    return _KINDS[kind](asset, function)


def _tree_ensembles(asset: Asset) -> int:
    """Number of tree ensembles in a model or its pipeline parts. A linked model may have any number and counts as 2."""
    kind = asset.description.kind
    if kind in _PIPELINES:
        return sum(map(_tree_ensembles, asset.parts()))
    return 2 if kind == "linkedModel" else int(kind.startswith("treeEnsemble"))


def _part(
    asset: Asset, function: FunctionDescription, float16: np.dtype[Any] | type, rounds: bool, trees: int
) -> Lowered:
    try:
        with boundary(SpecificationError, f"the {asset.description.kind} cannot be lowered"):
            return _lower(asset, function, float16, rounds, trees, joined=True)
    except PippinError as error:
        error.add_note(f"in {asset.name} ({asset.description.kind})")
        raise


_PIPELINES = ("pipeline", "pipelineClassifier", "pipelineRegressor")
_KINDS: Mapping[str, Callable[[Asset, FunctionDescription], Lowered]] = {
    "glmRegressor": lower_glm_regressor,
    "glmClassifier": lower_glm_classifier,
    "supportVectorRegressor": lower_svm_regressor,
    "supportVectorClassifier": lower_svm_classifier,
    "treeEnsembleRegressor": lower_tree_ensemble_regressor,
    "kNearestNeighborsClassifier": lower_nearest_neighbors,
    "bayesianProbitRegressor": lower_bayesian_probit_regressor,
    "itemSimilarityRecommender": lower_item_similarity_recommender,
    "scaler": lower_scaler,
    "normalizer": lower_normalizer,
    "imputer": lower_imputer,
    "oneHotEncoder": lower_one_hot_encoder,
    "categoricalMapping": lower_categorical_mapping,
    "dictVectorizer": lower_dict_vectorizer,
    "featureVectorizer": lower_feature_vectorizer,
    "arrayFeatureExtractor": lower_array_feature_extractor,
    "nonMaximumSuppression": lower_non_maximum_suppression,
    "classConfidenceThresholding": lower_class_confidence_thresholding,
    "identity": lower_identity,
    "customModel": lower_custom_model,
    "soundAnalysisPreprocessing": lower_sound_preprocessing,
    **dict.fromkeys(REPLACEABLE, lower_feature_model),
}
