"""Value parsing: converts typed text and dropped files to input values of a prediction."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ....errors import FeatureShapeError, FeatureTypeError, FeatureValueError
from ....features.files import fitted, is_read, read_array
from ....features.image_input import ImageInput, Resize
from ....features.sound import is_sound, read_sound, resampled
from ....format.description import Double, FeatureDescription, Image, Int64, MultiArray
from .kinds import channels_of

if TYPE_CHECKING:
    import PIL.Image

Range = Literal["0 to 1", "-1 to 1", "0 to 255", "ImageNet"]
# Mean and standard deviation of ImageNet pixels used to train torchvision's models.
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def opened_image(data: bytes, name: str, file_name: str = "the file") -> PIL.Image.Image:
    """Read a dropped picture file, rotated by its EXIF orientation. Raises FeatureValueError."""
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            return PIL.ImageOps.exif_transpose(picture).convert("RGB")
    except PIL.UnidentifiedImageError:
        raise FeatureValueError(
            f"'{name}': cannot read the picture: {file_name} is in no format that is read"
        ) from None
    except Exception as error:  # Pillow's readers raise many types
        raise FeatureValueError(f"'{name}': cannot read the picture: {file_name}: {error}") from None


def array_in(data: bytes, file_name: str, feature: FeatureDescription) -> np.ndarray:
    """Read the array from a dropped .npy, .npz, .json, .csv or .wav file. Raises FeatureValueError."""
    suffix = Path(file_name).suffix.lower()
    if not is_read(Path(file_name)):
        raise FeatureValueError(f"'{feature.name}': {file_name} must be a .npy, .npz, .json, .csv or .wav file")
    with tempfile.TemporaryDirectory(prefix="pippin") as folder:
        path = Path(folder) / f"dropped{suffix}"
        path.write_bytes(data)
        try:
            array = read_array(path, feature.name)
        except FeatureValueError as error:
            raise FeatureValueError(str(error).replace(str(path), file_name)) from None
    return fitted(array, feature.type) if isinstance(feature.type, MultiArray) else array


def sound_in(
    data: bytes, file_name: str, feature: FeatureDescription, rate: int | None
) -> tuple[np.ndarray, int | None, str]:
    """Samples of a dropped sound at the model's `rate`, their rate, and what was done. Raises FeatureValueError.

    An array file has no rate, and a model that states none is given the samples as they are: the note says so.
    """
    if not is_sound(file_name):
        note = "the file states no sample rate" + (f"; the model expects {hertz(rate)}" if rate else "")
        return array_in(data, file_name, feature), None, note
    sound = read_sound(io.BytesIO(data), file_name, feature.name)
    if rate is None:
        return sound.samples, sound.rate, f"{hertz(sound.rate)}, as it is: the model states no sample rate"
    if rate == sound.rate:
        return sound.samples, rate, hertz(rate)
    return resampled(sound.samples, sound.rate, rate), rate, f"{hertz(sound.rate)}, resampled to {hertz(rate)}"


def hertz(rate: int) -> str:
    """`44100` becomes `44.1 kHz`."""
    return f"{rate / 1000:.6g} kHz" if rate >= 1000 else f"{rate} Hz"


def written_array(text: str, feature: FeatureDescription) -> np.ndarray:
    """Parse typed numbers: JSON lists, or numbers separated by spaces or commas. Raises FeatureValueError."""
    try:
        array = np.asarray(json.loads(text))
    except ValueError:
        try:
            array = np.array([float(word) for word in text.replace(",", " ").split()])
        except ValueError:
            raise FeatureValueError(f"'{feature.name}': '{text[:40]}' is not a list of numbers") from None
    if array.dtype.kind not in "ifb":
        raise FeatureValueError(f"'{feature.name}': lists must hold only numbers and have equal lengths")
    return fitted(array, feature.type) if isinstance(feature.type, MultiArray) else array


def image_value(picture: PIL.Image.Image, feature: FeatureDescription, resize: Resize, scale: Range) -> Any:
    """Convert a picture to the value of an image input or of an array shaped like an image."""
    if isinstance(feature.type, Image):
        return ImageInput(picture, resize)
    shape = feature.type.shape if isinstance(feature.type, MultiArray) else None
    channels = channels_of(shape or ())
    if shape is None or not channels:
        raise FeatureShapeError(f"'{feature.name}' ({feature.type}) does not accept a picture")
    sized = resized(picture, (shape[-1], shape[-2]), resize)
    values = np.asarray(sized.convert("L" if channels == 1 else "RGB"), np.float64) / 255
    planes = values[None] if channels == 1 else values.transpose(2, 0, 1)
    match scale:
        case "-1 to 1":
            planes = planes * 2 - 1
        case "0 to 255":
            planes = planes * 255
        case "ImageNet" if channels == 3:
            planes = (planes - _MEAN[:, None, None]) / _DEVIATION[:, None, None]
    return planes.reshape(shape).astype(np.float32)


def resized(picture: PIL.Image.Image, size: tuple[int, int], how: Resize) -> PIL.Image.Image:
    """Resize a picture as `ImageInput` does."""
    import PIL.Image
    import PIL.ImageOps

    bilinear = PIL.Image.Resampling.BILINEAR
    if how == "scale_fit":
        return PIL.ImageOps.pad(picture, size, bilinear, color=0)
    if how == "center_crop":
        return PIL.ImageOps.fit(picture, size, bilinear)
    return picture.resize(size, bilinear)


def seen_by_model(picture: PIL.Image.Image, feature: FeatureDescription, resize: Resize) -> PIL.Image.Image:
    """The picture as the model sees it, to draw results into. With "scale_fill" the original is returned: relative
    coordinates are the same in both."""
    if resize == "scale_fill":
        return picture
    match feature.type:
        case Image() as image:
            fits = image.allows(picture.size)
            return picture if fits else resized(picture, (image.width, image.height), resize)
        case MultiArray(shape=shape) if shape is not None:
            return resized(picture, (shape[-1], shape[-2]), resize)
    return picture


def number_value(text: object, feature: FeatureDescription) -> float | int | None:
    """Parse a typed number; None if empty. Raises FeatureValueError."""
    if text is None or text == "":
        return None
    try:
        number = float(str(text))
    except ValueError:
        raise FeatureValueError(f"'{feature.name}': '{text}' is not a number") from None
    if not isinstance(feature.type, Int64):
        return number
    if number != int(number):
        raise FeatureValueError(f"'{feature.name}' must be an integer, got {text}")
    return int(number)


def dictionary_value(text: str, feature: FeatureDescription, words: bool) -> dict[Any, float]:
    """Parse a JSON object {key: number}, or count the words of a text if `words`. Raises FeatureValueError."""
    if words:
        return {word: float(count) for word, count in Counter(text.lower().split()).items()}
    try:
        given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError
        key = int if getattr(feature.type, "key", "") == "int64" else str
        return {key(name): float(number) for name, number in given.items()}
    except (ValueError, TypeError):
        raise FeatureValueError(f"'{feature.name}' must be a JSON object such as {{\"key\": 1.5}}") from None


def sequence_value(text: str, feature: FeatureDescription) -> list[Any]:
    """Parse comma-separated values. Raises FeatureValueError."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if getattr(feature.type, "element", "") != "int64":
        return words
    try:
        return [int(word) for word in words]
    except ValueError:
        raise FeatureValueError(f"'{feature.name}' must be comma-separated integers") from None


