"""Executor: runs the predictions of one model. Work enters, passes admission and a worker thread, outputs leave."""

from __future__ import annotations

import time
from threading import Lock

from ...errors import DeadlineExceeded, PredictionCancelled
from ...support.cancellation import Cancellation
from ...support.daemon_threads import DaemonThreads, asked_at_exit
from .admission import AdmissionController
from .flow_control import FlowControl, Statistics
from .latency import LatencyTracker
from .pending import Outputs, PendingPrediction, Work
from .state_queue import StateQueue


class Executor:
    """Accepts work from any thread. Creates its worker threads on first use, at most one for each slot."""

    def __init__(self, flow: FlowControl, cores: int) -> None:
        self.admission = AdmissionController(flow, cores)
        self.latency = LatencyTracker(flow.max_blocking)
        self._pool: DaemonThreads | None = None
        self._lock = Lock()
        self._yielding = False
        self.inline = True
        """Whether short predictions may run in the caller's thread. Not if one may suddenly take forever."""

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
        """Queue work for a worker thread. With a `state_queue`, it runs after the work already queued there."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = PendingPrediction(self.admission, work, size, priority, deadline, state_queue)
        pending.submit(lambda: self._start(pending))
        return pending

    def run_inline(self, work: Work, size: int = 0) -> Outputs | None:
        """Run in this thread if the work is expected to be shorter than a thread hop and a slot is free; else None.

        Raises what the work raises.
        """
        if not (self.inline and self.latency.is_short(size)):
            return None
        began = self.admission.start_inline(size)
        if began is None:
            return None
        failed = True
        try:
            outputs = work(None)
            failed = False
        finally:
            self.latency.record(size, self.admission.finish_inline(size, began, failed), inline=True)
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
        """Submit and block this thread. Raises what the prediction raises, PredictionCancelled, DeadlineExceeded."""
        pending = self.submit(work, size, priority, timeout, state_queue)
        unsubscribe = cancellation.listen(pending.cancel) if cancellation is not None else None
        try:
            return pending.future.result(timeout)
        except TimeoutError:
            if pending.future.done():
                raise  # the prediction itself raised it
            pending.cancel()
            if pending.stop.finished:  # it had computed, and its state has the step
                return pending.future.result()
            raise DeadlineExceeded(f"the prediction did not complete within {timeout} s") from None
        except BaseException:
            if not pending.future.done():  # this thread was interrupted, for example by Ctrl-C
                pending.cancel()
            raise
        finally:
            if unsubscribe is not None:
                unsubscribe()

    async def call_async(
        self,
        work: Work,
        size: int = 0,
        priority: int = 0,
        timeout: float | None = None,
        state_queue: StateQueue | None = None,
    ) -> Outputs:
        """Submit and await, in an asyncio or trio task. Cancelling the task cancels the prediction."""
        if state_queue is None:
            if self.latency.budget_spent():
                await self.yield_to_loop()
            outputs = self.run_inline(work, size)
            if outputs is not None:
                return outputs
        from .async_bridge import wait

        return await wait(self.submit(work, size, priority, timeout, state_queue), timeout)

    async def yield_to_loop(self) -> None:
        """Let other tasks run if inline predictions have blocked the event loop for as long as allowed."""
        from .async_bridge import checkpoint

        while self.latency.budget_spent():
            first, self._yielding = not self._yielding, True
            try:
                await checkpoint()
            finally:
                if first:  # the other waiting tasks resume in the same loop iteration and share one budget
                    self._yielding = False
                    self.latency.reset_budget()

    def close(self) -> None:
        """Accept no more work; running predictions finish."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _start(self, pending: PendingPrediction) -> None:
        try:
            self._threads().submit(lambda: self._run(pending))
        except RuntimeError as error:  # the interpreter is shutting down
            pending.done(failed=True)
            pending.settle(None, PredictionCancelled(f"the prediction was not started: {error}"))

    def _threads(self) -> DaemonThreads:
        with self._lock:
            if self._pool is None:
                self._pool = DaemonThreads(self.admission.capacity, "pippin")
            return self._pool

    def _run(self, pending: PendingPrediction) -> None:
        """Run a prediction; releases its slot before the result is visible."""
        outputs: Outputs | None = None
        failure: BaseException | None = None
        began = time.perf_counter()
        try:
            pending.stop.check()
            with asked_at_exit(pending.stop.ask):
                outputs = pending.work(pending.stop)
        except BaseException as error:  # any error is delivered to the waiting caller
            failure = error
        else:
            self.latency.record(pending.request.bytes, time.perf_counter() - began)
        pending.done(failure is not None)
        pending.settle(outputs, failure)
        failure = None  # break the cycle: its traceback references this frame
