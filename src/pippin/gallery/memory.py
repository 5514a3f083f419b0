"""Memory: what this process holds."""

from __future__ import annotations

import os
from pathlib import Path


def resident() -> int | None:
    """Bytes of memory that are resident now; None where the system does not say (it is read from /proc)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
