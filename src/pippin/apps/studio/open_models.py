"""Opened: the models that are open in the page. Browser tabs share them; they are loaded when needed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import cached_property
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
"""So many loaded models are kept; of those before, the memory is given back until somebody predicts again."""

_REMEMBERED = 40


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
        """What a load that is under way is at."""
        self._loading: asyncio.Task[Model] | None = None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `pippin inspect` shows."""
        from ...program import read_program
        from ...program.summary import summary

        program = read_program(self.asset) if self.asset.description.kind == "mlProgram" else None
        return summary(self.asset, program, None)

    async def model(self) -> Model:
        """The loaded model; whoever comes while it is loaded waits for the same load. Raises what `load` does."""
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._loading)

    @property
    def loaded(self) -> Model | None:
        """The model, if it is loaded already."""
        task = self._loading
        return task.result() if task is not None and task.done() and task.exception() is None else None

    def unload(self) -> None:
        model = self.loaded
        if model is not None:
            model.unload()

    def _load(self) -> Model:
        def told(progress: Progress) -> None:
            self.progress = progress

        try:
            return load(self.path, self.configuration, progress=told)
        finally:
            self.progress = None


class Models:
    """The models by path and configuration. For the event loop alone."""

    def __init__(self) -> None:
        self._opened: OrderedDict[tuple[Path, tuple[float, int], Configuration], Opened] = OrderedDict()

    async def open(self, path: Path, configuration: Configuration) -> Opened:
        """A model that was changed on disk is opened anew. Raises what `Opened` does."""
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
        """The paths that were opened since the start, the latest first."""
        return list(dict.fromkeys(path for path, _, _ in reversed(self._opened)))


def configuration_of(function: str | None, units: str) -> Configuration:
    known = units if units in ComputeUnits.__members__ else "ALL"
    return Configuration(function_name=function or None, compute_units=ComputeUnits[known])


def _changed(path: Path) -> tuple[float, int]:
    """When the model was last written, as its files say."""
    try:
        files = [path, *(path.rglob("*") if path.is_dir() else ())]
        return max(file.stat().st_mtime for file in files), len(files)
    except OSError:
        return 0.0, 0
