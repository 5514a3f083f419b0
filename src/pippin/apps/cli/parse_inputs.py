"""Inputs: parses `NAME=FILE_OR_VALUE` arguments into the features that a model declares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigurationError, FeatureTypeError, FeatureValueError
from ...features.files import filled, fitted, is_read, read_array
from ...features.image_input import Resize
from ...format.description import (
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
from ...support.regular_files import exists, is_regular, open_regular, read_regular
from ...types import DataType
from .image_arguments import read_image, resized_array, sized_image
from .standard_input import standard_input


def read_inputs(
    given: list[str],
    function: FunctionDescription,
    resize: Resize | None = None,
    notice: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Parse `NAME=FILE_OR_VALUE` arguments. A .npz or .json file without `NAME=` provides several inputs by name.
    `notice` is told of each image that is resized.

    Raises ConfigurationError for a malformed argument, FeatureError for a value that cannot be read.
    """
    described = {feature.name: feature for feature in function.inputs}
    features: dict[str, Any] = {}
    for argument in given:
        name, separator, text = argument.partition("=")
        if separator:
            feature = described.get(name)
            # The model rejects an unknown name and lists the valid ones.
            features[name] = text if feature is None else read_value(text, feature, resize, notice)
        else:
            for name, value in _all_of(Path(argument).expanduser()):
                features[name] = _named(value, described[name], resize, notice) if name in described else value
    return features


def _all_of(path: Path) -> Iterator[tuple[str, Any]]:
    _existing(path, str(path))
    if path.suffix == ".npz":
        yield from _arrays(path).items()
    elif path.suffix == ".json":
        values = _json(path, str(path))
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path} must hold a JSON object of input name to value")
        yield from values.items()
    else:
        raise ConfigurationError(
            f"'{path}' must be NAME=FILE_OR_VALUE, or a .npz or .json file that holds inputs by name"
        )


def _named(
    value: Any, feature: FeatureDescription, resize: Resize | None, notice: Callable[[str], object] | None
) -> Any:
    """A value from a file of several inputs."""
    if isinstance(feature.type, Image) and resize is not None and isinstance(value, np.ndarray):
        return sized_image(value, feature.name, feature.type, resize, notice)
    return _keyed(value, feature)


def read_value(
    text: str,
    feature: FeatureDescription,
    resize: Resize | None = None,
    notice: Callable[[str], object] | None = None,
) -> Any:
    """The value of one input, read from a file or parsed from text; "-" is standard input."""
    if text == "-" and not isinstance(feature.type, String):
        text = str(standard_input(feature.name))
    match feature.type:
        case Image() as image:
            generated = _generated(text, feature.name, MultiArray(DataType.UINT8, (image.height, image.width)))
            if generated is not None:
                return generated
            path = Path(text).expanduser()
            _existing(path, feature.name)
            return read_image(path, feature.name, image, resize, notice)
        case MultiArray() as kind:
            return _array(text, feature.name, kind, resize)
        case Int64() | Double():
            return _literal(text, feature.name)
        case String():
            return text
        case Dictionary() | Sequence():
            value = _json(Path(text), feature.name) if Path(text).suffix == ".json" else _literal(text, feature.name)
            return _keyed(value, feature)
    return _literal(text, feature.name)


def _keyed(value: Any, feature: FeatureDescription) -> Any:
    """Convert the keys of a dictionary to integers if the model expects them: JSON keys are always strings."""
    if not isinstance(value, dict) or not isinstance(feature.type, Dictionary) or feature.type.key != "int64":
        return value
    try:
        return {int(key): number for key, number in value.items()}
    except ValueError as error:
        raise FeatureTypeError(f"'{feature.name}' must have integer keys: {error}") from None


def _array(text: str, name: str, kind: MultiArray, resize: Resize | None = None) -> np.ndarray:
    generated = _generated(text, name, kind)
    if generated is not None:
        return generated
    file, _, key = text.partition(":") if ".npz:" in text else (text, "", "")
    path = Path(file).expanduser()
    if not is_read(path):
        return np.asarray(_literal(text, name))
    _existing(path, name)
    resized = None if resize is None else resized_array(path, name, kind.shape or (), resize)
    return fitted(read_array(path, name, key) if resized is None else resized, kind)


def _generated(text: str, name: str, kind: MultiArray) -> np.ndarray | None:
    """Generate `zeros`, `ones` or `random[:SEED]` in the default shape; None for other text."""
    word, _, seed = text.partition(":")
    if word not in ("zeros", "ones", "random") or Path(text).exists():
        return None
    if seed and not seed.isdigit():
        raise FeatureValueError(f"'{name}': the seed must be a non-negative integer, got '{seed}'")
    return filled(word, name, kind, int(seed or 0))


def _literal(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FeatureTypeError(
            f"'{name}': '{text}' is neither a known file type nor a value; a value is a number, a list such as [1, 2.5]"
            ' or a dictionary such as {"a": 1}'
        ) from None


def _existing(path: Path, name: str) -> None:
    if not is_regular(path):
        what = "not a regular file" if exists(path) else "file not found"
        raise FeatureValueError(f"'{name}': {what}: {path}")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with open_regular(path) as file, np.load(file) as arrays:
            return dict(arrays)
    except Exception as error:  # what numpy raises for a damaged file has no common base
        raise FeatureValueError(f"{path} cannot be read: {error}") from None


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError) as error:
        raise FeatureValueError(f"'{name}': {path} cannot be read: {error}") from None
