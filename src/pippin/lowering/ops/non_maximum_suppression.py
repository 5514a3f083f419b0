"""Non-maximum suppression: keeps the highest-scoring of overlapping boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProgramError
from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers

_SMALLEST = np.finfo(np.float32).tiny


@lowers("non_maximum_suppression")
def non_maximum_suppression(
    g: Builder,
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    max_boxes: int,
    score_threshold: float | None = None,
    per_class_suppression: bool = False,
) -> Any:
    """iOS 15: boxes (n, B, 4) and scores (n, B, K); the fourth result is the number of kept boxes.
    iOS 17: boxes (n, 4, B) and scores (n, K, B), no score threshold, three results.

    A box is (center x, center y, width, height); its class is the one with its highest score. Kept boxes are sorted by
    score and padded to `max_boxes` with zeros and the index -1. At least one box is kept.
    """
    if not 0 <= float(iou_threshold) <= 1:  # engines differ outside, and for NaN
        raise ProgramError(f"iou_threshold must be from 0 to 1, got {float(iou_threshold):g}")
    limits.at_least(0, max_boxes=max_boxes)
    last = g.opset >= 17 and score_threshold is None
    boxes, scores = g.tensor(boxes), g.tensor(scores)
    if int(max_boxes) < 1:
        raise ProgramError(f"max_boxes must be at least 1, got {int(max_boxes)}")  # OpenVINO would end the process
    if last:
        boxes, scores = g.Transpose(boxes, perm=[0, 2, 1]), g.Transpose(scores, perm=[0, 2, 1])
    lowest = np.asarray(np.finfo(np.float32).min, scores.dtype)
    threshold = lowest if score_threshold is None else _below(np.float32(score_threshold))
    best = g.ReduceMax(scores, [2], keepdims=0)  # (n, B)
    kept = _kept(g, boxes, scores, best, iou_threshold, threshold, int(max_boxes), bool(per_class_suppression))
    # Kept boxes come first, in order of score; the rest ranks below every score.
    ranked = g.Pad(g.Where(kept, best, lowest), [0, 0, 0, int(max_boxes)], lowest)
    values, indices = g.TopK(ranked, [int(max_boxes)], axis=1)
    valid = g.Greater(values, lowest)
    found = [_rows(g, data, indices, valid, int(max_boxes)) for data in (boxes, scores)]
    if last:
        found = [g.Transpose(rows, perm=[0, 2, 1]) for rows in found]
    count = g.ReduceSum(g.cast(valid, np.int32), [1], keepdims=0)
    results = [*found, g.Where(valid, indices, -1), count]
    return tuple(results[: len(g.op.outputs)])


def _below(threshold: np.float32) -> np.float32:
    """The greatest score that is below the threshold: ONNX rejects a score that equals it, MIL does not."""
    if abs(threshold) < _SMALLEST:
        return -_SMALLEST  # what is nearer to 0, processors take for 0
    return max(np.nextafter(threshold, np.float32(-np.inf)), np.finfo(np.float32).min)


def _kept(
    g: Builder,
    boxes: Tensor,
    scores: Tensor,
    best: Tensor,
    iou_threshold: float,
    threshold: Any,
    max_boxes: int,
    per_class: bool,
) -> Tensor:
    """Mask (n, B) of the kept boxes."""
    lowest = np.asarray(np.finfo(np.float32).min, scores.dtype)
    ranked = g.Unsqueeze(best, [1])
    if per_class:
        # A box competes only within the class of its highest score.
        classes = g.Range(0, g.Squeeze(g.Gather(g.shape_of(scores), [2]), [0]), 1)
        own = g.Equal(g.ArgMax(scores, axis=2, keepdims=1), g.Reshape(classes, [1, 1, -1]))
        ranked = g.Transpose(g.Where(own, scores, lowest), perm=[0, 2, 1])
    numbers = [g.cast(v, np.float32) for v in (boxes, ranked)]
    selected = g.NonMaxSuppression(
        *numbers,
        np.array([max_boxes], np.int64),
        np.array([iou_threshold], np.float32),
        np.array([threshold], np.float32),
        center_point_box=1,
    )
    pairs = g.Gather(selected, [0, 2], axis=1)  # (batch, box)
    none = g.Expand(np.int32(0), g.shape_of(best))
    ones = g.Expand(np.int32(1), g.Slice(g.shape_of(pairs), [0], [1]))
    chosen = g.Greater(g.ScatterND(none, pairs, ones), 0)
    nothing = g.Equal(g.ReduceMax(g.cast(chosen, np.int32), [1], keepdims=1), 0)
    positions = g.Range(0, g.Squeeze(g.Gather(g.shape_of(best), [1]), [0]), 1)
    highest = g.Equal(g.ArgMax(best, axis=1, keepdims=1), g.Unsqueeze(positions, [0]))
    return g.Or(chosen, g.And(nothing, highest))


def _rows(g: Builder, data: Tensor, indices: Tensor, valid: Tensor, count: int) -> Tensor:
    """The rows (n, count, D) of data (n, B, D) at these indices; zeros where `valid` is false."""
    padded = g.Pad(data, [0, 0, 0, 0, count, 0], g.cast(0, data.dtype))
    width = g.Gather(g.shape_of(data), [2])
    shape = g.Concat(g.shape_of(indices), width, axis=0)
    rows = g.GatherElements(padded, g.Expand(g.Unsqueeze(indices, [2]), shape), axis=1)
    return g.Where(g.Unsqueeze(valid, [2]), rows, g.cast(0, data.dtype))
