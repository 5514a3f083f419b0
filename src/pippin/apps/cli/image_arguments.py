"""Image arguments: reads the picture of an image input, checks its size, and says how it is resized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FeatureShapeError
from ...features.files import is_read, read_array
from ...features.image_input import ImageInput, Resize
from ...features.images import nearest_size, picture_of
from ...format.description import Image

_PICTURES = (".png", ".jpg", ".jpeg")


def read_image(
    path: Path, name: str, kind: Image, resize: Resize | None, notice: Callable[[str], object] | None = None
) -> ImageInput:
    """Read a picture, or an array of pixels, as an input. A picture is stretched by default; an array is resized only
    if `resize` says so. Raises FeatureError for a file that cannot be read, and for a size that is not accepted."""
    if is_read(path) and path.suffix.lower() not in _PICTURES:
        return sized_image(_pixels(read_array(path, name)), name, kind, resize or "error", notice)
    return sized_image(path, name, kind, resize or "scale_fill", notice)


def sized_image(
    source: Any, name: str, kind: Image, resize: Resize, notice: Callable[[str], object] | None = None
) -> ImageInput:
    picture = picture_of(name, source, kind)
    size = f"{picture.width} x {picture.height}"
    if not kind.allows(picture.size):
        if resize == "error":
            raise FeatureShapeError(
                f"'{name}' must be {kind.allowed} pixels, got {size} (width x height); --resize scale_fill stretches"
                " it, scale_fit adds black borders, center_crop cuts the sides off"
            )
        if notice is not None:
            width, height = nearest_size(kind, picture.size)
            notice(f"{name}: resized {size} to {width} x {height}")
    return ImageInput(picture, resize)


def resized_array(path: Path, name: str, shape: tuple[int, ...], resize: Resize) -> np.ndarray | None:
    """The pixels of a picture for an array input shaped like one, [1,] 3 x height x width, from 0 to 255; None if the
    file is not a picture or the input does not have such a shape."""
    from ...features.images import encode_image
    from ...format.description import ColorSpace

    if path.suffix.lower() not in _PICTURES or len(shape) not in (3, 4) or shape[-3] != 3:
        return None
    kind = Image(shape[-1], shape[-2], ColorSpace.RGB)
    return encode_image(name, ImageInput(path, resize), kind, np.dtype(np.float32))


def _pixels(array: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 to 255 as pixels: text files do not say how wide their integers are."""
    fits = array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255
    return array.astype(np.uint8) if fits else array
