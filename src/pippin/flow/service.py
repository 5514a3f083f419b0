"""Service: the predictions of one model that are under way: its gate, its threads, and whoever waits for a result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock, RLock
from typing import Any

from ..cancellation import Cancellation
from ..errors import DeadlineExceeded, PredictionCancelled
from .control import FlowControl, Statistics
from .gate import Gate, Request

Outputs = dict[str, Any]
Work = Callable[[], Outputs]

# A prediction that takes less is computed in the event loop itself: handing it to a thread and back takes longer.
_INLINE = 100e-6
# So long the event loop may be kept by such predictions before others get their turn.
_TURN = 500e-6
# The weight of the newest time in the running mean.
_NEWEST = 0.1


class Pending:
    """A prediction that was submitted. Its slot is given back when the device is done, whoever waits for it or not."""

    def __init__(self, gate: Gate, work: Work, size: int, priority: int, deadline: float | None) -> None:
        self.future: Future[Outputs] = Future()
        self.work = work
        self._gate = gate
        self._settling = RLock()
        self.request = Request(lambda: None, lambda error: self.settle(None, error), size, priority, deadline)

    def cancel(self) -> None:
        """Where it waits, it fails with PredictionCancelled at once; where it runs, its result is dropped."""
        if not self._gate.cancel(self.request):
            self.settle(None, PredictionCancelled("the prediction was cancelled while it ran"))

    def settle(self, outputs: Outputs | None, error: BaseException | None) -> None:
        """Hand a result over, or why there is none; the first one counts."""
        with self._settling:
            if self.future.done():
                return
            if error is None:
                assert outputs is not None
                self.future.set_result(outputs)
            else:
                self.future.set_exception(error)


class Service:
    """Any thread may submit. The threads are made when they are first needed, at most as many as the gate has room."""

    def __init__(self, flow: FlowControl, cores: int) -> None:
        self.gate = Gate(flow, cores)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._seconds: float | None = None
        """The running mean of what a prediction takes."""
        self._turn = 0.0

    def statistics(self) -> Statistics:
        return self.gate.statistics()

    def submit(self, work: Work, size: int = 0, priority: int = 0, timeout: float | None = None) -> Pending:
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = Pending(self.gate, work, size, priority, deadline)
        pending.request.start = lambda: self._start(pending)
        self.gate.submit(pending.request)
        return pending

    def call(
        self,
        work: Work,
        size: int = 0,
        priority: int = 0,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> Outputs:
        """Submit and wait, in this thread. Raises what the prediction raises, PredictionCancelled, DeadlineExceeded."""
        pending = self.submit(work, size, priority, timeout)
        forget = cancellation.listen(pending.cancel) if cancellation is not None else lambda: None
        try:
            return pending.future.result(timeout)
        except TimeoutError:
            pending.cancel()
            raise DeadlineExceeded(f"the prediction was not done within {timeout} s") from None
        finally:
            forget()

    async def call_async(self, work: Work, size: int = 0, priority: int = 0, timeout: float | None = None) -> Outputs:
        """Submit and wait, in a task of asyncio or trio; cancelling the task cancels the prediction."""
        if self._seconds is not None and self._seconds < _INLINE and self._turn < _TURN:
            request = Request(lambda: None, lambda error: None, size)
            if self.gate.enter(request):
                before = time.perf_counter()
                outputs = self._run(work, request)
                self._turn += time.perf_counter() - before
                return outputs
        from .waiting import give_turn, wait

        if self._turn >= _TURN:
            self._turn = 0.0
            await give_turn()
            return await self.call_async(work, size, priority, timeout)
        return await wait(self.submit(work, size, priority, timeout), timeout)

    def close(self) -> None:
        """Nothing more is submitted; what runs ends by itself."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _start(self, pending: Pending) -> None:
        try:
            self._threads().submit(self._work, pending)
        except RuntimeError as error:  # the interpreter ends
            self.gate.done(pending.request, failed=True)
            pending.settle(None, PredictionCancelled(f"the prediction was not begun: {error}"))

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.gate.room, thread_name_prefix="pippin")
            return self._pool

    def _work(self, pending: Pending) -> None:
        outputs, failure = None, None
        try:
            outputs = self._run(pending.work, pending.request)
        except BaseException as error:  # also what a callback of the caller raises: it belongs to whoever waits
            failure = error
        pending.settle(outputs, failure)

    def _run(self, work: Work, request: Request) -> Outputs:
        """The prediction itself; its slot is given back before anybody hears of the result."""
        started, failed = time.perf_counter(), True
        try:
            outputs = work()
            failed = False
            return outputs
        finally:
            took = time.perf_counter() - started
            mean = self._seconds
            self._seconds = took if mean is None else mean + _NEWEST * (took - mean)
            self.gate.done(request, failed)


def size_of(features: Mapping[str, Any]) -> int:
    """Bytes of the arrays among the features."""
    return sum(getattr(value, "nbytes", 0) for value in features.values())


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
