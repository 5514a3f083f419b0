"""HTML page: renders a report as one self-contained HTML page, light or dark by the reader's preference."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from ..support.units import format_bytes, format_duration, format_figure
from ..support.visible_text import visible
from . import svg_plots
from .compare import changes, counterpart
from .css import STYLE
from .results import Operation, Result, Statistics

_STATISTICS = ("median", "average", "first", "minimum", "maximum", "deviation", "p90", "p95", "p99")
_MOST_OPERATIONS = 400


def page(results: Sequence[Result], machine: Mapping[str, str], baseline: Sequence[Result] = ()) -> str:
    """Return the whole page."""
    names = ", ".join(dict.fromkeys(result.model for result in results))
    facts = "".join(f"<span><b>{escape(name)}</b> {escape(value)}</span>" for name, value in machine.items())
    parts = [_side_by_side(results)] if len(results) > 1 else []
    for number, result in enumerate(results):
        before = counterpart(result, baseline, number)
        parts.append(_result(result, before))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(names)}: performance</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{escape(names)}</h1><p class=facts>{facts}</p></header>{''.join(parts)}"
        "</main></body></html>\n"
    )


def _side_by_side(results: Sequence[Result]) -> str:
    fastest = min(result.prediction.median for result in results)
    rows = []
    for result in results:
        best = max(result.throughput.values(), default=0.0)
        share = fastest / result.prediction.median if result.prediction.median else 1.0
        cells = [
            format_duration(result.prediction.median),
            f'<div class=meter><i style="width:{share:.0%}"></i></div>',
            format_duration(result.load_cached.median) if result.load_cached else "",
            format_duration(result.load_uncached.median),
            f"{best:,.1f}/s",
            format_bytes(result.memory.peak) if result.memory else "",
            escape(f"{result.engine}, {result.numerics.precision}"),
        ]
        rows.append(f"<th scope=row>{escape(result.title)}</th>" + "".join(f"<td>{cell}</td>" for cell in cells))
    head = ("", "prediction", "speed", "load, cached", "uncached", "throughput", "peak memory", "engine")
    return f"<section><h2>Side by side</h2>{_table(head, rows)}</section>"


def _result(result: Result, before: Result | None) -> str:
    about = f"{result.kind}, function {result.function}, {result.engine}, {format_bytes(result.size)}"
    parts = [
        f"<h2>{escape(result.title)}</h2><p class=facts><span>{escape(about)}</span></p>",
        f"<div class=tiles>{''.join(_tiles(result, before))}</div>",
        _compared(result, before) if before is not None else "",
        f"<h3>Statistics</h3>{_statistics(result)}",
        "<div class=pair>",
        "<figure><figcaption>Prediction times, distribution</figcaption>"
        f"{svg_plots.histogram(result.prediction.values, result.prediction.median)}</figure>",
        "<figure><figcaption>Prediction times, in order</figcaption>"
        f"{svg_plots.sequence(result.prediction.values)}</figure>",
        f"<figure><figcaption>Predictions per second</figcaption>{svg_plots.rates(result.throughput)}</figure>",
        "<figure><figcaption>Stages of an uncached load</figcaption>"
        f"{svg_plots.stack(result.stages, 'Stages of an uncached load')}"
        f"{_legend(result.stages)}</figure></div>",
        _numerics(result),
        _operations(result),
    ]
    return f"<section>{''.join(parts)}</section>"


def _tiles(result: Result, before: Result | None) -> Iterable[str]:
    def tile(name: str, value: str, note: str, old: float | None = None, new: float | None = None) -> str:
        change = ""
        if old and new is not None:
            ratio = new / old
            kind = "level" if abs(ratio - 1) <= 0.05 else "worse" if ratio > 1 else "better"
            change = f'<em class="{kind}">{ratio - 1:+.1%}</em>'
        return f"<div class=tile><h4>{name}</h4><strong>{value}</strong>{change}<p>{note}</p></div>"

    def middle(found: Statistics | None) -> float | None:
        return found.median if found is not None else None

    p, old = result.prediction, before.prediction.median if before else None
    yield tile("Prediction", format_duration(p.median), f"median of {len(p.values)}", old, p.median)
    cached, uncached = result.load_cached, result.load_uncached
    if cached is not None:
        old = middle(before.load_cached) if before else None
        yield tile(
            "Load, cached", format_duration(cached.median), f"median of {len(cached.values)}", old, cached.median
        )
    old = before.load_uncached.median if before else None
    yield tile("Load, uncached", format_duration(uncached.median), "prepare and cache", old, uncached.median)
    if result.compilation is not None:
        old = middle(before.compilation) if before else None
        note = "part of an uncached load"
        yield tile("Compilation", format_duration(result.compilation.median), note, old, result.compilation.median)
    if result.throughput:
        count, rate = max(result.throughput.items(), key=lambda item: item[1])
        yield tile("Throughput", format_figure(rate, "1/s"), f"with {escape(count)} in flight")
    if result.memory is not None:
        old = before.memory.peak if before and before.memory else None
        note = f"{format_bytes(result.memory.steady)} after predictions"
        yield tile("Peak memory", format_bytes(result.memory.peak), note, old, result.memory.peak)


def _compared(result: Result, before: Result) -> str:
    rows = []
    for change in changes(result, before):
        ratio = "" if change.ratio is None else f"{change.ratio:.2f}"
        rows.append(
            f"<th scope=row>{escape(change.figure)}</th><td>{format_figure(change.before, change.unit)}</td>"
            f"<td>{format_figure(change.now, change.unit)}</td><td>{ratio}</td>"
            f'<td class="{change.verdict}">{change.verdict}</td>'
        )
    return f"<h3>Compared with the baseline</h3>{_table(('', 'baseline', 'now', 'ratio', 'verdict'), rows)}"


def _statistics(result: Result) -> str:
    rows = []
    for name, found in (
        ("Prediction", result.prediction),
        ("Load, cached", result.load_cached),
        ("Load, uncached", result.load_uncached),
        ("Compilation", result.compilation),
    ):
        if found is not None:
            cells = "".join(f"<td>{format_duration(getattr(found, kind))}</td>" for kind in _STATISTICS)
            rows.append(f"<th scope=row>{name}</th>{cells}<td>{len(found.values)}</td>")
    return _table(("", *_STATISTICS, "count"), rows)


def _numerics(result: Result) -> str:
    noise = result.numerics.signal_to_noise
    ratios = ", ".join(f"<b>{escape(name)}</b> {value:.1f} dB" for name, value in noise.items())
    fidelity = f" Signal-to-noise ratio against the float32 run: {ratios}." if ratios else ""
    tried = "".join(f"<li>{escape(one)}</li>" for one in result.candidates)
    return (
        f"<h3>Precision</h3><p>Computed in <b>{escape(result.numerics.precision)}</b>"
        f" ({escape(result.numerics.explanation)}).{fidelity}</p>"
        f"<details><summary>Candidates</summary><ul>{tried}</ul></details>"
    )


def _operations(result: Result) -> str:
    if not result.operations:
        return ""
    most = max((op.measured or op.estimated for op in result.operations), default=0.0) or 1.0
    rows = [_operation(op, most) for op in result.operations[:_MOST_OPERATIONS]]
    more = len(result.operations) - _MOST_OPERATIONS
    rest = f"<p>{more} more are in the JSON report.</p>" if more > 0 else ""
    added = f"<p>{format_duration(result.unnamed)} in operations that the engine added.</p>" if result.unnamed else ""
    head = ("operation", "kind", "planned", "actual", "engine", "estimated", "measured", "", "why not elsewhere")
    opened = " open" if len(result.operations) <= 40 else ""
    return (
        f"<h3>Operations</h3><details{opened}>"
        f"<summary>{len(result.operations)} run per prediction</summary>"
        f"{_table(head, rows)}{rest}{added}</details>"
    )


def _operation(op: Operation, most: float) -> str:
    reasons = "; ".join(f"{device}: {reason}" for device, reason in op.reasons.items())
    took = op.measured if op.measured is not None else 0.0
    cells = [
        escape(op.kind), escape(op.planned), escape(op.actual), escape(op.engine), format_duration(op.estimated),
        f"with {escape(op.fused)}" if op.fused else "" if op.measured is None else format_duration(took),
        f'<div class=meter><i style="width:{took / most:.0%}"></i></div>',
        f'<span class=reasons title="{escape(reasons)}">{escape(reasons)}</span>',
    ]  # fmt: skip
    return f"<th scope=row>{escape(op.name)}</th>" + "".join(f"<td>{cell}</td>" for cell in cells)


def _legend(parts: Iterable[str]) -> str:
    shown_parts = "".join(f'<span><i class="c{i % 8}"></i>{escape(name)}</span>' for i, name in enumerate(parts))
    return f"<p class=legend>{shown_parts}</p>"


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    titles = "".join(f"<th scope=col>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"


def escape(text: str) -> str:
    """Text as HTML, with its control characters made visible."""
    return html.escape(visible(text))
