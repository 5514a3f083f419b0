"""Boxes: average precision as COCO defines it, by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from ...errors import ConfigurationError


def average_precision(records: Sequence[tuple[Any, Any]], classes: Sequence[str]) -> dict[str, float]:
    """{"map": over thresholds of 0.5 to 0.95, "map50": at 0.5} of boxes in pixels."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise ConfigurationError("average precision needs faster-coco-eval (pip install faster-coco-eval)") from None
    numbers = {name: number for number, name in enumerate(classes, 1)}
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (boxes, answers) in enumerate(records, 1):
        for label, left, top, right, bottom in boxes:
            box = [left, top, right - left, bottom - top]
            truths.append(
                {"id": len(truths) + 1, "image_id": image, "category_id": numbers[label], "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
        for label, left, top, right, bottom, score in answers:
            if label in numbers:
                box = [left, top, right - left, bottom - top]
                found.append({"image_id": image, "category_id": numbers[label], "bbox": box, "score": score})
    if not truths or not found:
        return {"map": 0.0, "map50": 0.0}
    images = [{"id": number} for number in range(1, len(records) + 1)]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    with contextlib.redirect_stdout(io.StringIO()):
        right = COCO({"images": images, "annotations": truths, "categories": categories})
        evaluation = COCOeval_faster(right, right.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"map": float(evaluation.stats[0]), "map50": float(evaluation.stats[1])}
