"""LatencyTracker: how long predictions take, and so which of them are computed where they are asked for."""

from __future__ import annotations

# Seconds: a prediction that takes less is over before it was handed to a thread and back (`bench/event_loop.py`).
_HOP = 100e-6
# The weight of the newest time in the running mean. It counts as this many means at most: a thread that loses its core
# for some milliseconds says nothing of the prediction, and predictions that became longer show soon all the same.
_NEWEST = 0.1
_OUTLIER = 4.0
# Those that took longer than the bound are counted, and forgotten at this rate; two of late are too many.
_FADING = 0.95
_SLOW = 1.5
# Seconds that the task around an inline prediction keeps the event loop besides.
_AROUND = 8e-6
# Predictions of a kind that must have been seen: the first ones are slow.
_ENOUGH = 3


class LatencyTracker:
    """By the size of the inputs, in powers of two: of a flexible model, a large one is not taken for a small one.

    Several threads may note at once; a time that is lost that way does no harm.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._longest = min(_HOP, bound / 4)
        # Of a task that waits for two turns of the loop, at the end of one and the beginning of the next.
        self._turn = bound / 2 - self._longest
        self._kinds: dict[int, tuple[float, float, int]] = {}
        self._spent = 0.0

    def short(self, size: int) -> bool:
        """Whether it may be computed at once: the mean is below a hop, and one at most was over the bound of late."""
        kind = self._kinds.get(size.bit_length())
        return kind is not None and kind[2] >= _ENOUGH and kind[0] < self._longest and kind[1] < _SLOW

    def note(self, size: int, took: float, inline: bool = False) -> None:
        if inline:
            self._spent += took + _AROUND
        key = size.bit_length()
        kind = self._kinds.get(key)
        if kind is None:
            self._kinds[key] = (took, 0.0, 1)
            return
        mean, slow, count = kind
        if count < _ENOUGH:  # the first ones warm up
            self._kinds[key] = (min(mean, took), 0.0, count + 1)
            return
        slow = slow * _FADING + (took > self._bound)
        self._kinds[key] = (mean + _NEWEST * (min(took, _OUTLIER * mean) - mean), slow, count)

    def spent(self) -> bool:
        """Whether the event loop was kept for as long as it may be, and must have its turn."""
        return self._spent >= self._turn > 0

    def turned(self) -> None:
        self._spent = 0.0
