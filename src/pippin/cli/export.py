"""pippin export: a model as ONNX, as the engines get it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigurationError

_PROTOBUF_LIMIT = 2**31 - 2**20  # a protobuf message has less than 2 GiB; some room for what wraps it


def export(
    model: Annotated[Path, typer.Argument(help="An .mlpackage or .mlmodel.")],
    path: Annotated[Path, typer.Argument(help="Where to write the .onnx file.")],
    function: Annotated[str | None, typer.Option(help="The function of a multi-function model.")] = None,
    precision: Annotated[str, typer.Option(help="What float16 is computed in: auto, float32 or float16.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the lowered ONNX model; weights over 2 GiB go into a file beside it."""
    import onnx

    from ..configuration import Configuration
    from ..format.asset import open_asset
    from ..session import lower_function
    from .console import console, sized

    if path.exists() and not force:
        raise ConfigurationError(f"{path}: is there already; --force replaces it")
    asset = open_asset(model)
    lowered = lower_function(asset, Configuration(function_name=function, precision=precision))  # type: ignore[arg-type]
    metadata = asset.description.metadata
    known = {"author": metadata.author, "license": metadata.license, "version": metadata.version}
    onnx.helper.set_model_props(lowered.model, {k: v for k, v in known.items() if v} | dict(metadata.user_defined))
    lowered.model.doc_string = metadata.short_description
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if lowered.model.ByteSize() < _PROTOBUF_LIMIT:
            aside.write_bytes(lowered.model.SerializeToString())
        else:
            onnx.save(lowered.model, aside, save_as_external_data=True, location=f"{path.name}.data")
        aside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        aside.unlink(missing_ok=True)
    nodes = len(lowered.model.graph.node)
    console().print(
        f"{path}: {nodes} nodes, {sized(path.stat().st_size)}, opset {lowered.model.opset_import[0].version}"
    )
