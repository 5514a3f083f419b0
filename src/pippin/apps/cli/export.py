"""pippin export: a model as ONNX, as the engines get it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigurationError

if TYPE_CHECKING:
    import onnx


def export(
    model: Annotated[Path, typer.Argument(help="An .mlpackage or .mlmodel.")],
    path: Annotated[Path, typer.Argument(help="Where to write the .onnx file.")],
    function: Annotated[str | None, typer.Option(help="The function of a multi-function model.")] = None,
    precision: Annotated[str, typer.Option(help="What float16 is computed in: auto, float32 or float16.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the lowered ONNX model; weights over 2 GiB go into a file beside it."""
    from onnx import helper

    from ...configuration import Configuration
    from ...program import open_model
    from ...specialization.specializer import lower_function
    from .console import console, format_bytes

    if path.exists() and not force:
        raise ConfigurationError(f"{path}: is there already; --force replaces it")
    asset = open_model(model)
    lowered = lower_function(asset, Configuration(function_name=function, precision=precision))  # type: ignore[arg-type]
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
    """Aside first, then under its name; the weights of a large model before the model that refers to them."""
    from ...lowering.external_data import is_large, write_weights

    aside, weights_aside = (path.with_name(f".{path.name}{suffix}.{os.getpid()}") for suffix in ("", ".data"))
    weights = path.with_name(f"{path.name}.data")
    try:
        large = is_large(model)
        if large:
            model = write_weights(model, weights_aside, weights.name)
        aside.write_bytes(model.SerializeToString())
        if large:
            weights_aside.replace(weights)
        aside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        aside.unlink(missing_ok=True)
        weights_aside.unlink(missing_ok=True)
