"""Service: the predictions of one model that are under way: its gate, its threads, and whoever waits for a result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

from ..cancellation import Cancellation, Stop
from ..errors import DeadlineExceeded, PippinError, PredictionCancelled
from .control import FlowControl, Statistics
from .gate import Gate, Request
from .lane import Lane
from .pace import Pace

Outputs = dict[str, Any]
Work = Callable[[Stop | None], Outputs]


class Pending:
    """A prediction that was submitted. Its slot is given back when the device is done, whoever waits for it or not."""

    __slots__ = ("_gate", "_go", "_lane", "_settled", "_settling", "future", "request", "stop", "work")

    def __init__(self, gate: Gate, work: Work, size: int, priority: int, deadline: float | None, lane: Lane | None):
        self.future: Future[Outputs] = Future()
        self.work = work
        self.stop = Stop()
        self._gate = gate
        self._settling = Lock()
        self._settled = False
        self._lane = lane
        self._go: Callable[[], object] | None = None
        self.request = Request(_nothing, self._refused, size, priority, deadline)

    def submit(self, start: Callable[[], object]) -> None:
        self.request.start = start
        if self._lane is None:
            self._gate.submit(self.request)
        else:
            self._go = lambda: self._gate.submit(self.request)
            self._lane.enter(self._go)

    def cancel(self) -> None:
        """Where it waits, it fails with PredictionCancelled at once; where it runs, it is asked to stop and its result
        is dropped. Where it is done, nothing happens."""
        if self._lane is not None and self._go is not None and self._lane.forget(self._go):
            self._lane = None
            self._gate.count("cancelled")
            self._refused(PredictionCancelled("the prediction was cancelled"))
        elif not self._gate.cancel(self.request):
            self.settle(None, PredictionCancelled("the prediction was cancelled while it ran"))
            self.stop.ask()

    def settle(self, outputs: Outputs | None, error: BaseException | None) -> None:
        """Hand a result over, or why there is none; the first one counts."""
        with self._settling:
            if self._settled:
                return
            self._settled = True
        if error is None:
            assert outputs is not None
            self.future.set_result(outputs)
        else:
            self.future.set_exception(error)

    def done(self, failed: bool) -> None:
        """The device is done with it."""
        self._gate.done(self.request, failed)
        self._let_go()

    def _refused(self, error: PippinError) -> None:
        self.settle(None, error)
        self._let_go()

    def _let_go(self) -> None:
        """What it holds goes with its slot, not with the last who looks at the result; and without a collection."""
        lane, self._lane, self._go = self._lane, None, None
        self.work = _nothing_left
        self.request.start = self.request.refuse = _nothing
        if lane is not None:
            lane.leave()


def _nothing(*_: object) -> None: ...


class Service:
    """Any thread may submit. The threads are made when they are first needed, at most as many as the gate has room."""

    def __init__(self, flow: FlowControl, cores: int) -> None:
        self.gate = Gate(flow, cores)
        self.pace = Pace(flow.max_blocking)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def statistics(self) -> Statistics:
        return self.gate.statistics()

    def submit(
        self, work: Work, size: int = 0, priority: int = 0, timeout: float | None = None, lane: Lane | None = None
    ) -> Pending:
        """Let it wait for its turn, and for a thread of the model. On a `lane`, it comes after those that are there."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = Pending(self.gate, work, size, priority, deadline, lane)
        pending.submit(lambda: self._start(pending))
        return pending

    def at_once(self, work: Work, size: int = 0) -> Outputs | None:
        """The prediction itself, in this thread, where it is shorter than the way to another one; None where it is not,
        or where there is no room. Raises what it raises."""
        if not self.pace.short(size):
            return None
        began = self.gate.begin(size)
        if began is None:
            return None
        failed = True
        try:
            outputs = work(None)
            failed = False
        finally:
            self.pace.note(size, self.gate.end(size, began, failed), inline=True)
        return outputs

    def call(
        self,
        work: Work,
        size: int = 0,
        priority: int = 0,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        lane: Lane | None = None,
    ) -> Outputs:
        """Submit and wait, in this thread. Raises what the prediction raises, PredictionCancelled, DeadlineExceeded."""
        pending = self.submit(work, size, priority, timeout, lane)
        forget = cancellation.listen(pending.cancel) if cancellation is not None else _nothing
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
            forget()

    async def call_async(
        self,
        work: Work,
        size: int = 0,
        priority: int = 0,
        timeout: float | None = None,
        lane: Lane | None = None,
    ) -> Outputs:
        """Submit and wait, in a task of asyncio or trio; cancelling the task cancels the prediction."""
        from .waiting import wait

        if lane is None:
            if self.pace.spent():
                await self.turn()
            outputs = self.at_once(work, size)
            if outputs is not None:
                return outputs
        return await wait(self.submit(work, size, priority, timeout, lane), timeout)

    async def turn(self) -> None:
        """Give the other tasks of the event loop their turn, where predictions have kept it for as long as they may."""
        from .waiting import give_turn

        while self.pace.spent():
            await give_turn()
            self.pace.turned()

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
            pending.done(failed=True)
            pending.settle(None, PredictionCancelled(f"the prediction was not begun: {error}"))

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.gate.room, thread_name_prefix="pippin")
            return self._pool

    def _work(self, pending: Pending) -> None:
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
            self.pace.note(pending.request.bytes, time.perf_counter() - began)
        pending.done(failure is not None)
        pending.settle(outputs, failure)
        failure = None  # its traceback holds this frame


def _nothing_left(stop: Stop | None) -> Outputs:
    return {}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
