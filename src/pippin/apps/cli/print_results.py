"""Printed results: the outputs of a prediction by the task of the model: labels, boxes, shares of a segmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...format.description import FunctionDescription, ModelDescription
from ..studio.preview.draw_arrays import Box, boxes_of, classes_of
from ..studio.preview.kinds import Kind, kind_of
from .print_outputs import is_probable, print_outputs
from .terminal import console, styled, table

_ROWS = 20  # boxes at most
_IN_ROW = 3  # boxes or labels of one file among several
_CLASSES = 12  # classes of a segmentation at most
BOXES = {"confidence", "coordinates"}

Place = Callable[[Box], Box | None]


@dataclass(frozen=True)
class View:
    """What is known of a model that decides how its outputs are printed."""

    model: ModelDescription
    function: FunctionDescription
    top: int = 5

    @cached_property
    def kind(self) -> Kind:
        return kind_of(self.model, self.function)


def print_result(outputs: Mapping[str, Any], view: View, place: Place | None = None) -> None:
    """Print the main result of the model's task, then every other output. `place` moves boxes to where they are in the
    picture that was given."""
    left = dict(outputs)
    if view.kind.name == "objectDetector" and left.keys() >= BOXES:
        _print_boxes(left.pop("confidence"), left.pop("coordinates"), view, place)
    elif view.kind.name == "imageSegmenter":
        for name in [name for name, value in left.items() if is_plane(value)]:
            rows = table(name, "share", title=None)
            for label, share in _shares(left.pop(name), view)[:_CLASSES]:
                rows.add_row(styled(label), f"{share:.1%}")
            console().print(rows)
    print_outputs(left, view.top)


def print_row(file: str, outputs: Mapping[str, Any], view: View) -> None:
    """Print one line: the file, and the main result."""
    console().print(styled((file, "bold"), f"  {_in_one_line(outputs, view)}"), soft_wrap=True)


def _print_boxes(confidence: np.ndarray, coordinates: np.ndarray, view: View, place: Place | None) -> None:
    boxes = boxes_of(confidence, coordinates, view.kind.labels, 0.0)
    if place is not None:
        boxes = [place(box) or box for box in boxes]
    if not boxes:
        console().print("nothing found")
        return
    rows = table("found", "confidence", "left", "top", "right", "bottom")
    for box in boxes[:_ROWS]:
        corners = (f"{side:.1%}" for side in (box.left, box.top, box.right, box.bottom))
        rows.add_row(styled(box.label), f"{box.confidence:.1%}", *corners)
    if len(boxes) > _ROWS:
        rows.add_row(f"... ({len(boxes)} total)", "", "", "", "", "")
    console().print(rows)


def is_plane(value: Any) -> bool:
    shape = [size for size in getattr(value, "shape", ()) if size != 1]
    return isinstance(value, np.ndarray) and len(shape) in (2, 3) and min(shape[-2:]) > 1


def _shares(value: np.ndarray, view: View) -> list[tuple[str, float]]:
    """The share of the pixels of each class, the largest first."""
    classes, counts = np.unique(classes_of(value), return_counts=True)
    labels = view.kind.labels
    named = [labels[c] if 0 <= c < len(labels) else f"class {c}" for c in classes.tolist()]
    shares = [float(count / counts.sum()) for count in counts.tolist()]
    return sorted(zip(named, shares, strict=True), key=lambda row: -row[1])


def _in_one_line(outputs: Mapping[str, Any], view: View) -> str:
    scores = next((value for value in outputs.values() if isinstance(value, dict)), None)
    if scores is not None:
        best = sorted(scores.items(), key=lambda item: -item[1])[: min(view.top, _IN_ROW)]
        return ", ".join(
            f"{label} {number:.4f}" if is_probable(scores) else f"{label} {number:.6g}" for label, number in best
        )
    if view.kind.name == "objectDetector" and outputs.keys() >= BOXES:
        boxes = boxes_of(outputs["confidence"], outputs["coordinates"], view.kind.labels, 0.0)
        rest = f", and {len(boxes) - _IN_ROW} more" if len(boxes) > _IN_ROW else ""
        return ", ".join(f"{box.label} {box.confidence:.1%}" for box in boxes[:_IN_ROW]) + rest or "nothing found"
    if view.kind.name == "imageSegmenter":
        plane = next((value for value in outputs.values() if is_plane(value)), None)
        if plane is not None:
            return ", ".join(f"{label} {share:.1%}" for label, share in _shares(plane, view)[:_IN_ROW])
    from .print_outputs import summary

    return "; ".join(f"{name} {_number(value) or summary(value)}" for name, value in outputs.items())


def _number(value: Any) -> str:
    """A single number; "" for anything else."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiu":
        value = value.reshape(-1)[0].item()
    return f"{value:.6g}" if isinstance(value, float) else ""
