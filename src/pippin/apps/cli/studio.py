"""pippin studio: a page in the browser that shows a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def studio(
    model: Annotated[
        Path | None, typer.Argument(help="An .mlpackage, .mlmodel or .mlmodelc; else one is chosen.")
    ] = None,
    port: Annotated[int, typer.Option(help="The port to listen on; 0: any that is free.", min=0, max=65535)] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Serve a page on this machine that shows a model: what it takes, gives, does, where and how fast."""
    from ...format.asset import open_asset
    from ..studio.server import serve

    if model is not None:
        open_asset(model)  # what is wrong with it is told here, before a page is opened

    def ready(address: str) -> None:
        typer.echo(f"Pippin Studio: {address} (Ctrl-C ends it)")
        if open_:
            import webbrowser

            webbrowser.open(address)

    serve(model, port, ready)
