"""Cancellation: says to a load or a prediction, from any thread, that nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from ..errors import PredictionCancelled


class Cancellation:
    """Set once, by `cancel`, for everything that it was given to. Any thread may use it."""

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
        for listener in listeners:  # one that fails does not keep it from the others
            try:
                listener()
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener` once it is cancelled, at once where it is already; returns what stops the listening."""
        with self._lock:
            if not self._cancelled:
                self._listeners.append(listener)
                return lambda: self._forget(listener)
        listener()
        return lambda: None

    def _forget(self, listener: Callable[[], object]) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)


class Stop:
    """Asks a prediction that runs to stop. Whoever computes it says `how`, for as long as it does."""

    __slots__ = ("_how", "_lock", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._how: Callable[[], object] | None = None
        self._lock = Lock()

    def ask(self) -> None:
        with self._lock:
            self.asked = True
            if self._how is not None:
                self._how()

    def check(self) -> None:
        """Between two steps of the work. Raises PredictionCancelled where it was asked to stop."""
        if self.asked:
            raise PredictionCancelled("the prediction was cancelled while it ran")

    @contextmanager
    def by(self, how: Callable[[], object]) -> Iterator[None]:
        """While the block runs, `how` stops it; after it, `how` is not called any more. Raises PredictionCancelled."""
        with self._lock:
            self.check()
            self._how = how
        try:
            yield
        finally:
            with self._lock:
                self._how = None
