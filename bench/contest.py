"""Contest: runs contestants in alternation and returns their median times."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

from pippin.specialization import contention, spinning_threads


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians(contestants: Mapping[str, Callable[[], object]], rounds: int, in_a_row: int = 1) -> dict[str, float]:
    """Median seconds of each contestant, run `in_a_row` times per round. If `in_a_row` is more than 1, each turn starts
    with a wait for the previous contestant's threads to stop spinning and one warm-up run.

    Rounds wait while the machine is contended, for at most 20 s in total: when two threads are as slow as one,
    single-threaded contestants would win."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    deadline = time.perf_counter() + 2 * contention.MAX_WAIT
    for number in range(rounds):
        contention.wait_until_uncontended(deadline, lambda: None)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            if in_a_row > 1:
                spinning_threads.wait_until_idle()
                contestants[name]()
            times[name] += [seconds(contestants[name]) for _ in range(in_a_row)]
    return {name: statistics.median(values) for name, values in times.items()}


def geometric_mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.exp(sum(map(math.log, found)) / len(found))
