"""Weight arrays: large constants stay where they are, mostly in the mapped file of the package; a graph refers to them.

A reference is an ONNX tensor with external data whose location is a number of this process. It may have another float
type than its array (`as_float32`): the elements are converted when they are written out or read, one tensor at a time.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_PREFIX = "pippin:"
_SMALL = 1024  # bytes; smaller tensors stay in the message, since readers need shapes and axes
_FEW = 1 << 20  # bytes; a model with fewer is one message
_CHUNK = 1 << 22  # elements that are converted at a time
_numbers = itertools.count()
_arrays: dict[str, np.ndarray] = {}
"""By location; elements of 4 bits are packed in bytes."""


class WeightArrays:
    """The arrays that the graph of a lowered model refers to. They are freed with this object."""

    def __init__(self) -> None:
        self._locations: list[str] = []
        weakref.finalize(self, _forget, self._locations)

    def refer(self, tensor: onnx.TensorProto, array: np.ndarray) -> None:
        """Make an array the data of a tensor."""
        location = f"{_PREFIX}{next(_numbers)}"
        self._locations.append(location)
        _arrays[location] = array if not _is_packed(array.dtype) else _packed(array)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)


def _forget(locations: list[str]) -> None:
    for location in locations:
        _arrays.pop(location, None)


def worth_referring(arrays: dict[str, np.ndarray]) -> set[str]:
    """The names of the arrays that a graph should refer to; none if they are few."""
    large = {name: array.nbytes for name, array in arrays.items() if array.nbytes >= _SMALL and array.dtype != object}
    return set(large) if sum(large.values()) >= _FEW else set()


def is_reference(tensor: Any) -> bool:
    return _location(tensor) is not None


def array_of(tensor: onnx.TensorProto) -> np.ndarray:
    """The elements of a constant, wherever they are; not to be written to."""
    location = _location(tensor)
    if location is None:
        return numpy_helper.to_array(tensor)
    array, dtype = _arrays[location], np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if _is_packed(dtype):
        stored = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=array.tobytes())
        return numpy_helper.to_array(stored)
    return array.astype(dtype, copy=False)


def as_float32(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """A float16 constant as float32, under another name. What is referred to is not copied."""
    if not is_reference(tensor):
        return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name)
    made = onnx.TensorProto()
    made.CopyFrom(tensor)
    made.name, made.data_type = name, onnx.TensorProto.FLOAT
    return made


def size_of(tensor: onnx.TensorProto) -> int:
    """The bytes of a constant's elements, as a file would hold them."""
    if not is_reference(tensor):
        return len(tensor.raw_data)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    return -(-math.prod(tensor.dims) * (4 if _is_packed(dtype) else dtype.itemsize * 8) // 8)


def bytes_of(tensor: onnx.TensorProto) -> Iterator[memoryview | bytes]:
    """The elements of a constant, as a file holds them, in parts: none of them takes much memory."""
    location = _location(tensor)
    if location is None:
        yield tensor.raw_data
        return
    array, dtype = _arrays[location], np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if array.flags.c_contiguous and (array.dtype == dtype or _is_packed(dtype)):
        yield array.reshape(-1).view(np.uint8).data
        return
    rows = array if array.ndim > 1 else array.reshape(-1, 1) if array.ndim else array.reshape(1, 1)
    count = max(1, _CHUNK // max(1, rows[0].size if len(rows) else 1))
    for start in range(0, len(rows), count):
        part = np.ascontiguousarray(rows[start : start + count], dtype)
        yield part.reshape(-1).view(np.uint8).data


def _is_packed(dtype: np.dtype[Any]) -> bool:
    return dtype.name in ("int4", "uint4")


def _packed(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(numpy_helper.from_array(array).raw_data, np.uint8)


def _location(tensor: Any) -> str | None:
    found = next((entry.value for entry in tensor.external_data if entry.key == "location"), None)
    return found if found is not None and found.startswith(_PREFIX) else None
