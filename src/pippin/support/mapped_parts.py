"""Mapped parts: reads a large file through a window, so that its pages do not count as memory of the process."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

_WINDOW = 1 << 26  # bytes; a multiple of the page size


def mapped_parts(descriptor: int, size: int) -> Iterator[memoryview]:
    """The file in order. A part is only valid until the next one is taken."""
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    for start in range(0, size, _WINDOW):
        length = min(_WINDOW, size - start)
        with (
            mmap.mmap(descriptor, length, flags, mmap.PROT_READ, offset=start) as mapped,
            memoryview(mapped) as part,
        ):
            yield part
