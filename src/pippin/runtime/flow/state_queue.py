"""State queue: serializes predictions that share a state, in arrival order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class StateQueue:
    """A FIFO lock with callbacks. Thread-safe. Waiting for a state takes no slot of the model's flow."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._busy = False
        self._waiting: deque[Callable[[], object]] = deque()
        self._draining, self._deferred_leaves = False, 0

    def enter(self, start: Callable[[], object]) -> None:
        """Call `start` when its turn comes, possibly immediately. `leave` ends the turn."""
        with self._lock:
            if self._busy:
                self._waiting.append(start)
                return
            self._busy = True
        start()

    def remove(self, start: Callable[[], object]) -> bool:
        """Remove a waiting entry; False if its turn has already come."""
        with self._lock:
            if start in self._waiting:
                self._waiting.remove(start)
                return True
            return False

    def leave(self) -> None:
        with self._lock:
            if self._draining:  # the next entry was refused inside `start`: the loop below continues, without recursion
                self._deferred_leaves += 1
                return
            self._draining = True
        while True:
            with self._lock:
                following = self._waiting.popleft() if self._waiting else None
                self._busy = following is not None
                if following is None:
                    self._draining = False
                    return
            following()
            with self._lock:
                if not self._deferred_leaves:
                    self._draining = False
                    return
                self._deferred_leaves -= 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Block this thread until its turn comes, then run the block."""
        come = Lock()
        come.acquire()
        self.enter(come.release)
        come.acquire()
        try:
            yield
        finally:
            self.leave()
