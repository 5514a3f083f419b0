"""Load options: shared by every command that loads a model; converted to a Configuration and a Cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from ...cache.store import Cache
    from ...configuration import Configuration


def _one_of(*words: str) -> Callable[[], list[str]]:
    """The words that the shell completes an option with."""
    return lambda: list(words)


ENGINES = _one_of("openvino", "onnxruntime", "mnn")
PRECISIONS = _one_of("auto", "float32", "bfloat16", "float16", "dynamic_int8")
UNITS = _one_of("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")

Function = Annotated[str | None, typer.Option(help="Function of a multi-function model.")]
Engine = Annotated[
    str | None,
    typer.Option(
        help="openvino, onnxruntime or mnn (pip install 'pippin[mnn]'); the fastest by default.", autocompletion=ENGINES
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="Precision for float16 values: auto, float32, bfloat16 or float16; or dynamic_int8: products with 4- and "
        "8-bit weights round their other operand to 8 bits.",
        autocompletion=PRECISIONS,
    ),
]
Units = Annotated[
    str,
    typer.Option(
        "--compute-units",
        help="Allowed devices: ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE.",
        autocompletion=UNITS,
    ),
]
Threads = Annotated[int | None, typer.Option(help="Maximum threads per prediction.")]
Strategy = Annotated[
    str,
    typer.Option(
        help="Specialization strategy: default, fast_prediction, fast_load or progressive.",
        autocompletion=_one_of("default", "fast_prediction", "fast_load", "progressive"),
    ),
]
CacheFolder = Annotated[Path | None, typer.Option("--cache", help="Cache folder; the user's cache by default.")]


def configuration_of(
    function: str | None = None,
    engine: str | None = None,
    precision: str = "auto",
    units: str = "ALL",
    threads: int | None = None,
    strategy: str = "default",
) -> Configuration:
    """Build a Configuration from option values. Raises ConfigurationError for an unknown value."""
    from ...configuration import ComputeUnits, Configuration, Hints
    from ...configuration import Precision as Precisions
    from ...configuration import SpecializationStrategy as Strategies
    from ...errors import ConfigurationError

    if units not in ComputeUnits.__members__:
        raise ConfigurationError(f"--compute-units must be one of {', '.join(ComputeUnits.__members__)}, got {units!r}")
    if engine is not None:
        from ...engines import all_engines

        if engine not in all_engines():
            raise ConfigurationError(f"--engine must be one of {', '.join(all_engines())}, got {engine!r}")
    for option, given, allowed in (("precision", precision, Precisions), ("strategy", strategy, Strategies)):
        if given not in get_args(allowed):
            raise ConfigurationError(f"--{option} must be one of {', '.join(get_args(allowed))}, got {given!r}")
    if threads is not None and threads < 1:
        raise ConfigurationError(f"--threads must be a positive integer, got {threads}")
    checked: Any = (precision, strategy)
    return Configuration(function, ComputeUnits[units], checked[0], engine, threads, Hints(checked[1]))


def cache_of(folder: Path | None) -> Cache:
    """Return the cache that a command uses. Raises CacheError if the cache is disabled."""
    from ...cache.store import Cache, default_cache
    from ...errors import CacheError

    cache = Cache(folder) if folder is not None else default_cache()
    if cache is None:
        raise CacheError("the cache is disabled (PIPPIN_CACHE=off); name a folder with --cache")
    return cache
