"""ONNX protobuf: writes numpy arrays and attributes into ONNX messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def store(array: np.ndarray, proto: onnx.TensorProto) -> None:
    """Write an array directly into its message in the model; a separate message would be copied."""
    if array.dtype.itemsize * 8 != _bits(array.dtype) or array.dtype == object:  # packed elements, strings
        proto.MergeFrom(numpy_helper.from_array(array))
        return
    proto.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    proto.dims.extend(array.shape)
    proto.raw_data = array.tobytes()


def _bits(dtype: np.dtype[Any]) -> int:
    """Bits per element as ONNX stores it."""
    return 4 if dtype.name in ("int4", "uint4") else dtype.itemsize * 8


def attribute(value: Any) -> Any:
    """numpy scalars and arrays as the plain numbers that ONNX attributes take."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return value.tolist()
    if isinstance(value, list | tuple):
        return [attribute(v) for v in value]
    return int(value) if isinstance(value, bool) else value
