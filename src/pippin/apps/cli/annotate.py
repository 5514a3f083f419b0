"""Annotated pictures: draws the result of a model into the picture that it was given, at the picture's own size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConfigurationError, FeatureValueError
from ...features.image_input import ImageInput, Resize
from ...features.images import nearest_size, picture_of
from ...features.seen_area import Area, seen_area
from ...format.description import Image, MultiArray
from ...support.regular_files import open_regular
from ..studio.preview.draw_arrays import (
    Box,
    as_image,
    boxed,
    boxes_of,
    classes_of,
    heat,
    joints_of,
    label_font,
    posed,
    segmented,
)
from ..studio.preview.kinds import pictures
from ..studio.preview.output_panels import Scores, panels_of
from .print_results import BOXES, View, is_plane

if TYPE_CHECKING:
    import PIL.Image

_DRAWN = ("objectDetector", "imageSegmenter", "imageClassifier", "depthEstimation", "poseEstimation", "imageToImage")
_OPACITY = 0.65  # of a mask
_STRIDE = 16  # of PoseNet's outputs, if the metadata do not say it


def check_drawable(view: View, path: Path) -> None:
    """Raise ConfigurationError if the model has no result that can be drawn into a picture."""
    outputs = {feature.name for feature in view.function.outputs}
    if (
        view.kind.name in _DRAWN
        and pictures(view.function)
        and (view.kind.name != "objectDetector" or outputs >= BOXES)
    ):
        return
    raise ConfigurationError(
        f"--output {path}: this model has no result to draw into a picture; name a folder, which gets every output,"
        " or a .csv or .jsonl file"
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """The picture of a prediction, and the part of it that the model saw."""

    picture: PIL.Image.Image
    area: Area

    @classmethod
    def of(
        cls, view: View, features: Mapping[str, Any], files: Mapping[str, Path], resize: Resize | None
    ) -> Seen | None:
        """None if the prediction had no picture, but for example `zeros` for an array."""
        feature = pictures(view.function)[0]
        value = features.get(feature.name)
        how = value.resize if isinstance(value, ImageInput) else resize or "scale_fill"
        picture = _opened(files.get(feature.name), feature.name)
        if isinstance(feature.type, Image):
            source = value.source if isinstance(value, ImageInput) else value
            picture = picture or _colored(picture_of(feature.name, source, feature.type))
            size = picture.size if feature.type.allows(picture.size) else nearest_size(feature.type, picture.size)
            return cls(picture, seen_area(picture.size, size, how))
        picture = picture or (as_image(value) if isinstance(value, np.ndarray) else None)
        if picture is None or not isinstance(feature.type, MultiArray) or not feature.type.shape:
            return None
        return cls(picture, seen_area(picture.size, (feature.type.shape[-1], feature.type.shape[-2]), how))

    def placed(self, box: Box) -> Box | None:
        """A box in the model's coordinates as one in the picture's; None if nothing of it is inside."""
        left, top = self.point(box.left, box.top)
        right, bottom = self.point(box.right, box.bottom)
        if not np.isfinite((left, top, right, bottom)).all():
            return None
        left, right = sorted((min(max(left, 0.0), 1.0), min(max(right, 0.0), 1.0)))
        top, bottom = sorted((min(max(top, 0.0), 1.0), min(max(bottom, 0.0), 1.0)))
        return replace(box, left=left, top=top, right=right, bottom=bottom) if left < right and top < bottom else None

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A place relative to what the model saw, as one relative to the picture."""
        left, top, right, bottom = self.area
        across, down = left + x * (right - left), top + y * (bottom - top)
        return across / self.picture.width, down / self.picture.height

    def over(self, drawn: PIL.Image.Image, opacity: float) -> PIL.Image.Image:
        """The picture under what was drawn of the part that the model saw."""
        import PIL.Image

        left, top, right, bottom = self.area
        across, down = drawn.width / (right - left), drawn.height / (bottom - top)
        layer = drawn.convert("RGBA").transform(
            self.picture.size, PIL.Image.Transform.AFFINE, (across, 0, -left * across, 0, down, -top * down)
        )
        layer.putalpha(layer.getchannel("A").point(lambda alpha: round(alpha * opacity)))
        return PIL.Image.alpha_composite(self.picture.convert("RGBA"), layer).convert("RGB")


def annotated(outputs: Mapping[str, Any], view: View, seen: Seen) -> PIL.Image.Image:
    """The picture with the boxes, the mask, the depth, the joints or the label of a prediction; for a model that makes
    a picture, that one. Raises FeatureValueError if the outputs have none."""
    made = _DRAWERS[view.kind.name](outputs, view, seen)
    if made is None:
        raise FeatureValueError(f"none of the outputs {', '.join(outputs)} can be drawn into a picture")
    return made


