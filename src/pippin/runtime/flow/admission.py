"""AdmissionController: which predictions run now. It has no thread and no clock of its own, and never waits: who comes, goes or is
done calls it, from any thread, and what follows is called back outside its lock.
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
    """One prediction on its way. `start` is called once it may run, or `refuse` once it never will."""

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
        """By the admission's clock; not started until then, it fails with DeadlineExceeded."""
        self.phase = "new"
        self.cancelled = False
        self.number = 0
        self.arrived = 0.0

    def __lt__(self, other: Request) -> bool:
        return (-self.priority, self.number) < (-other.priority, other.number)


class AdmissionController:
    """Every request that is submitted is started or refused, exactly once; every started one must be `done`."""

    def __init__(self, flow: FlowControl, cores: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._flow = flow
        self._room = flow.max_in_flight or cores
        self._queue_limit = flow.max_waiting if flow.max_waiting is not None else _queue(flow.policy, self._room)
        self._clock = clock
        self._lock = Lock()
        self._waiting: list[Request] = []
        self._gone = 0
        """Those among them that were refused meanwhile: taking one out of the middle of a heap takes long."""
        self._numbers = itertools.count()
        self._running = 0
        self._bytes = 0
        self._counts = dict.fromkeys(("submitted", "completed", "failed", "cancelled", "dropped", "rejected"), 0)
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.name = ""
        """The model's, for the trace."""
        self._noted: tuple[int, ...] = ()

    @property
    def room(self) -> int:
        """How many may run at once."""
        return self._room

    def submit(self, request: Request) -> None:
        """Start it, let it wait, or refuse it or another one."""
        with self._lock:
            request.number, request.arrived = next(self._numbers), self._clock()
            self._counts["submitted"] += 1
            request.phase = "waiting"
            heapq.heappush(self._waiting, request)
            calls = self._admit() + self._overflow(request)
            self._note() if recorder.sink else None
        _call(calls)

    def begin(self, size: int) -> float | None:
        """Start one here and now if there is room and nobody waits: the time, for `end`. Else None: it did not come."""
        with self._lock:
            if len(self._waiting) > self._gone or self._running >= self._room:
                return None
            limit = self._flow.max_bytes
            if limit is not None and self._running and self._bytes + size > limit:
                return None
            self._counts["submitted"] += 1
            self._running += 1
            self._bytes += size
            return self._clock()

    def end(self, size: int, began: float, failed: bool) -> float:
        """The prediction that `begin` began is done; what it took."""
        with self._lock:
            took = self._clock() - began
            self._running -= 1
            self._bytes -= size
            self._counts["failed" if failed else "completed"] += 1
            if not failed:
                self._latencies.append(took)
            calls = self._admit() if self._waiting else None
        if calls:
            _call(calls)
        return took

    def count(self, outcome: str) -> None:
        """One more prediction that ended ("cancelled", "dropped", "rejected") before it came here."""
        with self._lock:
            self._counts["submitted"] += 1
            self._counts[outcome] += 1
            self._note() if recorder.sink else None

    def cancel(self, request: Request) -> bool:
        """Refuse it where it waits: True. Where it runs, it goes on to hold its slot until it is done: False."""
        with self._lock:
            if request.phase == "running":
                request.cancelled = True
            if request.phase != "waiting":
                return False
            self._gone += 1
            calls = [self._refused(request, PredictionCancelled("the prediction was cancelled"), "cancelled")]
            calls += self._admit()
            if 2 * self._gone > len(self._waiting):
                self._waiting = [other for other in self._waiting if other.phase == "waiting"]
                heapq.heapify(self._waiting)
                self._gone = 0
            self._note() if recorder.sink else None
        _call(calls)
        return True

    def done(self, request: Request, failed: bool = False) -> None:
        """Give its slot back: the device is done with it."""
        with self._lock:
            request.phase = "done"
            self._running -= 1
            self._bytes -= request.bytes
            outcome = "cancelled" if request.cancelled else "failed" if failed else "completed"
            self._counts[outcome] += 1
            if outcome == "completed":
                self._latencies.append(self._clock() - request.arrived)
            calls = self._admit()
            self._note() if recorder.sink else None
        _call(calls)

    def statistics(self) -> Statistics:
        with self._lock:
            latencies = sorted(self._latencies)
            p50, p99 = (latencies[int(len(latencies) * q)] if latencies else None for q in (0.5, 0.99))
            return Statistics(
                self._running,
                len(self._waiting) - self._gone,
                self._bytes,
                **self._counts,
                latency_p50=p50,
                latency_p99=p99,
            )

    def _note(self) -> None:
        """The trace's counters, where one changed."""
        counts = len(self._waiting) - self._gone, *(self._counts[name] for name in ("cancelled", "dropped", "rejected"))
        send = recorder.sink
        if counts != self._noted and send is not None:
            self._noted = counts
            send((recorder.COUNTS, self.name, time.perf_counter(), *counts))

    def _fits(self, request: Request) -> bool:
        if self._running >= self._room:
            return False
        limit = self._flow.max_bytes
        return limit is None or self._running == 0 or self._bytes + request.bytes <= limit

    def _begin(self, request: Request) -> None:
        request.phase = "running"
        self._running += 1
        self._bytes += request.bytes

    def _admit(self) -> list[Callable[[], object]]:
        """Start those that fit, in order: a large one in front is not overtaken."""
        calls: list[Callable[[], object]] = []
        now = self._clock()
        while self._waiting:
            first = self._waiting[0]
            if first.phase != "waiting":
                heapq.heappop(self._waiting)
                self._gone -= 1
                continue
            if first.deadline is not None and now >= first.deadline:
                heapq.heappop(self._waiting)
                late = DeadlineExceeded("the prediction was not started before its deadline")
                calls.append(self._refused(first, late, "cancelled"))
                continue
            if not self._fits(first):
                break
            heapq.heappop(self._waiting)
            self._begin(first)
            calls.append(first.start)
        return calls

    def _overflow(self, newest: Request) -> list[Callable[[], object]]:
        """Refuse what is one too many."""
        calls: list[Callable[[], object]] = []
        policy, limit = self._flow.policy, self._queue_limit
        while limit is not None and (waiting := len(self._waiting) - self._gone) > limit:
            victim = newest
            if policy in ("drop_oldest", "latest"):
                victim = min((r for r in self._waiting if r.phase == "waiting"), key=lambda request: request.number)
            self._gone += 1
            if policy in ("wait", "reject"):
                under_way = f"{self._running} predictions run and {waiting - 1} wait"
                rejected = PredictionRejected(f"{under_way}: there is no room for another one")
                calls.append(self._refused(victim, rejected, "rejected"))
            else:
                reason = "there is no room for it" if victim is newest else "a newer one came"
                calls.append(
                    self._refused(victim, PredictionDropped(f"the prediction was dropped: {reason}"), "dropped")
                )
            if victim is newest:
                break
        return calls

    def _refused(self, request: Request, error: PippinError, count: str) -> Callable[[], object]:
        request.phase = "refused"
        self._counts[count] += 1
        return lambda: request.refuse(error)


def _queue(policy: Policy, room: int) -> int | None:
    """How many may wait where nothing is said."""
    limits: dict[Policy, int | None] = {"wait": None, "reject": 0, "drop_newest": 0, "latest": 1, "drop_oldest": room}
    return limits[policy]


def _call(calls: list[Callable[[], object]]) -> None:
    """Each of them, whatever another one raises: a slot that was given must be used."""
    failed: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:
            failed.append(error)
    if failed:
        raise failed[0]
