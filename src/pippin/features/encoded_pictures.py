"""Encoded pictures: opens a JPEG, a PNG and the like, from a file or from its bytes, and turns it upright."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from ..errors import FeatureFileNotFoundError, FeatureValueError
from ..support.regular_files import open_regular

if TYPE_CHECKING:
    import PIL.Image

Encoded: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview
"""The path of a picture, or what such a file holds."""

_ORIENTATION = 0x0112  # the tag of EXIF
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands of a HEIF file, which phones write. Source: ISO/IEC 23008-12."""


def is_encoded(value: Any) -> bool:
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview)


def open_picture(name: str, value: Encoded) -> PIL.Image.Image:
    """The decoded picture, rotated as its EXIF orientation says. Raises FeatureFileNotFoundError, and FeatureValueError
    for what cannot be read."""
    in_memory = isinstance(value, bytes | bytearray | memoryview)
    what = f"the picture of {len(value)} bytes" if isinstance(value, bytes | bytearray | memoryview) else _quoted(value)
    start = b""
    try:
        with io.BytesIO(value) if in_memory else open_regular(value) as file:  # type: ignore[arg-type]
            start = file.read(12)
            file.seek(0)
            return decode(file)
    except FileNotFoundError:
        raise FeatureFileNotFoundError(f"'{name}': {what}: no such file", value) from None
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        raise FeatureValueError(f"'{name}': {what} cannot be read as an image: {_reason(error, start)}") from None


def decode(file: BinaryIO) -> PIL.Image.Image:
    """The picture in an open file, decoded and upright. Raises what Pillow raises."""
    import PIL.Image
    import PIL.ImageOps

    with PIL.Image.open(file) as picture:
        picture.load()
        return PIL.ImageOps.exif_transpose(picture) if _is_turned(picture) else picture.copy()  # the file closes here


def _is_turned(picture: PIL.Image.Image) -> bool:
    try:
        return picture.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # damaged EXIF does not spoil the pixels
        return False


def _reason(error: Exception, start: bytes) -> str:
    import PIL

    if start[4:8] == b"ftyp" and start[8:12] in _HEIF:
        return "HEIC is not read; convert it to JPEG or PNG"
    if isinstance(error, PIL.UnidentifiedImageError):  # its text names the file object
        return "it is in no format that Pillow reads"
    return str(error) or type(error).__name__


def _quoted(path: str | os.PathLike[str]) -> str:
    return repr(os.fspath(path))
