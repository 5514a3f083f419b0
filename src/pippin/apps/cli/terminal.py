"""Terminal: the one way by which commands print: lines, tables, progress and errors.

Text of a model or a file is never read as markup, a link or an emoji, and its control characters are made visible.
Styles are given by argument. If the output is not a terminal, it is wide enough that names are not truncated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from ...support.units import format_bytes as format_bytes
from ...support.units import format_duration as format_duration
from ...support.visible_text import cut, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_WIDTH_WITHOUT_TERMINAL = 200
# Characters of a cell or title, and of a part of a line. Rich takes seconds to lay out a name of a million.
_CELL, _PART, _TEXT = 500, 20_000, 1_000_000


@cache
def _console_class() -> type[Console]:
    from rich.console import Console

    class Plain(Console):
        """Takes every string as text. Rich turns each one it prints into Text by this method, cells and titles too."""

        def render_str(self, text: str, **how: Any) -> Text:
            how |= {"markup": False, "emoji": False, "highlight": False, "highlighter": None}
            return super().render_str(visible(cut(text, _TEXT), lines=True), **how)

    return Plain


def new_console(**how: Any) -> Console:
    """A console that prints text only; the arguments are those of `rich.console.Console`."""
    return _console_class()(markup=False, emoji=False, highlight=False, **how)


@cache
def console() -> Console:
    return new_console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)


def styled(*parts: str | tuple[str, str]) -> Text:
    """One line of text; a part (text, style) has that style. Line breaks inside a part are made visible."""
    from rich.text import Text

    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((visible(cut(text, _PART)), style) for text, style in pairs))


def notice(text: str) -> None:
    """Print one dim line to standard error."""
    new_console(stderr=True, soft_wrap=True).print(styled((text, "dim")))


def say(text: str, err: bool = False) -> None:
    """Print lines without wrapping them, as other programs read them."""
    import typer

    typer.echo(visible(text, lines=True), err=err)


def write(text: str) -> None:
    """Print the content of a file: exact in a pipe or file, with control characters made visible on a terminal."""
    import typer

    typer.echo(visible(text, lines=True) if sys.stdout.isatty() else text, nl=False)


def table(*columns: str, title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    class Rows(Table):
        def add_row(self, *cells: Any, **how: Any) -> None:
            """A cell is one line: a line break in a name is made visible. A Text keeps its lines."""
            super().add_row(*(visible(cut(cell, _CELL)) if isinstance(cell, str) else cell for cell in cells), **how)

    shown = None if title is None else visible(cut(title, _CELL))
    rows = Rows(box=box.SIMPLE_HEAD, title=shown, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        rows.add_column(visible(column), overflow="fold")
    return rows


@contextmanager
def progress_bar(start: str, err: bool = False) -> Iterator[Callable[[str, float], None]]:
    """Show a bar while the block runs; call what it yields with the stage and the share done, 0 to 1."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    shown = new_console(stderr=True) if err else console()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task(start, total=1.0)
        yield lambda stage, share: bar.update(task, description=visible(cut(stage, _CELL)), completed=share)


def print_error(message: str) -> None:
    """Print one readable message to standard error. Its other lines are indented, so that none passes for another."""
    text = f"error: {message}".replace("\n", "\n  ")
    new_console(stderr=True, soft_wrap=True).print(text, style="red")
