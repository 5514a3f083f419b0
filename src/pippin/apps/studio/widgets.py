"""Widgets: building blocks of the tabs: cards, fact lists, tiles, tables, messages and progress."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from nicegui import ui

from ...errors import PippinError
from ...runtime.model import Model
from ...support.units import format_duration
from ...support.visible_text import visible
from .text import Heading, TextLabel

if TYPE_CHECKING:
    from PIL.Image import Image

    from .open_models import Opened

_CELLS = {"#": "number", "*": "wide"}
_LOOK = 0.15  # seconds between updates of the load progress
_STAGES = {
    "wait": "Waiting for another process to specialize this model",
    "read": "Reading the model",
    "lower": "Lowering",
    "segment": "Segmenting",
    "compile": "Compiling",
    "measure": "Measuring the candidates",
    "store": "Storing in the cache",
    "load": "Loading from the cache",
    "done": "Loaded",
}


@contextmanager
def card(title: str = "", note: str = "", classes: str = "") -> Iterator[Any]:
    """Card with a title; its content is built in the block."""
    with ui.element("section").classes(f"sheet {classes}") as made:
        if title or note:
            with ui.element("div").classes("sheet-head"):
                Heading(2, title).classes("sheet-title")
                if note:
                    TextLabel(note).classes("dim")
        yield made


def facts(rows: Iterable[tuple[str, str]]) -> None:
    """List of names and values, one pair per line; empty values are omitted."""
    with ui.element("dl").classes("facts"):
        for name, value in rows:
            if value:
                with ui.element("dt"):
                    TextLabel(name)
                with ui.element("dd"):
                    TextLabel(value)


def tile(name: str, value: str, note: str = "") -> Any:
    """Tile with a named figure; returns the label of the figure for later updates."""
    with ui.element("div").classes("tile"):
        TextLabel(name).classes("tile-name")
        figure = TextLabel(value).classes("tile-value")
        if note:
            TextLabel(note).classes("dim")
    return figure


def table(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Mapping[str, Any]],
    key: str = "id",
    per_page: int | None = None,
    chosen: Callable[[Any], object] | None = None,
) -> Any:
    """Sortable table. `columns` are (field, title); "#" before a field right-aligns numbers, "*" marks long text.

    `chosen` is called with the key of a row that is clicked, or entered by keyboard (`studio.js`).
    """
    shown = [
        {
            "name": field,
            "field": field,
            "label": visible(title),
            "align": "right" if field.startswith("#") else "left",
            "sortable": True,
            "classes": _CELLS.get(field[:1], "word"),
        }
        for field, title in columns
    ]
    made = ui.table(columns=shown, rows=seen_rows(rows), row_key=key, pagination=per_page)
    made.props("flat dense wrap-cells hide-no-data" + ("" if per_page else " hide-pagination"))
    if chosen is not None:
        made.classes("choice").on("row-click", lambda event: chosen(event.args[1][key]), args=[[], [key], []])
    return made.classes("rows")


def seen_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for a table, with the control characters of names visible."""
    return [{name: visible(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]


def bar(share: float, color: str = "") -> None:
    """Bar for a fraction from 0 to 1."""
    with ui.element("div").classes("share"):
        ui.element("div").style(
            f"width: {100 * max(0.0, min(share, 1.0)):.2f}%" + (f"; background: {color}" if color else "")
        )


def error_box(error: BaseException) -> None:
    """Error message with the text that the command line prints."""
    expected = isinstance(error, PippinError)
    text = error.report() if isinstance(error, PippinError) else f"unexpected {type(error).__name__}: {error}"
    refusal(text, "" if expected else "This is a bug in Pippin.")


def refusal(text: str, note: str = "") -> None:
    """A message of what did not work."""
    with ui.element("div").classes("failure").props('role="alert"'):
        ui.icon("error_outline").props('aria-hidden="true"')
        with ui.element("div"):
            TextLabel(text).classes("failure-text")
            if note:
                TextLabel(note)


def hint(text: str) -> Any:
    return TextLabel(text).classes("dim")


@contextmanager
def failing_into(place: Any) -> Iterator[None]:
    """Replace the content of `place` with the error message if the block fails."""
    try:
        yield
    except Exception as error:
        place.clear()
        with place:
            error_box(error)


@asynccontextmanager
async def busy(button: Any) -> AsyncIterator[None]:
    """Disable the button and show its spinner while the block runs."""
    button.props("loading")
    button.disable()
    try:
        yield
    finally:
        button.props(remove="loading")
        button.enable()


async def loaded_model(opened: Opened, place: Any) -> Model | None:
    """Load the model, showing progress in `place`. On failure, show the error there and return None."""
    if opened.loaded is not None:
        return opened.loaded
    place.clear()
    with place, ui.element("div").classes("waiting"):
        label = TextLabel("Loading")
        progress = ui.linear_progress(0, show_value=False).props('instant-feedback rounded aria-label="Progress"')

        def look() -> None:
            if (now := opened.progress) is not None:
                label.set_text(_STAGES.get(now.stage, now.stage) + (f": {now.detail}" if now.detail else ""))
                progress.set_value(now.share)

        timer = ui.timer(_LOOK, look)
    try:
        return await opened.model()
    except Exception as error:
        timer.deactivate()
        place.clear()
        with place:
            error_box(error)
        return None
    finally:
        timer.deactivate()
        if opened.loaded is not None:
            place.clear()


def data_url(picture: Image, format: str = "PNG") -> str:
    """Encode a picture as a data URL."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **({"quality": 82} if format == "JPEG" else {}))
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture(source: str, label: str, classes: str = "") -> Any:
    """Image element; `label` is its alternative text."""
    made = ui.element("img").classes(f"picture {classes}")
    made.props["src"] = source
    made.props["alt"] = visible(label)
    return made


def curve(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """Draw a series of numbers as an SVG line."""
    wide, tall = 600, 96
    if len(values) < 2:
        return ""
    low = min(values) if low is None else low
    high = max(values) if high is None else high
    scale = (tall - 8) / ((high - low) or 1.0)
    points = " ".join(
        f"{wide * i / (len(values) - 1):.1f},{tall - 4 - (value - low) * scale:.1f}" for i, value in enumerate(values)
    )
    return (
        f'<svg class="curve" viewBox="0 0 {wide} {tall}" preserveAspectRatio="none" role="img">'
        f'<polyline points="{points}" /></svg>'
    )


def took(seconds: float) -> str:
    return format_duration(seconds)
