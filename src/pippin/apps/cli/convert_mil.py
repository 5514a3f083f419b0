"""pippin convert-mil: converts a model's program to MIL text, and MIL text to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigurationError, UnsupportedModelError
from ...support.atomic_write import atomic_write
from .terminal import write

if TYPE_CHECKING:
    from ...format.asset import Asset

_COMPILED, _PACKAGE, _TEXT = ".mlmodelc", ".mlpackage", ".mil"


def convert_mil(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel or .mlmodelc, or a .mil text.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="X.mil, X.mlmodelc or X.mlpackage to write; prints MIL text if omitted."),
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="For a .mil text: the model that provides the description and weights.")
    ] = None,
    part: Annotated[int | None, typer.Option(help="Index of the model in a pipeline, from 0.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing text file.")] = False,
) -> None:
    """Convert a program to MIL text, or to another model format.

    To edit a program, run `pippin convert-mil X.mlpackage -o X.mil`, edit the text, then run
    `pippin convert-mil X.mil --like X.mlpackage -o Y.mlpackage`. A compiled model holds its text in `model.mil`, which
    can be edited in place.
    """
    from ...program import mil_text, read_program
    from ...program.save import save_compiled, save_package
    from .output_file import check_file

    if output is not None:
        check_file(output, "--output")
    asset = _part(_opened(model, like), part)
    if output is None or output.suffix == _TEXT:
        if asset.description.kind != "mlProgram":
            raise UnsupportedModelError(
                f"{asset.name} is a {asset.description.kind} model; only an ML Program has MIL text"
                + ("; select one of its models with --part" if asset.parts() else "")
            )
        text = mil_text(read_program(asset))
        if output is None:
            write(text)
        else:
            _write(text, output, force)
        return
    if output.suffix not in (_COMPILED, _PACKAGE):
        raise ConfigurationError(f"{output}: the output must be a .mil, .mlmodelc or .mlpackage")
    if output.exists():
        raise ConfigurationError(f"{output} already exists")
    try:
        (save_compiled if output.suffix == _COMPILED else save_package)(asset, output)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror or error}") from None


def _opened(model: Path, like: Path | None) -> Asset:
    from ...program.opening import edited
    from .open_argument import model_path, open_argument

    if like is None:
        return open_argument(model)
    if model.suffix != _TEXT:
        raise ConfigurationError(
            f"{model}: --like applies only to a .mil text; a model has its own description and weights"
        )
    return edited(model_path(model), open_argument(like))


def _part(asset: Asset, number: int | None) -> Asset:
    if number is None:
        return asset
    parts = asset.parts()
    if not 0 <= number < len(parts):
        raise ConfigurationError(f"{asset.name} has no part {number} (number of parts: {len(parts)}, counted from 0)")
    return parts[number]


def _write(text: str, path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ConfigurationError(f"{path} already exists; use --force to overwrite it")
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None
