"""Trace tab: records a load and some predictions and shows them as lanes, figures and a Perfetto file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from ...runtime.flow.flow_control import FlowControl
from ...runtime.model import load
from ...specialization.sample_inputs import example_features
from ...support.units import format_bytes, format_duration
from ...trace import record
from ...trace.events import Event
from ...trace.summary import Summary, summarize
from .open_models import Opened
from .widgets import busy, card, failing_into, hint, table, tile

_MOST = 1000  # predictions of one recording
_WIDTH, _NAMES, _ROW, _GAP = 1100, 150, 20, 6  # of the drawing, in SVG units
_DRAWN = 4000  # events drawn at most
_LOAD_AT_MOST = 0.3  # share of the time; above it the initial view skips the load
_COLORS = {
    "prediction": "activity", "load": "load", "compute": "compute", "input copy": "data",
    "output transformation": "data",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished recording."""

    events: Sequence[Event]
    summary: Summary
    text: str
    """Chrome trace JSON."""


def build(opened: Opened) -> None:
    TraceTab(opened)


async def recorded(opened: Opened, predictions: int, in_flight: int) -> Recorded:
    """Load the model and run `predictions` on sample inputs, recording both.

    A stateful model uses one state, which serializes its predictions. Raises what `load` and `predict_async` raise.
    """
    features = await asyncio.to_thread(example_features, opened.function)
    flow = FlowControl(max_in_flight=in_flight)
    with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
        path = Path(folder) / "trace.json"
        with record(path) as recording:
            model = await asyncio.to_thread(load, opened.path, opened.configuration, flow=flow)
            try:
                state = model.make_state() if opened.function.states else None
                tasks = [asyncio.create_task(model.predict_async(features, state=state)) for _ in range(predictions)]
                done = await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                model.close()
        failure = next((found for found in done if isinstance(found, BaseException)), None)
        if failure is not None:
            raise failure
        return await asyncio.to_thread(
            lambda: Recorded(recording.events, summarize(path), path.read_text(encoding="utf-8"))
        )


