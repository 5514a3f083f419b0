"""pippin studio: serves a local page that shows a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def studio(
    model: Annotated[
        Path | None,
        typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx; by default chosen on the page."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free port.", min=0, max=65535)] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Open a local page that shows a model.

    The page shows features, operations, devices and performance.
    """
    from ...format.asset import open_asset
    from ..studio.server import serve
    from .open_argument import model_path

    if model is not None:
        model = model_path(model)
        open_asset(model)  # an invalid model fails here, before a page opens

    def ready(address: str) -> None:
        typer.echo(f"Pippin Studio: {address} (press Ctrl-C to stop)")
        if open_:
            import webbrowser

            webbrowser.open(address)

    serve(model, port, ready)
