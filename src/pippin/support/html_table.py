"""HTML tables: what notebooks show of an object. All text is escaped; a name in a model file never becomes HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .visible_text import visible


def html_text(text: object, longest: int = 200) -> str:
    """Text as HTML: escaped, control characters visible, the end of a long one left out."""
    shown = str(text)
    return escape(visible(shown if len(shown) <= longest else f"{shown[:longest]}..."))


class Html(str):
    """HTML that was made here, which a cell takes as it is."""

    __slots__ = ()


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a title. A cell is text, unless it is `Html`."""
    body = "".join(_row("td", cells) for cells in rows)
    return (
        f'<table><caption style="text-align:left;caption-side:top">{html_text(title, 1000)}</caption>'
        f"<thead>{_row('th', columns)}</thead><tbody>{body}</tbody></table>"
    )


def _row(tag: str, cells: Sequence[object]) -> str:
    made = (cell if isinstance(cell, Html) else html_text(cell) for cell in cells)
    start = f'<{tag} style="text-align:left">'
    return f"<tr>{''.join(f'{start}{cell}</{tag}>' for cell in made)}</tr>"
