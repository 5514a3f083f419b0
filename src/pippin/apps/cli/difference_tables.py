"""Difference tables: prints where the numbers of two runs part; the options that the commands for it share."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ...develop.compare import Comparison, Difference
    from ...format.asset import Asset

WORST = 10

Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="NAME=FILE_OR_VALUE, as for `pippin predict`; random values by default."),
]
Arithmetic = Annotated[
    str,
    typer.Option(
        help="declared: every result is rounded to its type in the program; float16 or bfloat16: every result and"
        " weight; float32.",
        autocompletion=lambda: ["declared", "float16", "bfloat16", "float32"],
    ),
]
Every = Annotated[bool, typer.Option("--operations", help="List all operations; by default the ten worst.")]


def features_of(asset: Asset, function: str | None, given: list[str] | None) -> dict[str, Any] | None:
    """The inputs of the first prediction that the arguments give; None if there are none."""
    if not given:
        return None
    from .cases import Reading, read_cases
    from .check_inputs import check_inputs
    from .terminal import notice

    described = asset.description.function(function)
    case = next(read_cases(given, Reading(described, None, notice)).each())
    check_inputs(case.features, described, asset.description)
    return dict(case.features)


def decibels(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} dB" if math.isfinite(value) else "equal" if value > 0 else "wrong"


def print_comparison(found: Comparison, every: bool) -> None:
    """The outputs, then the operations that create most noise, or all in their order."""
    from .terminal import console, table

    out = console()
    out.print(f"{found.second} against {found.first} in float64", style="bold")
    outputs = table("output", "signal to noise")
    for name, noise in found.outputs.items():
        outputs.add_row(name, decibels(noise))
    out.print(outputs)
    shown = list(found.differences) if every else found.worst(WORST)
    count = len(found.differences)
    title = f"{count} operations" if every else f"the {len(shown)} operations of {count} that create most noise"
    _print_rows(shown, title)
    if found.unmatched:
        out.print(f"not in {found.second}: {_few(found.unmatched)}", style="dim")
    if not every and count > len(shown):
        out.print("--operations lists all", style="dim")


def _print_rows(shown: Sequence[Difference], title: str) -> None:
    from .terminal import console, table

    console().print(title, style="bold")
    rows = table("operation", "kind", "created", "inherited", "total")
    for d in shown:
        name = f"{d.name} ({d.counterpart})" if d.counterpart else d.name
        rows.add_row(name, d.kind, decibels(d.created), decibels(d.inherited), decibels(d.total))
    console().print(rows)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - WORST} more" if len(names) > WORST else ""
    return ", ".join(names[:WORST]) + more


def print_json(found: Any) -> None:
    """One JSON object. Ratios that are not finite are the words "equal" and "wrong"."""
    typer.echo(json.dumps(_plain(asdict(found))))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return decibels(value) if isinstance(value, float) and not math.isfinite(value) else value
