"""Console: what every command prints with. Names are not cut off where the output is no terminal."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from ...support.units import format_bytes as format_bytes
from ...support.units import format_duration as format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH_WITHOUT_TERMINAL = 200


@cache
def console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False)


def table(*columns: str, title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def print_error(message: str) -> None:
    """One readable message on the standard error output."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {message}", markup=False, style="red")
