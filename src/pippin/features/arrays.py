"""Arrays: converts numeric values to the contiguous, typed arrays that engines take."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import FeatureShapeError, FeatureTypeError, FeatureValueError
from ..format.description import MultiArray
from ..types import DataType


def to_array(name: str, value: Any, declared: DataType, computed: np.dtype[Any]) -> np.ndarray:
    """Return `value` as a C-contiguous array of dtype `computed`, without a copy if it already is one.

    Accepts numpy arrays of any layout, CPU objects with `__array__` or DLPack, numbers and nested lists.
    Raises FeatureTypeError for non-numeric values and for floats where integers are declared, FeatureValueError for
    numbers out of range.
    """
    array = value if isinstance(value, np.ndarray) else _from_object(name, value)
    if array.dtype == computed:
        return np.ascontiguousarray(array).reshape(array.shape)
    kind = array.dtype.kind
    if kind not in "fiub" and not str(array.dtype).startswith(("bfloat", "float8")):
        raise FeatureTypeError(f"'{name}' must hold {declared.value} numbers, got an array of {array.dtype}")
    if computed.kind in "iu":
        _check_integers(name, array, declared)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(computed, order="C")
    if kind == "f" and array.dtype.itemsize > 4 and not np.array_equal(np.isinf(array), np.isinf(converted)):
        raise FeatureValueError(f"'{name}': {np.abs(array).max():.4g} is too large for {declared.value}")
    return converted


def _from_object(name: str, value: Any) -> np.ndarray:
    detached = value.detach() if callable(getattr(value, "detach", None)) else value
    try:
        if hasattr(detached, "__dlpack__"):
            return np.from_dlpack(detached)
        return np.asarray(detached)
    except Exception as error:  # other libraries raise anything for devices and types that numpy cannot hold
        raise FeatureTypeError(f"'{name}': numpy cannot read {type(value).__name__}: {error}") from None


def _check_integers(name: str, array: np.ndarray, declared: DataType) -> None:
    if array.dtype.kind == "f":
        raise FeatureTypeError(
            f"'{name}' must hold {declared.value} numbers, got an array of {array.dtype} (round and cast it first)"
        )
    if array.dtype.kind == "b" or not array.size:
        return
    limits = np.iinfo(declared.numpy)
    low, high = int(array.min()), int(array.max())
    if low < limits.min or high > limits.max:
        wrong = low if low < limits.min else high
        raise FeatureValueError(f"'{name}': {wrong} does not fit {declared.value} ({limits.min} to {limits.max})")


def check_shape(name: str, shape: tuple[int, ...], kind: MultiArray) -> None:
    """Raise FeatureShapeError, with the actual and the allowed shape, if the model does not allow it."""
    if kind.shape is not None and not kind.allows(shape):
        actual = " x ".join(map(str, shape)) or "a scalar"
        raise FeatureShapeError(f"'{name}' must have the shape {kind.allowed}, got {actual}")
