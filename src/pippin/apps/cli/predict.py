"""pippin predict: runs predictions on files and values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...errors import ConfigurationError
from .common_options import (
    CacheFolder,
    Engine,
    Function,
    Precision,
    Strategy,
    Threads,
    Units,
    cache_of,
    configuration_of,
)
from .shape_options import Batch, Shapes

if TYPE_CHECKING:
    from ...runtime.model import Model
    from .cases import Case, Cases
    from .nonfinite_warnings import Origins
    from .print_results import View


def predict(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE_OR_VALUE; repeat for each input. Files: .npy .npz .json .csv .wav .png .jpg."
            ' Values: 3.5, text, [1, 2], {"word": 2}, zeros, ones, random:SEED; - is standard input.'
            " A .npz or .json file without NAME= provides all inputs by name; a .csv or .jsonl file does so for one"
            " prediction per row. A folder, or an input that is repeated, gives one prediction for each file; a sound"
            " that is longer than the model takes, one for each window."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="A folder gets every output as a file; a picture (.png, .jpg) shows the result drawn into the input; a"
            " .csv or .jsonl file gets one row for each prediction."
        ),
    ] = None,
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
    sample_rate: Annotated[
        int | None,
        typer.Option(min=100, max=768_000, help="Rate in Hz of the sounds that the model expects, if it states none."),
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(min=0.0, max=0.99, help="Share of a sound's window that the next one repeats.")
    ] = None,
    shape: Shapes = None,
    batch: Batch = None,
    top: Annotated[int, typer.Option(min=1, help="Number of labels of a classifier.")] = 5,
    cache: CacheFolder = None,
    format: Annotated[
        Literal["text", "json", "jsonl", "csv"],
        typer.Option(help="What is printed; jsonl and csv have one line for each prediction."),
    ] = "text",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run one prediction, or one for each of several files, rows or windows, and print the outputs."""
    from ...runtime.model import load
    from .cases import Reading, read_cases
    from .check_inputs import check_inputs
    from .loading_bar import loading_bar
    from .nonfinite_warnings import Origins
    from .open_argument import open_argument
    from .print_results import View
    from .results import Results
    from .shape_options import with_shapes
    from .sound_input import SoundOptions
    from .terminal import format_duration, notice

    configuration = configuration_of(function, engine, precision, compute_units, threads, strategy)
    asset = open_argument(model)
    described = with_shapes(asset.description.function(function), shape, batch)
    view = View(asset.description, described, top)
    sound = SoundOptions(sample_rate or view.kind.sample_rate, overlap or 0.0)
    cases = read_cases(input or [], Reading(described, resize, notice, sound))
    _check_sound(cases, view, sample_rate, overlap)
    for features in cases.checked:
        check_inputs(features, described, asset.description)
    results = Results(view, "json" if json_ else format, output, resize)
    results.check(cases)
    started = time.perf_counter()
    with loading_bar() as progress:
        loaded = load(asset, configuration, cache=cache_of(cache) if cache else True, progress=progress)
    load_time, predict_time = time.perf_counter() - started, 0.0
    with results.open():
        for case, outputs, warnings, seconds in _predictions(loaded, cases, view, Origins(asset, configuration)):
            results.add(case, outputs, warnings)
            predict_time += seconds
    took = {"load": load_time, "prediction": predict_time / results.count}
    facts = {"engine": loaded.engine, "function": loaded.function_name, "seconds": took}
    each = f"{results.count} predictions in" if cases.several else "predicted in"
    times = f"loaded in {format_duration(load_time)}, {each} {format_duration(predict_time)}"
    results.end(facts, f"{loaded.engine}: {times}")


def _predictions(
    model: Model, cases: Cases, view: View, origins: Origins
) -> Iterator[tuple[Case, dict[str, Any], list[str], float]]:
    """Each case with its outputs, what is said of NaN and infinity, and the seconds that it took. A case that continues
    another one gets its state, and the outputs that the model takes back as inputs."""
    from ..studio.preview.kinds import carried
    from .nonfinite_warnings import not_finite

    stateful = bool(view.function.states)
    back = carried(view.function) if cases.windowed else {}
    state, handed = None, dict[str, Any]()
    for case in cases.each():
        if case.begins:
            state, handed = model.make_state() if stateful else None, {}
        features = {**case.features, **handed}
        before = {} if state is None else {name: state.read(name) for name in state.names}
        started = time.perf_counter()
        outputs = model.predict(features, state=state)
        seconds = time.perf_counter() - started
        warnings = not_finite(outputs)
        reason = origins.of(features, before, outputs) if warnings else ""
        handed = {name: outputs[output] for output, name in back.items() if output in outputs}
        yield case, outputs, [*warnings, *([reason] if reason else [])], seconds


def _check_sound(cases: Cases, view: View, rate: int | None, overlap: float | None) -> None:
    """Raise ConfigurationError for an option of sounds that has no effect, or a wrong one."""
    from ...features.sound import is_sound
    from ..studio.preview.kinds import carried

    given = "--sample-rate" if rate is not None else "--overlap" if overlap is not None else ""
    if given and not any(is_sound(path.name) for path in cases.given):
        raise ConfigurationError(f"{given} applies to sounds, and no input is one")
    if overlap and (view.function.states or carried(view.function)):
        raise ConfigurationError("--overlap: the model remembers the window before, so windows cannot overlap")
