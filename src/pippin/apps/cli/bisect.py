"""pippin bisect: finds the operation at which a model's numbers go wrong, and what to keep in float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common_options import Engine, Function
from .difference_tables import Arithmetic, Every, Inputs, decibels, features_of, print_comparison, print_json

if TYPE_CHECKING:
    from ...develop.bisect import Bisection


def bisect(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    against: Annotated[
        Path | None, typer.Option(help="The model that is right; by default the model itself in float64.")
    ] = None,
    input: Inputs = None,
    arithmetic: Arithmetic = "declared",
    engine: Engine = None,
    function: Function = None,
    bound: Annotated[float, typer.Option(help="Signal-to-noise ratio that is good enough, in dB.")] = 40.0,
    operations: Every = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Find the first operation under a bound of noise, and which operations to keep in float32.

    The exit status is 1 if an output is under the bound.
    """
    from ...develop.bisect import bisect as bisected
    from .loading_bar import loading_bar
    from .open_argument import open_argument

    asset = open_argument(model)
    right = open_argument(against) if against is not None else None
    features = features_of(asset, function, input)
    how: dict[str, object] = {"arithmetic": arithmetic, "engine": engine, "function": function, "bound": bound}
    with loading_bar("bisect"):
        found = bisected(asset, right, features, **how)  # type: ignore[arg-type]
    if json_:
        print_json(found)
    else:
        print_comparison(found.comparison, operations)
        _print(found)
    if not found.right:
        raise typer.Exit(1)


def _print(found: Bisection) -> None:
    from .terminal import say

    first, fix = found.first, found.fix
    if first is None:
        say(f"no operation is under {found.bound:g} dB")
        return
    how = f"creates {decibels(first.created)}" if first.origin else f"inherits {decibels(first.inherited)}"
    say(f"the first under {found.bound:g} dB: '{first.name}' ({first.kind}), which {how}")
    if fix is not None:
        names = ",".join(fix.keep)
        gain = f"{decibels(fix.before)} -> {decibels(fix.after)}"
        say(f"computed in float32, the outputs are {'right' if fix.after >= found.bound else 'better'}: {gain}")
        say(f"  keep in float32: {names}")
