"""Feature engineering: lowers transformers that scale, normalize, select and concatenate numbers.

Source: `Scaler.proto`, `Normalizer.proto`, `ArrayFeatureExtractor.proto`, `FeatureVectorizer.proto`,
`DictVectorizer.proto`, `Identity.proto`, `ClassConfidenceThresholding.proto`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import Dictionary, FunctionDescription
from .. import limits
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, INT, STRING, Classical, Pairs


def lower_identity(asset: Asset, function: FunctionDescription) -> Lowered:
    """Each output is the input of the same name or, without one, the input at the same position."""
    return _pass_through(Classical(asset, function))


def lower_class_confidence_thresholding(asset: Asset, function: FunctionDescription) -> Lowered:
    """Pass the confidences through unchanged; the precision-recall curves do not affect them."""
    g = Classical(asset, function)
    for number, curve in enumerate(g.message.precisionRecallCurves):
        for values, thresholds in (
            (curve.precisionValues, curve.precisionConfidenceThresholds),
            (curve.recallValues, curve.recallConfidenceThresholds),
        ):
            if len(values.vector) != len(thresholds.vector):
                raise SpecificationError(
                    f"precision-recall curve {number} must have one threshold per value,"
                    f" got {len(thresholds.vector)} thresholds and {len(values.vector)} values"
                )
    return _pass_through(g)


def _pass_through(g: Classical) -> Lowered:
    names = list(g.inputs)
    for place, feature in enumerate(g.function.outputs):
        if feature.name not in names and place >= len(names):
            raise SpecificationError(f"the output '{feature.name}' has no matching input")
        g.give(feature, g.inputs[feature.name if feature.name in names else names[place]])
    return g.finished()


def lower_scaler(asset: Asset, function: FunctionDescription) -> Lowered:
    """scale * (x + shift), with one scale and one shift for all numbers, or one for each."""
    g = Classical(asset, function)
    feature, value = g.only_input()
    x = g.number(value, feature.name)
    shift = _for_each(g, "shiftValue", 0.0, x)
    scale = _for_each(g, "scaleValue", 1.0, x)
    g.give(g.only_output, g.Mul(g.Add(x, shift), scale))
    return g.finished()


def _for_each(g: Classical, name: str, default: float, x: Tensor) -> np.ndarray:
    values = np.array(getattr(g.message, name) or [default], FLOAT)
    if len(values) == 1:
        return values.reshape(())
    shape = x.static_shape
    if shape is None or prod(shape) != len(values):
        raise SpecificationError(
            f"the {g.kind} has {len(values)} values in {name}, but its input has the shape {x.shape}"
        )
    return values.reshape(shape)


def lower_normalizer(asset: Asset, function: FunctionDescription) -> Lowered:
    """x / max(x), x / sum |x| or x / sqrt(sum x^2); x itself if the divisor is 0."""
    g = Classical(asset, function)
    feature, value = g.only_input()
    x = g.number(value, feature.name)
    match dict(g.message.NormType.items()), g.message.normType:
        case {"LMax": number}, found if found == number:
            norm = g.ReduceMax(x, keepdims=0)
        case {"L1": number}, found if found == number:
            norm = g.ReduceSum(g.Abs(x), keepdims=0)
        case {"L2": number}, found if found == number:
            norm = g.Sqrt(g.ReduceSum(g.Mul(x, x), keepdims=0))
        case _:
            raise SpecificationError(f"unknown norm {g.message.normType} in the {g.kind}")
    g.give(g.only_output, g.Div(x, g.Where(g.Equal(norm, 0.0), 1.0, norm)))
    return g.finished()


def lower_array_feature_extractor(asset: Asset, function: FunctionDescription) -> Lowered:
    """Elements of an array, by their index in row-major order."""
    g = Classical(asset, function)
    feature, value = g.only_input()
    x = g.number(value, feature.name)
    indices, shape = limits.integers(g.message.extractIndex), x.static_shape
    if not len(indices):
        raise SpecificationError(f"the {g.kind} has no indices")
    if shape is not None and indices.max() >= prod(shape):
        raise SpecificationError(
            f"the {g.kind} reads index {indices.max()}, but '{feature.name}' has size {prod(shape)}"
        )
    g.give(g.only_output, g.Gather(g.Reshape(x, [-1]), indices))
    return g.finished()


def lower_feature_vectorizer(asset: Asset, function: FunctionDescription) -> Lowered:
    """Concatenate numbers, arrays and dictionaries with integer keys into one array.

    A dictionary becomes a dense vector of the size that the model states, with zeros for missing keys.
    """
    g = Classical(asset, function)
    rows = []
    for column in g.message.inputList:
        name, count = column.inputColumn, int(column.inputDimensions)
        limits.tensor([count])
        value = g.input(name)
        if isinstance(value, Pairs):
            rows.append(_dense(g, name, value, count))
            continue
        x = g.number(value, name)
        shape = x.static_shape
        if shape is not None and prod(shape) != count:
            raise SpecificationError(f"'{name}' must have size {count} for the {g.kind}, got {prod(shape)}")
        rows.append(g.Reshape(x, [count]))
    if not rows or not g.function.outputs:
        raise SpecificationError(
            f"the {g.kind} needs at least one input and one output, got {len(rows)} and {len(g.function.outputs)}"
        )
    g.give(g.only_output, rows[0] if len(rows) == 1 else g.Concat(*rows, axis=0))
    return g.finished()


def _dense(g: Classical, name: str, pairs: Pairs, count: int) -> Tensor:
    if pairs.keys.dtype == STRING:
        raise UnsupportedModelError(
            f"'{name}' is declared as {g.described(name).type}, but the {g.kind} takes integer keys"
        )
    inside = g.And(g.GreaterOrEqual(pairs.keys, np.int64(0)), g.Less(pairs.keys, np.int64(count)))
    g.refuse(g.Not(inside), pairs.keys, f"the keys of '{name}' must be at least 0 and below {count}, got")
    keys, values = (g.Compress(t, inside, axis=0) for t in (pairs.keys, pairs.values))
    return g.ScatterElements(limits.full([count], 0, FLOAT), keys, values, axis=0)


def lower_dict_vectorizer(asset: Asset, function: FunctionDescription) -> Lowered:
    """Convert a dictionary to an array: each value at the index of its key, zeros elsewhere.

    Unknown keys are dropped, as in scikit-learn. If the output is a dictionary, its keys are the indices.
    """
    strings = asset.specification.dictVectorizer.WhichOneof("Map") == "stringToIndex"
    # Converters declare string keys even if they are integers, so the map decides.
    g = Classical(asset, function, keys=STRING if strings else INT)
    feature, pairs = g.only_input()
    known: list[Any] = _vector(g, "Map")
    if not isinstance(pairs, Pairs):
        raise UnsupportedModelError(
            f"'{feature.name}' is declared as {feature.type}, but the {g.kind} takes a dictionary"
        )
    places = g.lookup(pairs.keys, known, range(len(known)), -1)
    present = g.GreaterOrEqual(places, np.int64(0))
    places, values = g.Compress(places, present, axis=0), g.Compress(pairs.values, present, axis=0)
    if isinstance(g.only_output.type, Dictionary):
        g.give(g.only_output, Pairs(places, values))
    else:
        g.give(g.only_output, g.ScatterElements(np.zeros(len(known), FLOAT), places, values, axis=0))
    return g.finished()


def _vector(g: Classical, oneof: str) -> list[Any]:
    kind = g.message.WhichOneof(oneof)
    if kind is None:
        raise SpecificationError(f"the {g.kind} has no {oneof}")
    found = list(getattr(g.message, kind).vector)
    if len(set(found)) != len(found):
        raise SpecificationError(f"the {g.kind} has a duplicate key")
    return found
