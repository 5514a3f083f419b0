"""Array drawing: turns output arrays into pictures: masks, boxes, depth, joints, and maps of any array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

# Classes per lightness level of the generated palette.
_HUES = 12
# Bones between PoseNet's key points, by index. Source: the order of the COCO key points.
_BONES = (
    (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (5, 11), (6, 12), (11, 12),
    (11, 13), (13, 15), (12, 14), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4),
)  # fmt: skip
_LONGEST = 512  # pixels of a map's longer side
_CELL = 12  # pixels per number of a small map, at most
_TILES = 16  # channels drawn at most

# Colour map: dark blue through green to yellow with steadily increasing lightness; equally spaced anchors.
_ANCHORS = np.array(
    [(26, 20, 60), (48, 52, 120), (42, 92, 138), (34, 128, 132), (62, 164, 108), (148, 194, 74), (250, 228, 96)],
    np.float64,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Legend line: a class, its colour and its share of the pixels."""

    label: str
    color: str
    share: float


@dataclass(frozen=True, slots=True)
class Box:
    """A detection; corners are relative to the image, 0 to 1."""

    label: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float
    color: str


def palette(count: int, given: Sequence[str] = ()) -> list[str]:
    """One colour per class: the given ones, then generated ones; a generated first colour is the dark background."""
    import colorsys

    found = []
    for index in range(count):
        if index < len(given):
            found.append(given[index] if given[index].startswith("#") else f"#{given[index]}")
            continue
        hue = (index * 0.381966) % 1  # the golden angle: neighbours differ
        value = 0.96 - 0.1 * ((index // _HUES) % 3)
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.62, value))
        found.append("#20222a" if index == 0 and count > 1 else f"#{red:02x}{green:02x}{blue:02x}")
    return found


def mapped(values: np.ndarray) -> np.ndarray:
    """Apply the colour map to numbers from 0 to 1; returns uint8 (..., 3). NaN becomes gray."""
    known = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    place = known * (len(_ANCHORS) - 1)
    lower = np.minimum(place.astype(int), len(_ANCHORS) - 2)
    weight = (place - lower)[..., None]
    colors = _ANCHORS[lower] * (1 - weight) + _ANCHORS[lower + 1] * weight
    colors[np.isnan(values)] = 128
    made: np.ndarray = colors.round().astype(np.uint8)
    return made


