"""Pace: how long predictions take, and so which of them are computed where they are asked for."""

from __future__ import annotations

# Seconds: a prediction that takes less is over before it was handed to a thread and back (`bench/event_loop.py`).
_HOP = 100e-6
# The weight of the newest time in the running mean, and what the slowest one loses with each that follows.
_NEWEST = 0.1
_FADING = 0.95
# Predictions of a kind that must have been seen: the first ones are slow.
_ENOUGH = 3


class Pace:
    """By the size of the inputs, in powers of two: of a flexible model, a large one is not taken for a small one.

    Several threads may note at once; a time that is lost that way does no harm.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._longest = min(_HOP, bound / 4)
        self._turn = bound / 2
        self._kinds: dict[int, tuple[float, float, int]] = {}
        self._spent = 0.0

    def short(self, size: int) -> bool:
        """Whether it may be computed at once: the mean is below a hop, and none of late came near the bound."""
        kind = self._kinds.get(size.bit_length())
        return kind is not None and kind[2] >= _ENOUGH and kind[0] < self._longest and kind[1] < self._bound

    def note(self, size: int, took: float, inline: bool = False) -> None:
        if inline:
            self._spent += took
        key = size.bit_length()
        kind = self._kinds.get(key)
        if kind is None:
            self._kinds[key] = (took, took, 1)
            return
        mean, slowest, count = kind
        if count < _ENOUGH:  # the first ones warm up
            self._kinds[key] = (min(mean, took), min(slowest, took), count + 1)
        else:
            self._kinds[key] = (mean + _NEWEST * (took - mean), max(took, slowest * _FADING), count)

    def spent(self) -> bool:
        """Whether the event loop was kept for as long as it may be, and must have its turn."""
        return self._spent >= self._turn > 0

    def turned(self) -> None:
        self._spent = 0.0
