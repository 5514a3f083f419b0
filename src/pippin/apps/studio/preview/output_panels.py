"""Output panels: converts the outputs of a prediction to displayable panels, by model kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....format.description import FunctionDescription
from .draw_arrays import (
    Box,
    Entry,
    as_image,
    boxed,
    boxes_of,
    classes_of,
    heat,
    joints_of,
    map_of,
    posed,
    segmented,
)
from .kinds import Kind, channels_of

if TYPE_CHECKING:
    from PIL.Image import Image

TOP = 8
_WHOLE = 64  # arrays up to this size are also shown as numbers
_CURVE = 2000  # points of a curve at most
_STRIDE = 16  # PoseNet's output stride if the metadata do not declare one


@dataclass(frozen=True, slots=True)
class Scores:
    """Classifier result: the predicted label and the most probable classes."""

    name: str
    label: str | None
    rows: Sequence[tuple[str, float]]
    count: int
    """Number of all classes."""


@dataclass(frozen=True, slots=True)
class Picture:
    name: str
    image: Image
    legend: Sequence[Entry] = ()
    boxes: Sequence[Box] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array with its statistics, a map, and its numbers if there are few."""

    name: str
    array: np.ndarray
    statistics: Mapping[str, float]
    map: Image | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """A series of numbers: samples of a sound, or an output over its windows."""

    name: str
    values: Sequence[float]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A number or a text."""

    name: str
    text: str


Panel = Scores | Picture | Numbers | Curve | Value


@dataclass(frozen=True, slots=True)
class Options:
    """User settings for drawing results."""

    top: int = TOP
    threshold: float = 0.25
    """Minimum confidence of a box or joint."""
    opacity: float = 0.65

    def with_value(self, name: str, value: float) -> Options:
        fields: dict[str, Any] = {name: value}
        return replace(self, **fields)


@dataclass(slots=True)
class _Left:
    """Outputs not yet shown by a panel."""

    outputs: dict[str, Any]
    panels: list[Panel] = field(default_factory=list)

    def take(self, name: str) -> Any:
        return self.outputs.pop(name)


def panels_of(
    kind: Kind,
    function: FunctionDescription,
    outputs: Mapping[str, Any],
    source: Image | None = None,
    options: Options = Options(),
) -> list[Panel]:
    """Panels of one prediction, the main result first. `source` is the input picture."""
    left = _Left(dict(outputs))
    draw = _DRAWN.get(kind.name)
    if draw is not None:
        draw(left, kind, source, options)
    _scores(left, function, options)
    left.panels += [panel_of(name, value) for name, value in left.outputs.items()]
    return left.panels


def panel_of(name: str, value: Any) -> Panel:
    """Panel for one output, chosen by its type alone."""
    if hasattr(value, "mode") and hasattr(value, "save"):
        return Picture(name, _shown(value), note=f"{value.width} × {value.height}")
    if isinstance(value, dict):
        return _ranked(name, value, None, TOP)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        if value.size == 1:
            return Value(name, f"{value.reshape(-1)[0]:.6g}")
        image = as_image(value) if channels_of(value.shape) == 3 else None
        if image is not None:
            return Picture(name, image, note=f"{image.width} × {image.height}")
        text = np.array2string(value, precision=5, separator=", ") if value.size <= _WHOLE else ""
        return Numbers(name, value, statistics(value), map_of(value), text)
    if isinstance(value, list):
        return Value(name, ", ".join(map(str, value)))
    return Value(name, f"{value:.6g}" if isinstance(value, float) else str(value))


def statistics(array: np.ndarray) -> dict[str, float]:
    """Minimum, mean, maximum and deviation of the finite elements, and the number of non-finite ones if any."""
    values = np.asarray(array, np.float64).reshape(-1)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return {"not finite": float(values.size)}
    found = {
        "minimum": float(finite.min()),
        "mean": float(finite.mean()),
        "maximum": float(finite.max()),
        "deviation": float(finite.std()),
    }
    return found | ({"not finite": float(values.size - finite.size)} if finite.size < values.size else {})


def curve_of(name: str, values: np.ndarray, note: str = "") -> Curve:
    """Curve of at most 2,000 points: the minimum and maximum of each section."""
    row = np.asarray(values, np.float64).reshape(-1)
    if row.size > _CURVE:
        parts = np.array_split(row, _CURVE // 2)
        row = np.array([side for part in parts for side in (part.min(), part.max())])
    return Curve(name, row.tolist(), note)


def _scores(left: _Left, function: FunctionDescription, options: Options) -> None:
    """Combine the label and probabilities of a classifier in one panel."""
    probabilities = function.predicted_probabilities_name
    if not isinstance(left.outputs.get(probabilities), dict):
        probabilities = next((name for name, value in left.outputs.items() if isinstance(value, dict)), "")
    if not probabilities:
        return
    label = left.outputs.pop(function.predicted_feature_name, None)
    scores = left.take(probabilities)
    left.panels.append(_ranked(function.predicted_feature_name or probabilities, scores, label, options.top))


def _ranked(name: str, scores: Mapping[Any, float], label: Any, top: int) -> Scores:
    best = sorted(scores.items(), key=lambda item: -item[1])[:top]
    return Scores(name, None if label is None else str(label), [(str(k), float(v)) for k, v in best], len(scores))


def _classified(left: _Left, kind: Kind, source: Image | None, options: Options) -> None:
    """Scores as an array, from models converted without class labels."""
    for name, value in list(left.outputs.items()):
        if isinstance(value, np.ndarray) and kind.labels and value.size == len(kind.labels):
            scores = dict(zip(kind.labels, value.reshape(-1).astype(float).tolist(), strict=True))
            left.panels.append(_ranked(name, scores, max(scores, key=lambda k: scores[k]), options.top))
            left.take(name)


def _segments(left: _Left, kind: Kind, source: Image | None, options: Options) -> None:
    for name, value in list(left.outputs.items()):
        if not isinstance(value, np.ndarray) or not _is_plane(value):
            continue
        soft = value.dtype.kind == "f" and sum(size != 1 for size in value.shape) == 2
        image, legend = segmented(source, classes_of(value), kind.labels, kind.colors, options.opacity)
        left.panels.append(Picture(name, image, legend=legend))
        if soft:
            left.panels.append(Picture(f"{name}, raw", heat(value.reshape(value.shape[-2:]))))
        left.take(name)


def _detections(left: _Left, kind: Kind, source: Image | None, options: Options) -> None:
    if not {"confidence", "coordinates"} <= left.outputs.keys() or source is None:
        return
    boxes = boxes_of(left.take("confidence"), left.take("coordinates"), kind.labels, options.threshold)
    note = f"{len(boxes)} found" if boxes else f"nothing found above a confidence of {options.threshold:.0%}"
    left.panels.append(Picture("detections", boxed(source, boxes), boxes=boxes, note=note))


def _depths(left: _Left, kind: Kind, source: Image | None, options: Options) -> None:
    for name, value in list(left.outputs.items()):
        if isinstance(value, np.ndarray) and _is_plane(value):
            plane = value.reshape(value.shape[-2:])
            found = statistics(plane)
            note = (
                f"from {found['minimum']:.4g} to {found['maximum']:.4g}" if "minimum" in found else "no finite values"
            )
            left.panels.append(Picture(name, heat(plane), note=note))
            left.take(name)
        elif hasattr(value, "mode"):
            left.panels.append(Picture(name, heat(np.asarray(value.convert("F") if value.mode == "L" else value))))
            left.take(name)


def _poses(left: _Left, kind: Kind, source: Image | None, options: Options) -> None:
    maps = {n: v for n, v in left.outputs.items() if isinstance(v, np.ndarray) and v.ndim >= 3}
    heatmaps = next((n for n in maps if "heatmap" in n.lower()), None)
    if heatmaps is None or source is None:
        return
    offsets = next((n for n in maps if n.lower().replace("_", "").startswith("offset")), None)
    stride = int(kind.parameters.get("output_stride", _STRIDE))
    joints = joints_of(maps[heatmaps], maps[offsets] if offsets else None, stride)
    seen = sum(joint.confidence >= options.threshold for joint in joints)
    image = posed(source, joints, options.threshold)
    left.panels.append(Picture("pose", image, note=f"{seen} of {len(joints)} key points"))


def _sounds(left: _Left, kind: Kind, source: Image | None, options: Options) -> None:
    """Draw outputs that are sounds themselves."""
    for name, value in list(left.outputs.items()):
        if isinstance(value, np.ndarray) and value.size >= 256 and max(value.shape, default=0) == value.size:
            left.panels.append(curve_of(name, value, f"{value.size:,} samples"))


_DRAWN = {
    "imageClassifier": _classified,
    "imageSegmenter": _segments,
    "objectDetector": _detections,
    "depthEstimation": _depths,
    "poseEstimation": _poses,
    "sound": _sounds,
}


def _is_plane(value: np.ndarray) -> bool:
    shape = [size for size in value.shape if size != 1]
    return len(shape) in (2, 3) and min(shape[-2:]) >= 2


def _shown(image: Image) -> Image:
    """Convert an image to 8 bits for the browser; float images from 0 to 1 are scaled."""
    import PIL.Image

    if image.mode != "F":
        return image.convert("RGB") if image.mode != "L" else image
    values = np.nan_to_num(np.asarray(image, np.float64))
    scale = 255 if values.max() <= 1.5 else 1
    return PIL.Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
