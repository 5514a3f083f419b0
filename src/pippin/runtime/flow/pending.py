"""Pending prediction: a submitted prediction, from the queue to its result; it can be cancelled from any thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any

from ...errors import PippinError, PredictionCancelled
from ...support.cancellation import Stop
from .admission import AdmissionController, Request
from .state_queue import StateQueue

Outputs = dict[str, Any]
Work = Callable[[Stop | None], Outputs]


class PendingPrediction:
    """A prediction that was submitted. Its slot is given back when the device is done, whoever waits for it or not."""

    __slots__ = ("_admission", "_go", "_settled", "_settling", "_state_queue", "future", "request", "stop", "work")

    def __init__(
        self,
        admission: AdmissionController,
        work: Work,
        size: int,
        priority: int,
        deadline: float | None,
        state_queue: StateQueue | None,
    ):
        self.future: Future[Outputs] = Future()
        self.work = work
        self.stop = Stop()
        self._admission = admission
        self._settling = Lock()
        self._settled = False
        self._state_queue = state_queue
        self._go: Callable[[], object] | None = None
        self.request = Request(_nothing, self._refused, size, priority, deadline)

    def submit(self, start: Callable[[], object]) -> None:
        self.request.start = start
        if self._state_queue is None:
            self._admission.submit(self.request)
        else:
            self._go = lambda: self._admission.submit(self.request)
            self._state_queue.enter(self._go)

    def cancel(self) -> None:
        """Where it waits, it fails with PredictionCancelled at once; where it runs, it is asked to stop and its result
        is dropped. Where it is done, nothing happens."""
        if self._state_queue is not None and self._go is not None and self._state_queue.forget(self._go):
            self._state_queue = None
            self._admission.count("cancelled")
            self._refused(PredictionCancelled("the prediction was cancelled"))
        elif not self._admission.cancel(self.request):
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
        self._admission.done(self.request, failed)
        self._let_go()

    def _refused(self, error: PippinError) -> None:
        self.settle(None, error)
        self._let_go()

    def _let_go(self) -> None:
        """What it holds goes with its slot, not with the last who looks at the result; and without a collection."""
        state_queue, self._state_queue, self._go = self._state_queue, None, None
        self.work = _nothing_left
        self.request.start = self.request.refuse = _nothing
        if state_queue is not None:
            state_queue.leave()


def _nothing(*_: object) -> None: ...


def _nothing_left(stop: Stop | None) -> Outputs:
    return {}
