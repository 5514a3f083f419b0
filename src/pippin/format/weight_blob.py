"""Blob: the weight file of a model package, memory-mapped and read without copying.

Format (MILBlob, in coremltools' public sources): a header of 64 bytes (uint32 number of records, uint32 version),
then for each record 64 bytes of metadata (uint32 sentinel, uint32 element type, uint64 size in bytes, uint64 offset
of the data, uint64 bits of padding at its end) and the data, both aligned to 64 bytes; all little-endian.
Files of version 1 are read as those of version 2: the sentinel of each record says if that is what they hold.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from pathlib import Path

import numpy as np

from ..errors import WeightError
from ..types import DataType
from .git_lfs_pointer import POINTER, is_pointer

_VERSIONS = (1, 2)
_SENTINEL = 0xDEADBEEF
_ALIGNMENT = 64
_HEADER = struct.Struct("<II")
_RECORD = struct.Struct("<IIQQQ")

# The element type numbers of a record.
_DTYPES = {
    1: DataType.FLOAT16,
    2: DataType.FLOAT32,
    3: DataType.UINT8,
    4: DataType.INT8,
    5: DataType.BFLOAT16,
    6: DataType.INT16,
    7: DataType.UINT16,
    8: DataType.INT4,
    9: DataType.UINT1,
    10: DataType.UINT2,
    11: DataType.UINT4,
    12: DataType.UINT3,
    13: DataType.UINT6,
    14: DataType.INT32,
    15: DataType.UINT32,
    16: DataType.FLOAT8E4M3FN,
    17: DataType.FLOAT8E5M2,
}
# A bool tensor is written as bytes.
_STORED_AS = {DataType.BOOL: DataType.UINT8}


class BlobFile:
    """A weight file. Reading is safe from any thread; arrays keep the mapping alive."""

    def __init__(self, data: memoryview, name: str) -> None:
        self.name = name
        self._data = data
        if len(data) < _ALIGNMENT:
            raise WeightError(f"{name}: {len(data)} bytes are too few for a weight file (its header alone has 64)")
        self.count, self.version = _HEADER.unpack_from(data, 0)
        if is_pointer(data[:_ALIGNMENT]):
            raise WeightError(f"{name}: {POINTER}")
        if self.version not in _VERSIONS:
            raise WeightError(f"{name}: its header has the version {self.version}; a weight file has 1 or 2")

    @classmethod
    def open(cls, path: os.PathLike[str] | str) -> BlobFile:
        """Map a file. Raises WeightError where it is missing, too short, or not a weight file."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise WeightError(f"{path}: the weight file is empty")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise WeightError(f"{path}: the weight file cannot be read: {error.strerror}") from None
        return cls(memoryview(mapped), str(path))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, name: str = "weights in memory") -> BlobFile:
        return cls(memoryview(data).toreadonly().cast("B"), name)

    def __len__(self) -> int:
        """Size in bytes."""
        return len(self._data)

    def save(self, path: Path) -> None:
        """Write a copy of the whole file."""
        path.write_bytes(self._data)

    def record_dtype(self, offset: int) -> DataType:
        """The element type in which the record at `offset` is stored."""
        return self._record(offset)[0]

    def read(self, offset: int, dtype: DataType, shape: tuple[int, ...]) -> np.ndarray:
        """The array whose metadata record lies at `offset`: a read-only view of the file where an element has
        8 bits or more, else one element a byte. Raises WeightError where the record does not fit."""
        stored, start, size, padding = self._record(offset)
        if stored is not _STORED_AS.get(dtype, dtype):
            raise WeightError(f"{self._at(offset)}: holds {stored.value}, but the program expects {dtype.value}")
        count = math.prod(shape)
        expected = -(-count * stored.bits // 8)
        if size != expected:
            raise WeightError(
                f"{self._at(offset)}: holds {size} bytes, but {dtype.value} of shape {shape} needs {expected}"
            )
        # Before iOS 18 the field was not written, and may hold anything; there were no smaller elements either.
        unused = size * 8 - count * stored.bits
        if stored.bits < 8 and padding != unused:
            raise WeightError(
                f"{self._at(offset)}: {padding} bits of its {size} bytes are unused, but {dtype.value} of shape {shape}"
                f" leaves {unused}"
            )
        return unpack_elements(self._data[start : start + size], dtype, count).reshape(shape)

    def _record(self, offset: int) -> tuple[DataType, int, int, int]:
        """Of one record: element type, start and size of the data in bytes, bits of padding at its end."""
        if offset % _ALIGNMENT or not 0 < offset <= len(self._data) - _ALIGNMENT:
            raise WeightError(
                f"{self._at(offset)}: no record can lie there (records are 64-byte aligned;"
                f" the file has {len(self._data)} bytes: it may be truncated)"
            )
        sentinel, number, size, start, padding = _RECORD.unpack_from(self._data, offset)
        if sentinel != _SENTINEL:
            raise WeightError(f"{self._at(offset)}: no record lies there (0x{sentinel:08X} instead of 0xDEADBEEF)")
        if number not in _DTYPES:
            raise WeightError(f"{self._at(offset)}: the element type {number} is not known")
        if start + size > len(self._data):
            raise WeightError(
                f"{self._at(offset)}: its data ends at byte {start + size}, past the end of the file"
                f" ({len(self._data)} bytes): it is truncated"
            )
        if start % _ALIGNMENT:
            raise WeightError(f"{self._at(offset)}: its data begins at byte {start}, which is not 64-byte aligned")
        return _DTYPES[number], start, size, padding

    def _at(self, offset: int) -> str:
        return f"{self.name}, offset {offset}"


def unpack_elements(data: bytes | memoryview, dtype: DataType, count: int) -> np.ndarray:
    """`count` elements, packed from the lowest bit up where they have fewer than 8 bits.

    An element of 8 bits or more is a view of `data`; a smaller one gets a byte of its own (int4 as int8, sign
    extended). Raises WeightError where `data` has not the size of `count` elements.
    """
    expected = -(-count * dtype.bits // 8)
    if dtype.bits == 0 or len(data) != expected:
        raise WeightError(f"{count} elements of {dtype.value} are {expected} bytes, not {len(data)}")
    if dtype.bits >= 8:
        return np.frombuffer(data, dtype.numpy)
    raw = np.frombuffer(data, np.uint8)
    if dtype.bits in (1, 2, 4):  # elements do not cross bytes: one shift a position
        shifts = np.arange(0, 8, dtype.bits, dtype=np.uint8)
        elements: np.ndarray = ((raw[:, None] >> shifts) & ((1 << dtype.bits) - 1)).reshape(-1)[:count]
    else:
        bits = np.unpackbits(raw, bitorder="little")[: count * dtype.bits].reshape(count, dtype.bits)
        elements = np.packbits(bits, axis=1, bitorder="little").reshape(-1)
    if dtype is DataType.INT4:
        return (elements.astype(np.int8) ^ 8) - 8
    return elements


def pack_elements(array: np.ndarray, dtype: DataType) -> bytes:
    """What `unpack_elements` reads: the elements in order, packed from the lowest bit up."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype.bits >= 8:
        return flat.tobytes()
    bits = np.unpackbits(flat.astype(np.uint8)[:, None], axis=1, count=dtype.bits, bitorder="little")
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()
