"""Weight blob: memory-maps the weight file of a model and reads its arrays without copying.

Format (MILBlob, in coremltools' public sources): a header of 64 bytes (uint32 number of records, uint32 version),
then for each record 64 bytes of metadata (uint32 sentinel, uint32 element type, uint64 size in bytes, uint64 offset
of the data, uint64 padding bits at the end) and the data, both aligned to 64 bytes; all little-endian.
Version 1 files are read like version 2; the sentinel of each record shows whether that is correct.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import weakref
from pathlib import Path

import numpy as np

from ..errors import WeightError, WeightFileNotFoundError
from ..support.regular_files import open_regular
from ..types import DataType
from .git_lfs_pointer import POINTER, is_pointer

_VERSIONS = (1, 2)
SENTINEL = 0xDEADBEEF
ALIGNMENT = 64
_HEADER = struct.Struct("<II")
_RECORD = struct.Struct("<IIQQQ")

# Element types by their number in a record.
DTYPES = {
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
# Bool tensors are stored as bytes.
STORED_AS = {DataType.BOOL: DataType.UINT8}


_files: weakref.WeakSet[BlobFile] = weakref.WeakSet()


def let_go() -> None:
    """Take the pages of all weight files out of this process: what was read of them once is rarely needed again."""
    for file in list(_files):
        file.let_go()


class BlobFile:
    """A weight file. Thread-safe to read; arrays keep the mapping alive."""

    def __init__(self, data: memoryview, name: str, mapped: mmap.mmap | None = None) -> None:
        self.name = name
        self._data = data
        self._mapped = mapped
        _files.add(self)
        if len(data) < ALIGNMENT:
            raise WeightError(f"{name}: {len(data)} bytes are too few for a weight file (the header has 64)")
        self.count, self.version = _HEADER.unpack_from(data, 0)
        if is_pointer(data[:ALIGNMENT]):
            raise WeightError(f"{name} {POINTER}")
        if self.version not in _VERSIONS:
            raise WeightError(f"{name}: unknown weight file version {self.version}; expected 1 or 2")

    @classmethod
    def open(cls, path: os.PathLike[str] | str) -> BlobFile:
        """Map a file. Raises WeightError if it is missing, too short or not a weight file."""
        path = Path(path)
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise WeightError(f"{path}: weight file is empty")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise WeightFileNotFoundError(f"{path}: weight file cannot be read: {error.strerror}", path) from None
        except OSError as error:
            raise WeightError(f"{path}: weight file cannot be read: {error.strerror}") from None
        return cls(memoryview(mapped), str(path), mapped)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, name: str = "weights in memory") -> BlobFile:
        return cls(memoryview(data).toreadonly().cast("B"), name)

    def __len__(self) -> int:
        """Size in bytes."""
        return len(self._data)

    def let_go(self) -> None:
        """Take the pages that were read out of this process; they are mapped again when they are read again."""
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def save(self, path: Path) -> None:
        """Write a copy of the whole file."""
        path.write_bytes(self._data)

    def record_dtype(self, offset: int) -> DataType:
        """The stored element type of the record at `offset`."""
        return self._record(offset)[0]

    def read(self, offset: int, dtype: DataType, shape: tuple[int, ...]) -> np.ndarray:
        """The array of the record at `offset`: a read-only view of the file if elements have 8 bits or more, else one
        element per byte. Raises WeightError if the record does not match `dtype` and `shape`."""
        stored, start, size, padding = self._record(offset)
        if stored is not STORED_AS.get(dtype, dtype):
            raise WeightError(f"{self._at(offset)}: record holds {stored.value}, but the program expects {dtype.value}")
        count = math.prod(shape)
        expected = -(-count * stored.bits // 8)
        if size != expected:
            raise WeightError(
                f"{self._at(offset)}: record has {size} bytes, but {dtype.value} of shape {shape} needs {expected}"
            )
        # Before iOS 18 the padding field was uninitialized; there were no sub-byte elements either.
        unused = size * 8 - count * stored.bits
        if stored.bits < 8 and padding != unused:
            raise WeightError(
                f"{self._at(offset)}: record declares {padding} unused bits in {size} bytes, but {dtype.value} of shape"
                f" {shape} leaves {unused}"
            )
        return unpack_elements(self._data[start : start + size], dtype, count).reshape(shape)

    def _record(self, offset: int) -> tuple[DataType, int, int, int]:
        """Metadata of a record: element type, start and size of the data in bytes, padding bits."""
        if offset % ALIGNMENT or not 0 < offset <= len(self._data) - ALIGNMENT:
            raise WeightError(
                f"{self._at(offset)}: invalid record offset (records are 64-byte aligned, the file has"
                f" {len(self._data)} bytes; it may be truncated)"
            )
        sentinel, number, size, start, padding = _RECORD.unpack_from(self._data, offset)
        if sentinel != SENTINEL:
            raise WeightError(f"{self._at(offset)}: no record found (sentinel 0x{sentinel:08X}, expected 0xDEADBEEF)")
        if number not in DTYPES:
            raise WeightError(f"{self._at(offset)}: unknown element type {number}")
        if start + size > len(self._data):
            raise WeightError(
                f"{self._at(offset)}: data ends at byte {start + size}, past the end of the file"
                f" ({len(self._data)} bytes): the file is truncated"
            )
        if start % ALIGNMENT:
            raise WeightError(f"{self._at(offset)}: data starts at byte {start}, which is not 64-byte aligned")
        return DTYPES[number], start, size, padding

    def _at(self, offset: int) -> str:
        return f"{self.name}, offset {offset}"


def unpack_elements(data: bytes | memoryview, dtype: DataType, count: int) -> np.ndarray:
    """Decode `count` elements; those of fewer than 8 bits are packed from the lowest bit up.

    Elements of 8 bits or more are a view of `data`; smaller ones are expanded to one byte each (int4 is sign-extended
    to int8). Raises WeightError if the size of `data` does not match `count`.
    """
    expected = -(-count * dtype.bits // 8)
    if dtype.bits == 0 or len(data) != expected:
        raise WeightError(f"{count} elements of {dtype.value} need {expected} bytes, got {len(data)}")
    if dtype.bits >= 8:
        return np.frombuffer(data, dtype.numpy)
    raw = np.frombuffer(data, np.uint8)
    if dtype.bits in (1, 2, 4):  # elements do not cross bytes: one shift per position
        shifts = np.arange(0, 8, dtype.bits, dtype=np.uint8)
        elements: np.ndarray = ((raw[:, None] >> shifts) & ((1 << dtype.bits) - 1)).reshape(-1)[:count]
    else:
        bits = np.unpackbits(raw, bitorder="little")[: count * dtype.bits].reshape(count, dtype.bits)
        elements = np.packbits(bits, axis=1, bitorder="little").reshape(-1)
    if dtype is DataType.INT4:
        return (elements.astype(np.int8) ^ 8) - 8
    return elements


def pack_elements(array: np.ndarray, dtype: DataType) -> bytes:
    """Encode elements for `unpack_elements`: in order, packed from the lowest bit up."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype.bits >= 8:
        return flat.tobytes()
    bits = np.unpackbits(flat.astype(np.uint8)[:, None], axis=1, count=dtype.bits, bitorder="little")
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()
