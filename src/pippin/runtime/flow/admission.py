"""Admission controller: decides which queued predictions may start. Passive: owns no thread and never blocks.

Arrival, cancellation and completion are reported from any thread; callbacks run outside the lock.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from ...errors import DeadlineExceeded, PippinError, PredictionCancelled, PredictionDropped, PredictionRejected
from ...trace import recorder
from .flow_control import FlowControl, Policy, Statistics

_LATENCIES = 1000


class Request:
    """A queued prediction. Exactly one of `start` and `refuse` is called, once."""

    __slots__ = ("arrived", "bytes", "cancelled", "deadline", "number", "phase", "priority", "refuse", "start")

    def __init__(
        self,
        start: Callable[[], object],
        refuse: Callable[[PippinError], object],
        size: int = 0,
        priority: int = 0,
        deadline: float | None = None,
    ) -> None:
        self.start = start
        self.refuse = refuse
        self.bytes = size
        self.priority = priority
        self.deadline = deadline
        """Time on the controller's clock; a request not started by then fails with DeadlineExceeded."""
        self.phase = "new"
        self.cancelled = False
        self.number = 0
        self.arrived = 0.0

    def __lt__(self, other: Request) -> bool:
        return (-self.priority, self.number) < (-other.priority, other.number)


class AdmissionController:
    """Starts or refuses every submitted request exactly once. The caller reports every started one as `done`."""

    def __init__(self, flow: FlowControl, cores: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._flow = flow
        self._capacity = flow.max_in_flight or cores
        self._queue_limit = (
            flow.max_waiting if flow.max_waiting is not None else _default_queue_limit(flow.policy, self._capacity)
        )
        self._clock = clock
        self._lock = Lock()
        self._waiting: list[Request] = []
        self._stale = 0
        """Number of refused entries still in the heap. They stay until popped; removing from the middle is O(n)."""
        self._numbers = itertools.count()
        self._running = 0
        self._bytes = 0
        self._counts = dict.fromkeys(("submitted", "completed", "failed", "cancelled", "dropped", "rejected"), 0)
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.name = ""
        """Name of the model, for the trace."""
        self._traced_counts: tuple[int, ...] = ()

    @property
    def capacity(self) -> int:
        """Maximum number of running predictions."""
        return self._capacity

    def submit(self, request: Request) -> None:
        """Start or queue a request, or refuse it or another one, by the policy."""
        with self._lock:
            request.number, request.arrived = next(self._numbers), self._clock()
            self._counts["submitted"] += 1
            request.phase = "waiting"
            heapq.heappush(self._waiting, request)
            calls = self._admit() + self._overflow(request)
            self._trace_counts() if recorder.sink else None
        _call_all(calls)

    def start_inline(self, size: int) -> float | None:
        """Take a slot for work in the calling thread, if one is free and the queue is empty.

        Returns the start time, to pass to `finish_inline`; None if no slot was taken, which is not counted.
        """
        with self._lock:
            if len(self._waiting) > self._stale or self._running >= self._capacity:
                return None
            limit = self._flow.max_bytes
            if limit is not None and self._running and self._bytes + size > limit:
                return None
            self._counts["submitted"] += 1
            self._running += 1
            self._bytes += size
            return self._clock()

    def finish_inline(self, size: int, began: float, failed: bool) -> float:
        """Release the slot of `start_inline`; returns the elapsed seconds."""
        with self._lock:
            took = self._clock() - began
            self._running -= 1
            self._bytes -= size
            self._counts["failed" if failed else "completed"] += 1
            if not failed:
                self._latencies.append(took)
            calls = self._admit() if self._waiting else None
        if calls:
            _call_all(calls)
        return took

    def count(self, outcome: str) -> None:
        """Count a prediction that was "cancelled", "dropped" or "rejected" before it was submitted here."""
        with self._lock:
            self._counts["submitted"] += 1
            self._counts[outcome] += 1
            self._trace_counts() if recorder.sink else None

    def cancel(self, request: Request) -> bool:
        """Refuse a waiting request and return True. A running one keeps its slot until `done`; returns False."""
        with self._lock:
            if request.phase == "running":
                request.cancelled = True
            if request.phase != "waiting":
                return False
            self._stale += 1
            calls = [self._refuse(request, PredictionCancelled("the prediction was cancelled"), "cancelled")]
            calls += self._admit()
            if 2 * self._stale > len(self._waiting):
                self._waiting = [other for other in self._waiting if other.phase == "waiting"]
                heapq.heapify(self._waiting)
                self._stale = 0
            self._trace_counts() if recorder.sink else None
        _call_all(calls)
        return True

    def done(self, request: Request, failed: bool = False) -> None:
        """Release the slot: the device has finished."""
        with self._lock:
            request.phase = "done"
            self._running -= 1
            self._bytes -= request.bytes
            outcome = "cancelled" if request.cancelled else "failed" if failed else "completed"
            self._counts[outcome] += 1
            if outcome == "completed":
                self._latencies.append(self._clock() - request.arrived)
            calls = self._admit()
            self._trace_counts() if recorder.sink else None
        _call_all(calls)

    def statistics(self) -> Statistics:
        with self._lock:
            latencies = sorted(self._latencies)
            p50, p99 = (latencies[int(len(latencies) * q)] if latencies else None for q in (0.5, 0.99))
            return Statistics(
                self._running,
                len(self._waiting) - self._stale,
                self._bytes,
                **self._counts,
                latency_p50=p50,
                latency_p99=p99,
            )

    def _trace_counts(self) -> None:
        """Send the counters to the trace if one of them changed."""
        counts = (
            len(self._waiting) - self._stale,
            *(self._counts[name] for name in ("cancelled", "dropped", "rejected")),
        )
        send = recorder.sink
        if counts != self._traced_counts and send is not None:
            self._traced_counts = counts
            send((recorder.COUNTS, self.name, time.perf_counter(), *counts))

    def _fits(self, request: Request) -> bool:
        if self._running >= self._capacity:
            return False
        limit = self._flow.max_bytes
        return limit is None or self._running == 0 or self._bytes + request.bytes <= limit

    def _occupy(self, request: Request) -> None:
        request.phase = "running"
        self._running += 1
        self._bytes += request.bytes

    def _admit(self) -> list[Callable[[], object]]:
        """Start the requests that fit, in order. A large one at the front is not overtaken."""
        calls: list[Callable[[], object]] = []
        now = self._clock()
        while self._waiting:
            first = self._waiting[0]
            if first.phase != "waiting":
                heapq.heappop(self._waiting)
                self._stale -= 1
                continue
            if first.deadline is not None and now >= first.deadline:
                heapq.heappop(self._waiting)
                late = DeadlineExceeded("the prediction was not started before its deadline")
                calls.append(self._refuse(first, late, "cancelled"))
                continue
            if not self._fits(first):
                break
            heapq.heappop(self._waiting)
            self._occupy(first)
            calls.append(first.start)
        return calls

    def _overflow(self, newest: Request) -> list[Callable[[], object]]:
        """Refuse requests beyond the queue limit, by the policy."""
        calls: list[Callable[[], object]] = []
        policy, limit = self._flow.policy, self._queue_limit
        while limit is not None and (waiting := len(self._waiting) - self._stale) > limit:
            victim = newest
            if policy in ("drop_oldest", "latest"):
                victim = min((r for r in self._waiting if r.phase == "waiting"), key=lambda request: request.number)
            self._stale += 1
            if policy in ("wait", "reject"):
                load = f"{self._running} running, {waiting - 1} waiting"
                rejected = PredictionRejected(f"the prediction was rejected: the queue is full ({load})")
                calls.append(self._refuse(victim, rejected, "rejected"))
            else:
                reason = "the queue is full" if victim is newest else "a newer one arrived"
                calls.append(
                    self._refuse(victim, PredictionDropped(f"the prediction was dropped: {reason}"), "dropped")
                )
            if victim is newest:
                break
        return calls

    def _refuse(self, request: Request, error: PippinError, count: str) -> Callable[[], object]:
        request.phase = "refused"
        self._counts[count] += 1
        return lambda: request.refuse(error)


def _default_queue_limit(policy: Policy, capacity: int) -> int | None:
    """Queue limit when `max_waiting` is None."""
    limits: dict[Policy, int | None] = {
        "wait": None,
        "reject": 0,
        "drop_newest": 0,
        "latest": 1,
        "drop_oldest": capacity,
    }
    return limits[policy]


def _call_all(calls: list[Callable[[], object]]) -> None:
    """Run every callback even if another one raises: an assigned slot must be used."""
    failed: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:
            failed.append(error)
    if failed:
        raise failed[0]
