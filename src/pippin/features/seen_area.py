"""Seen area: the part of a picture that a model sees, to carry its results back to the picture."""

from __future__ import annotations

from .image_input import Resize

Area = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the picture; outside of it where the model sees a border."""


def seen_area(picture: tuple[int, int], model: tuple[int, int], resize: Resize) -> Area:
    """What of a picture of (width, height) fills the input of a model of that size, as `encode_image` resizes it."""
    width, height = picture
    if picture == model or resize not in ("scale_fit", "center_crop"):
        return 0.0, 0.0, float(width), float(height)
    wider = width / height > model[0] / model[1]
    if resize == "center_crop":
        across, down = (height * model[0] / model[1], height) if wider else (width, width * model[1] / model[0])
        left, top = (width - across) / 2, (height - down) / 2
        return left, top, left + across, top + down
    # As ImageOps.pad rounds the picture and its place.
    inner = (model[0], round(height / width * model[0])) if wider else (round(width / height * model[1]), model[1])
    left, top = round((model[0] - inner[0]) / 2), round((model[1] - inner[1]) / 2)
    across, down = width / max(inner[0], 1), height / max(inner[1], 1)
    return -left * across, -top * down, (model[0] - left) * across, (model[1] - top) * down
