"""Flow control: limits for predictions in flight, and their statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from ...errors import ConfigurationError

Policy = Literal["wait", "drop_newest", "drop_oldest", "latest", "reject"]


@dataclass(frozen=True, slots=True)
class FlowControl:
    """Limits for predictions in flight, and the policy beyond them. Raises ConfigurationError.

    "wait" queues a prediction by priority, then by arrival. "reject" fails it with PredictionRejected. The other
    policies suit input that becomes stale, such as camera frames: when the queue is full (`max_waiting`), "drop_newest"
    drops the new prediction, "drop_oldest" the one that has waited longest; "latest" does the same with a queue of one
    by default. Dropped predictions fail with PredictionDropped.
    """

    max_in_flight: int | None = None
    """Maximum number of running predictions; None: one for each core."""
    max_bytes: int | None = None
    """Maximum bytes of inputs and outputs of running predictions; a single larger prediction runs alone."""
    max_waiting: int | None = None
    """Maximum queue length; beyond it, "wait" rejects. None: unlimited for "wait", 0 for "reject" and "drop_newest",
    1 for "latest", `max_in_flight` for "drop_oldest"."""
    policy: Policy = "wait"
    max_blocking: float = 0.001
    """Seconds that predictions too short for a worker thread may block the event loop they run in; 0: all predictions
    run in threads."""

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise ConfigurationError(f"policy must be one of {', '.join(get_args(Policy))}, got {self.policy!r}")
        for name, least in (("max_in_flight", 1), ("max_bytes", 1), ("max_waiting", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigurationError(f"{name} must be None or an integer of at least {least}, got {value!r}")
        if not isinstance(self.max_blocking, int | float) or not self.max_blocking >= 0:
            raise ConfigurationError(f"max_blocking must be 0 or more seconds, got {self.max_blocking!r}")


class Statistics(NamedTuple):
    """Counters of one model since it was loaded. Latencies are in seconds, over the last 1,000 completions."""

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
