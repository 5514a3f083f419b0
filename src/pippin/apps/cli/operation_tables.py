"""Operation tables: the slowest operations of a plan or report, and the sums by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .terminal import console, format_duration, styled, table

SLOWEST = 10
_KINDS = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One operation: what is printed of it, and what it is sorted by."""

    name: str
    kind: str
    cells: tuple[str, ...]
    """The cells after its name and kind."""
    share: float
    """Estimated share of the prediction, 0 to 1."""
    seconds: float | None = None
    """Measured."""


def print_operations(rows: Sequence[Row], columns: Sequence[str], every: bool) -> None:
    """Print the slowest operations, by measured time if there is one, or all in their order; then the sums by kind."""
    measured = any(row.seconds is not None for row in rows)
    slowest = sorted(rows, key=lambda row: -((row.seconds or 0.0) if measured else row.share))
    shown = rows if every else slowest[:SLOWEST]
    title = None if len(shown) == len(rows) else f"the {len(shown)} slowest of {len(rows)} operations"
    listed = table("operation", "kind", *columns, title=title)
    for row in shown:
        listed.add_row(row.name, row.kind, *row.cells)
    console().print(listed)
    _print_kinds(rows, measured)
    if title is not None:
        console().print("--operations lists all", style="dim")


def _print_kinds(rows: Sequence[Row], measured: bool) -> None:
    sums: dict[str, list[float]] = {}
    for row in rows:
        total = sums.setdefault(row.kind, [0, 0.0, 0.0])
        total[0] += 1
        total[1] += row.share
        total[2] += row.seconds or 0.0
    order = sorted(sums.items(), key=lambda item: -item[1][2 if measured else 1])
    listed = table("kind", "operations", "cost", *(["measured"] if measured else []))
    for kind, (count, share, seconds) in order[:_KINDS]:
        listed.add_row(styled(kind), str(int(count)), f"{share:.1%}", *([_time(seconds)] if measured else []))
    if len(order) > _KINDS:
        listed.add_row(f"... ({len(order)} total)")
    console().print(listed)


def _time(seconds: float) -> str:
    """Empty for a kind whose operations were all fused with others."""
    return format_duration(seconds) if seconds else ""
