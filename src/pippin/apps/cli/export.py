"""pippin export: writes a model as ONNX, as the engines receive it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigurationError

if TYPE_CHECKING:
    import onnx


def export(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    path: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    function: Annotated[str | None, typer.Option(help="Function of a multi-function model.")] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float16 computes float16 values in float16; auto, float32, bfloat16, dynamic_int8 in float32."
        ),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Export a model as ONNX, as the engines receive it.

    Weights over 2 GiB go into a second file next to it.
    """
    from onnx import helper

    from ...specialization.specializer import lower_function
    from .common_options import configuration_of
    from .loading_bar import loading_bar
    from .open_argument import open_argument
    from .terminal import console, format_bytes

    configuration = configuration_of(function, precision=precision)
    if path.exists() and not force:
        raise ConfigurationError(f"{path} already exists; use --force to overwrite it")
    if not path.parent.is_dir() or path.is_dir():
        raise ConfigurationError(
            f"{path} cannot be written: {'it is a' if path.is_dir() else 'there is no such'} folder"
        )
    asset = open_argument(model)
    asset.description.function(function)
    with loading_bar("lower"):
        lowered = lower_function(asset, configuration)
    metadata = asset.description.metadata
    known = {"author": metadata.author, "license": metadata.license, "version": metadata.version}
    helper.set_model_props(lowered.model, {k: v for k, v in known.items() if v} | dict(metadata.user_defined))
    lowered.model.doc_string = metadata.short_description
    _write(lowered.model, path)
    nodes = len(lowered.model.graph.node)
    console().print(
        f"{path}: {nodes} nodes, {format_bytes(path.stat().st_size)}, opset {lowered.model.opset_import[0].version}"
    )


def _write(model: onnx.ModelProto, path: Path) -> None:
    """Write to temporary files, then rename: weights first, because the model refers to them."""
    from ...lowering.external_data import is_large, whole, write_weights

    temporary, temporary_weights = (path.with_name(f".{path.name}{suffix}.{os.getpid()}") for suffix in ("", ".data"))
    weights = path.with_name(f"{path.name}.data")
    try:
        large = is_large(model)
        if large:
            model = write_weights(model, temporary_weights, weights.name)
        temporary.write_bytes((model if large else whole(model)).SerializeToString())
        if large:
            temporary_weights.replace(weights)
        temporary.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
        temporary_weights.unlink(missing_ok=True)
