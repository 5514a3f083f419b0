"""Evaluation: the figures of several models on one data set, side by side."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ...reporting.css import STYLE
from ...reporting.results import Result
from ...support.units import format_bytes, format_duration
from .metrics import Figure
from .significance import Difference

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class: precision, recall and F1, or the intersection over union; `count` is the number of examples."""

    name: str
    count: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Mistake:
    """An example that a model answered wrong."""

    example: str
    truth: str
    answer: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One model. `cost` are its size, times and memory, as `pippin report` measures them; None if not measured."""

    name: str
    figures: Mapping[str, Figure]
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows are true classes, columns answers; empty if there are none."""
    mistakes: tuple[Mistake, ...]
    cost: Result | None
    calibration: float | None = None
    """Expected calibration error of the answered labels' probabilities, over ten bins."""

    def numbers(self) -> dict[str, float]:
        """Figures by name, for conditions."""
        found = {name: figure.value for name, figure in self.figures.items()}
        if self.cost is not None:
            found |= {
                "size": float(self.cost.size),
                "latency": self.cost.prediction.median,
                "load": self.cost.load_uncached.median,
            }
            if self.cost.memory is not None:
                found["memory"] = float(self.cost.memory.steady)
        return found


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found. `differences` compare each further model with the first."""

    data: str
    task: str
    count: int
    classes: tuple[str, ...]
    variants: tuple[Variant, ...]
    differences: tuple[Difference, ...]
    disagreements: tuple[tuple[str, ...], ...] = ()
    """Examples that the models answer differently: name, truth, then the answer of each."""

    def __repr__(self) -> str:
        name, figure = next(iter(self.variants[0].figures.items()), ("", None))
        shown = "" if figure is None else f", {name} {', '.join(f'{v.figures[name].value:.4g}' for v in self.variants)}"
        return f"<Evaluation of {len(self.variants)} on {self.data!r}, {self.count:,} examples{shown}>"

    def rows(self) -> list[tuple[str, ...]]:
        """The table: a header, then one row for each model."""
        names = list(self.variants[0].figures)
        head = ("model", *names, "size", "load", "cached", "latency", "throughput", "memory")
        return [head, *(self._row(variant, names) for variant in self.variants)]

    def _row(self, variant: Variant, names: Sequence[str]) -> tuple[str, ...]:
        figures = (f"{f.value:.4g} ({f.low:.4g} to {f.high:.4g})" for f in map(variant.figures.__getitem__, names))
        cost = variant.cost
        if cost is None:
            return (variant.name, *figures, *[""] * 6)
        cached = format_duration(cost.load_cached.median) if cost.load_cached else ""
        rate = max(cost.throughput.values(), default=None)
        return (
            variant.name, *figures, format_bytes(cost.size), format_duration(cost.load_uncached.median), cached,
            format_duration(cost.prediction.median), "" if rate is None else f"{rate:,.0f}/s",
            format_bytes(cost.memory.steady) if cost.memory else "",
        )  # fmt: skip

    def to_json(self) -> str:
        return json.dumps(asdict(self), allow_nan=True)

    def to_html(self) -> str:
        """One page without scripts; whatever comes from models and data is escaped."""
        parts = [f"<h1>{html.escape(self.data)}: {self.task}, {self.count:,} examples</h1>", _table(self.rows())]
        if self.differences:
            head = ("against the first", "metric", "difference", "95 % interval", "p", "test", "answered differently")
            rows = [
                (d.second, d.metric, f"{d.value:+.4g}", f"{d.low:+.4g} to {d.high:+.4g}", f"{d.p:.2g}", d.test,
                 str(d.disagreements))
                for d in self.differences
            ]  # fmt: skip
            parts.append(_table([head, *rows]))
        for variant in self.variants:
            parts += _details(variant, self.classes)
        if self.disagreements:
            named = ("example", "truth", *(variant.name for variant in self.variants))
            parts += ["<h2>Answered differently</h2>", _table([named, *self.disagreements])]
        body = "\n".join(parts)
        title = html.escape(f"Evaluation on {self.data}")
        top = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        return f'<!doctype html><html lang="en"><head>{top}</head><body>{body}</body></html>'

    def _repr_html_(self) -> str:
        return _table(self.rows())


def _details(variant: Variant, classes: Sequence[str]) -> list[str]:
    parts = [f"<h2>{html.escape(variant.name)}</h2>"]
    if variant.calibration is not None:
        parts.append(f"<p>Calibration error {variant.calibration:.3g}</p>")
    if variant.classes:
        names = list(variant.classes[0].figures)
        rows = [(c.name, str(c.count), *(f"{c.figures[n]:.4g}" for n in names)) for c in variant.classes]
        parts.append(_table([("class", "count", *names), *rows]))
    if variant.confusion and len(classes) <= _SHOWN:
        rows = [(name, *map(str, row)) for name, row in zip(classes, variant.confusion, strict=True)]
        parts += ["<h3>Confusion: true classes in rows</h3>", _table([("", *classes), *rows])]
    if variant.mistakes:
        rows = [
            (m.example, m.truth, m.answer, "" if m.probability is None else f"{m.probability:.3f}")
            for m in variant.mistakes
        ]
        parts += ["<h3>Mistakes, the surest first</h3>", _table([("example", "truth", "answer", "probability"), *rows])]
    return parts


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
