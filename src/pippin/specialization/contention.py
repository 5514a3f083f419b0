"""Contention: timing on a shared machine: repeats until samples come from uncontended periods.

A virtual machine has contended periods of 0.5 to 20 s in which two threads are as slow as one, because its two
processors are halves of one core. Code timed in such a period is up to twice as slow. Settings chosen from those times
suit the neighbours' load: one thread, for example, although two are faster at all other times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..devices import cpu
from . import spinning_threads

ELIMINATION_FACTOR = 1.3
"""A candidate this many times slower than the fastest is not run again."""
_CONTENTION_FACTOR = 2.0  # how much slower a contended run can be
_LENIENT_ROUNDS = 3  # by then, each candidate has been measured in more than one period

MAX_WAIT = 10.0
"""Seconds that a "fast_prediction" race waits in total for an uncontended machine."""
WAITING_MESSAGE = "waiting: other processes are using the CPU"
_INTERVAL = 0.1  # seconds
_CONTENDED_RATIO = 1.15  # two threads against one: 1.0 to 1.1 is usual on two free cores, up to 2 on halves of one core
# Products small enough that no library splits them across its own threads: 1 ms of multiply-adds in registers.
_LEFT, _RIGHT = (200, 64, 64), (64, 64)


def typical_time(seconds: Sequence[float]) -> float:
    """Lower quartile of repeated times."""
    return float(np.quantile(seconds, 0.25))


def spread(seconds: Sequence[float]) -> float:
    """How many times the least of repeated times their median is."""
    return float(np.median(seconds)) / min(seconds)


def is_stable(seconds: Sequence[float]) -> bool:
    """Whether the lower quartile is near the minimum, so the times are not all from a contended period."""
    return typical_time(seconds) < ELIMINATION_FACTOR * min(seconds)


def typical_rate(rates: Sequence[float]) -> float:
    """Upper quartile of repeated rates."""
    return float(np.quantile(rates, 0.75))


def elimination_factor(rounds: int) -> float:
    """How many times slower than the fastest a candidate must be after `rounds` rounds to be dropped."""
    return ELIMINATION_FACTOR if rounds >= _LENIENT_ROUNDS else ELIMINATION_FACTOR * _CONTENTION_FACTOR


def wait_until_uncontended(deadline: float, waiting: Callable[[], object]) -> None:
    """Wait until two threads are as fast as one, or `deadline` (`time.perf_counter`). Calls `waiting` at each retry."""
    while time.perf_counter() < deadline and cpu.cores() > 1:
        spinning_threads.wait_until_idle()
        if not is_contended():
            return
        waiting()
        time.sleep(_INTERVAL)


def is_contended() -> bool:
    """Whether two threads doing the same work are slower than one."""
    left, right = np.ones(_LEFT, np.float32), np.ones(_RIGHT, np.float32)

    def took(_: int = 0) -> float:
        started = time.perf_counter()
        np.matmul(left, right)
        return time.perf_counter() - started

    with ThreadPoolExecutor(2) as pool:
        both = min(max(pool.map(took, range(2))) for _ in range(4))
    return both > _CONTENDED_RATIO * min(took() for _ in range(4))
