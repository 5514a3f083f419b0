"""Atomic write: writes a file or folder under a temporary name next to its target, then renames it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from .regular_files import check_replaceable


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path next to `target`; rename it to `target` if the block succeeds, remove it if it fails.

    An existing file is replaced; an existing folder raises OSError. The temporary path keeps the suffix of `target`,
    because some writers derive the format from it. Errors name `target`. A FIFO, a device or a socket, which a file
    would replace, raises OSError.
    """
    check_replaceable(target)
    temporary = target.with_name(f".{target.stem}-{uuid4().hex}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    except Exception as error:
        _say(error, temporary, target)
        raise
    finally:
        with suppress(OSError):
            _remove(temporary)


def _say(error: Exception, temporary: Path, target: Path) -> None:
    """Let an error name the target: nobody knows the temporary path, and it is gone."""

    def said(value: Any) -> Any:
        if isinstance(value, Path):
            value = str(value)
        if not isinstance(value, str):
            return value
        return value.replace(str(temporary), str(target)).replace(temporary.name, target.name)

    error.args = tuple(map(said, error.args))
    if hasattr(error, "__notes__"):
        error.__notes__ = list(map(said, error.__notes__))
    if isinstance(error, OSError):
        error.filename, error.filename2 = said(error.filename), said(error.filename2)


def _remove(path: Path) -> None:
    if path.is_dir():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
