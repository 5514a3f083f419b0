"""Output file: checks, before any work, that a file which a command is asked for can be written."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import ConfigurationError

_FOLDERS = (".aimodel", ".mlmodelc", ".mlpackage")  # whoever writes one says that it is there already


def check_file(path: Path, option: str) -> None:
    """Raise ConfigurationError, with the option, for a file that cannot be written."""
    if path.is_dir() and path.suffix not in _FOLDERS:
        raise ConfigurationError(f"{option} {path} cannot be written: it is a folder")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{option} {path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"{option} {path} cannot be written: {path.parent} is read-only")
