"""Latency tracker: running mean of prediction time by input size. Predictions shorter than a thread hop run inline."""

from __future__ import annotations

# Seconds for a round trip through a worker thread (`bench/event_loop.py`). Shorter predictions run inline.
_THREAD_HOP = 100e-6
# Weight of the newest sample in the running mean. Samples are clipped to this many means: a descheduled thread is not a
# slow prediction, and predictions that really became slower still show soon.
_NEWEST = 0.1
_OUTLIER = 4.0
# Exponentially decayed count of predictions over the bound; inline execution stops at two.
_DECAY = 0.95
_MAX_SLOW = 1.5
# Seconds that the task around an inline prediction adds to the time the event loop is blocked.
_TASK_OVERHEAD = 8e-6
# Warm-up: samples required before a prediction runs inline. The first ones are slower.
_WARM_UP = 3


class LatencyTracker:
    """Prediction times in buckets of input size (powers of two), since a flexible model is slower on large inputs.

    Lock-free: concurrent updates may lose a sample, which is harmless.
    """

    def __init__(self, max_blocking: float) -> None:
        self._max_blocking = max_blocking
        self._inline_limit = min(_THREAD_HOP, max_blocking / 4)
        # A task can be delayed twice, at the end of one loop iteration and the start of the next.
        self._budget = max_blocking / 2 - self._inline_limit
        self._buckets: dict[int, tuple[float, float, int]] = {}
        self._inline_time = 0.0

    def is_short(self, size: int) -> bool:
        """Whether to run inline: the mean is below a thread hop and at most one recent sample exceeded the bound."""
        bucket = self._buckets.get(size.bit_length())
        return bucket is not None and bucket[2] >= _WARM_UP and bucket[0] < self._inline_limit and bucket[1] < _MAX_SLOW

    def record(self, size: int, took: float, inline: bool = False) -> None:
        if inline:
            self._inline_time += took + _TASK_OVERHEAD
        key = size.bit_length()
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = (took, 0.0, 1)
            return
        mean, slow, count = bucket
        if count < _WARM_UP:  # keep the fastest
            self._buckets[key] = (min(mean, took), 0.0, count + 1)
            return
        slow = slow * _DECAY + (took > self._max_blocking)
        self._buckets[key] = (mean + _NEWEST * (min(took, _OUTLIER * mean) - mean), slow, count)

    def budget_spent(self) -> bool:
        """Whether inline predictions have blocked the event loop for as long as allowed."""
        return self._inline_time >= self._budget > 0

    def reset_budget(self) -> None:
        self._inline_time = 0.0
