"""Performance tab: measures a performance report of the model and compares it with the previous one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nicegui import ui

from ...reporting import report
from ...reporting.compare import changes
from ...reporting.performance_report import Report
from ...reporting.results import Result
from ...reporting.svg_plots import histogram, rates, sequence
from ...support.units import format_bytes, format_duration, format_figure
from .open_models import Opened
from .widgets import busy, card, facts, failing_into, hint, table, tile

if TYPE_CHECKING:
    from ...reporting.results import Statistics

_LOOK = 0.15  # seconds between progress updates
_KINDS = ("median", "average", "first", "minimum", "maximum", "deviation")
_PAGE = 15


def build(opened: Opened) -> None:
    PerformanceTab(opened)


class PerformanceTab:
    """Performance tab of one browser page."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._before: Report | None = None
        self._now: Report | None = None
        self._at = ("", 0.0)
        """Current measurement and fraction done; written by the measuring thread."""
        with card("Report", "Loads, predictions, throughput, operations and memory, measured on sample inputs"):
            with ui.element("div").classes("line"):
                self._seconds = (
                    ui.number("Seconds of predictions", value=2, min=0.1, max=60)
                    .props("dense outlined")
                    .classes("amount")
                )
                ui.element("div").classes("grow")
                self._button = ui.button("Measure", icon="speed", on_click=self._measure).props("unelevated no-caps")
            self._progress = ui.element("div")
            with self._progress:
                self._label = hint("")
                self._share = ui.linear_progress(0, show_value=False).props(
                    'rounded instant-feedback aria-label="Progress"'
                )
            self._progress.set_visibility(False)
        self._place = ui.element("div").classes("stack")
        self._timer = ui.timer(_LOOK, self._look, active=False)

    async def _measure(self) -> None:
        self._at = ("begin", 0.0)
        self._progress.set_visibility(True)
        self._timer.activate()
        try:
            with failing_into(self._place):
                async with busy(self._button):
                    found = await asyncio.to_thread(
                        report,
                        self._opened.path,
                        configurations=[self._opened.measured_configuration],
                        seconds=float(self._seconds.value or 2),
                        progress=self._tell,
                    )
                self._before, self._now = self._now, found
                self._place.clear()
                with self._place:
                    self._show(found)
        finally:
            self._timer.deactivate()
            self._progress.set_visibility(False)

    def _tell(self, what: str, share: float) -> None:
        self._at = (what, share)

    def _look(self) -> None:
        self._label.set_text(self._at[0])
        self._share.set_value(self._at[1])

    def _show(self, found: Report) -> None:
        (result,) = found.results
        _tiles(result)
        with ui.element("div").classes("plots"):
            for title, drawing in (
                ("Distribution of prediction times", histogram(result.prediction.values, result.prediction.median)),
                ("Prediction times in order", sequence(result.prediction.values)),
                ("Throughput by number in flight", rates(result.throughput)),
            ):
                with card(title):
                    ui.html(drawing, sanitize=False).classes("plot")
        _times(result)
        if self._before is not None:
            _changes(result, self._before.results[0])
        _operations(result)
        with card("Measured on"):
            facts(found.machine.items())
            with ui.element("div").classes("line"):
                name = self._opened.path.stem
                for kind, content in (("json", found.to_json), ("csv", found.to_csv), ("html", found.to_html)):
                    button = ui.button(kind.upper(), icon="download").props("flat dense no-caps")
                    button.on_click(lambda k=kind, c=content: ui.download.content(c(), f"{name}-report.{k}"))


def _tiles(result: Result) -> None:
    with ui.element("div").classes("tiles"):
        tile("Prediction", format_duration(result.prediction.median), f"median of {len(result.prediction.values):,}")
        if result.load_cached is not None:
            tile("Load, cached", format_duration(result.load_cached.median))
        tile("Load, uncached", format_duration(result.load_uncached.median))
        if result.throughput:
            best = max(result.throughput, key=lambda count: result.throughput[count])
            tile("Throughput", f"{result.throughput[best]:,.0f}/s", f"{best} in flight")
        if result.memory is not None:
            tile("Peak memory", format_bytes(result.memory.peak), f"{format_bytes(result.memory.steady)} steady")
        noise = result.numerics.worst
        tile("Precision", result.numerics.precision, "" if noise is None else f"signal-to-noise {noise:.1f} dB")


def _times(result: Result) -> None:
    timed: list[tuple[str, Statistics | None]] = [
        ("prediction", result.prediction),
        ("load, cached", result.load_cached),
        ("load, uncached", result.load_uncached),
        ("compilation", result.compilation),
    ]
    rows = [
        {"id": name, "#count": len(found.values)}
        | {f"#{kind}": format_duration(getattr(found, kind)) for kind in _KINDS}
        for name, found in timed
        if found is not None
    ]
    with card("Times"):
        table([("id", "Time of"), *((f"#{kind}", kind) for kind in _KINDS), ("#count", "count")], rows)


def _changes(result: Result, before: Result) -> None:
    rows = [
        {
            "id": change.figure,
            "#before": format_figure(change.before, change.unit),
            "#now": format_figure(change.now, change.unit),
            "#ratio": "" if change.ratio is None else f"{change.ratio:.2f}",
            "verdict": change.verdict,
        }
        for change in changes(result, before)
    ]
    columns = [("id", "Figure"), ("#before", "Before"), ("#now", "Now"), ("#ratio", "Ratio"), ("verdict", "Verdict")]
    with card("Compared with the previous measurement"):
        table(columns, rows, per_page=_PAGE)


def _operations(result: Result) -> None:
    rows = [
        {
            "id": number,
            "*name": op.name,
            "kind": op.kind,
            "planned": op.planned,
            "actual": op.actual,
            "engine": op.engine,
            "#estimated": round(op.estimated * 1e6, 1),
            "#measured": None if op.measured is None else round(op.measured * 1e6, 1),
        }
        for number, op in enumerate(result.operations)
    ]
    columns = [
        ("*name", "Operation"), ("kind", "Kind"), ("planned", "Planned"), ("actual", "Actual"), ("engine", "Engine"),
        ("#estimated", "Estimated, µs"), ("#measured", "Measured, µs"),
    ]  # fmt: skip
    with card("Operations", f"{len(rows):,}"):
        table(columns, rows, per_page=_PAGE)
