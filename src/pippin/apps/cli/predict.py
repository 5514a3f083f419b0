"""pippin predict: runs predictions on files and values."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .common_options import Engine, Function, Precision, Strategy, Threads, Units, configuration_of


def predict(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel or .mlmodelc.")],
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE_OR_VALUE; repeat for each input. Files: .npy .npz .json .csv .wav .png .jpg."
            ' Values: 3.5, text, [1, 2], {"word": 2}, zeros, ones, random:SEED; - is standard input.'
            " A .npz or .json file without NAME= provides all inputs by name. A folder of images, or an image input"
            " that is repeated, gives one prediction for each file."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write every output to a file in this folder.")] = None,
    function: Function = None,
    engine: Engine = None,
    precision: Precision = "auto",
    compute_units: Units = "ALL",
    threads: Threads = None,
    strategy: Strategy = "default",
    resize: Annotated[
        Literal["scale_fill", "scale_fit", "center_crop", "error"] | None,
        typer.Option(
            help="How images get the size that the model expects: image files are stretched (scale_fill) by default,"
            " arrays are not resized; error: a wrong size is an error."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of labels of a classifier.")] = 5,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run one prediction, or one for each of several images, and print the outputs."""
    from ...runtime.model import load
    from .check_inputs import check_inputs
    from .loading_bar import loading_bar
    from .open_argument import open_argument
    from .print_outputs import as_json, make_folder, write_outputs
    from .print_results import View, print_result, print_row
    from .rows import read_rows
    from .terminal import console, format_duration, notice, styled

    configuration = configuration_of(function, engine, precision, compute_units, threads, strategy)
    asset = open_argument(model)
    described = asset.description.function(function)
    rows = read_rows(input or [], described, resize, notice)
    check_inputs(rows.shared | dict.fromkeys([rows.image] if rows.image else []), described, asset.description)
    if output is not None:
        make_folder(output)
    started = time.perf_counter()
    with loading_bar() as progress:
        loaded = load(asset, configuration, progress=progress)
    load_time = time.perf_counter() - started
    view = View(asset.description, described, top)
    found: list[dict[str, Any]] = []
    predict_time = 0.0
    for file, features in rows.features(described, resize, notice):
        state = loaded.make_state() if described.states else None
        started = time.perf_counter()
        outputs = loaded.predict(features, state=state)
        predict_time += time.perf_counter() - started
        folder = output if output is None or file is None else output / f"{len(found)}-{file.name}"
        written = write_outputs(outputs, folder) if folder else {}
        if json_:
            named = {} if file is None else {"file": str(file)}
            found.append(named | {"outputs": as_json(outputs, written)})
            continue
        found.append({})
        if file is None:
            print_result(outputs, view)
            for path in written.values():
                console().print(styled(("wrote", "dim"), f" {path}"))
        else:
            print_row(file.name, outputs, view)
    if json_:
        seconds = {"load": load_time, "prediction": predict_time / len(found)}
        facts = {"engine": loaded.engine, "function": loaded.function_name, "seconds": seconds}
        typer.echo(json.dumps(({"rows": found} if rows.image else found[0]) | facts, allow_nan=False))
        return
    each = f"{len(found)} predictions in" if rows.image else "predicted in"
    times = f"loaded in {format_duration(load_time)}, {each} {format_duration(predict_time)}"
    console().print(f"{loaded.engine}: {times}", style="dim")
