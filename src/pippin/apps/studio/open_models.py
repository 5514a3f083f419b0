"""Open models: shared by all browser tabs, loaded on first use, unloaded when newer ones are opened."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configuration import ComputeUnits, Configuration
from ...format.asset import Asset, open_asset
from ...format.description import FunctionDescription
from ...runtime.model import Model, load
from .preview.kinds import Kind, kind_of

if TYPE_CHECKING:
    from ...specialization.progress import Progress

_KEPT = 4
"""Models kept loaded; older ones are unloaded until their next prediction."""

_REMEMBERED = 40
_MOST_FILES = 1000  # of a folder that are looked at


class Opened:
    """A model on disk with a configuration."""

    def __init__(self, path: Path, configuration: Configuration) -> None:
        """Reads the specification. Raises FormatError, UnsupportedError, ConfigurationError for an unknown function."""
        self.path = path
        self.configuration = configuration
        self.asset: Asset = open_asset(path)
        self.function: FunctionDescription = self.asset.description.function(configuration.function_name)
        self.kind: Kind = kind_of(self.asset.description, self.function)
        self.progress: Progress | None = None
        """Progress of the load under way, if any."""
        self._loading: asyncio.Task[Model] | None = None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The data shown by `pippin inspect`."""
        from ...program import PROGRAMS, read_program
        from ...program.summary import summary

        program = read_program(self.asset) if self.asset.description.kind in PROGRAMS else None
        return summary(self.asset, program, None)

    @property
    def measured_configuration(self) -> Configuration:
        """The configuration of a report: with the engine of the loaded model, which the other tabs show."""
        model = self.loaded
        if model is None or "+" in model.engine:
            return self.configuration
        return replace(self.configuration, engine=model.engine)

    async def model(self) -> Model:
        """Load the model on first use; concurrent callers share one load. Raises what `load` raises."""
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._loading)

    @property
    def loaded(self) -> Model | None:
        """The model if loading has finished, else None."""
        task = self._loading
        return task.result() if task is not None and task.done() and task.exception() is None else None

    def unload(self) -> None:
        model = self.loaded
        if model is not None:
            model.unload()

    def _load(self) -> Model:
        def report(progress: Progress) -> None:
            self.progress = progress

        try:
            return load(self.path, self.configuration, progress=report)
        finally:
            self.progress = None


class Models:
    """Open models by path and configuration. Not thread-safe: use it from the event loop only."""

    def __init__(self) -> None:
        self._opened: OrderedDict[tuple[Path, tuple[float, int], Configuration], Opened] = OrderedDict()

    async def open(self, path: Path, configuration: Configuration) -> Opened:
        """Return the open model, or open it; a model changed on disk is reopened. Raises what `Opened` raises."""
        key = (path, _changed(path), configuration)
        if key not in self._opened:
            self._opened[key] = await asyncio.to_thread(Opened, path, configuration)
        self._opened.move_to_end(key)
        for other in list(self._opened.values())[:-_KEPT]:
            other.unload()
        while len(self._opened) > _REMEMBERED:
            self._opened.popitem(last=False)
        return self._opened[key]

    def recent(self) -> list[Path]:
        """Paths opened since the server started, newest first."""
        return list(dict.fromkeys(path for path, _, _ in reversed(self._opened)))


def configuration_of(function: str | None, units: str) -> Configuration:
    known = units if units in ComputeUnits.__members__ else "ALL"
    return Configuration(function_name=function or None, compute_units=ComputeUnits[known])


def _changed(path: Path) -> tuple[float, int]:
    """Newest modification time among the model's files, and their number. The path may be of any folder, such as /."""
    try:
        files = [path, *(islice(path.rglob("*"), _MOST_FILES) if path.is_dir() else ())]
        return max(file.stat().st_mtime for file in files), len(files)
    except (OSError, ValueError):  # ValueError: a zero byte
        return 0.0, 0
