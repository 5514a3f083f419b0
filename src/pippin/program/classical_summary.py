"""Classical summary: counts what a classical model consists of: trees, support vectors, weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..format.asset import Asset

_LEAF = 6


def contents(asset: Asset) -> dict[str, Any]:
    """Counts by name for `pippin inspect`; empty for pipelines and ML Programs, which are summarized elsewhere."""
    kind = asset.description.kind
    return _COUNTS[kind](getattr(asset.specification, kind)) if kind in _COUNTS else {}


def _trees(message: Any) -> dict[str, Any]:
    nodes = message.treeEnsemble.nodes
    branches = [node for node in nodes if node.nodeBehavior != _LEAF]
    transform = message.DESCRIPTOR.fields_by_name["postEvaluationTransform"].enum_type.values_by_number
    number = message.postEvaluationTransform
    return {
        "trees": len({node.treeId for node in nodes}),
        "nodes": len(nodes),
        "features": len({node.branchFeatureIndex for node in branches}),
        "dimensions": message.treeEnsemble.numPredictionDimensions,
        "transform": transform[number].name if number in transform else number,
    }


def _vectors(message: Any) -> dict[str, Any]:
    stored = message.WhichOneof("supportVectors")
    vectors = getattr(message, stored).vectors if stored else []
    sparse = stored == "sparseSupportVectors"
    widths = [len(v.nodes) if sparse else len(v.values) for v in vectors]
    probabilities = {"probabilities": bool(message.probA)} if hasattr(message, "probA") else {}
    return {
        "kernel": (message.kernel.WhichOneof("kernel") or "none").removesuffix("Kernel"),
        "support vectors": len(vectors),
        "numbers": sum(widths) if sparse else max(widths, default=0),
    } | probabilities


def _linear(message: Any) -> dict[str, Any]:
    rows = [len(row.value) for row in message.weights]
    transform = message.PostEvaluationTransform.Name(message.postEvaluationTransform)
    return {"rows of weights": len(rows), "features": max(rows, default=0), "transform": transform}


def _neighbors(message: Any) -> dict[str, Any]:
    index = message.nearestNeighborsIndex
    return {
        "samples": len(index.floatSamples),
        "dimensions": index.numberOfDimensions,
        "neighbors": message.numberOfNeighbors.defaultValue,
        "weighting": (message.WhichOneof("WeightingScheme") or "uniformWeighting").removesuffix("Weighting"),
    }


def _vector_of(oneof: str, called: str) -> Callable[[Any], dict[str, Any]]:
    def count(message: Any) -> dict[str, Any]:
        kind = message.WhichOneof(oneof)
        return {called: len(getattr(message, kind).vector) if kind else 0}

    return count


def _mapping(message: Any) -> dict[str, Any]:
    kind = message.WhichOneof("MappingType")
    return {
        "entries": len(getattr(message, kind).map) if kind else 0,
        "default": bool(message.WhichOneof("ValueOnUnknown")),
    }


def _boxes(message: Any) -> dict[str, Any]:
    return {
        "overlap": message.iouThreshold,
        "confidence": message.confidenceThreshold,
        "per class": message.pickTop.perClass,
    }


_COUNTS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "treeEnsembleClassifier": _trees,
    "treeEnsembleRegressor": _trees,
    "supportVectorClassifier": _vectors,
    "supportVectorRegressor": _vectors,
    "glmClassifier": _linear,
    "glmRegressor": _linear,
    "kNearestNeighborsClassifier": _neighbors,
    "oneHotEncoder": _vector_of("CategoryType", "categories"),
    "dictVectorizer": _vector_of("Map", "keys"),
    "categoricalMapping": _mapping,
    "featureVectorizer": lambda m: {
        "columns": len(m.inputList),
        "numbers": sum(c.inputDimensions for c in m.inputList),
    },
    "arrayFeatureExtractor": lambda m: {"indices": len(m.extractIndex)},
    "scaler": lambda m: {"shifts": len(m.shiftValue), "scales": len(m.scaleValue)},
    "normalizer": lambda m: {"norm": m.NormType.Name(m.normType) if m.normType in m.NormType.values() else m.normType},
    "imputer": lambda m: {
        "imputed": m.WhichOneof("ImputedValue"),
        "replaced": m.WhichOneof("ReplaceValue") or "missing",
    },
    "nonMaximumSuppression": _boxes,
    "bayesianProbitRegressor": lambda m: {
        "features": m.numberOfFeatures,
        "weights": sum(len(f.weights) for f in m.features),
    },
    "itemSimilarityRecommender": lambda m: {
        "items": len(m.itemItemSimilarities),
        "similarities": sum(len(item.similarItemList) for item in m.itemItemSimilarities),
    },
    "customModel": lambda m: {"class": m.className, "parameters": len(m.parameters)},
    "linkedModel": lambda m: {"file": m.linkedModelFile.linkedModelFileName.defaultValue},
}
