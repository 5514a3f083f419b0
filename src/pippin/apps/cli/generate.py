"""pippin generate: writes a typed Python module for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common_options import Function


def generate(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Python file to write; printed if omitted.")
    ] = None,
    class_name: Annotated[str | None, typer.Option(help="Class name; derived from the file name by default.")] = None,
    function: Function = None,
) -> None:
    """Generate a typed Python module for a model.

    It defines dataclasses for inputs and outputs, and a class that loads the model and predicts.
    """
    from ...errors import ConfigurationError
    from ...support.atomic_write import atomic_write
    from ..interface.generate_module import generate as generated
    from .open_argument import model_path
    from .output_file import check_file
    from .terminal import write

    if output is not None:
        check_file(output, "--output")
    text = generated(model_path(model), class_name, function)
    if output is None:
        write(text)
    else:
        try:
            with atomic_write(output) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{output} cannot be written: {error.strerror or error}") from None
