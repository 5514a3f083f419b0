"""Images: converts images to tensors and back, in Core ML's four color layouts."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..errors import FeatureShapeError, FeatureTypeError, FeatureValueError
from ..format.description import ColorSpace, Image
from ..support.regular_files import open_regular
from .image_input import ImageInput, Resize

# Pillow's mode for each color space, and the channel order in the tensor.
_MODES = {
    ColorSpace.RGB: ("RGB", slice(None)),
    ColorSpace.BGR: ("RGB", slice(None, None, -1)),
    ColorSpace.GRAYSCALE: ("L", slice(None)),
    ColorSpace.GRAYSCALE_FLOAT16: ("F", slice(None)),
}


def encode_image(name: str, value: Any, kind: Image, dtype: np.dtype[Any]) -> np.ndarray:
    """Convert an image to a tensor (1, channels, height, width), values 0 to 255 (any for GRAYSCALE_FLOAT16).

    Raises FeatureTypeError for a value that is not an image, FeatureShapeError for a size that the model does not
    accept, FeatureValueError for a file that cannot be read.
    """
    mode, order = _MODES[kind.color]
    if type(value) is np.ndarray and _are_pixels(value, mode, kind):
        return _tensor(value, order, dtype)
    resize = None
    if isinstance(value, ImageInput):
        value, resize = value.source, value.resize
    picture = _picture(name, value, kind)
    if resize is not None and not kind.allows((picture.width, picture.height)):
        picture = _resized(picture, kind, resize)
    if not kind.allows((picture.width, picture.height)):
        raise FeatureShapeError(
            f"'{name}' must be {kind.allowed} pixels, got {picture.width} x {picture.height}"
            " (width x height; to resize, pass pippin.ImageInput(image, resize=...))"
        )
    return _tensor(np.asarray(picture), order, dtype)


def _are_pixels(array: np.ndarray, mode: str, kind: Image) -> bool:
    """Whether the array already holds the pixels that Pillow would return for it."""
    colors = mode == "RGB" and array.dtype == np.uint8 and array.shape[2:] == (3,)
    return colors and kind.allows((array.shape[1], array.shape[0]))


def _tensor(pixels: np.ndarray, order: slice, dtype: np.dtype[Any]) -> np.ndarray:
    """Transpose (height, width[, channels]) to (1, channels, height, width)."""
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[order]
    return np.ascontiguousarray(channels[None]).astype(dtype)  # converting while transposing would be slower


def _picture(name: str, value: Any, kind: Image) -> Any:
    """Return the value as a Pillow image in the mode of the color space."""
    import PIL.Image

    mode = _MODES[kind.color][0]
    if isinstance(value, str | os.PathLike):
        try:
            with open_regular(value) as file, PIL.Image.open(file) as opened:
                return _converted(opened, mode).copy()  # the file closes here
        except Exception as error:  # Pillow's readers raise anything for a damaged file
            raise FeatureValueError(f"'{name}': {os.fspath(value)!r} cannot be read as an image: {error}") from None
    if not isinstance(value, PIL.Image.Image):
        value = _from_pixels(name, value, kind)
    return _converted(value, mode)


def _from_pixels(name: str, value: Any, kind: Image) -> Any:
    import PIL.Image

    pixels = np.asarray(value)
    floats = kind.color is ColorSpace.GRAYSCALE_FLOAT16
    if pixels.dtype == object or not (pixels.dtype == np.uint8 or (floats and pixels.dtype.kind == "f")):
        wanted = "float or uint8" if floats else "uint8"
        raise FeatureTypeError(
            f"'{name}' must be an image (a Pillow image, a file path, or a {wanted} array),"
            f" got {type(value).__name__} of {pixels.dtype}"
        )
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))) or not pixels.size:
        raise FeatureShapeError(
            f"'{name}': an image must have the shape (height, width) or (height, width, 3), got {pixels.shape}"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "f":
        if pixels.ndim != 2:
            raise FeatureShapeError(f"'{name}': a float image must have the shape (height, width), got {pixels.shape}")
        pixels = pixels.astype(np.float32)
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))


def _converted(picture: Any, mode: str) -> Any:
    if picture.mode in ("I;16", "I") and mode in ("L", "RGB"):
        # Pillow would clip 16-bit gray at 255 instead of scaling it.
        picture = picture.point(lambda v: v / 256).convert("L")
    return picture if picture.mode == mode else picture.convert(mode)


def _resized(picture: Any, kind: Image, resize: Resize) -> Any:
    from PIL import ImageOps

    size = (kind.width, kind.height)
    if resize == "scale_fill":
        return picture.resize(size)
    return ImageOps.fit(picture, size) if resize == "center_crop" else ImageOps.pad(picture, size)


def decode_image(name: str, array: np.ndarray, color: ColorSpace) -> Any:
    """Convert a tensor ([1,] channels, height, width) to a Pillow image: RGB, L, or F for GRAYSCALE_FLOAT16.

    8-bit values are rounded and clamped to 0 to 255; NaN becomes 0.
    """
    import PIL.Image

    mode, order = _MODES[color]
    channels = array.reshape(array.shape[-3:])
    if mode == "F":  # of a pixel in 16 bits
        with np.errstate(over="ignore"):
            return PIL.Image.fromarray(channels[0].astype(np.float16).astype(np.float32))
    if channels.dtype != np.uint8:
        channels = np.clip(np.nan_to_num(np.rint(channels)), 0, 255).astype(np.uint8)
    pixels = channels[0] if mode == "L" else channels[order].transpose(1, 2, 0)
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))
