"""Pointer: what Git LFS leaves in place of a large file that was not fetched.

Source: the Git LFS specification, `docs/spec.md`: a pointer file begins with its version line.
"""

from __future__ import annotations

_START = b"version https://git-lfs.github.com/spec/"
POINTER = "is a pointer of Git LFS, not the file itself: fetch it with 'git lfs pull'"


def is_pointer(data: bytes | memoryview) -> bool:
    return bytes(data[: len(_START)]) == _START
