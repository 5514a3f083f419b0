"""Standard input: what `-` stands for, kept as a file whose suffix says what it is."""

from __future__ import annotations

import atexit
import sys
import tempfile
from pathlib import Path

from ...errors import ConfigurationError

# First bytes of the files that can be inputs; anything else is text.
_STARTS = {b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz", b"RIFF": ".wav", b"\x89PNG": ".png", b"\xff\xd8": ".jpg"}

_kept: set[Path] = set()
"""The files that hold standard input."""


def standard_input(name: str) -> Path:
    """Read standard input into a file that lasts as long as the command. Raises ConfigurationError if it is empty."""
    data = sys.stdin.buffer.read()
    if not data:
        raise ConfigurationError(f"'{name}': standard input is empty")
    suffix = next((suffix for start, suffix in _STARTS.items() if data.startswith(start)), _text_suffix(data))
    with tempfile.NamedTemporaryFile(prefix="pippin-", suffix=suffix, delete=False) as file:
        file.write(data)
    _kept.add(Path(file.name))
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return Path(file.name)


def shown(path: Path) -> str:
    """The path as messages name it."""
    return "standard input" if path in _kept else str(path)


def _text_suffix(data: bytes) -> str:
    return ".json" if data.lstrip()[:1] in b"[{" else ".csv"
