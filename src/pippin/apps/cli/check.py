"""pippin check: looks for what 16 bits cannot hold, and for what Apple's devices are reported to refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .common_options import Function
from .difference_tables import Inputs, features_of


def check(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    input: Inputs = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="Also list what Apple's devices are reported to refuse or get wrong.")
    ] = False,
    float16: Annotated[
        bool, typer.Option("--float16", help="Look at a float32 model as if it were converted to float16.")
    ] = False,
    function: Function = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Look for constants, epsilons and values that 16 bits cannot hold, and for the first NaN or infinity.

    The exit status is 1 if something is found.
    """
    import json
    from dataclasses import asdict

    from ...develop.check import check as checked
    from .loading_bar import loading_bar
    from .open_argument import open_argument
    from .terminal import console, say, styled

    asset = open_argument(model)
    features = features_of(asset, function, input)
    with loading_bar("check"):
        precision: Literal["declared", "float16"] = "float16" if float16 else "declared"
        found = checked(asset, features, precision=precision, portable=portable, function=function)
    if json_:
        typer.echo(json.dumps({"model": asset.name, "findings": [asdict(finding) for finding in found]}))
    else:
        for finding in found:
            where = f"  '{finding.operation}' ({finding.kind})" if finding.operation else ""
            console().print(styled((finding.rule, "bold"), where))
            say(f"  {finding.found}")
            say(f"  cure: {finding.cure}")
            if finding.source:
                say(f"  reported: {finding.source}")
        given = "the given inputs" if features else "random inputs (real ones may show more: --input)"
        say(f"{len(found)} found, with {given}" if found else f"nothing found, with {given}")
    if found:
        raise typer.Exit(1)
