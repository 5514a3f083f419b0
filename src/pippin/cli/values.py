"""Values: what is written on the command line, read as what the model's description declares."""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigurationError, FeatureTypeError, FeatureValueError
from ..features.image_input import ImageInput
from ..format.description import (
    Dictionary,
    Double,
    FeatureDescription,
    FunctionDescription,
    Image,
    Int64,
    MultiArray,
    Sequence,
    String,
)
from ..types import DataType

_PCM = {1: np.uint8, 2: np.int16, 4: np.int32}


def read_inputs(given: list[str], function: FunctionDescription, resize: Any = None) -> dict[str, Any]:
    """The features of `NAME=FILE_OR_VALUE` arguments; a file alone (.npz, .json) gives all that it holds by name.

    Raises ConfigurationError for an argument of another form, FeatureError for a value that cannot be read.
    """
    described = {feature.name: feature for feature in function.inputs}
    features: dict[str, Any] = {}
    for argument in given:
        name, separator, text = argument.partition("=")
        if separator:
            feature = described.get(name)
            # An unknown name goes to the model, which lists the names there are.
            features[name] = text if feature is None else _value(text, feature, resize)
        else:
            for name, value in _all_of(Path(argument)):
                features[name] = _keyed(value, described[name]) if name in described else value
    return features


def _all_of(path: Path) -> Iterator[tuple[str, Any]]:
    _existing(path, str(path))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            yield from dict(arrays).items()
    elif path.suffix == ".json":
        values = _json(path, str(path))
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path}: holds no object of inputs by name")
        yield from values.items()
    else:
        raise ConfigurationError(
            f"'{path}': an input is written NAME=FILE_OR_VALUE (a .npz or .json file may stand alone)"
        )


def _value(text: str, feature: FeatureDescription, resize: Any) -> Any:
    match feature.type:
        case Image() as image:
            made = _made(text, feature.name, MultiArray(DataType.UINT8, (image.height, image.width)))
            if made is not None:
                return made
            _existing(Path(text), feature.name)
            return Path(text) if resize is None else ImageInput(Path(text), resize)
        case MultiArray() as kind:
            return _array(text, feature.name, kind)
        case Int64() | Double():
            return _literal(text, feature.name)
        case String():
            return text
        case Dictionary() | Sequence():
            value = _json(Path(text), feature.name) if Path(text).suffix == ".json" else _literal(text, feature.name)
            return _keyed(value, feature)
    return _literal(text, feature.name)


def _keyed(value: Any, feature: FeatureDescription) -> Any:
    """A dictionary with the keys that the model wants: those of JSON are always strings."""
    if not isinstance(value, dict) or not isinstance(feature.type, Dictionary) or feature.type.key != "int64":
        return value
    try:
        return {int(key): number for key, number in value.items()}
    except ValueError as error:
        raise FeatureTypeError(f"'{feature.name}': its keys are integers: {error}") from None


def _array(text: str, name: str, kind: MultiArray) -> np.ndarray:
    made = _made(text, name, kind)
    if made is not None:
        return made
    file, _, key = text.partition(":") if ".npz:" in text else (text, "", "")
    path = Path(file)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        return np.asarray(_literal(text, name))
    _existing(path, name)
    try:
        array = reader(path, key or name)
    except (OSError, ValueError, EOFError, wave.Error, KeyError) as error:
        raise FeatureValueError(f"'{name}': {path} cannot be read: {error}") from None
    # A file of numbers has no place for the axes of size 1 that a model declares.
    if kind.shape is not None and not kind.allows(array.shape) and array.size == math.prod(kind.shape):
        return array.reshape(kind.shape)
    return array


def _made(text: str, name: str, kind: MultiArray) -> np.ndarray | None:
    """`zeros`, `ones` or `random[:SEED]` in the default shape."""
    word, _, seed = text.partition(":")
    if word not in ("zeros", "ones", "random") or Path(text).exists():
        return None
    if kind.shape is None:
        raise FeatureValueError(f"'{name}': '{word}' needs a shape, and the model declares none")
    if word != "random":
        return np.full(kind.shape, float(word == "ones")).astype(kind.dtype.numpy)
    if seed and not seed.isdigit():
        raise FeatureValueError(f"'{name}': '{seed}' is no seed; it must be a number")
    generator = np.random.default_rng(int(seed or 0))
    if kind.dtype.is_integer:
        return generator.integers(0, 10, kind.shape).astype(kind.dtype.numpy)
    return generator.standard_normal(kind.shape).astype(kind.dtype.numpy)


def _literal(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise FeatureTypeError(
            f"'{name}': '{text}' is no file that is known and no value; a value is a number, a list such as [1, 2.5]"
            ' or a dictionary such as {"a": 1}'
        ) from None


def _existing(path: Path, name: str) -> None:
    if not path.is_file():
        raise FeatureValueError(f"'{name}': there is no file {path}")


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FeatureValueError(f"'{name}': {path} cannot be read: {error}") from None


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
