"""Executor: the predictions of one model that are under way: its admission, its threads, and whoever waits for a result."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from ...errors import DeadlineExceeded, PredictionCancelled
from ...support.cancellation import Cancellation
from .admission import AdmissionController
from .flow_control import FlowControl, Statistics
from .latency import LatencyTracker
from .pending import Outputs, PendingPrediction, Work
from .state_queue import StateQueue


class Executor:
    """Any thread may submit. The threads are made when they are first needed, at most as many as the admission has room."""

    def __init__(self, flow: FlowControl, cores: int) -> None:
        self.admission = AdmissionController(flow, cores)
        self.latency = LatencyTracker(flow.max_blocking)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._turning = False

    def statistics(self) -> Statistics:
        return self.admission.statistics()

    def submit(
        self,
        work: Work,
        size: int = 0,
        priority: int = 0,
        timeout: float | None = None,
        state_queue: StateQueue | None = None,
    ) -> PendingPrediction:
        """Let it wait for its turn, and for a thread of the model. On a `state_queue`, it comes after those that are there."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = PendingPrediction(self.admission, work, size, priority, deadline, state_queue)
        pending.submit(lambda: self._start(pending))
        return pending

    def at_once(self, work: Work, size: int = 0) -> Outputs | None:
        """The prediction itself, in this thread, where it is shorter than the way to another one; None where it is not,
        or where there is no room. Raises what it raises."""
        if not self.latency.short(size):
            return None
        began = self.admission.begin(size)
        if began is None:
            return None
        failed = True
        try:
            outputs = work(None)
            failed = False
        finally:
            self.latency.note(size, self.admission.end(size, began, failed), inline=True)
        return outputs

    def call(
        self,
        work: Work,
        size: int = 0,
        priority: int = 0,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        state_queue: StateQueue | None = None,
    ) -> Outputs:
        """Submit and wait, in this thread. Raises what the prediction raises, PredictionCancelled, DeadlineExceeded."""
        pending = self.submit(work, size, priority, timeout, state_queue)
        forget = cancellation.listen(pending.cancel) if cancellation is not None else None
        try:
            return pending.future.result(timeout)
        except TimeoutError:
            if pending.future.done():
                raise  # of the prediction itself
            pending.cancel()
            raise DeadlineExceeded(f"the prediction was not done within {timeout} s") from None
        except BaseException:
            if not pending.future.done():  # this thread was interrupted: nobody waits any more
                pending.cancel()
            raise
        finally:
            if forget is not None:
                forget()

    async def call_async(
        self,
        work: Work,
        size: int = 0,
        priority: int = 0,
        timeout: float | None = None,
        state_queue: StateQueue | None = None,
    ) -> Outputs:
        """Submit and wait, in a task of asyncio or trio; cancelling the task cancels the prediction."""
        if state_queue is None:
            if self.latency.spent():
                await self.turn()
            outputs = self.at_once(work, size)
            if outputs is not None:
                return outputs
        from .async_bridge import wait

        return await wait(self.submit(work, size, priority, timeout, state_queue), timeout)

    async def turn(self) -> None:
        """Give the other tasks of the event loop their turn, where predictions have kept it for as long as they may."""
        from .async_bridge import give_turn

        while self.latency.spent():
            first, self._turning = not self._turning, True
            try:
                await give_turn()
            finally:
                if first:  # the others, which wait as well, run in the same turn of the loop
                    self._turning = False
                    self.latency.turned()

    def close(self) -> None:
        """Nothing more is submitted; what runs ends by itself."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _start(self, pending: PendingPrediction) -> None:
        try:
            self._threads().submit(self._work, pending)
        except RuntimeError as error:  # the interpreter ends
            pending.done(failed=True)
            pending.settle(None, PredictionCancelled(f"the prediction was not begun: {error}"))

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.admission.room, thread_name_prefix="pippin")
            return self._pool

    def _work(self, pending: PendingPrediction) -> None:
        """The prediction; its slot is given back before anybody hears of the result."""
        outputs: Outputs | None = None
        failure: BaseException | None = None
        began = time.perf_counter()
        try:
            pending.stop.check()
            outputs = pending.work(pending.stop)
        except BaseException as error:  # whatever it is, it belongs to whoever waits
            failure = error
        else:
            self.latency.note(pending.request.bytes, time.perf_counter() - began)
        pending.done(failure is not None)
        pending.settle(outputs, failure)
        failure = None  # its traceback holds this frame
