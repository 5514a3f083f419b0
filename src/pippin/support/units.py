"""Units: formats bytes, seconds and rates as human-readable text."""

from __future__ import annotations


def format_bytes(count: float) -> str:
    """`1234567` becomes `1.2 MB` (decimal units)."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def format_duration(seconds: float) -> str:
    """`0.00123` becomes `1.23 ms`: seconds, milliseconds or microseconds, with about three digits."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor or unit == "µs":
            value = seconds / factor
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    raise AssertionError


def format_figure(value: float, unit: str) -> str:
    """A report figure in its unit: "s", "B", "1/s" or "dB"."""
    match unit:
        case "s":
            return format_duration(value)
        case "B":
            return format_bytes(value)
        case "1/s":
            return f"{value:,.0f}/s" if value >= 1000 else f"{value:,.1f}/s"
    return f"{value:.1f} {unit}"