def table_rows(data: bytes, file_name: str, features: tuple[FeatureDescription, ...]) -> list[dict[str, str]]:
    """Read the rows of a CSV file by its header; without a header, the columns are the inputs in order.

    Raises FeatureValueError if the file is not a CSV table or a column is missing.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FeatureValueError(f"{file_name} is not a CSV file: {error}") from None
    if not rows:
        raise FeatureValueError(f"{file_name} is empty")
    names = [feature.name for feature in features]
    wanted = [feature.name for feature in features if not feature.optional]
    header = [word.strip() for word in rows[0]]
    if set(header) & set(names):
        missing = [name for name in wanted if name not in header]
        if missing:
            raise FeatureValueError(
                f"{file_name}: column '{missing[0]}' is missing; the columns are {', '.join(header)}"
            )
        rows = rows[1:]
    elif len(header) == len(names):
        header = names
    else:
        raise FeatureValueError(
            f"{file_name}: none of the {len(header)} columns is an input; the inputs are {', '.join(names)}"
        )
    return [dict(zip(header, (word.strip() for word in row), strict=False)) for row in rows]


def row_features(row: Mapping[str, str], features: tuple[FeatureDescription, ...]) -> dict[str, Any]:
    """Convert one table row to the inputs of a prediction. Raises FeatureValueError."""
    found: dict[str, Any] = {}
    for feature in features:
        text = row.get(feature.name, "")
        if text == "" and feature.optional:
            continue
        match feature.type:
            case Int64() | Double():
                number = number_value(text, feature)
                if number is None:
                    raise FeatureValueError(f"'{feature.name}' is empty; enter a number")
                found[feature.name] = number
            case MultiArray():
                found[feature.name] = written_array(text, feature)
            case _:
                found[feature.name] = text
    return found


def windows_of(samples: np.ndarray, feature: FeatureDescription) -> list[np.ndarray]:
    """Split a sound into windows of the input's length, the last one padded with silence; one window if the input
    accepts the whole length. Raises FeatureTypeError if the feature is not an array with a shape."""
    if not isinstance(feature.type, MultiArray) or feature.type.shape is None:
        raise FeatureTypeError(
            f"'{feature.name}' ({feature.type}) does not accept a sound; it must be an array with a shape"
        )
    shape, row = feature.type.shape, samples.reshape(-1)
    axis = max(range(len(shape)), key=lambda i: shape[i])
    whole = (*shape[:axis], row.size, *shape[axis + 1 :])
    if row.size and feature.type.allows(whole):
        return [row.reshape(whole).astype(np.float32)]
    size = shape[axis]
    padded = np.zeros(max(1, -(-row.size // size)) * size, np.float32)
    padded[: row.size] = row
    return [piece.reshape(shape) for piece in padded.reshape(-1, size)]
