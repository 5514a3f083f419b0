"""Specification version: finds the lowest version that supports everything a model uses.

Source: `Model.proto` and the version constants in coremltools' public sources. 2: custom layers, float16 weights. 3:
flexible shapes, quantized weights, custom models, sequences, the first of Apple's feature models. 4: arrays of any rank
and layers for them, updatable models, nearest neighbors, linked models. 5: more layers, default values. 6: ML Programs.
7 to 10: their operation sets, float16 features, states, int8 arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..format.schema import messages

_BASE = 1
_FLOAT16_ARRAY = 65552
_INT8_ARRAY = 131080
_GRAYSCALE_FLOAT16 = 40

# The version that introduced a kind of model; 1 for all others.
_KINDS = {
    "customModel": 3,
    "textClassifier": 3,
    "wordTagger": 3,
    "visionFeaturePrint": 3,
    "nonMaximumSuppression": 3,
    "bayesianProbitRegressor": 3,
    "kNearestNeighborsClassifier": 4,
    "linkedModel": 4,
    "itemSimilarityRecommender": 4,
    "soundAnalysisPreprocessing": 4,
    "gazetteer": 4,
    "wordEmbedding": 4,
    "mlProgram": 6,
    "audioFeaturePrint": 8,
    "classConfidenceThresholding": 8,
}
# Layers up to this field of the oneof exist since iOS 11; the others since iOS 13, except for the two sets below.
_LAST_OF_IOS11 = "custom"
_IOS14_LAYERS = frozenset(
    {"oneHot", "cumSum", "clampedReLU", "argSort", "pooling3d", "globalPooling3d", "sliceBySize", "convolution3d"}
)
_IOS12_LAYERS = frozenset({"resizeBilinear", "cropResize"})


def with_lowest_version(specification: Any) -> Any:
    """A Model message or its bytes with the lowest version, in the same form as the argument."""
    if isinstance(specification, bytes):
        model = messages("Model").Model.FromString(specification)
        _set(model)
        return model.SerializeToString()
    _set(specification)
    return specification


def _set(model: Any) -> None:
    for part in _parts(model):
        _set(part)
    model.specificationVersion = lowest_version(model)


def lowest_version(model: Any) -> int:
    """The lowest specification version that supports a Model message, including its parts."""
    return max(_needs(model), default=_BASE)


def _needs(model: Any) -> Iterator[int]:
    kind = model.WhichOneof("Type") or ""
    yield _KINDS.get(kind, _BASE)
    yield from (lowest_version(part) for part in _parts(model))
    yield from _of_features(model.description)
    if model.isUpdatable:
        yield 4
    if kind == "mlProgram":
        digits = ["".join(filter(str.isdigit, f.opset)) for f in model.mlProgram.functions.values()]
        yield from (int(d) + 1 for d in digits if d)  # CoreML5 is version 6
    elif kind.startswith("neuralNetwork"):
        yield from _of_network(getattr(model, kind))


def _parts(model: Any) -> Any:
    kind = model.WhichOneof("Type") or ""
    if kind == "pipeline":
        return model.pipeline.models
    return getattr(model, kind).pipeline.models if kind.startswith("pipeline") else ()


def _of_features(description: Any) -> Iterator[int]:
    functions = [description, *description.functions]
    for feature in [f for function in functions for f in (*function.input, *function.output, *function.state)]:
        yield _of_feature(feature.type)
    if description.functions or description.state:
        yield 9


def _of_feature(feature: Any) -> int:
    match feature.WhichOneof("Type"):
        case "sequenceType":
            return 3
        case "stateType":
            return 9
        case "multiArrayType":
            array = feature.multiArrayType
            newest = {_FLOAT16_ARRAY: 7, _INT8_ARRAY: 10}.get(array.dataType, _BASE)
            default = 5 if array.WhichOneof("defaultOptionalValue") else _BASE
            return max(newest, default, 3 if array.WhichOneof("ShapeFlexibility") else _BASE)
        case "imageType":
            image = feature.imageType
            gray = 7 if image.colorSpace == _GRAYSCALE_FLOAT16 else _BASE
            return max(gray, 3 if image.WhichOneof("SizeFlexibility") else _BASE)
    return _BASE


def _of_network(network: Any) -> Iterator[int]:
    oneof = messages("NeuralNetwork").NeuralNetworkLayer.DESCRIPTOR.oneofs_by_name["layer"]
    numbers = {field.name: field.number for field in oneof.fields}
    if network.arrayInputShapeMapping or network.imageInputShapeMapping:
        yield 4
    for layer in network.layers:
        kind = layer.WhichOneof("layer") or ""
        if kind in _IOS14_LAYERS:
            yield 5
        elif kind in _IOS12_LAYERS:
            yield 3
        elif numbers.get(kind, 0) > numbers[_LAST_OF_IOS11]:
            yield 4
        if kind == "custom":
            yield 2
        yield from _of_weights(getattr(layer, kind) if kind else layer)


def _of_weights(message: Any) -> Iterator[int]:
    """The versions that weights anywhere inside a message need."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if field.is_repeated else (value,):
            if field.message_type.name != "WeightParams":
                yield from _of_weights(part)
            elif part.HasField("quantization"):
                yield 3
            elif part.float16Value:
                yield 2
