"""Weight blob writer: collects arrays and writes the weight file that `weight_blob.py` describes."""

from __future__ import annotations

import struct

import numpy as np

from ..types import DataType
from .weight_blob import ALIGNMENT, DTYPES, SENTINEL, STORED_AS, BlobFile, pack_elements

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_VERSION = 2


class BlobWriter:
    """A weight file in memory. Sub-byte arrays have one element per byte and are packed."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size, self._count = ALIGNMENT, 0

    def add(self, array: np.ndarray, dtype: DataType) -> int:
        """Append a record; returns its offset."""
        stored = STORED_AS.get(dtype, dtype)
        data = pack_elements(array, stored)
        unused = 8 * len(data) - array.size * stored.bits
        offset = self._size
        record = struct.pack("<IIQQQ", SENTINEL, _NUMBERS[stored], len(data), offset + ALIGNMENT, unused)
        padding = -len(data) % ALIGNMENT
        self._parts += [record.ljust(ALIGNMENT, b"\0"), data, bytes(padding)]
        self._size += ALIGNMENT + len(data) + padding
        self._count += 1
        return offset

    def file(self, name: str) -> BlobFile:
        """The file with all records."""
        header = struct.pack("<II", self._count, _VERSION).ljust(ALIGNMENT, b"\0")
        return BlobFile.from_bytes(b"".join([header, *self._parts]), name)
