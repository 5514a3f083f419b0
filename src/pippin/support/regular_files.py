"""Regular files: opens nothing else. A FIFO, a device or a socket could make a read wait for ever, or never end."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: os.PathLike[str] | str) -> BinaryIO:
    """Open a file for reading bytes. Raises OSError, also for what is no regular file and for an impossible name."""
    try:
        # A device may act on being opened, so look first; look again in case it was exchanged since.
        _check(os.stat(path).st_mode, path)  # noqa: PTH116  (the path may be a str)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except ValueError as error:  # a zero byte
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from None
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: os.PathLike[str] | str) -> bytes:
    """The contents of a file. Raises OSError like `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def is_regular(path: os.PathLike[str] | str) -> bool:
    """Whether the path names a regular file; False for an impossible name, which `Path.is_file` raises for."""
    return os.path.isfile(path)  # noqa: PTH113


def check_replaceable(path: os.PathLike[str] | str) -> None:
    """Raise OSError if a file cannot take the place of what the path names: a FIFO, a device or a socket."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError:
        return  # nothing is there, or writing reports why not
    if not stat.S_ISDIR(mode):
        _check(mode, path, "written")


def exists(path: os.PathLike[str] | str) -> bool:
    """Whether the path names anything; False for an impossible name."""
    return os.path.exists(path)  # noqa: PTH110


def _check(mode: int, path: os.PathLike[str] | str, how: str = "opened") -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise OSError(errno.EINVAL, f"it is {kind}, and only regular files are {how}", os.fspath(path))
