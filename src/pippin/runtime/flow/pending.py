"""Pending prediction: a submitted prediction, from queue to result. Can be cancelled from any thread."""

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
    """A submitted prediction. Its slot is released when the device finishes, even if no caller waits any more."""

    __slots__ = (
        "_admission",
        "_enter",
        "_settle_lock",
        "_settled",
        "_state_queue",
        "future",
        "request",
        "stop",
        "work",
    )

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
        self._settle_lock = Lock()
        self._settled = False
        self._state_queue = state_queue
        self._enter: Callable[[], object] | None = None
        self.request = Request(_noop, self._on_refused, size, priority, deadline)

    def submit(self, start: Callable[[], object]) -> None:
        self.request.start = start
        if self._state_queue is None:
            self._admission.submit(self.request)
        else:
            self._enter = lambda: self._admission.submit(self.request)
            self._state_queue.enter(self._enter)

    def cancel(self) -> None:
        """Fail immediately with PredictionCancelled. A running prediction is also asked to stop, and its result is
        discarded; a completed one, or one that is changing its state, is unaffected."""
        if self._state_queue is not None and self._enter is not None and self._state_queue.remove(self._enter):
            self._state_queue = None
            self._admission.count("cancelled")
            self._on_refused(PredictionCancelled("the prediction was cancelled"))
        elif not self._admission.cancel(self.request) and self.stop.request():
            self.settle(None, PredictionCancelled("the prediction was cancelled while it ran"))
            self.stop.ask()

    def settle(self, outputs: Outputs | None, error: BaseException | None) -> None:
        """Deliver the outputs or an error; only the first call counts."""
        with self._settle_lock:
            if self._settled:
                return
            self._settled = True
        if error is None:
            assert outputs is not None
            self.future.set_result(outputs)
        else:
            self.future.set_exception(error)

    def done(self, failed: bool) -> None:
        """Release the slot: the device has finished."""
        self._admission.done(self.request, failed)
        self._release()

    def _on_refused(self, error: PippinError) -> None:
        self.settle(None, error)
        self._release()

    def _release(self) -> None:
        """Free the inputs with the slot, not with the last reference to the future; breaking cycles avoids waiting for
        garbage collection."""
        state_queue, self._state_queue, self._enter = self._state_queue, None, None
        self.work = _released
        self.request.start = self.request.refuse = _noop
        if state_queue is not None:
            state_queue.leave()


def _noop(*_: object) -> None: ...


def _released(stop: Stop | None) -> Outputs:
    return {}
