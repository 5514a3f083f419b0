"""Summary: computes figures from a trace file: event times, concurrency, gaps and memory."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import TraceError, TraceNotFoundError
from ..support.regular_files import read_regular

_SECOND = 1e-6
"""Seconds per microsecond; the file has microseconds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of event of one model; times in seconds."""

    event: str
    label: str
    model: str
    lane: str
    count: int
    total: float
    average: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Times in seconds, memory in bytes; None if the trace lacks the data."""

    seconds: float
    """From the start of the first event to the end of the last."""
    rows: tuple[Row, ...]
    predictions: int
    failed: int
    refused: dict[str, int]
    """Number of predictions "cancelled", "dropped" and "rejected" by flow control."""
    concurrency: int
    """Maximum number of predictions in flight."""
    average_concurrency: float | None
    """Average while at least one prediction was in flight."""
    predictions_per_second: float | None
    """From the start of the first prediction to the end of the last."""
    gaps: Gaps | None
    peak_memory: int | None
    memory_growth: int | None
    """Peak resident memory minus that at the start."""
    peak_bytes_in_flight: int | None
    average_cpu: float | None
    """Average number of busy cores."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Periods between predictions with none in flight; times in seconds."""

    count: int
    total: float
    average: float
    median: float
    maximum: float
    share: float
    """Share of the time from the first prediction to the end of the last, 0 to 1."""


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the events of a trace file (an object with `traceEvents`, or a bare list). Raises TraceError."""
    try:
        found = json.loads(read_regular(path).decode())
    except FileNotFoundError as error:
        raise TraceNotFoundError(f"{os.fspath(path)}: cannot be read: {error.strerror}", os.fspath(path)) from None
    except OSError as error:
        raise TraceError(f"{os.fspath(path)}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{os.fspath(path)} is not a trace: invalid JSON: {error}") from None
    entries = found.get("traceEvents") if isinstance(found, dict) else found
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "ph" in entry for entry in entries):
        raise TraceError(f"{os.fspath(path)} is not a trace: it has no traceEvents list")
    return entries


def summarize(path: str | os.PathLike[str]) -> Summary:
    """Summarize a file written by `pippin trace` or `Recording.write`. Raises TraceError."""
    try:
        return _summary(read(path))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TraceError(f"{os.fspath(path)} is not a Pippin trace: {type(error).__name__}: {error}") from None


def _summary(entries: list[dict[str, Any]]) -> Summary:
    complete = [entry for entry in entries if entry["ph"] == "X"]
    predictions = [e for e in complete if _event(e) == "prediction"]
    spans = sorted((e["ts"], e["ts"] + e["dur"]) for e in predictions)
    busy, gaps = _busy(spans)
    whole = (spans[-1][1] if len(spans) == 1 else max(end for _, end in spans)) - spans[0][0] if spans else 0.0
    memory, cpu = _counter(entries, "resident memory"), _counter(entries, "CPU use")
    held = _counter(entries, "bytes in flight")
    refused = dict.fromkeys(("cancelled", "dropped", "rejected"), 0)
    for entry in entries:
        if entry["ph"] == "i" and entry["name"] in refused:
            refused[entry["name"]] += 1
    ends = [e["ts"] + e["dur"] for e in complete]
    return Summary(
        seconds=(max(ends) - min(e["ts"] for e in complete)) * _SECOND if complete else 0.0,
        rows=_rows(complete),
        predictions=len(predictions),
        failed=sum(e["args"].get("label") == "failed" for e in predictions),
        refused=refused,
        concurrency=_most_at_once(spans),
        average_concurrency=sum(end - start for start, end in spans) / busy if busy else None,
        predictions_per_second=len(spans) / (whole * _SECOND) if whole else None,
        gaps=_gaps(gaps, whole),
        peak_memory=int(max(memory)) if memory else None,
        memory_growth=int(max(memory) - memory[0]) if memory else None,
        peak_bytes_in_flight=int(max(held)) if held else None,
        average_cpu=statistics.fmean(cpu[1:]) if len(cpu) > 1 else None,
    )


def _event(entry: dict[str, Any]) -> str:
    return str(entry.get("args", {}).get("event", entry["name"]))


def _rows(complete: Iterable[dict[str, Any]]) -> tuple[Row, ...]:
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for entry in complete:
        about = entry.get("args", {})
        key = (_event(entry), about.get("label", ""), about.get("model", ""), entry.get("cat", ""))
        found.setdefault(key, []).append(entry["dur"] * _SECOND)
    return tuple(
        Row(*key, len(times), sum(times), statistics.fmean(times), min(times), max(times))
        for key, times in sorted(found.items(), key=lambda item: (item[0][3], item[0][2], -sum(item[1])))
    )


def _counter(entries: Iterable[dict[str, Any]], name: str) -> list[float]:
    return [value for e in entries if e["ph"] == "C" and e["name"] == name for value in e["args"].values()]


def _busy(spans: Sequence[tuple[float, float]]) -> tuple[float, list[float]]:
    """The time covered by at least one of the sorted spans, and the gaps between them."""
    total, gaps, until = 0.0, [], None
    for start, end in spans:
        if until is None:
            total, until = end - start, end
            continue
        if start > until:
            gaps.append(start - until)
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total, gaps


def _gaps(gaps: Sequence[float], whole: float) -> Gaps | None:
    if not gaps:
        return None
    seconds = [gap * _SECOND for gap in gaps]
    total = sum(seconds)
    return Gaps(
        len(seconds), total, statistics.fmean(seconds), statistics.median(seconds), max(seconds),
        total / (whole * _SECOND),
    )  # fmt: skip


def _most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    # A span that ends when another starts does not overlap it: (t, -1) sorts before (t, 1).
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    most = count = 0
    for _, change in steps:
        count += change
        most = max(most, count)
    return most
