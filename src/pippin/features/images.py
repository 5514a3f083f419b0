"""Images: converts images to tensors and back, in Core ML's four color layouts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FeatureShapeError, FeatureTypeError
from ..format.description import ColorSpace, FunctionDescription, Image, SizeRange
from .encoded_pictures import is_encoded, open_picture
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

    A file (its path or its bytes) is turned upright, as its EXIF data say. A file or a Pillow image of a size that the
    model does not accept is stretched to the nearest one, unless an ImageInput says otherwise. Raises FeatureTypeError
    for a value that is not an image, FeatureShapeError for an array of another size, FeatureValueError for a file that
    cannot be read, FeatureFileNotFoundError.
    """
    mode, order = _MODES[kind.color]
    if type(value) is np.ndarray and _are_pixels(value, mode, kind):
        return _tensor(value, order, dtype)
    resize: Resize | None = None
    if isinstance(value, ImageInput):
        value, resize = value.source, value.resize
    picture = picture_of(name, value, kind)
    if not kind.allows(picture.size):
        resize = resize or ("scale_fill" if is_picture(value) else "error")
        if resize == "error" or not all(picture.size):
            raise FeatureShapeError(
                f"'{name}' must be {kind.allowed} pixels, got {picture.width} x {picture.height} (width x height;"
                ' resize it, or let pippin.ImageInput(image, resize="scale_fill") do so)'
            )
        picture = _resized(name, picture, nearest_size(kind, picture.size), resize)
    return _tensor(np.asarray(picture), order, dtype)


def with_resize(features: Mapping[str, Any], function: FunctionDescription, resize: Resize) -> dict[str, Any]:
    """The features, with this way to resize for each image that does not have its own."""
    images = [feature.name for feature in function.inputs if isinstance(feature.type, Image)]
    return {
        name: ImageInput(value, resize) if name in images and not isinstance(value, ImageInput) else value
        for name, value in features.items()
    }


def is_picture(value: Any) -> bool:
    """Whether a value is an image file, its bytes or a Pillow image, which may have any size; an array is exact."""
    import PIL.Image

    return is_encoded(value) or isinstance(value, PIL.Image.Image)


def nearest_size(kind: Image, size: tuple[int, int]) -> tuple[int, int]:
    """The allowed (width, height) that is nearest to `size`. In a range of sizes, it keeps the proportions if it can;
    among enumerated sizes, a change of the proportions counts more than a change of the area."""
    if not kind.sizes:
        return kind.width, kind.height
    width, height = size
    ranges = [allowed for allowed in kind.sizes if isinstance(allowed, SizeRange)]
    if ranges:
        smallest = max(allowed.lower / side for allowed, side in zip(ranges, size, strict=True))
        largest = min((allowed.upper or math.inf) / side for allowed, side in zip(ranges, size, strict=True))
        factor = min(max(1.0, smallest), largest) if smallest <= largest else 1.0
        sides = (round(width * factor), round(height * factor))
        across, down = (
            max(1, allowed.lower, min(side, allowed.upper or side)) for allowed, side in zip(ranges, sides, strict=True)
        )
        return across, down
    pairs = [(kind.width, kind.height), *(allowed for allowed in kind.sizes if isinstance(allowed, tuple))]

    def distance(to: tuple[int, int]) -> float:
        across, down = math.log(max(to[0], 1) / width), math.log(max(to[1], 1) / height)
        return (across + down) ** 2 + 4 * (across - down) ** 2

    return min(pairs, key=distance)


def _are_pixels(array: np.ndarray, mode: str, kind: Image) -> bool:
    """Whether the array already holds the pixels that Pillow would return for it."""
    colors = mode == "RGB" and array.dtype == np.uint8 and array.shape[2:] == (3,)
    return colors and kind.allows((array.shape[1], array.shape[0]))


def _tensor(pixels: np.ndarray, order: slice, dtype: np.dtype[Any]) -> np.ndarray:
    """Transpose (height, width[, channels]) to (1, channels, height, width)."""
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[order]
    return np.ascontiguousarray(channels[None]).astype(dtype)  # converting while transposing would be slower


def picture_of(name: str, value: Any, kind: Image) -> Any:
    """Return the value as a Pillow image in the mode of the color space."""
    import PIL.Image

    mode = _MODES[kind.color][0]
    if is_encoded(value):
        return _converted(open_picture(name, value), mode)
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
            f"'{name}' must be an image (a Pillow image, a file path, the bytes of a file, or a {wanted} array),"
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


def _resized(name: str, picture: Any, size: tuple[int, int], resize: Resize) -> Any:
    from PIL import ImageOps

    try:
        if resize == "scale_fill":
            return picture.resize(size)
        return ImageOps.fit(picture, size) if resize == "center_crop" else ImageOps.pad(picture, size)
    except (MemoryError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise FeatureShapeError(
            f"'{name}': the picture of {picture.width} x {picture.height} pixels cannot be resized to the"
            f" {size[0]} x {size[1]} that the model declares: {error or type(error).__name__}"
        ) from None


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
