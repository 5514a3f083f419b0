"""Distribution: which version of a package is installed, without importing it."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def installed_version(*packages: str) -> str:
    """The version of the first of the packages that is installed; "" where none is."""
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return ""
