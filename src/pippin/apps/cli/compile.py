"""pippin compile: specializes a model ahead of its first load, into the cache or a compiled model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common_options import (
    CacheFolder,
    Engine,
    Function,
    Precision,
    Strategy,
    Threads,
    Units,
    cache_of,
    configuration_of,
)


def compile(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a compiled model, X.mlmodelc, that includes the specialization."),
    ] = None,
    function: Function = None,
    engine: Engine = None,
    precision: Precision = "auto",
    compute_units: Units = "ALL",
    threads: Threads = None,
    strategy: Strategy = "default",
    cache: CacheFolder = None,
) -> None:
    """Specialize a model ahead of its first load.

    The result goes to the cache, or with --output into a compiled model that can be copied to machines like this one.
    """
    from ...runtime.loading import whole
    from ...runtime.model import load, save_compiled
    from .open_argument import open_argument
    from .output_file import check_file
    from .terminal import console, progress_bar, styled

    configuration = configuration_of(function, engine, precision, compute_units, threads, strategy)
    if output is not None:
        check_file(output, "--output")
    asset = open_argument(model)
    asset.description.function(function)
    with progress_bar("read") as show:

        def progress(report: object) -> None:
            show(getattr(report, "stage", ""), getattr(report, "share", 0.0))

        if output is not None:
            save_compiled(asset.path or model, output, [configuration], progress=progress)
        else:
            loaded = load(asset, whole(configuration), cache=cache_of(cache), progress=progress)
    if output is not None:
        console().print(styled(("wrote", "dim"), f" {output}"))
    else:
        console().print(f"{loaded.load_label}: {loaded.engine}, {loaded.compute_plan.segments[0].precision}")
