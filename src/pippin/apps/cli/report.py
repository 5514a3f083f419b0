"""pippin report: measures models on this machine, side by side and against a saved report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .common_options import ENGINES, PRECISIONS, UNITS, Function, Strategy
from .shape_options import Batch, Shapes
from .terminal import say

if TYPE_CHECKING:
    from ...configuration import Configuration
    from ...reporting.compare import Verdict
    from ...reporting.performance_report import Report
    from ...reporting.results import Result


def report(
    models: Annotated[list[Path], typer.Argument(help="Models: .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    function: Function = None,
    compute_units: Annotated[
        list[str] | None,
        typer.Option(
            "--compute-units",
            help="ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE; repeat to compare.",
            autocompletion=UNITS,
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="auto, float32, bfloat16, float16 or dynamic_int8; repeat to compare.", autocompletion=PRECISIONS
        ),
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="openvino, onnxruntime or mnn; repeat to compare.", autocompletion=ENGINES)
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="Maximum threads per prediction; repeat to compare.")
    ] = None,
    strategy: Strategy = "default",
    shape: Shapes = None,
    batch: Batch = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs", "--input", help="NAME=FILE_OR_VALUE, as for `pippin predict`; random values by default."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Seconds to measure predictions.")] = 2.0,
    json_: Annotated[Path | None, typer.Option("--json", help="Write the report to this JSON file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the figures to this CSV file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report to this HTML file, with plots.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Compare with this report, written by --json.")] = None,
    operations: Annotated[
        bool, typer.Option("--operations", help="List all operations; by default the ten slowest.")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with status 1 if this holds: 'prediction.median > 1.1 * baseline', 'memory.peak > 500 * MB';"
            " repeatable."
        ),
    ] = None,
) -> None:
    """Measure latency, load time, throughput and memory.

    Also reports compilation and each operation. Several models and configurations are compared side by side.
    """
    from ...errors import ConfigurationError, ReportError
    from ...reporting.compare import judge
    from ...reporting.fail_conditions import Condition
    from ...reporting.performance_report import read_report
    from .open_argument import model_path
    from .output_file import check_file

    try:
        conditions = [Condition(text) for text in fail_if or ()]
        saved = read_report(baseline) if baseline is not None else None
    except ReportError as error:
        raise ConfigurationError(str(error)) from None
    for path, option in ((json_, "--json"), (csv, "--csv"), (html, "--html")):
        if path is not None:
            check_file(path, option)
    models = [model_path(model) for model in models]
    rows = _configurations(function, compute_units, precision, engine, threads, strategy)
    measured = _measured(models, rows, _Given(inputs, shape, batch), seconds)
    for result in measured.results:
        _print(result, operations)
    if len(measured.results) > 1:
        _print_side_by_side(measured)
    if saved is not None:
        _print_changes(measured, saved)
    for path, write in ((json_, measured.write_json), (csv, measured.write_csv)):
        if path is not None:
            write(path)
    if html is not None:
        measured.write_html(html, saved)
    verdicts = judge(measured.results, saved.results if saved else (), conditions)
    _print_verdicts(verdicts)
    if any(verdict.failed for verdict in verdicts):
        raise typer.Exit(1)


def _configurations(
    function: str | None,
    units: list[str] | None,
    precisions: list[str] | None,
    engines: list[str] | None,
    threads: list[int] | None,
    strategy: str,
) -> list[Configuration]:
    from .common_options import configuration_of

    chosen: list[str | None] = [*engines] if engines else [None]
    counts: list[int | None] = [*threads] if threads else [None]
    return [
        configuration_of(function, engine, precision, unit, count, strategy)
        for unit in units or ["ALL"]
        for precision in precisions or ["auto"]
        for engine in chosen
        for count in counts
    ]


class _Given(NamedTuple):
    """What is measured with."""

    inputs: list[str] | None = None
    shapes: list[str] | None = None
    batch: int | None = None


def _measured(models: list[Path], rows: list[Configuration], given: _Given, seconds: float) -> Report:
    from ...reporting import report as measured
    from .terminal import progress_bar

    features = [_features(model, rows[0].function_name, given) for model in models]
    results: list[Result] = []
    with progress_bar("report", err=True) as show:
        for number, (model, inputs) in enumerate(zip(models, features, strict=True)):

            def progress(stage: str, share: float, done: int = number) -> None:
                show(stage, (done + share) / len(models))

            found = measured(model, configurations=rows, inputs=inputs, seconds=seconds, progress=progress)
            results += found.results
    return replace(found, results=tuple(results))


def _features(model: Path, name: str | None, given: _Given) -> dict[str, Any] | None:
    """The inputs to measure with; None for random ones of the default shapes. Raises ConfigurationError and
    FeatureError for what does not fit the model."""
    from ...format.asset import open_asset
    from ...specialization.sample_inputs import example_features
    from ..studio.preview.kinds import kind_of
    from .cases import Reading, read_cases
    from .check_inputs import check_inputs
    from .shape_options import with_shapes
    from .sound_input import SoundOptions
    from .terminal import notice

    described = open_asset(model).description
    function = with_shapes(described.function(name), given.shapes, given.batch)
    if given.inputs:
        rate = kind_of(described, function).sample_rate
        case = next(read_cases(given.inputs, Reading(function, None, notice, SoundOptions(rate))).each())
        if case.name:
            notice(f"measured with {case.name}")
        check_inputs(case.features, function, described)
        return dict(case.features)
    return example_features(function) if given.shapes or given.batch else None


def _print(result: Result, every: bool) -> None:
    from ...reporting.results import Statistics
    from ...support.units import format_bytes, format_duration
    from .operation_tables import Row, print_operations
    from .terminal import console, styled, table

    out = console()
    out.print(styled((result.title, "bold"), f"  {result.kind}, {result.engine}, {format_bytes(result.size)}"))
    kinds = ("median", "average", "first", "minimum", "maximum", "deviation", "p90", "p95", "p99")
    rows = table("", *kinds, "count")
    timed: list[tuple[str, Statistics | None]] = [
        ("prediction", result.prediction),
        ("load, cached", result.load_cached),
        ("load, uncached", result.load_uncached),
        ("compilation", result.compilation),
    ]
    for name, statistics in timed:
        if statistics is not None:
            times = (format_duration(getattr(statistics, kind)) for kind in kinds)
            rows.add_row(name, *times, str(len(statistics.values)))
    out.print(rows)
    facts = table("", "")
    facts.show_header = False
    facts.add_row("throughput", ", ".join(f"{rate:,.1f}/s with {n} in flight" for n, rate in result.throughput.items()))
    if result.memory is not None:
        peak, steady, before = (format_bytes(getattr(result.memory, kind)) for kind in ("peak", "steady", "before"))
        facts.add_row("memory", f"peak {peak}, steady {steady}, before load {before}")
    noise = result.numerics.worst
    quality = "" if noise is None else f"; signal to noise {noise:.1f} dB against float32"
    facts.add_row("precision", f"{result.numerics.precision}: {result.numerics.explanation}{quality}")
    out.print(facts)
    listed = []
    for op in result.operations:
        took = f"with {op.fused}" if op.fused else "" if op.measured is None else format_duration(op.measured)
        cells = op.planned, op.actual, op.engine, format_duration(op.estimated), took
        listed.append(Row(op.name, op.kind, cells, op.share, None if op.fused else op.measured))
    print_operations(listed, ("planned", "actual", "engine", "estimated", "measured"), every)
    reasons = {f"{device}: {why}" for op in result.operations for device, why in op.reasons.items()}
    for reason in sorted(reasons):
        out.print(f"not on {reason}", style="dim")


def _print_side_by_side(report: Report) -> None:
    from ...support.units import format_bytes, format_duration
    from .terminal import console, table

    rows = table("", "prediction", "load, cached", "uncached", "throughput", "peak memory", title="side by side")
    for result in report.results:
        cached = format_duration(result.load_cached.median) if result.load_cached else ""
        best = f"{max(result.throughput.values()):,.1f}/s"
        peak = format_bytes(result.memory.peak) if result.memory else ""
        times = format_duration(result.prediction.median), cached, format_duration(result.load_uncached.median)
        rows.add_row(result.title, *times, best, peak)
    console().print(rows)


def _print_changes(report: Report, baseline: Report) -> None:
    from ...reporting.compare import changes, counterpart
    from ...support.units import format_figure
    from .terminal import console, table

    for number, result in enumerate(report.results):
        before = counterpart(result, baseline.results, number)
        if before is None:
            console().print(f"{result.title}: not in the baseline")
            continue
        rows = table("", "baseline", "now", "ratio", "verdict", title=f"{result.title} against the baseline")
        for change in changes(result, before):
            ratio = "" if change.ratio is None else f"{change.ratio:.2f}"
            values = format_figure(change.before, change.unit), format_figure(change.now, change.unit)
            rows.add_row(change.figure, *values, ratio, change.verdict)
        console().print(rows)


def _print_verdicts(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        outcome = "failed" if verdict.failed else "passed"
        say(f"{outcome}: {verdict.result}: fail if {verdict.condition}", err=verdict.failed)
