"""Quiet: waiting until the threads of an engine that has just run compute no more.

ONNX Runtime's go on spinning after a run, for 38 ms on a machine of two cores, and longer where they share one; what is
measured beside them is up to twice as slow.
"""

from __future__ import annotations

import time

USUAL, _LONGEST = 0.04, 0.2  # seconds
_STEP = 0.004
_IDLE = 0.1  # of a core: what the process then uses is not an engine's


def wait() -> None:
    """Return when the process is idle, or after 0.2 s, where it has other work than ours."""
    began = time.perf_counter()
    while time.perf_counter() - began < _LONGEST:
        started, used = time.perf_counter(), time.process_time()
        time.sleep(_STEP)
        if time.process_time() - used < _IDLE * (time.perf_counter() - started):
            return
