"""Compression: what a search found: the model that was written, and the table of all that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...support.units import format_bytes, format_duration


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to store all weights, built and measured."""

    choices: Mapping[str, str]
    """{weight: method}; the others stay as they are."""
    weight_bytes: int
    ratio: float
    """Bytes of all weights in float32, divided by those of this."""
    metric: float | None
    """The metric on the data; None if there are none."""
    drop: float
    """What the metric lost; without data, the noise of the outputs: their squared error over their square."""
    seconds: float | None = None
    """The median prediction here; None if it was not asked for."""
    note: str = ""
    """Why it was not taken; "" for the one that was."""


@dataclass(frozen=True, slots=True)
class Compression:
    """`path` is the package that was written; None if no trial met both bounds."""

    model: str
    path: Path | None
    target: str
    original_bytes: int
    metric_name: str
    metric: float | None
    """Of the original."""
    trials: tuple[Trial, ...]
    sensitivity: Mapping[str, Mapping[str, float]]
    """{weight: {method: noise of the outputs if only this weight is stored so}}."""
    skipped: tuple[str, ...] = ()
    """Weights that could not be tried, since the graph does not hold them as they are."""

    @property
    def chosen(self) -> Trial | None:
        return next((trial for trial in self.trials if not trial.note), None)

    def __repr__(self) -> str:
        found = self.chosen
        if found is None:
            return f"<Compression of {self.model!r} to {self.target}: not reached>"
        return f"<Compression of {self.model!r}: {found.ratio:.1f}x smaller, {self.metric_name} lost {found.drop:.4g}>"

    def rows(self) -> list[tuple[str, ...]]:
        """A header, then one row for each trial."""
        rows: list[tuple[str, ...]] = [("weights", "smaller", self.metric_name, "lost", "latency", "")]
        for trial in self.trials:
            metric = "" if trial.metric is None else f"{trial.metric:.4g}"
            latency = "" if trial.seconds is None else format_duration(trial.seconds)
            size = format_bytes(trial.weight_bytes)
            rows.append((size, f"{trial.ratio:.1f}x", metric, f"{trial.drop:.4g}", latency, trial.note or "chosen"))
        return rows
