"""OpenVINO memory: what it keeps without need, and how it is made to let go.

It compiles kernels for each size that it meets and keeps them: 5,000 in each model, and oneDNN 1,024 in the process. A
decoder meets another size with each token, and grew by 1.3 MB each time. Weights are packed in the first prediction;
the file that they were packed from stays mapped.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

FEW_KERNELS = 64
"""For a model whose sizes grow: the kernels of one step, which its layers share, and some more. With 64 the processor
time of a token is the same as with 5,000."""
_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_PAGE = mmap.PAGESIZE
_PRESENT, _OF_FILE = np.uint64(1 << 63), np.uint64(1 << 61)  # of an entry in /proc/self/pagemap


@contextmanager
def few_kernels() -> Iterator[None]:
    """oneDNN reads its limit when it makes its first kernel. Other libraries of the process have oneDNN too, so the
    variable only stands while OpenVINO may make that kernel."""
    if _VARIABLE in os.environ:
        yield
        return
    os.environ[_VARIABLE] = str(FEW_KERNELS)
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


def let_go(mapped: Any) -> None:
    """Take the pages of a privately mapped file out of this process. They are mapped again if they are read again."""
    array = np.frombuffer(mapped, np.uint8)
    count = -(-array.nbytes // _PAGE)
    with suppress(OSError, AttributeError, ValueError):
        with open("/proc/self/pagemap", "rb") as file:  # noqa: PTH123 (opened at each load)
            file.seek(int(array.ctypes.data) // _PAGE * 8)
            entries = np.frombuffer(file.read(8 * count), np.uint64)
        present = entries & _PRESENT != 0
        if (
            len(entries) == count and not (present & (entries & _OF_FILE == 0)).any()
        ):  # else written to: not in the file
            mapped.madvise(mmap.MADV_DONTNEED)


def export(compiled: Any, path: Path) -> None:
    """Write a compiled model to a file as it is produced. OpenVINO only takes a stream in memory, by its class."""
    with path.open("wb") as file:
        compiled.export_model(_InFile(file))


class _InFile(io.BytesIO):
    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def write(self, data: Any) -> int:
        return int(self._file.write(data))

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._file.seek(offset, whence))

    def flush(self) -> None:
        self._file.flush()
