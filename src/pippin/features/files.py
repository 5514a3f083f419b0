"""Files: what a file of numbers, sound or a picture holds, as an array."""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import FeatureValueError
from ..format.description import MultiArray

_PCM = {1: np.uint8, 2: np.int16, 4: np.int32}
_INTEGERS = 10  # random ones are below, since they are often indices


def is_read(path: Path) -> bool:
    """Whether files of this suffix can be read."""
    return path.suffix.lower() in _READERS


def read_array(path: Path, name: str, key: str = "") -> np.ndarray:
    """The array in a file .npy, .npz (its array `key`, else `name`, else the only one), .json, .csv, .wav (samples from
    -1 to 1, channels averaged), .png or .jpg (1 x 3 x height x width, 0 to 255).

    Raises FeatureValueError, which names the feature, where it cannot be read.
    """
    try:
        return _READERS[path.suffix.lower()](path, key or name)
    except (OSError, ValueError, EOFError, wave.Error, KeyError) as error:
        raise FeatureValueError(f"'{name}': {path} cannot be read: {error}") from None


def fitted(array: np.ndarray, kind: MultiArray) -> np.ndarray:
    """With the axes of size 1 that a model declares, and for which a file of numbers has no place."""
    if kind.shape is not None and not kind.allows(array.shape) and array.size == math.prod(kind.shape):
        return array.reshape(kind.shape)
    return array


def filled(word: str, name: str, kind: MultiArray, seed: int = 0) -> np.ndarray:
    """`zeros`, `ones` or `random` in the default shape and the declared dtype. Random floats are normally distributed.

    Raises FeatureValueError where the model declares no shape.
    """
    if kind.shape is None:
        raise FeatureValueError(f"'{name}': '{word}' needs a shape, and the model declares none")
    if word != "random":
        return np.full(kind.shape, float(word == "ones")).astype(kind.dtype.numpy)
    generator = np.random.default_rng(seed)
    if kind.dtype.is_integer:
        return generator.integers(0, _INTEGERS, kind.shape).astype(kind.dtype.numpy)
    return generator.standard_normal(kind.shape).astype(kind.dtype.numpy)


def _npz(path: Path, key: str) -> np.ndarray:
    with np.load(path) as arrays:
        names = arrays.files
        if key not in names and len(names) != 1:
            raise ValueError(f"it has no array '{key}' (it has: {', '.join(names)})")
        return np.asarray(arrays[key if key in names else names[0]])


def _wav(path: Path, _key: str) -> np.ndarray:
    """Samples from -1 to 1; channels are averaged. PCM of 8, 16 and 32 bits."""
    with wave.open(str(path), "rb") as file:
        width, channels = file.getsampwidth(), file.getnchannels()
        frames = file.readframes(file.getnframes())
    if width not in _PCM:
        raise ValueError(f"samples of {8 * width} bits are not known (8, 16 and 32 are)")
    middle = 128.0 if width == 1 else 0.0  # 8-bit samples have no sign
    samples = (np.frombuffer(frames, _PCM[width]) - middle) / float(1 << (8 * width - 1))
    mono: np.ndarray = samples.reshape(-1, channels).mean(1).astype(np.float32)
    return mono


def _picture(path: Path, _key: str) -> np.ndarray:
    """(1, 3, height, width), values 0 to 255."""
    import PIL.Image

    with PIL.Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1)[None]


_READERS: dict[str, Callable[[Path, str], np.ndarray]] = {
    ".npy": lambda path, key: np.load(path),
    ".npz": _npz,
    ".json": lambda path, key: np.asarray(json.loads(path.read_text())),
    ".csv": lambda path, key: np.loadtxt(path, delimiter=",", ndmin=1),
    ".wav": _wav,
    ".png": _picture,
    ".jpg": _picture,
    ".jpeg": _picture,
}
