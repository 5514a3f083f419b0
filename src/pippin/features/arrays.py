"""Arrays: whatever holds numbers, as the contiguous array of one element type that an engine takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import FeatureShapeError, FeatureTypeError, FeatureValueError
from ..format.description import MultiArray
from ..types import DataType


def to_array(name: str, value: Any, declared: DataType, computed: np.dtype[Any]) -> np.ndarray:
    """`value` as a C-contiguous array of dtype `computed`; not copied where it is one already.

    Takes numpy arrays of any layout, anything with `__array__` or DLPack on the CPU, numbers, nested lists.
    Raises FeatureTypeError for what holds no numbers or would lose its fraction, FeatureValueError for a
    number that the element type cannot hold.
    """
    array = value if isinstance(value, np.ndarray) else _from_object(name, value)
    if array.dtype == computed:
        return np.ascontiguousarray(array).reshape(array.shape)
    kind = array.dtype.kind
    if kind not in "fiub" and not str(array.dtype).startswith(("bfloat", "float8")):
        raise FeatureTypeError(f"'{name}': an array of {array.dtype} was given; {declared.value} numbers are needed")
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
    except Exception as error:  # whatever the other library raises for a device or a type numpy cannot hold
        raise FeatureTypeError(
            f"'{name}': a {type(value).__name__} was given that numpy cannot read: {error}"
        ) from None


def _check_integers(name: str, array: np.ndarray, declared: DataType) -> None:
    if array.dtype.kind == "f":
        raise FeatureTypeError(
            f"'{name}': an array of {array.dtype} was given; {declared.value} is needed (round and cast it first)"
        )
    if array.dtype.kind == "b" or not array.size:
        return
    limits = np.iinfo(declared.numpy)
    low, high = int(array.min()), int(array.max())
    if low < limits.min or high > limits.max:
        wrong = low if low < limits.min else high
        raise FeatureValueError(f"'{name}': {wrong} does not fit {declared.value} ({limits.min} to {limits.max})")


def check_shape(name: str, shape: tuple[int, ...], kind: MultiArray) -> None:
    """Raises FeatureShapeError with what was given and what the model allows."""
    if kind.shape is not None and not kind.allows(shape):
        given = " x ".join(map(str, shape)) or "a scalar"
        raise FeatureShapeError(f"'{name}': the shape {given} was given; allowed is {kind.allowed}")
