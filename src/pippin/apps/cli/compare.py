"""pippin compare: shows at which operations the numbers of two models, engines or precisions part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import UnsupportedModelError
from .common_options import Engine, Function
from .difference_tables import Arithmetic, Every, Inputs, features_of, print_comparison, print_json


def compare(
    model: Annotated[
        Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx: the right one.")
    ],
    other: Annotated[Path | None, typer.Argument(help="The model to compare; by default the first one itself.")] = None,
    input: Inputs = None,
    arithmetic: Arithmetic = "declared",
    engine: Engine = None,
    function: Function = None,
    operations: Every = False,
    fail_below: Annotated[
        float | None, typer.Option(help="Exit with status 1 if an output has a lower signal-to-noise ratio, in dB.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare two models operation by operation, or one with itself in another arithmetic or on an engine.

    Noise that an operation creates is told from what it inherits: its result is compared with a float64 evaluation on
    the operands it was given.
    """
    from ...develop.compare import compare as compared
    from .loading_bar import loading_bar
    from .open_argument import open_argument

    asset = open_argument(model)
    against = open_argument(other) if other is not None else None
    features = features_of(asset, function, input)
    how: dict[str, object] = {"arithmetic": arithmetic, "engine": engine, "function": function}
    with loading_bar("compare"):
        found = compared(asset, against, features, **how)  # type: ignore[arg-type]
    if json_:
        print_json(found)
    else:
        print_comparison(found, operations)
    if fail_below is None:
        return
    if not found.outputs:
        raise UnsupportedModelError(f"{found.first} and {found.second} have no output in common for --fail-below")
    if any(noise < fail_below for noise in found.outputs.values()):
        raise typer.Exit(1)
