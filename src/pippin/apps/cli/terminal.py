"""Console: tables and error messages for every command.

If the output is not a terminal, it is wide enough that names are not truncated.
"""

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

    rows = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        rows.add_column(column, overflow="fold")
    return rows


def print_error(message: str) -> None:
    """Print one readable message to standard error."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {message}", markup=False, style="red")
