"""Options: those that say how a model is loaded, for every command that loads one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ...cache.store import Cache
    from ...configuration import Configuration

Function = Annotated[str | None, typer.Option(help="The function of a multi-function model.")]
Engine = Annotated[str | None, typer.Option(help="openvino, onnxruntime or mnn; the fastest one by default.")]
Precision = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Units = Annotated[str, typer.Option("--compute-units", help="ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE.")]
Threads = Annotated[int | None, typer.Option(help="Threads of one prediction.")]
Strategy = Annotated[str, typer.Option(help="default, fast_prediction or fast_load.")]
CacheFolder = Annotated[Path | None, typer.Option("--cache", help="The folder of the cache; the user's by default.")]


def configuration_of(
    function: str | None = None,
    engine: str | None = None,
    precision: str = "auto",
    units: str = "ALL",
    threads: int | None = None,
    strategy: str = "default",
) -> Configuration:
    """Raises ConfigurationError for a value that does not exist."""
    from ...configuration import ComputeUnits, Configuration, Hints
    from ...errors import ConfigurationError

    if units not in ComputeUnits.__members__:
        raise ConfigurationError(f"compute units {units!r}; it must be one of {', '.join(ComputeUnits.__members__)}")
    checked: Any = (precision, strategy)
    return Configuration(function, ComputeUnits[units], checked[0], engine, threads, Hints(checked[1]))


def cache_of(folder: Path | None) -> Cache:
    """The cache that a command is about. Raises CacheError where it is switched off."""
    from ...cache.store import Cache, default_cache
    from ...errors import CacheError

    found = Cache(folder) if folder is not None else default_cache()
    if found is None:
        raise CacheError("the cache is switched off (PIPPIN_CACHE=off); name a folder with --cache")
    return found
