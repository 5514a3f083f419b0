"""pippin generate: a typed Python module for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Function


def generate(
    model: Annotated[Path, typer.Argument(help="An .mlpackage or .mlmodel.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The module to write; printed where none is named.")
    ] = None,
    class_name: Annotated[str | None, typer.Option(help="The name of the class; from the file's by default.")] = None,
    function: Function = None,
) -> None:
    """Generate a typed interface: dataclasses of the inputs and outputs, and a class that loads and predicts."""
    from ..interface.module import generate as generated
    from ..reporting.results import write_aside

    text = generated(model, class_name, function)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_aside(output, text)
