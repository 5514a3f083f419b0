"""Compare: compares a report with a saved one, figure by figure, and evaluates failure conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .fail_conditions import Condition
from .results import Result, figures

LEVEL = 0.05
"""Relative difference up to which two figures count as level."""

# Prefixes of figures for which higher is better.
_MORE_IS_BETTER = ("throughput", "signal_to_noise")
_SHOWN = (
    "prediction.median", "prediction.minimum", "load.cached.median", "load.uncached.median", "compilation.median",
    "memory.steady", "memory.peak", "signal_to_noise", "size",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    figure: str
    before: float
    now: float
    unit: str
    verdict: str
    """ "better", "worse" or "level"."""

    @property
    def ratio(self) -> float | None:
        return self.now / self.before if self.before else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a condition on one result."""

    result: str
    condition: str
    failed: bool


def counterpart(result: Result, baseline: Sequence[Result], number: int) -> Result | None:
    """The baseline's result for the same model, configuration and function, else the one at the same position."""
    for other in baseline:
        if (other.model, other.configuration, other.function) == (result.model, result.configuration, result.function):
            return other
    return baseline[number] if number < len(baseline) else None


def changes(result: Result, before: Result) -> Iterator[Change]:
    old = {name: value for name, value, _ in figures(before)}
    for name, now, unit in figures(result):
        if name in old and (name in _SHOWN or name.startswith("throughput")):
            yield Change(name, old[name], now, unit, _verdict(name, old[name], now))


def _verdict(name: str, before: float, now: float) -> str:
    if abs(now - before) <= LEVEL * abs(before):
        return "level"
    return "better" if (now > before) == name.startswith(_MORE_IS_BETTER) else "worse"


def judge(results: Sequence[Result], baseline: Sequence[Result], conditions: Sequence[Condition]) -> list[Verdict]:
    """Evaluate each condition on each result. Raises ReportError for an unknown figure."""
    found = []
    for number, result in enumerate(results):
        before = counterpart(result, baseline, number)
        now = {name: value for name, value, _ in figures(result)}
        old = None if before is None else {name: value for name, value, _ in figures(before)}
        found += [Verdict(result.title, one.text, one.holds(now, old)) for one in conditions]
    return found
