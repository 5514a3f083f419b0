"""SVG plots: draws figures as inline SVG, with colors from the page's CSS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ..support.units import format_duration

_WIDTH, _HEIGHT = 640, 180
_LEFT, _BOTTOM, _TOP = 56, 26, 12
_BINS = 40


def histogram(values: Sequence[float], median: float) -> str:
    """Distribution of prediction times. The axis omits the slowest 1 %; the statistics do not."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    if high <= low:
        high = low * 1.01 + 1e-9
    counts = [0] * _BINS
    for value in values:
        if value <= high:
            counts[min(_BINS - 1, int((value - low) / (high - low) * _BINS))] += 1
    plot = _Plot(low, high, 0, max(counts))
    step = (high - low) / _BINS
    bars = [
        plot.bar(
            low + i * step, low + (i + 1) * step, count, f"{count} around {format_duration(low + (i + 0.5) * step)}"
        )
        for i, count in enumerate(counts)
        if count
    ]
    middle = plot.x(min(median, high))
    line = f'<line class="mark" x1="{middle:.1f}" x2="{middle:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
    named = f'<text class="mark" x="{middle + 8:.1f}" y="{_TOP + 10}">median {format_duration(median)}</text>'
    ticks = "".join(
        f'<text x="{plot.x(low + (high - low) * at):.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">'
        f"{format_duration(low + (high - low) * at)}</text>"
        for at, anchor in ((0, "start"), (0.35, "middle"), (0.68, "middle"), (1, "end"))
    )
    return plot.drawn("Distribution of prediction times", [*bars, line, named, ticks, plot.scale(str(max(counts)))])


def sequence(values: Sequence[float]) -> str:
    """Prediction times in order, to show slow first predictions and drift."""
    shown = values[:: max(1, len(values) // 400)]
    high = sorted(shown)[min(len(shown) - 1, int(0.99 * len(shown)))] * 1.1 or 1.0
    plot = _Plot(0, max(1, len(shown) - 1), 0, high)
    points = " ".join(f"{plot.x(i):.1f},{plot.y(min(value, high)):.1f}" for i, value in enumerate(shown))
    ends = (
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">first</text>'
        f'<text x="{_WIDTH - 4}" y="{_HEIGHT - 8}" text-anchor="end">last ({len(values)})</text>'
    )
    return plot.drawn(
        "Prediction times in order",
        [f'<polyline class="line" points="{points}"/>', ends, plot.scale(format_duration(high))],
    )


def rates(found: Mapping[str, float]) -> str:
    """Predictions per second by number in flight."""
    plot = _Plot(0, len(found), 0, max(found.values(), default=1.0) * 1.15 or 1.0)
    parts = []
    for number, (count, rate) in enumerate(found.items()):
        parts.append(plot.bar(number + 0.2, number + 0.8, rate, f"{rate:,.1f} per second with {count} in flight"))
        middle = plot.x(number + 0.5)
        parts.append(f'<text x="{middle:.1f}" y="{plot.y(rate) - 4:.1f}" text-anchor="middle">{rate:,.0f}</text>')
        parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(count)} in flight</text>')
    return plot.drawn("Predictions per second by number in flight", parts)


def stack(parts: Mapping[str, float], title: str) -> str:
    """Parts of a whole as one stacked bar."""
    total = sum(parts.values()) or 1.0
    drawn, at = [], 0.0
    for number, (name, value) in enumerate(parts.items()):
        width = value / total * _WIDTH
        tooltip = f"{escape(name)}: {format_duration(value)}, {value / total:.0%}"
        drawn.append(
            f'<rect class="c{number % 8}" x="{at:.1f}" y="0" width="{max(width - 1, 0.5):.1f}" height="34">'
            f"<title>{tooltip}</title></rect>"
        )
        if width > 9 * len(name):
            drawn.append(f'<text class="in" x="{at + 6:.1f}" y="22">{escape(name)}</text>')
        at += width
    return f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} 34">{"".join(drawn)}</svg>'


class _Plot:
    """A frame with scales on both axes."""

    def __init__(self, left: float, right: float, low: float, high: float) -> None:
        self._x = (left, right - left or 1.0)
        self._y = (low, high - low or 1.0)

    def x(self, value: float) -> float:
        return _LEFT + (value - self._x[0]) / self._x[1] * (_WIDTH - _LEFT - 4)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self._y[0]) / self._y[1] * (_HEIGHT - _BOTTOM - _TOP)

    def bar(self, left: float, right: float, value: float, tooltip: str) -> str:
        width = max(self.x(right) - self.x(left) - 1, 0.5)
        top = self.y(value)
        return (
            f'<rect class="bar" x="{self.x(left):.1f}" y="{top:.1f}" width="{width:.1f}"'
            f' height="{_HEIGHT - _BOTTOM - top:.1f}"><title>{escape(tooltip)}</title></rect>'
        )

    def scale(self, highest: str) -> str:
        return (
            f'<text x="{_LEFT - 6}" y="{_TOP + 8}" text-anchor="end">{escape(highest)}</text>'
            f'<text x="{_LEFT - 6}" y="{_HEIGHT - _BOTTOM}" text-anchor="end">0</text>'
        )

    def drawn(self, title: str, parts: Sequence[str]) -> str:
        axis = f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH}" y1="{_HEIGHT - _BOTTOM}" y2="{_HEIGHT - _BOTTOM}"/>'
        inside = axis + "".join(parts)
        return f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{inside}</svg>'
