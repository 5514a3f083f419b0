"""Vectors: what scales, normalizes, picks and joins numbers.

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
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, INT, STRING, Classical, Pairs


def lower_identity(asset: Asset, function: FunctionDescription) -> Lowered:
    """Each output is the input of the same name, or, where names differ, at the same place."""
    return _passed(Classical(asset, function))


def lower_class_confidence_thresholding(asset: Asset, function: FunctionDescription) -> Lowered:
    """The confidences as they come: the curves of precision and recall are for whoever looks at the results."""
    g = Classical(asset, function)
    for number, curve in enumerate(g.message.precisionRecallCurves):
        for values, thresholds in (
            (curve.precisionValues, curve.precisionConfidenceThresholds),
            (curve.recallValues, curve.recallConfidenceThresholds),
        ):
            if len(values.vector) != len(thresholds.vector):
                raise SpecificationError(
                    f"the curve {number} has {len(values.vector)} values for {len(thresholds.vector)} thresholds"
                )
    return _passed(g)


def _passed(g: Classical) -> Lowered:
    names = list(g.inputs)
    for place, feature in enumerate(g.function.outputs):
        if feature.name not in names and place >= len(names):
            raise SpecificationError(f"the output '{feature.name}' is described, but no input leads to it")
        g.give(feature, g.inputs[feature.name if feature.name in names else names[place]])
    return g.finished()


def lower_scaler(asset: Asset, function: FunctionDescription) -> Lowered:
    """scale * (x + shift), with one scale and shift for all numbers, or one for each."""
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
        raise SpecificationError(f"the {g.kind} has {len(values)} numbers of {name} for an input of shape {x.shape}")
    return values.reshape(shape)


def lower_normalizer(asset: Asset, function: FunctionDescription) -> Lowered:
    """x / max(x), x / sum |x| or x / sqrt(sum x^2); where that is 0, x."""
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
            raise SpecificationError(f"the {g.kind} has the unknown norm {g.message.normType}")
    g.give(g.only_output, g.Div(x, g.Where(g.Equal(norm, 0.0), 1.0, norm)))
    return g.finished()


def lower_array_feature_extractor(asset: Asset, function: FunctionDescription) -> Lowered:
    """The numbers at some places of an array, counted row by row."""
    g = Classical(asset, function)
    feature, value = g.only_input()
    x = g.number(value, feature.name)
    indices, shape = np.array(g.message.extractIndex, INT), x.static_shape
    if not len(indices):
        raise SpecificationError(f"the {g.kind} has no indices")
    if shape is not None and indices.max() >= prod(shape):
        raise SpecificationError(f"the {g.kind} takes the number {indices.max()} of {prod(shape)} in '{feature.name}'")
    g.give(g.only_output, g.Gather(g.Reshape(x, [-1]), indices))
    return g.finished()


def lower_feature_vectorizer(asset: Asset, function: FunctionDescription) -> Lowered:
    """Numbers, arrays, and dictionaries with integer keys, one after the other in one array. In the place of a
    dictionary stand as many numbers as the model says, zeros but at its keys."""
    g = Classical(asset, function)
    rows = []
    for column in g.message.inputList:
        name, count = column.inputColumn, int(column.inputDimensions)
        value = g.input(name)
        if isinstance(value, Pairs):
            rows.append(_spread(g, name, value, count))
            continue
        x = g.number(value, name)
        shape = x.static_shape
        if shape is not None and prod(shape) != count:
            raise SpecificationError(f"'{name}' has {prod(shape)} numbers; the {g.kind} takes {count}")
        rows.append(g.Reshape(x, [count]))
    if not rows or not g.function.outputs:
        raise SpecificationError(f"the {g.kind} joins {len(rows)} inputs into {len(g.function.outputs)} outputs")
    g.give(g.only_output, rows[0] if len(rows) == 1 else g.Concat(*rows, axis=0))
    return g.finished()


def _spread(g: Classical, name: str, pairs: Pairs, count: int) -> Tensor:
    if pairs.keys.dtype == STRING:
        raise UnsupportedModelError(f"'{name}' is a {g.described(name).type}; a {g.kind} takes integer keys")
    inside = g.And(g.GreaterOrEqual(pairs.keys, np.int64(0)), g.Less(pairs.keys, np.int64(count)))
    g.refuse(g.Not(inside), pairs.keys, f"the keys of '{name}' are below {count}; found")
    keys, values = (g.Compress(t, inside, axis=0) for t in (pairs.keys, pairs.values))
    return g.ScatterElements(np.zeros(count, FLOAT), keys, values, axis=0)


def lower_dict_vectorizer(asset: Asset, function: FunctionDescription) -> Lowered:
    """A dictionary as an array, each value at the place of its key, zeros elsewhere; keys that have no place are left
    out, as scikit-learn does. Where the output is a dictionary, its keys are the places."""
    strings = asset.specification.dictVectorizer.WhichOneof("Map") == "stringToIndex"
    # Converters describe strings where the keys are integers; the map knows better.
    g = Classical(asset, function, keys=STRING if strings else INT)
    feature, pairs = g.only_input()
    known: list[Any] = _vector(g, "Map")
    if not isinstance(pairs, Pairs):
        raise UnsupportedModelError(f"'{feature.name}' is a {feature.type}; a {g.kind} takes a dictionary")
    places = g.lookup(pairs.keys, known, range(len(known)), -1)
    there = g.GreaterOrEqual(places, np.int64(0))
    places, values = g.Compress(places, there, axis=0), g.Compress(pairs.values, there, axis=0)
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
        raise SpecificationError(f"the {g.kind} names a key twice")
    return found