class TraceTab:
    """Trace tab of one browser page."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._made: Recorded | None = None
        with (
            card("Record", "A load, then predictions on sample inputs"),
            ui.element("div").classes("line"),
        ):
            self._count = ui.number("Predictions", value=40, min=1, max=_MOST, format="%d").props("dense outlined")
            self._flight = ui.number("In flight", value=2, min=1, max=64, format="%d").props("dense outlined")
            ui.element("div").classes("grow")
            self._button = ui.button("Record", icon="fiber_manual_record", on_click=self._record)
            self._button.props("unelevated no-caps")
        self._place = ui.element("div").classes("stack")

    async def _record(self) -> None:
        with failing_into(self._place):
            async with busy(self._button):
                count = min(max(int(self._count.value or 1), 1), _MOST)
                self._made = await recorded(self._opened, count, max(int(self._flight.value or 1), 1))
            self._place.clear()
            with self._place:
                self._show(self._made)

    def _show(self, made: Recorded) -> None:
        found = made.summary
        with ui.element("div").classes("tiles"):
            tile("Predictions", f"{found.predictions:,}", f"{format_duration(found.seconds)} in total")
            tile("Per second", f"{found.predictions_per_second:,.1f}" if found.predictions_per_second else "–")
            average = found.average_concurrency
            tile("In flight", str(found.concurrency), f"{average:.2f} on average" if average else "")
            gaps = found.gaps
            tile(
                "Gaps",
                f"{gaps.share:.0%}" if gaps else "none",
                f"{gaps.count:,}, {format_duration(gaps.total)}" if gaps else "",
            )
            tile("Peak memory", format_bytes(found.peak_memory) if found.peak_memory else "–", "of the whole process")
        with card("Lanes", "Of the whole process, including other browser tabs"):
            begin = beginning(made.events)
            place = ui.html(lanes(made.events, begin), sanitize=False).classes("lanes")
            whole = ui.range(min=0, max=100, step=0.5, value={"min": 100 * begin, "max": 100})
            whole.props('aria-label="Section"')

            def zoom(first: float, last: float) -> None:
                place.set_content(lanes(made.events, first / 100, last / 100))
                # Quasar gives both ends as the one value, which is no number.
                whole.props["aria-valuenow"], whole.props["aria-valuetext"] = first, f"from {first} % to {last} %"
                whole.update()

            zoom(100 * begin, 100)
            whole.on_value_change(lambda event: zoom(event.value["min"], event.value["max"]))
            hint("Move the ends to zoom; hover over an event for details.")
        with card("Events"):
            columns = [
                ("event", "Event"), ("label", "Kind"), ("model", "Model"), ("lane", "Lane"), ("#count", "Count"),
                ("#total", "Total"), ("#average", "Average"), ("#minimum", "Minimum"), ("#maximum", "Maximum"),
            ]  # fmt: skip
            table(columns, [_row(number, row) for number, row in enumerate(found.rows)])
            name = f"{self._opened.path.stem}-trace.json"
            download = ui.button("Chrome trace JSON", icon="download").props("flat dense no-caps")
            download.on_click(lambda: ui.download.content(made.text, name, "application/json"))


def beginning(events: Sequence[Event]) -> float:
    """Start of the initial view, as a fraction of the recording: skips a load that takes most of it."""
    predictions = [event.start for event in events if event.name == "prediction"]
    if not predictions:
        return 0.0
    first, last = min(event.start for event in events), max(event.end for event in events)
    share = (min(predictions) - first) / (last - first)
    return round(max(0.0, share - 0.1 * (1 - share)), 3) if share > _LOAD_AT_MOST else 0.0


def lanes(events: Sequence[Event], begin: float = 0.0, end: float = 1.0) -> str:
    """Draw the events as SVG: one row per lane, overlapping events stacked. `begin` and `end` are fractions of the
    recording."""
    if not events:
        return ""
    first, last = min(event.start for event in events), max(event.end for event in events)
    left = first + (last - first) * begin
    right = max(first + (last - first) * end, left + 1e-6)
    scale = (_WIDTH - _NAMES) / (right - left)
    shown = [event for event in events if event.end >= left and event.start <= right][:_DRAWN]
    parts, top = [], 22
    for lane in sorted({event.lane for event in events}, key=_order):
        free: list[float] = []
        base = top
        for event in sorted((event for event in shown if event.lane == lane), key=lambda event: event.start):
            slot = next((i for i, until in enumerate(free) if until <= event.start), len(free))
            free[slot : slot + 1] = [event.end]
            x = _NAMES + max(0.0, (event.start - left) * scale)
            width = max(0.7, min(_WIDTH - x, (event.end - left) * scale + _NAMES - x))
            parts.append(_bar(event, x, base + slot * _ROW, width))
        top = base + max(1, len(free)) * _ROW + _GAP
        parts.append(f'<text class="lane" x="0" y="{base + 14}">{escape(lane)}</text>')
        parts.append(f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{top - _GAP / 2}" y2="{top - _GAP / 2}"/>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, anchor = _NAMES + (_WIDTH - _NAMES) * share, "end" if share == 1 else "start"
        moment = format_duration((left - first) + (right - left) * share)
        parts.append(f'<text class="tick" x="{x:.1f}" y="12" text-anchor="{anchor}">{moment}</text>')
    return f'<svg role="img" aria-label="Events by lane" viewBox="0 0 {_WIDTH} {top}">{"".join(parts)}</svg>'


def _bar(event: Event, x: float, y: float, width: float) -> str:

    tooltip = f"{event.name} {event.label}: {format_duration(event.seconds)}".replace(" :", ":")
    color = _COLORS.get(event.name, "other")
    drawn = (
        f'<rect class="{color}" x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_ROW - 3}" rx="3">'
        f"<title>{escape(tooltip)}</title></rect>"
    )
    named = f"{event.name} {event.label}".strip()
    if width > 7.2 * len(named):
        drawn += f'<text class="in" x="{x + 5:.1f}" y="{y + 12.5}">{escape(named)}</text>'
    return drawn


def _order(lane: str) -> tuple[int, str]:
    return (("activity", "data").index(lane) if lane in ("activity", "data") else 2, lane)


def _row(number: int, row: Any) -> dict[str, Any]:
    times = {f"#{name}": format_duration(getattr(row, name)) for name in ("total", "average", "minimum", "maximum")}
    return {
        "id": number, "event": row.event, "label": row.label, "model": row.model, "lane": row.lane, "#count": row.count
    } | times  # fmt: skip
