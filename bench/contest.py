"""Contest: contestants in turn, round after round, and the medians of what each took."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

from pippin.specialization import contention, settling


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians(contestants: Mapping[str, Callable[[], object]], rounds: int, in_a_row: int = 1) -> dict[str, float]:
    """The median seconds of each. In a round, each runs `in_a_row` times, where that is more than 1 after a run that
    does not count, and after the threads of whoever ran before it have stopped spinning.

    Rounds wait, for 20 s in all, while others use the machine and two threads are as slow as one: who computes with
    one thread would win then."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    patience = time.perf_counter() + 2 * contention.PATIENCE
    for number in range(rounds):
        contention.wait(patience, lambda: None)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            if in_a_row > 1:
                settling.wait()
                contestants[name]()
            times[name] += [seconds(contestants[name]) for _ in range(in_a_row)]
    return {name: statistics.median(values) for name, values in times.items()}


def geometric_mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.exp(sum(map(math.log, found)) / len(found))
