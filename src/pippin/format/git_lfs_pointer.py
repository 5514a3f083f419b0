"""Git LFS pointer: detects the pointer files left in place of large files that were not fetched.

Source: the Git LFS specification, `docs/spec.md`: a pointer file starts with its version line.
"""

from __future__ import annotations

_START = b"version https://git-lfs.github.com/spec/"
POINTER = "is a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'"


def is_pointer(data: bytes | memoryview) -> bool:
    return bytes(data[: len(_START)]) == _START
