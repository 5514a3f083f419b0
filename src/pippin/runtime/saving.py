"""Saving: writes a model as a compiled model that brings its specializations along."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ..cache.content import SPECIALIZATIONS
from ..cache.store import Cache
from ..configuration import Configuration
from ..errors import ConfigurationError
from ..specialization.progress import Stages
from ..support.atomic_write import atomic_write
from .loading import Source, _load, whole


def save_compiled(source: Source, path: Path, configurations: Iterable[Configuration], stages: Stages) -> None:
    """Write a model as the folder `path` (X.mlmodelc), including its specializations for this machine.

    Raises what a load raises, and ConfigurationError for a path that exists or has another suffix.
    """
    from ..program.save import save_compiled as save

    if path.suffix != ".mlmodelc":
        raise ConfigurationError(f"{path}: the name of a compiled model must end in .mlmodelc")
    if path.exists() or path.is_symlink():
        raise ConfigurationError(f"{path} already exists")
    with atomic_write(path) as temporary:
        with stages.stage("read"):
            save(source.open(), temporary)
        cache = Cache(temporary / SPECIALIZATIONS)
        for configuration in configurations:
            _load(Source(temporary), whole(configuration), cache, stages)
        for entry in cache.entries():
            shutil.rmtree(entry.folder / "sources", ignore_errors=True)
        for name in ("aside", "index", "locks"):
            shutil.rmtree(cache.folder / name, ignore_errors=True)
        for measured in (cache.calibration, cache.calibration.with_name("rates.json")):
            measured.unlink(missing_ok=True)
