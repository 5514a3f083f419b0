"""Atomic write: a file or folder is written under a temporary name beside its target and then renamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `target`. If the block succeeds, what it wrote there takes the name of
    `target` (an existing file is replaced, an existing folder is an OSError); if it fails, it is removed.

    The suffix is that of `target`, which some writers choose the format by.
    """
    temporary = target.with_name(f".{target.stem}-{uuid4().hex}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        with suppress(OSError):
            _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