def heat(values: np.ndarray) -> Image:
    """Draw a plane of numbers with the colour map, scaled from its minimum to its maximum."""
    plane = np.asarray(values, np.float64)
    finite = plane[np.isfinite(plane)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return _image(mapped((plane - low) / ((high - low) or 1.0)))


def classes_of(array: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Class of each pixel (height, width): integers unchanged, the argmax of [class, y, x] or [y, x, class], a single
    float plane compared with the threshold. Values outside 0 to 1 are taken as logits and compared with 0."""
    planes = array.reshape(array.shape[-3:]) if array.ndim > 3 else array
    if planes.ndim == 3 and planes.shape[0] == 1:
        planes = planes[0]
    if planes.ndim == 3:
        last = planes.shape[-1] < min(planes.shape[:2])  # channels last
        return np.asarray(planes.argmax(-1 if last else 0))
    if planes.dtype.kind in "iub":
        return planes.astype(int)
    bound = threshold if planes.min() >= 0 and planes.max() <= 1 else 0.0
    return (planes > bound).astype(int)


def segmented(
    source: Image | None, classes: np.ndarray, labels: Sequence[str], colors: Sequence[str], opacity: float = 0.65
) -> tuple[Image, list[Entry]]:
    """Blend the class colours over the source picture; also returns the legend, largest share first."""
    import PIL.Image

    count = max(int(classes.max()) + 1, len(labels), 2)
    chosen = palette(count, colors)
    table = np.array([tuple(bytes.fromhex(color[1:7])) for color in chosen], np.uint8)
    mask = _image(table[classes.clip(0, count - 1)])
    found, numbers = np.unique(classes, return_counts=True)
    legend = [
        Entry(labels[c] if c < len(labels) else f"class {c}", chosen[c], float(n / classes.size))
        for c, n in zip(found.tolist(), numbers.tolist(), strict=True)
        if 0 <= c < count
    ]
    legend.sort(key=lambda entry: -entry.share)
    if source is None:
        return mask, legend
    large = mask.resize(source.size, PIL.Image.Resampling.NEAREST)
    return PIL.Image.blend(source.convert("RGB"), large, opacity), legend


def boxes_of(
    confidence: np.ndarray, coordinates: np.ndarray, labels: Sequence[str], threshold: float = 0.25
) -> list[Box]:
    """Detections in Core ML's layout: confidence [box, class], coordinates [box, (x, y, width, height)] with centre and
    size relative to the image."""
    scores = (
        np.asarray(confidence, np.float64).reshape(-1, confidence.shape[-1]) if confidence.size else np.empty((0, 1))
    )
    places = np.asarray(coordinates, np.float64).reshape(-1, 4)
    chosen = palette(max(scores.shape[1] + 1, 2))[1:]
    found = []
    for row, (x, y, width, height) in zip(scores, places, strict=True):
        best = int(row.argmax())
        if row[best] >= threshold:
            label = labels[best] if best < len(labels) else f"class {best}"
            left, top = float(x - width / 2), float(y - height / 2)
            right, bottom = float(x + width / 2), float(y + height / 2)
            found.append(Box(label, float(row[best]), left, top, right, bottom, chosen[best]))
    return sorted(found, key=lambda box: -box.confidence)


def boxed(source: Image, boxes: Sequence[Box]) -> Image:
    """Draw detections into a copy of the picture."""
    import PIL.ImageDraw

    made = source.convert("RGB").copy()
    draw = PIL.ImageDraw.Draw(made)
    line = max(2, round(max(made.size) / 240))
    font = label_font(max(11, round(max(made.size) / 40)))
    for box in reversed(boxes):
        corners = (box.left * made.width, box.top * made.height, box.right * made.width, box.bottom * made.height)
        left, top, right, bottom = min(corners[0::2]), min(corners[1::2]), max(corners[0::2]), max(corners[1::2])
        draw.rounded_rectangle((left, top, right, bottom), line * 2, outline=box.color, width=line)
        text = f"{box.label} {box.confidence:.0%}"
        _, _, width, height = draw.textbbox((0, 0), text, font)
        place = max(0.0, top - height - 2 * line)
        draw.rectangle((left, place, left + width + 2 * line, place + height + 2 * line), fill=box.color)
        draw.text((left + line, place + line / 2), text, "#14161c", font)
    return made


@dataclass(frozen=True, slots=True)
class Joint:
    """A key point; x and y are relative to the image, 0 to 1."""

    x: float
    y: float
    confidence: float


def joints_of(heatmaps: np.ndarray, offsets: np.ndarray | None, stride: int) -> list[Joint]:
    """Key points of one person from PoseNet outputs: the maximum of each heat map [joint, y, x], shifted by the offset
    in pixels; offsets hold y for all joints, then x for all joints, [2 * joint, y, x]."""
    maps = heatmaps.reshape(heatmaps.shape[-3:])
    count, rows, columns = len(maps), len(maps[0]), len(maps[0][0])
    moves = None if offsets is None else offsets.reshape(offsets.shape[-3:])
    high, wide = max((rows - 1) * stride, 1), max((columns - 1) * stride, 1)
    found = []
    for joint, plane in enumerate(maps):
        y, x = divmod(int(plane.argmax()), columns)
        value = float(plane[y, x])
        confidence = value if 0 <= value <= 1 else 1 / (1 + math.exp(-min(max(value, -50.0), 50.0)))
        down, right = float(y) * stride, float(x) * stride
        if moves is not None and len(moves) == 2 * count:
            down, right = down + float(moves[joint, y, x]), right + float(moves[count + joint, y, x])
        found.append(Joint(right / wide, down / high, confidence))
    return found


def posed(source: Image, joints: Sequence[Joint], threshold: float = 0.3) -> Image:
    """Draw key points above the threshold into a copy of the picture, with bones if there are 17 points, as in COCO."""
    import PIL.ImageDraw

    made = source.convert("RGB").copy()
    draw = PIL.ImageDraw.Draw(made)
    size = max(3, round(max(made.size) / 100))
    places = [(joint.x * made.width, joint.y * made.height) for joint in joints]
    seen = [joint.confidence >= threshold for joint in joints]
    for a, b in _BONES if len(joints) == 17 else ():
        if seen[a] and seen[b]:
            draw.line((*places[a], *places[b]), "#5ec27a", max(2, size // 2))
    for (x, y), shown in zip(places, seen, strict=True):
        if shown:
            draw.ellipse((x - size, y - size, x + size, y + size), "#f4c95d", "#14161c")
    return made


def as_image(array: np.ndarray) -> Image | None:
    """Convert an array [1,] 1 or 3 x height x width to an image; detects the ranges 0 to 1, -1 to 1 and 0 to 255."""
    planes = array.reshape(array.shape[-3:]) if array.ndim >= 3 else array
    if planes.ndim != 3 or planes.shape[0] not in (1, 3):
        return None
    values = np.nan_to_num(planes.astype(np.float64))
    if values.min() < -0.01:
        values = (values + 1) * 127.5
    elif values.max() <= 1.5:
        values = values * 255
    return _image(np.repeat(values, 3 // len(values), 0).transpose(1, 2, 0).clip(0, 255).round().astype(np.uint8))


def map_of(array: np.ndarray) -> Image | None:
    """Draw any array as a map: a plane directly, more axes as tiles of the last two; None below two numbers."""
    import PIL.Image

    values = np.asarray(array, np.float64)
    values = values.reshape([size for size in values.shape if size != 1] or [1])
    if values.size < 2:
        return None
    if values.ndim == 1:
        plane = _folded(values)
    elif values.ndim == 2:
        plane = values
    else:
        plane = _tiled(values.reshape(-1, *values.shape[-2:])[:_TILES])
    picture = heat(plane)
    longest = max(picture.size)
    factor = max(1, min(_CELL, _LONGEST // longest)) if longest <= _LONGEST else _LONGEST / longest
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, PIL.Image.Resampling.NEAREST if factor >= 1 else PIL.Image.Resampling.BOX)


def _folded(values: np.ndarray) -> np.ndarray:
    """Fold a long row into several lines, padded with NaN."""
    width = values.size if values.size <= 40 else math.ceil(math.sqrt(values.size * 4))
    padded = np.full(math.ceil(values.size / width) * width, np.nan)
    padded[: values.size] = values
    return padded.reshape(-1, width)


def _tiled(planes: np.ndarray) -> np.ndarray:
    """Arrange planes in a grid with one-pixel separators."""
    columns = math.ceil(math.sqrt(len(planes)))
    rows = math.ceil(len(planes) / columns)
    high, wide = planes.shape[1] + 1, planes.shape[2] + 1
    made = np.full((rows * high - 1, columns * wide - 1), np.nan)
    for index, plane in enumerate(planes):
        y, x = divmod(index, columns)
        made[y * high : y * high + high - 1, x * wide : x * wide + wide - 1] = plane
    return made


def label_font(size: int) -> Any:
    """Pillow's own font."""
    import PIL.ImageFont

    return PIL.ImageFont.load_default(size)


def _image(pixels: np.ndarray) -> Image:
    import PIL.Image

    return PIL.Image.fromarray(np.ascontiguousarray(pixels))