def _boxes(outputs: Mapping[str, Any], view: View, seen: Seen) -> PIL.Image.Image | None:
    boxes = boxes_of(outputs["confidence"], outputs["coordinates"], view.kind.labels, 0.0)
    return boxed(seen.picture, [placed for box in boxes if (placed := seen.placed(box)) is not None])


def _mask(outputs: Mapping[str, Any], view: View, seen: Seen) -> PIL.Image.Image | None:
    plane = _plane(outputs)
    if plane is None:
        return None
    mask, _ = segmented(None, classes_of(plane), view.kind.labels, view.kind.colors)
    return seen.over(mask, _OPACITY)


def _depth(outputs: Mapping[str, Any], view: View, seen: Seen) -> PIL.Image.Image | None:
    plane = _plane(outputs)
    return None if plane is None else seen.over(heat(plane.reshape(-1, *plane.shape[-2:])[0]), 1.0)


def _pose(outputs: Mapping[str, Any], view: View, seen: Seen) -> PIL.Image.Image | None:
    maps = {name: value for name, value in outputs.items() if isinstance(value, np.ndarray) and value.ndim >= 3}
    heatmaps = next((name for name in maps if "heatmap" in name.lower()), None)
    if heatmaps is None:
        return None
    offsets = next((maps[name] for name in maps if name.lower().replace("_", "").startswith("offset")), None)
    joints = joints_of(maps[heatmaps], offsets, int(view.kind.parameters.get("output_stride", _STRIDE)))
    placed = [seen.point(joint.x, joint.y) for joint in joints]
    return posed(seen.picture, [replace(j, x=x, y=y) for j, (x, y) in zip(joints, placed, strict=True)])


def _label(outputs: Mapping[str, Any], view: View, seen: Seen) -> PIL.Image.Image | None:
    scores = next((p for p in panels_of(view.kind, view.function, outputs) if isinstance(p, Scores)), None)
    if scores is None or not scores.rows:
        return None
    label, score = scores.rows[0]
    text = f"{scores.label or label} {score:.0%}" if 0 <= score <= 1 else f"{scores.label or label} {score:.4g}"
    return _titled(seen.picture, text)


def _titled(picture: PIL.Image.Image, text: str) -> PIL.Image.Image:
    """A copy of the picture with a line of text in its upper left corner."""
    import PIL.ImageDraw

    made = picture.copy()
    draw = PIL.ImageDraw.Draw(made)
    font = label_font(max(11, round(max(made.size) / 30)))
    _, _, width, height = draw.textbbox((0, 0), text, font)
    edge = max(2, height // 4)
    draw.rectangle((0, 0, width + 2 * edge, height + 2 * edge), fill="#f4c95d")
    draw.text((edge, edge), text, "#14161c", font)
    return made


def _made(outputs: Mapping[str, Any], view: View, seen: Seen) -> PIL.Image.Image | None:
    for value in outputs.values():
        if hasattr(value, "mode") and hasattr(value, "save"):
            return _colored(value)
    return next((made for v in outputs.values() if isinstance(v, np.ndarray) and (made := as_image(v))), None)


_DRAWERS = dict(zip(_DRAWN, (_boxes, _mask, _label, _depth, _pose, _made), strict=True))


def _plane(outputs: Mapping[str, Any]) -> np.ndarray | None:
    """The numbers of the first output that has some for each pixel."""
    for value in outputs.values():
        array: Any = np.asarray(value) / (255 if value.mode == "L" else 1) if hasattr(value, "mode") else value
        if is_plane(array):
            return np.asarray(array)
    return None


def _opened(file: Path | None, name: str) -> PIL.Image.Image | None:
    """The picture in a file, in colour also if the model sees it in gray."""
    import PIL.Image

    if file is None or not file.is_file():
        return None
    try:
        with open_regular(file) as opened, PIL.Image.open(opened) as picture:
            return _colored(picture)
    except Exception:  # an array, or what Pillow's readers raise for a damaged file
        return None


def _colored(picture: Any) -> PIL.Image.Image:
    """The picture in RGB; 16-bit gray, and floats from 0 to 1 or 255, are scaled to 8 bits."""
    import PIL.Image

    if picture.mode in ("F", "I", "I;16"):
        values = np.nan_to_num(np.asarray(picture, np.float64))
        largest = values.max() if values.size else 0.0
        scale = 255.0 if largest <= 1.5 else 1.0 if largest <= 255 else 1 / 256
        picture = PIL.Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
    made: PIL.Image.Image = picture.convert("RGB")
    return made
