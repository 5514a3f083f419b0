"""pippin trace: records a trace of a program, and summarizes traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from ...trace.summary import Summary


class _Programs(TyperGroup):
    """Treats anything that is not a subcommand as the program to run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="trace",
    help="Record what a program does with its models.\n\nExample: pippin trace -o t.json -- python app.py",
    cls=_Programs,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def options(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Trace file to write.")] = Path("trace.json"),
) -> None:
    context.obj = output


# Everything after the program, options included, belongs to the program.
@app.command("run", hidden=True, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    context: typer.Context,
    program: Annotated[list[str], typer.Argument(help="Command or Python script, and its arguments.")],
) -> None:
    """Run a program with PIPPIN_TRACE set, and exit with its status."""
    import os
    import subprocess
    import sys

    from ...errors import ConfigurationError
    from ...trace.autostart import VARIABLE

    output: Path = context.obj.absolute()
    if not output.parent.is_dir():
        raise ConfigurationError(f"{output} cannot be written: folder {output.parent} does not exist")
    command = [sys.executable, *program] if program[0].endswith(".py") else program
    before = output.stat().st_mtime_ns if output.exists() else None
    try:
        child = subprocess.Popen(command, env=os.environ | {VARIABLE: str(output)})
    except OSError as error:
        raise ConfigurationError(f"{program[0]} cannot be run: {error.strerror}") from None
    while True:
        try:
            status = child.wait()
            break
        except KeyboardInterrupt:  # the program is interrupted too, and writes its trace on exit
            continue
    written = output.exists() and output.stat().st_mtime_ns != before
    typer.echo(
        f"wrote trace {output}" if written else "no trace: the program did not import pippin, or was killed", err=True
    )
    raise typer.Exit(status if status >= 0 else 128 - status)


@app.command("summary")
def summary(
    trace: Annotated[Path, typer.Argument(help="Trace file that Pippin wrote.")],
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Summarize a trace: events, concurrency, gaps and memory.

    Shows count, total, average, minimum and maximum of each event, the concurrency, the gaps between predictions and
    the memory.
    """
    from ...trace.summary import summarize

    found = summarize(trace)
    if json_:
        typer.echo(json.dumps(found.plain()))
    else:
        _print(found)


def _print(found: Summary) -> None:
    from .terminal import console, format_bytes, format_duration, table

    rows = table("lane", "model", "event", "count", "total", "average", "minimum", "maximum")
    for row in found.rows:
        name = f"{row.event} ({row.label})" if row.label else row.event
        times = [format_duration(value) for value in (row.total, row.average, row.minimum, row.maximum)]
        rows.add_row(row.lane, row.model, name, str(row.count), *times)
    out = console()
    out.print(rows)
    facts = table("", "")
    facts.show_header = False
    facts.add_row("recorded", format_duration(found.seconds))
    facts.add_row("predictions", f"{found.predictions}" + (f", {found.failed} failed" if found.failed else ""))
    uncompleted = ", ".join(f"{count} {name}" for name, count in found.refused.items() if count)
    facts.add_row("refused", uncompleted) if uncompleted else None
    if found.predictions_per_second is not None:
        facts.add_row("throughput", f"{found.predictions_per_second:,.1f} predictions/s")
    if found.average_concurrency is not None:
        facts.add_row("in flight", f"at most {found.concurrency}, average {found.average_concurrency:.2f} while busy")
    if found.gaps is not None:
        gaps = found.gaps
        each = ", ".join(f"{name} {format_duration(getattr(gaps, name))}" for name in ("average", "median", "maximum"))
        facts.add_row(
            "gaps between predictions",
            f"{gaps.count}, total {format_duration(gaps.total)}, {gaps.share:.0%} of the time: {each}",
        )
    if found.peak_memory is not None:
        growth = format_bytes(found.memory_growth or 0)
        facts.add_row("peak memory", f"{format_bytes(found.peak_memory)} resident, {growth} above start")
    if found.peak_bytes_in_flight:
        facts.add_row("data in flight", f"at most {format_bytes(found.peak_bytes_in_flight)}")
    if found.average_cpu is not None:
        facts.add_row("CPU use", f"{found.average_cpu:.2f} cores on average")
    out.print(facts)
