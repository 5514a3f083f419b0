"""pippin plan: shows what runs where and why, and checks conditions in CI."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from .terminal import say

if TYPE_CHECKING:
    from ...specialization.compute_plan import ComputePlan


def plan(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    function: Function = None,
    engine: Engine = None,
    precision: Precision = "auto",
    compute_units: Units = "ALL",
    threads: Threads = None,
    strategy: Strategy = "default",
    shape: Shapes = None,
    batch: Batch = None,
    cache: CacheFolder = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the time of each operation.")] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with status 1 unless a device or engine does this share of the work: 'cpu>=0.9'; repeatable."
        ),
    ] = None,
    operations: Annotated[
        bool, typer.Option("--operations", help="List all operations; by default the ten slowest.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Show the compute plan: what runs on which device, and why.

    Lists the segments, the candidates with their times, and the operations with devices and reasons.
    """
    from ...runtime.model import load
    from .loading_bar import loading_bar
    from .open_argument import open_argument
    from .shape_options import shaped_asset

    configuration = configuration_of(function, engine, precision, compute_units, threads, strategy)
    for condition in require or ():
        _parsed(condition)
    asset = open_argument(model)
    shaped = shaped_asset(asset, function, shape, batch)
    kept = shaped is asset  # the cache holds what was measured with the model's own shapes
    with loading_bar() as progress:
        loaded = load(shaped, configuration, cache=kept and (cache_of(cache) if cache else True), progress=progress)
    with loading_bar("measure"):
        found = loaded.measured_plan() if measure else loaded.compute_plan
    if json_:
        typer.echo(json.dumps(asdict(found)))
    else:
        _print(found, operations)
    failed = [condition for condition in require or () if not _holds(condition, found)]
    for condition in failed:
        say(f"requirement not met: {condition}", err=True)
    if failed:
        raise typer.Exit(1)


def _holds(condition: str, plan: ComputePlan) -> bool:
    import operator

    subject, comparison, number = _parsed(condition)
    compare = {
        ">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt,
    }[comparison]  # fmt: skip
    return bool(compare(plan.share(subject), number))


def _parsed(condition: str) -> tuple[str, str, float]:
    """Device or engine, comparison and share. Raises ConfigurationError."""
    import re

    from ...errors import ConfigurationError

    match = re.fullmatch(r"\s*(\w+)\s*(>=|<=|==|>|<)\s*(\d+\.?\d*|\.\d+)\s*", condition)
    if match is None:
        raise ConfigurationError(f"--require must be a condition such as cpu>=0.9, got {condition!r}")
    return match[1], match[2], float(match[3])


def _print(plan: ComputePlan, every: bool) -> None:
    from .operation_tables import Row, print_operations
    from .terminal import console, format_duration, table

    out = console()
    out.print(f"function {plan.function}; precision: {plan.precision}")
    if plan.stage:
        out.print(f"stage: {plan.stage}")
    rows = table("segment", "device", "engine", "precision", "operations")
    for number, s in enumerate(plan.segments):
        rows.add_row(str(number), s.device, f"{s.engine} {s.engine_version}", s.precision, str(s.operations))
    out.print(rows)
    held = any(c.held for c in plan.candidates)
    rows = table("candidate", "prediction", "compilation", "signal to noise", *(["memory"] if held else []), "")
    for c in plan.candidates:
        noise = f"{min(c.signal_to_noise.values()):.1f} dB" if c.signal_to_noise else ""
        timed = [format_duration(t) if t is not None else "" for t in (c.seconds, c.compilation)]
        rows.add_row(str(c), *timed, noise, *([c.held] if held else []), c.note or "chosen")
    out.print(rows)
    listed = []
    for op in plan.operations:
        if op.device:
            took = plan.measurement(op.name)
            time = f"with {took}" if isinstance(took, str) else "" if took is None else format_duration(took)
            cells = op.device, op.engine, f"{op.cost:.1%}", time
            listed.append(Row(op.name, op.kind, cells, op.cost, took if isinstance(took, float) else None))
    print_operations(listed, ("device", "engine", "cost", "measured"), every)
    reasons = {f"{device}: {why}" for op in plan.operations for device, why in op.reasons.items()}
    for reason in sorted(reasons):
        out.print(f"not on {reason}", style="dim")
