"""Categories: strings, integers, sequences and dictionaries, as the tensors that they are in a graph."""

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
    """A string, as an array of one. Raises FeatureTypeError."""
    return np.array([_string(name, value)], object)


def encode_integer(name: str, value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """An integer, as an array of one; a float that is whole is one. Raises FeatureTypeError, FeatureValueError."""
    return np.array([_integer(name, value)], dtype)


def encode_dictionary(name: str, value: Any, kind: Dictionary) -> tuple[np.ndarray, np.ndarray]:
    """The values as float64 and the keys, in one order. Raises FeatureTypeError, FeatureValueError."""
    if not isinstance(value, Mapping):
        raise FeatureTypeError(f"'{name}': a {type(value).__name__} was given; it is a {kind}")
    convert = _string if kind.key == "string" else _integer
    keys = np.array([convert(name, key, "a key") for key in value], _ELEMENTS[kind.key])
    return np.array([_number(name, key, number) for key, number in value.items()], np.float64), keys


def encode_sequence(name: str, value: Any, kind: Sequence, short: bool = False) -> np.ndarray:
    """The elements. Raises FeatureTypeError, and FeatureShapeError where there are more or fewer than allowed."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise FeatureTypeError(f"'{name}': a {type(value).__name__} was given; it is a {kind}")
    convert = _string if kind.element == "string" else _integer
    elements = [convert(name, element, "an element") for element in value]
    if not short and len(elements) not in kind.length:
        raise FeatureShapeError(f"'{name}': {len(elements)} elements were given; allowed is {kind.length}")
    return np.array(elements, _ELEMENTS[kind.element])


def _string(name: str, value: Any, what: str = "") -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if not isinstance(value, str):
        raise FeatureTypeError(f"'{name}': a {type(value).__name__} was given{what and f' as {what}'}; it is a string")
    return str(value)


def _integer(name: str, value: Any, what: str = "") -> int:
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if not isinstance(value, int) and not (isinstance(value, float) and value.is_integer()):
        shown = f" {value}" if isinstance(value, float) else ""
        raise FeatureTypeError(
            f"'{name}': a {type(value).__name__}{shown} was given{what and f' as {what}'}; it is an integer"
        )
    number = int(value)
    if not _INT64.min <= number <= _INT64.max:
        raise FeatureValueError(f"'{name}': {number} does not fit int64")
    return number


def _number(name: str, key: Any, value: Any) -> float:
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise FeatureTypeError(f"'{name}': a {type(value).__name__} was given for {key!r}; values are numbers")
    return float(value)
