"""Non-maximum suppression: lowers it as a model of its own, usually the last part of a detector pipeline.

Source: `NonMaximumSuppression.proto`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import SpecificationError
from ...format.asset import Asset
from ...format.description import Double, FeatureDescription, FunctionDescription, MultiArray, ShapeRange
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import INT, Classical

_FLOAT32 = np.dtype(np.float32)
_LOWEST = np.finfo(np.float32).min


def lower_non_maximum_suppression(asset: Asset, function: FunctionDescription) -> Lowered:
    """Select boxes (n, 4), given as centre, width and height, by their confidences (n, classes).

    Keeps the boxes that reach the confidence threshold and do not overlap a more confident one (of the same class, if
    suppression is per class) by more than the IoU threshold; the most confident come first. The declared outputs limit
    their number; rows of zeros fill up a declared minimum.
    """
    message = asset.specification.nonMaximumSuppression
    if message.WhichOneof("SuppressionMethod") not in (None, "pickTop"):
        raise SpecificationError("the nonMaximumSuppression has an unknown suppression method")
    thresholds = {
        message.iouThresholdInputFeatureName: message.iouThreshold,
        message.confidenceThresholdInputFeatureName: message.confidenceThreshold,
    }
    thresholds.pop("", None)
    described = {feature.name for feature in function.inputs}
    extra = tuple(FeatureDescription(name, Double()) for name in thresholds if name not in described)
    g = Classical(asset, function, always=thresholds, further=extra)
    confidence = _matrix(g, message.confidenceInputFeatureName)
    boxes = _matrix(g, message.coordinatesInputFeatureName)
    iou = _threshold(g, message.iouThresholdInputFeatureName, message.iouThreshold)
    lowest = _threshold(g, message.confidenceThresholdInputFeatureName, message.confidenceThreshold)
    outside = g.Not(g.And(g.GreaterOrEqual(iou, 0.0), g.LessOrEqual(iou, 1.0)))  # NaN too
    g.refuse(outside, iou, "the IoU threshold must be between 0 and 1, got")
    # Replaced, so that the engine does not fail on a bad threshold before the check reports it.
    iou = g.Where(outside, np.zeros(1), iou)
    best = g.ReduceMax(confidence, [1], keepdims=0)
    enough = g.GreaterOrEqual(best, g.cast(lowest, best.dtype))
    confidence, boxes, best = (g.Compress(t, enough, axis=0) for t in (confidence, boxes, best))
    order = _selected(g, boxes, confidence, best, iou, message.pickTop.perClass)
    outputs = {feature.name: feature for feature in function.outputs}
    least, most = _rows(list(outputs.values()))
    for name, values in (
        (message.confidenceOutputFeatureName, confidence),
        (message.coordinatesOutputFeatureName, boxes),
    ):
        if name in outputs:
            g.give(outputs[name], _padded(g, g.Gather(values, order, axis=0), least, most))
    # It computes nothing that a network before it could be slower or less exact for.
    return replace(g.finished(), computes=frozenset())


def _matrix(g: Classical, name: str) -> Tensor:
    value = g.number(g.input(name), name)
    if value.shape is not None and len(value.shape) > 2:
        value = g.Reshape(value, [-1, value.static_size(-1)])
    port = g.described(name).type
    # Values that a network computed in float32 gain nothing from float64.
    return g.cast(value, _FLOAT32) if isinstance(port, MultiArray) and port.dtype.bits < 64 else value


def _threshold(g: Classical, name: str, value: float) -> Tensor:
    return g.Reshape(g.number(g.inputs[name], name), [1]) if name else g.tensor(np.array([value], np.float64))


def _selected(g: Classical, boxes: Tensor, confidence: Tensor, best: Tensor, iou: Tensor, per_class: bool) -> Tensor:
    """The indices of the selected boxes, in descending order of confidence."""
    scores = g.Unsqueeze(best, [0])
    if per_class:  # a box only competes in the class of its highest confidence
        count = confidence.shape[1] if confidence.shape else None
        classes = np.arange(count) if count else g.Range(0, g.Squeeze(g.Gather(g.Shape(confidence), [1]), [0]), 1)
        own = g.Equal(g.ArgMax(confidence, axis=1, keepdims=1), g.cast(classes, INT))
        scores = g.Transpose(g.Where(own, confidence, g.cast(_LOWEST, confidence.dtype)), perm=[1, 0])
    selected = g.NonMaxSuppression(
        g.Unsqueeze(g.cast(boxes, np.float32), [0]),
        g.Unsqueeze(g.cast(scores, np.float32), [0]),
        g.Shape(best),
        g.cast(iou, np.float32),
        np.array([_LOWEST / 2], np.float32),
        center_point_box=1,
    )
    chosen = g.Reshape(g.Gather(selected, [2], axis=1), [-1])
    _, ranked = g.TopK(g.Gather(best, chosen), g.Shape(chosen))
    return g.Gather(chosen, ranked)


def _rows(features: list[FeatureDescription]) -> tuple[int, int | None]:
    """The minimum and maximum number of rows that all outputs allow."""
    least, most = 0, None
    for feature in features:
        match feature.type:
            case MultiArray(flexibility=ShapeRange(ranges)) if ranges:
                low, high = ranges[0].lower, ranges[0].upper
            case MultiArray(shape=shape, flexibility=None) if shape:
                low = high = shape[0]
            case _:
                continue
        least, most = max(least, low), high if most is None else most if high is None else min(most, high)
    if most is not None and least > most:
        raise SpecificationError(f"the outputs are declared with at least {least} and at most {most} boxes")
    return least, most


def _padded(g: Classical, rows: Tensor, least: int, most: int | None) -> Any:
    if most is not None:
        rows = g.Slice(rows, [0], [most], [0])
    if not least:
        return rows
    short = g.Max(g.Sub(np.array([least], INT), g.Gather(g.Shape(rows), [0])), np.array([0], INT))
    zeros = np.array([0], INT)
    return g.Pad(rows, g.Concat(zeros, zeros, short, zeros, axis=0), g.cast(0, rows.dtype))
