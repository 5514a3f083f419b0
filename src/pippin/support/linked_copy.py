"""Linked copy: gives a file that nobody changes a second place, without a copy where the file system can do that."""

from __future__ import annotations

import os
from pathlib import Path


def linked_copy(source: Path, target: Path) -> None:
    """Raises OSError."""
    try:
        os.link(source, target)
    except OSError:
        import shutil  # every `import pippin` would pay for it

        shutil.copyfile(source, target)
