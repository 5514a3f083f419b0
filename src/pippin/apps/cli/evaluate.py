"""pippin evaluate: how good models are on labelled data, side by side, with what each costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...errors import ConfigurationError
from .common_options import Engine, Function, Precision, Threads, Units, configuration_of

if TYPE_CHECKING:
    from ...develop.evaluate import Evaluation
    from ...reporting.fail_conditions import Condition


def evaluate(
    models: Annotated[
        list[Path],
        typer.Argument(help="Models (.mlpackage, .mlmodel, .mlmodelc, .aimodel, .onnx), compared with the first."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="A folder for each class; images/ with masks/ or labels/; COCO, Create ML or VOC annotations; a table"
            " (.csv .tsv .parquet .json .jsonl)."
        ),
    ],
    label: Annotated[str | None, typer.Option(help="Column of the truth in a table.")] = None,
    task: Annotated[
        Literal["classification", "detection", "segmentation", "regression", "transcription", "image"] | None,
        typer.Option(help="What the truth is, where the data do not say it."),
    ] = None,
    metric: Annotated[str, typer.Option(help="The metric to compare by; by default the first of the task.")] = "auto",
    output: Annotated[str | None, typer.Option(help="Output of the model that is the answer.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate on so many examples only.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Keep the answers in this file, and go on from it if it is there.")
    ] = None,
    costs: Annotated[bool, typer.Option("--costs/--no-costs", help="Also measure loads, latency and memory.")] = True,
    function: Function = None,
    engine: Engine = None,
    precision: Precision = "auto",
    compute_units: Units = "ALL",
    threads: Threads = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with status 1 if this holds of a model: 'accuracy < 0.9', 'accuracy < baseline - 0.01' (the"
            " baseline is the first model), 'latency > 5 * ms'; repeatable."
        ),
    ] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write everything to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with classes, confusion and mistakes.")] = None,
) -> None:
    """Evaluate models on labelled data: metrics with 95 % intervals, significance, size, latency and memory."""
    from ...develop.data import open_dataset
    from ...develop.evaluate import evaluate as evaluated
    from ...reporting.fail_conditions import Condition
    from .open_argument import model_path
    from .output_file import check_file
    from .terminal import progress_bar, say

    for option, path in (("--resume", resume), ("--json", json_), ("--html", html)):
        if path is not None:
            check_file(path, option)
    conditions = [Condition(text) for text in fail_if or ()]
    configuration = configuration_of(function, engine, precision, compute_units, threads)
    paths = [model_path(path) for path in models]
    opened = open_dataset(data, label, task)
    with progress_bar("evaluate", err=True) as show:

        def progress(done: int, total: int | None, left: float | None) -> None:
            time = "" if left is None else f", {left:.0f} s left"
            show(f"{done:,} of {total or '?'}{time}", done / total if total else 0.0)

        found = evaluated(
            paths, opened, metric, output=output, configuration=configuration, limit=limit, resume=resume, costs=costs,
            progress=progress,
        )  # fmt: skip
    _print(found)
    for path, text in ((json_, found.to_json), (html, found.to_html)):
        if path is not None:
            _write(path, text())
    failed = _failed(found, conditions)
    for line in failed:
        say(line, err=True)
    if failed:
        raise typer.Exit(1)


def _write(path: Path, text: str) -> None:
    from ...support.atomic_write import atomic_write

    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None


def _print(found: Evaluation) -> None:
    from .terminal import console, say, table

    console().print(f"{found.data}: {found.task}, {found.count:,} examples", style="bold")
    head, *rows = found.rows()
    shown = table(*head)
    for row in rows:
        shown.add_row(*row)
    console().print(shown)
    for d in found.differences:
        verdict = "" if d.p < 0.05 else ", which may be chance"
        say(f"{d.second} against {d.first}: {d.metric} {d.value:+.4g} (p = {d.p:.2g}, {d.test}){verdict}")


def _failed(found: Evaluation, conditions: list[Condition]) -> list[str]:
    """A line for each condition that holds of a model. One with a baseline is not asked of the first."""
    first = found.variants[0].numbers()
    lines = []
    for place, variant in enumerate(found.variants):
        for condition in conditions:
            if not place and "baseline" in condition.text and len(found.variants) > 1:
                continue
            if condition.holds(variant.numbers(), first if place else None):
                lines.append(f"{variant.name}: {condition.text}")
    return lines
