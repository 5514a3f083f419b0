"""Command line: one file per command. Arguments enter; printed results and an exit status leave.

Errors end here and are printed as readable messages.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from ...errors import ConfigurationError, FeatureError, PippinError
from . import (
    bisect,
    cache,
    check,
    compare,
    compile,
    compress,
    convert,
    convert_mil,
    demo,
    devices,
    evaluate,
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
from .option_names import in_options
from .terminal import print_error

app = typer.Typer(
    name="pippin",
    help="Run, inspect and measure Core ML models without a Mac.",
    no_args_is_help=True,
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
app.command("convert")(convert.convert)
app.command("convert-mil")(convert_mil.convert_mil)
app.command("ops")(ops.ops)
app.command("evaluate")(evaluate.evaluate)
app.command("compress")(compress.compress)
app.command("check")(check.check)
app.command("compare")(compare.compare)
app.command("bisect")(bisect.bisect)
app.command("demo")(demo.demo)
app.command("studio")(studio.studio)
# Everything after the script, options included, belongs to the script.
app.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(run_script.run)


def _version(requested: bool) -> None:
    if not requested:
        return
    from importlib.metadata import version

    from ... import __version__

    engines = ", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime"))
    typer.echo(f"pippin {__version__} ({engines})")
    raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback if a command fails.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the versions of Pippin and its engines."
        ),
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line. The exit status is 0, 1 for an error, 2 for wrong usage, 130 when interrupted."""
    debug = "--debug" in sys.argv[1:]
    try:
        app(prog_name="pippin")  # raises SystemExit, also for wrong usage
    except PippinError as error:
        if debug:
            raise
        print_error(in_options(error.report()))
        if isinstance(error, ConfigurationError | FeatureError):  # an option, a name or a file that was given
            sys.exit(2)
    except Exception as error:
        if debug:
            raise
        print_error(
            f"unexpected {type(error).__name__}: {error}\nThis is a bug in Pippin; pippin --debug shows the traceback."
        )
    sys.exit(1)
