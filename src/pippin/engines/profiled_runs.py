"""Profiled runs: how often a prediction is profiled, and the figure that stands for the times of one kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

_LEAST, _MOST = 7, 200
_SECONDS = 0.3


def repeat(run: Callable[[], object]) -> int:
    """Call `run` at least 7 times, and more often the shorter it takes. Returns the number of calls."""
    started, count = time.perf_counter(), 0
    while count < _LEAST or (count < _MOST and time.perf_counter() - started < _SECONDS):
        run()
        count += 1
    return count


def typical(times: Sequence[float]) -> float:
    """The mean of the middle half: as robust as the median, and finer than the profiler's whole microseconds."""
    ordered = sorted(times)
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    return sum(middle) / len(middle)
