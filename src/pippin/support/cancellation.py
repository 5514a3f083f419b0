"""Cancellation: asks a load or a prediction to stop, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from ..errors import PredictionCancelled


class Cancellation:
    """A one-shot cancellation token for any number of loads and predictions. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._cancelled = False
        self._listeners: list[Callable[[], object]] = []

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            listeners, self._listeners = self._listeners, []
        failed: list[Exception] = []
        for listener in listeners:  # a failing listener must not block the others
            try:
                listener()
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener` on cancellation, or immediately if already cancelled. Returns a function to unsubscribe."""
        with self._lock:
            if not self._cancelled:
                self._listeners.append(listener)
                return lambda: self._remove(listener)
        listener()
        return lambda: None

    def _remove(self, listener: Callable[[], object]) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)


class Stop:
    """Asks a running prediction to stop. The engine registers `how` to interrupt it while it computes."""

    __slots__ = ("_how", "_lock", "asked", "finished")

    def __init__(self) -> None:
        self.asked = False
        self.finished = False
        """Whether it is too late to stop: the prediction is changing its state."""
        self._how: Callable[[], object] | None = None
        self._lock = Lock()

    def request(self) -> bool:
        """`ask`, without interrupting a step. False if it is too late."""
        with self._lock:
            self.asked = self.asked or not self.finished
            return self.asked

    def finish(self) -> None:
        """From now on it is too late to stop. Raises PredictionCancelled if already asked."""
        with self._lock:
            self.check()
            self.finished = True

    def ask(self) -> None:
        with self._lock:
            if self.finished:
                return
            self.asked = True
            if self._how is not None:
                self._how()

    def check(self) -> None:
        """Call between two steps of the work. Raises PredictionCancelled if asked to stop."""
        if self.asked:
            raise PredictionCancelled("the prediction was cancelled while it ran")

    @contextmanager
    def by(self, how: Callable[[], object]) -> Iterator[None]:
        """While the block runs, `ask` calls `how`; not afterwards. Raises PredictionCancelled if already asked."""
        with self._lock:
            self.check()
            self._how = how
        try:
            yield
        finally:
            with self._lock:
                self._how = None
