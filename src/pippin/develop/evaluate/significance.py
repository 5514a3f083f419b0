"""Significance: whether two models differ by more than chance on the same examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .metrics import Metric, Records, resampled


@dataclass(frozen=True, slots=True)
class Difference:
    """The second model's figure minus the first's."""

    first: str
    second: str
    metric: str
    value: float
    low: float
    high: float
    p: float
    """Of no difference, two-sided."""
    test: str
    disagreements: int
    """Examples that they answer differently."""


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The p-value of the exact McNemar test of two arrays that say which examples were answered right."""
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if not only_first + only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def difference(names: tuple[str, str], metric: Metric, a: Records, b: Records, classes: Sequence[str]) -> Difference:
    """Compare two models by one metric: shares by the exact McNemar test, the rest by a seeded paired bootstrap."""
    first, second = metric.parts(a, classes), metric.parts(b, classes)
    value = float(metric.total(second.sum(0)) - metric.total(first.sum(0)))
    width = first.shape[1]
    sums = resampled(np.concatenate([first, second], 1))
    samples = metric.total(sums[:, width:]) - metric.total(sums[:, :width])
    low, high = (float(each) for each in np.nanpercentile(samples, [2.5, 97.5]))
    if metric.share:
        p, test = mcnemar(first[:, 0] > 0, second[:, 0] > 0), "exact McNemar"
    else:
        p = min(1.0, 2 * min(float((samples <= 0).mean()), float((samples >= 0).mean())))
        p, test = max(p, 1 / len(samples)), "paired bootstrap"
    apart = sum(x != y for (_, x), (_, y) in zip(a, b, strict=True))
    return Difference(*names, metric.name, value, low, high, p, test, apart)
