"""Spinning threads: waits until an engine's worker threads stop spinning, before the next measurement.

ONNX Runtime's threads spin after a run: for 38 ms on a two-core machine, longer if they share a core. Work measured
during that time is up to twice as slow.
"""

from __future__ import annotations

import time

TYPICAL_SECONDS, _TIMEOUT = 0.04, 0.2
_INTERVAL = 0.004
_IDLE = 0.1  # of a core; spinning engine threads use more


def wait_until_idle() -> None:
    """Return when the process is idle, or after 0.2 s, since it may have other work."""
    began = time.perf_counter()
    while time.perf_counter() - began < _TIMEOUT:
        started, used = time.perf_counter(), time.process_time()
        time.sleep(_INTERVAL)
        if time.process_time() - used < _IDLE * (time.perf_counter() - started):
            return
