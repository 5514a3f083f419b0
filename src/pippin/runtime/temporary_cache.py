"""Temporary cache: the folder of a progressive specialization that the caller keeps in no cache."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path


class TemporaryCache:
    """A folder that is removed with the last object that holds this one. What is mapped outlives it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pippin-"))
        weakref.finalize(self, _remove, str(self.folder), os.getpid())


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a forked process
        shutil.rmtree(folder, ignore_errors=True)
