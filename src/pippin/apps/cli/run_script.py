"""pippin run: a script or a module, with coremltools able to predict."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer


def run(
    context: typer.Context,
    module: Annotated[bool, typer.Option("-m", help="TARGET is the name of a module, as for python -m.")] = False,
    target: Annotated[str, typer.Argument(help="A Python script; with -m the name of a module.")] = "",
    arguments: Annotated[list[str] | None, typer.Argument(help="What the script finds in sys.argv.")] = None,
) -> None:
    """Run a Python script unmodified, as on a Mac: coremltools predicts through Pippin."""
    from ... import coremltools

    if not target:
        raise typer.BadParameter("a script, or -m and the name of a module, is needed", context)
    path = Path(target)
    if not module and not path.exists():
        raise typer.BadParameter(f"{target}: there is no such file", context)
    coremltools.install()
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
        # The script's own error, shown as the interpreter would have shown it.
        error.__traceback__ = _of_script(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        raise typer.Exit(1) from None


def _of_script(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this command and of runpy."""
    ours = (__file__, "<frozen runpy>")
    while traceback is not None and traceback.tb_frame.f_code.co_filename in ours:
        traceback = traceback.tb_next
    return traceback
