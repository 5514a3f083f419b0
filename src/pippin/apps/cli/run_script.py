"""pippin run: runs a script or module with coremltools able to predict."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer


def run(
    context: typer.Context,
    module: Annotated[bool, typer.Option("-m", help="TARGET is a module name, as for python -m.")] = False,
    target: Annotated[str, typer.Argument(help="Python script; with -m, a module name.")] = "",
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments for the script.")] = None,
) -> None:
    """Run a Python script in which coremltools can predict.

    The script runs unmodified, as on a Mac: coremltools predicts through Pippin.
    """
    from ... import coremltools
    from .loading_bar import loading_bar

    if not target:
        raise typer.BadParameter("name a script, or a module with -m", context)
    path = Path(target)
    if not module and not path.exists():
        raise typer.BadParameter(f"file not found: {target}", context)
    if not module and not (path.is_file() or path.is_dir()):
        raise typer.BadParameter(f"{target} is neither a file nor a folder", context)
    coremltools.install()
    coremltools.libcoremlpython.loading = loading_bar
    sys.argv[1:] = arguments or []
    try:
        if module:
            sys.path.insert(0, "")  # as python -m does
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            sys.argv[0] = target
            sys.path.insert(0, str(path.resolve().parent))
            runpy.run_path(target, run_name="__main__")
    except Exception as error:
        # Show the script's error as the interpreter would.
        error.__traceback__ = _of_script(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        raise typer.Exit(1) from None


def _of_script(traceback: TracebackType | None) -> TracebackType | None:
    """Strip the frames of this command and of runpy."""
    ours = (__file__, "<frozen runpy>")
    while traceback is not None and traceback.tb_frame.f_code.co_filename in ours:
        traceback = traceback.tb_next
    return traceback
