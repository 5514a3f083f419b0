"""Types: MIL value types, shared by program, lowering and features.

Source of the names and numbers: `MIL.proto` of coremltools (message `ValueType`, enum `DataType`).
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, TypeAlias

import numpy as np


class DataType(enum.Enum):
    """An element type. The value is its name in MIL text."""

    BOOL = "bool"
    STRING = "string"
    FLOAT8E4M3FN = "fp8e4m3fn"
    FLOAT8E5M2 = "fp8e5m2"
    FLOAT16 = "fp16"
    FLOAT32 = "fp32"
    FLOAT64 = "fp64"
    BFLOAT16 = "bf16"
    INT4 = "int4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT1 = "uint1"
    UINT2 = "uint2"
    UINT3 = "uint3"
    UINT4 = "uint4"
    UINT6 = "uint6"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"

    @property
    def bits(self) -> int:
        """Stored bits of one element; 0 for a string."""
        return _BITS[self]

    @property
    def is_float(self) -> bool:
        return self.value.startswith(("fp", "bf"))

    @property
    def is_integer(self) -> bool:
        return self.value.startswith(("int", "uint"))

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype that holds it. Sub-byte integers use one byte per element."""
        return _numpy_dtype(self)


_BITS = {
    member: 8 if member is DataType.BOOL else int("".join(filter(str.isdigit, member.value.split("e")[0])) or 0)
    for member in DataType
}


def _numpy_dtype(dtype: DataType) -> np.dtype[Any]:
    if dtype is DataType.STRING:
        return np.dtype(object)
    if dtype in _ML_DTYPES:
        import ml_dtypes  # imported only for models with such weights

        name: Any = getattr(ml_dtypes, _ML_DTYPES[dtype])
    elif dtype.bits < 8:
        name = np.int8 if dtype is DataType.INT4 else np.uint8
    else:
        name = dtype.value.replace("fp", "float")
    result: np.dtype[Any] = np.dtype(name)
    return result


_ML_DTYPES = {
    DataType.BFLOAT16: "bfloat16",
    DataType.FLOAT8E4M3FN: "float8_e4m3fn",
    DataType.FLOAT8E5M2: "float8_e5m2",
}

Shape: TypeAlias = tuple[int | None, ...]
"""Sizes of the axes; None if a size is only known at prediction time."""


class TensorType(NamedTuple):
    """A tensor; `shape` is () for a scalar and None if the rank is unknown."""

    dtype: DataType
    shape: Shape | None = ()

    def __str__(self) -> str:
        if self.shape is None:
            return f"tensor<{self.dtype.value}, [...]>"
        return f"tensor<{self.dtype.value}, [{', '.join('?' if d is None else str(d) for d in self.shape)}]>"


class ListType(NamedTuple):
    """A list of values of one type; `length` is None if it can grow."""

    element: ValueType
    length: int | None = None

    def __str__(self) -> str:
        return f"list<{self.element}, {'?' if self.length is None else self.length}>"


class TupleType(NamedTuple):
    elements: tuple[ValueType, ...]

    def __str__(self) -> str:
        return f"tuple<{', '.join(map(str, self.elements))}>"


class DictionaryType(NamedTuple):
    key: ValueType
    value: ValueType

    def __str__(self) -> str:
        return f"dict<{self.key}, {self.value}>"


class StateType(NamedTuple):
    """A tensor that persists between predictions (iOS 18)."""

    wrapped: TensorType

    def __str__(self) -> str:
        return f"state<{self.wrapped}>"


ValueType: TypeAlias = TensorType | ListType | TupleType | DictionaryType | StateType
