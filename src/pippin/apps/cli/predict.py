"""pippin predict: runs one prediction on files and values."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def predict(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel or .mlmodelc.")],
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE_OR_VALUE; repeat for each input. Files: .npy .npz .json .csv .wav .png .jpg."
            ' Values: 3.5, text, [1, 2], {"word": 2}, zeros, ones, random:SEED.'
            " A .npz or .json file without NAME= provides all inputs by name."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write every output to a file in this folder.")] = None,
    function: Annotated[str | None, typer.Option(help="Function of a multi-function model.")] = None,
    engine: Annotated[str | None, typer.Option(help="openvino, onnxruntime or mnn; the fastest by default.")] = None,
    precision: Annotated[
        str, typer.Option(help="Precision for float16 values: auto, float32, bfloat16 or float16.")
    ] = "auto",
    resize: Annotated[
        Literal["scale_fill", "scale_fit", "center_crop"] | None,
        typer.Option(help="Resize images to the size that the model expects."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run one prediction and print the outputs."""
    from ...configuration import Configuration
    from ...runtime.model import load
    from .parse_inputs import read_inputs
    from .print_outputs import as_json, print_outputs, write_outputs
    from .terminal import console, format_duration, styled

    configuration: Any = Configuration(function_name=function, engine=engine, precision=precision)  # type: ignore[arg-type]
    started = time.perf_counter()
    loaded = load(model, configuration)
    load_time = time.perf_counter() - started
    features = read_inputs(input or [], loaded.description.function(loaded.function_name), resize)
    state = loaded.make_state() if loaded.description.function(loaded.function_name).states else None
    started = time.perf_counter()
    outputs = loaded.predict(features, state=state)
    predict_time = time.perf_counter() - started
    written = write_outputs(outputs, output) if output else {}
    if json_:
        found = {"outputs": as_json(outputs, written), "engine": loaded.engine, "function": loaded.function_name}
        seconds = {"load": load_time, "prediction": predict_time}
        typer.echo(json.dumps(found | {"seconds": seconds}, allow_nan=False))
        return
    print_outputs(outputs)
    for path in written.values():
        console().print(styled(("wrote", "dim"), f" {path}"))
    times = f"loaded in {format_duration(load_time)}, predicted in {format_duration(predict_time)}"
    console().print(f"{loaded.engine}: {times}", style="dim")
