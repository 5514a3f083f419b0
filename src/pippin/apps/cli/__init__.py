"""Command line: one file for each command; errors end here, readably."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from ...errors import PippinError
from . import (
    cache,
    compile,
    convert_mil,
    demo,
    devices,
    export,
    generate,
    inspect,
    ops,
    plan,
    predict,
    report,
    run_script,
    studio,
    trace,
)
from .console import print_error

app = typer.Typer(
    name="pippin",
    help="The Core ML engine for every machine that is not a Mac.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict")(predict.predict)
app.command("inspect")(inspect.inspect)
app.command("devices")(devices.devices)
app.command("plan")(plan.plan)
app.command("compile")(compile.compile)
app.command("report")(report.report)
app.command("generate")(generate.generate)
app.add_typer(cache.app)
app.add_typer(trace.app)
app.command("export")(export.export)
app.command("convert-mil")(convert_mil.convert_mil)
app.command("ops")(ops.ops)
app.command("demo")(demo.demo)
app.command("studio")(studio.studio)
# What stands behind the script is the script's own, options included.
app.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(run_script.run)


def _version(asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import version

    from ... import __version__

    engines = ", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime"))
    typer.echo(f"pippin {__version__} ({engines})")
    raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the versions.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line: exit status 0, 1 for an error, 2 for a wrong use, 130 when interrupted."""
    debug = "--debug" in sys.argv[1:]
    try:
        app()  # ends in SystemExit, after a wrong use too
    except PippinError as error:
        if debug:
            raise
        print_error(error.report())
    except Exception as error:
        if debug:
            raise
        print_error(f"unexpected {type(error).__name__}: {error}\nThis is a defect of Pippin; --debug shows where.")
    sys.exit(1)
