"""Control: what a user says of the predictions in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from ...errors import ConfigurationError

Policy = Literal["wait", "drop_newest", "drop_oldest", "latest", "reject"]


@dataclass(frozen=True, slots=True)
class FlowControl:
    """How many predictions may be under way, and what becomes of one more. Raises ConfigurationError.

    "wait": it waits, by priority and then in order. "reject": it fails with PredictionRejected. The others are for what
    loses its worth with time, such as frames of a camera: where `max_waiting` already wait, "drop_newest" refuses the
    new one, "drop_oldest" the one that has waited longest, and "latest" all but the new one; they fail with
    PredictionDropped.
    """

    max_in_flight: int | None = None
    """Predictions that run at once; None: as many as there are cores."""
    max_bytes: int | None = None
    """Bytes of inputs and outputs of those that run; a prediction that is larger by itself runs alone."""
    max_waiting: int | None = None
    """Those that may wait; None: any number with "wait", else as many as may run. Beyond, "wait" rejects."""
    policy: Policy = "wait"
    max_blocking: float = 0.001
    """Seconds that an event loop may be kept by predictions which are computed in it, because a thread would take
    longer; 0: none are."""

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise ConfigurationError(f"policy is {self.policy!r}; it must be one of {', '.join(get_args(Policy))}")
        for name, least in (("max_in_flight", 1), ("max_bytes", 1), ("max_waiting", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigurationError(f"{name} is {value!r}; it must be an integer of at least {least}, or None")
        if not isinstance(self.max_blocking, int | float) or not self.max_blocking >= 0:
            raise ConfigurationError(f"max_blocking is {self.max_blocking!r}; it must be seconds, 0 or more")


class Statistics(NamedTuple):
    """Of the predictions of one model since it was loaded; latencies in seconds, of the last 1,000 that completed."""

    in_flight: int
    waiting: int
    bytes_held: int
    submitted: int
    completed: int
    failed: int
    cancelled: int
    dropped: int
    rejected: int
    latency_p50: float | None
    latency_p99: float | None
