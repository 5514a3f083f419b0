"""Moments: what is measured on a machine that others use too, said of the machine as it is when they do not.

A virtual machine shows moments, of half a second to twenty, in which two threads are as slow as one (its two processors
are halves of one core then). What ran in such a moment is up to twice as slow, and who judges by it chooses what suits
the neighbours: a form with one thread, where two are faster at all other times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..devices import cpu
from . import settling

FAR_BEHIND = 1.3
_MOMENT = 2.0  # times slower is what ran in one
_ROUNDS = 3  # after which each has been seen in another moment

PATIENCE = 10.0  # seconds that a thorough race waits in all, until the machine is its own
BUSY = "waiting, since others use this machine now"
_STEP = 0.1
_SHARED = 1.15  # times longer than alone; 1.0 to 1.1 is usual on two cores that are ours, up to 2 on halves of one
# Products so small that no library shares them out to threads of its own: a millisecond of multiply-adds in registers.
_LEFT, _RIGHT = (200, 64, 64), (64, 64)


def typical(seconds: Sequence[float]) -> float:
    """Of the seconds that the same work took, the lower quartile."""
    return float(np.quantile(seconds, 0.25))


def settled(seconds: Sequence[float]) -> bool:
    """Whether what is typical of them is near the least of them, so that they are not all from such a moment."""
    return typical(seconds) < FAR_BEHIND * min(seconds)


def typical_rate(rates: Sequence[float]) -> float:
    """Of the rates at which the same work was done, the upper quartile."""
    return float(np.quantile(rates, 0.75))


def far_behind(rounds: int) -> float:
    """Who is so many times slower than the fastest after this many rounds need not run again."""
    return FAR_BEHIND if rounds >= _ROUNDS else FAR_BEHIND * _MOMENT


def wait(until: float, tell: Callable[[], object]) -> None:
    """Return when two threads are as fast as one, or at `until` (of `time.perf_counter`); call `tell` while waiting."""
    while time.perf_counter() < until and cpu.cores() > 1:
        settling.wait()
        if not shared():
            return
        tell()
        time.sleep(_STEP)


def shared() -> bool:
    """Whether work takes longer now while another thread does the same."""
    left, right = np.ones(_LEFT, np.float32), np.ones(_RIGHT, np.float32)

    def took(_: int = 0) -> float:
        started = time.perf_counter()
        np.matmul(left, right)
        return time.perf_counter() - started

    with ThreadPoolExecutor(2) as pool:
        both = min(max(pool.map(took, range(2))) for _ in range(4))
    return both > _SHARED * min(took() for _ in range(4))
