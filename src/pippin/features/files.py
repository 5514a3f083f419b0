"""Files: reads arrays, sound and images from files as numpy arrays."""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FeatureFileNotFoundError, FeatureValueError
from ..format.description import MultiArray
from ..support.regular_files import open_regular
from .encoded_pictures import decode

_PCM = {1: np.uint8, 2: np.int16, 4: np.int32}
_INTEGERS = 10  # bound of random integers: they are often indices


def is_read(path: Path) -> bool:
    """Whether files of this suffix can be read."""
    return path.suffix.lower() in _READERS


def read_array(path: Path, name: str, key: str = "") -> np.ndarray:
    """Read the array in a .npy, .npz (array `key`, else `name`, else its only one), .json, .csv, .wav (samples from
    -1 to 1, channels averaged), .png or .jpg file (1 x 3 x height x width, 0 to 255).

    Raises FeatureValueError with the name of the feature if the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            return _READERS[path.suffix.lower()](file, key or name)
    except FileNotFoundError:
        raise FeatureFileNotFoundError(f"'{name}': file not found: {path}", path) from None
    except Exception as error:  # what the readers raise for a damaged file has no common base
        raise FeatureValueError(f"'{name}': {path} cannot be read: {error}") from None


def fitted(array: np.ndarray, kind: MultiArray) -> np.ndarray:
    """Reshape to the declared shape if the size matches: some file formats cannot express axes of size 1."""
    if kind.shape is not None and not kind.allows(array.shape) and array.size == math.prod(kind.shape):
        return array.reshape(kind.shape)
    return array


def filled(word: str, name: str, kind: MultiArray, seed: int = 0) -> np.ndarray:
    """`zeros`, `ones` or `random` in the default shape and the declared dtype. Random floats are normally distributed.

    Raises FeatureValueError if the model declares no shape.
    """
    if kind.shape is None:
        raise FeatureValueError(f"'{name}': '{word}' needs a shape, but the model declares none")
    if word != "random":
        return np.full(kind.shape, float(word == "ones")).astype(kind.dtype.numpy)
    generator = np.random.default_rng(seed)
    if kind.dtype.is_integer:
        return generator.integers(0, _INTEGERS, kind.shape).astype(kind.dtype.numpy)
    return generator.standard_normal(kind.shape).astype(kind.dtype.numpy)


def _npz(file: BinaryIO, key: str) -> np.ndarray:
    with np.load(file) as arrays:
        names = arrays.files
        if key not in names and len(names) != 1:
            raise ValueError(f"no array '{key}' in the file (it has: {', '.join(names)})")
        return np.asarray(arrays[key if key in names else names[0]])


def _wav(opened: BinaryIO, _key: str) -> np.ndarray:
    """Samples from -1 to 1; channels are averaged. PCM of 8, 16 and 32 bits."""
    with wave.open(opened, "rb") as file:
        width, channels = file.getsampwidth(), file.getnchannels()
        frames = file.readframes(file.getnframes())
    if width not in _PCM:
        raise ValueError(f"{8 * width}-bit samples are not supported (8, 16 and 32 are)")
    middle = 128.0 if width == 1 else 0.0  # 8-bit samples are unsigned
    samples = (np.frombuffer(frames, _PCM[width]) - middle) / float(1 << (8 * width - 1))
    mono: np.ndarray = samples.reshape(-1, channels).mean(1).astype(np.float32)
    return mono


def _picture(file: BinaryIO, _key: str) -> np.ndarray:
    """(1, 3, height, width), values 0 to 255."""
    return np.asarray(decode(file).convert("RGB"), np.float32).transpose(2, 0, 1)[None]


_READERS: dict[str, Callable[[BinaryIO, str], np.ndarray]] = {
    ".npy": lambda file, key: np.load(file),
    ".npz": _npz,
    ".json": lambda file, key: np.asarray(json.loads(file.read())),
    ".csv": lambda file, key: np.loadtxt(file, delimiter=",", ndmin=1),
    ".wav": _wav,
    ".png": _picture,
    ".jpg": _picture,
    ".jpeg": _picture,
}
