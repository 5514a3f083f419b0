"""Categories: converts strings, integers, sequences and dictionaries to the tensors of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from ..errors import FeatureShapeError, FeatureTypeError, FeatureValueError
from ..format.description import Dictionary, Sequence

_INT64 = np.iinfo(np.int64)
_ELEMENTS = {"string": np.dtype(object), "int64": np.dtype(np.int64)}


def encode_string(name: str, value: Any) -> np.ndarray:
    """Convert a string to an array of one element. Raises FeatureTypeError."""
    return np.array([_string(name, value)], object)


def encode_integer(name: str, value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Convert an integer, or a whole float, to an array of one element. Raises FeatureTypeError, FeatureValueError."""
    return np.array([_integer(name, value)], dtype)


def encode_dictionary(name: str, value: Any, kind: Dictionary) -> tuple[np.ndarray, np.ndarray]:
    """Return the values as float64 and the keys, in the same order. Raises FeatureTypeError, FeatureValueError."""
    if not isinstance(value, Mapping):
        raise FeatureTypeError(f"'{name}' must be a {kind}, got {type(value).__name__}")
    convert = _string if kind.key == "string" else _integer
    keys = np.array([convert(name, key, "a key") for key in value], _ELEMENTS[kind.key])
    return np.array([_number(name, key, number) for key, number in value.items()], np.float64), keys


def encode_sequence(name: str, value: Any, kind: Sequence, short: bool = False) -> np.ndarray:
    """Convert the elements. Raises FeatureTypeError, and FeatureShapeError for a length that is not allowed."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise FeatureTypeError(f"'{name}' must be a {kind}, got {type(value).__name__}")
    convert = _string if kind.element == "string" else _integer
    elements = [convert(name, element, "an element") for element in value]
    if not short and len(elements) not in kind.length:
        raise FeatureShapeError(f"'{name}' must have {kind.length} elements, got {len(elements)}")
    return np.array(elements, _ELEMENTS[kind.element])


def _string(name: str, value: Any, what: str = "") -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if not isinstance(value, str):
        raise FeatureTypeError(f"'{name}'{what and f': {what}'} must be a string, got {type(value).__name__}")
    return str(value)


def _integer(name: str, value: Any, what: str = "") -> int:
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if not isinstance(value, int) and not (isinstance(value, float) and value.is_integer()):
        shown = f" {value}" if isinstance(value, float) else ""
        raise FeatureTypeError(f"'{name}'{what and f': {what}'} must be an integer, got {type(value).__name__}{shown}")
    number = int(value)
    if not _INT64.min <= number <= _INT64.max:
        raise FeatureValueError(f"'{name}': {number} does not fit int64")
    return number


def _number(name: str, key: Any, value: Any) -> float:
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise FeatureTypeError(f"'{name}': the value of {key!r} must be a number, got {type(value).__name__}")
    return float(value)
