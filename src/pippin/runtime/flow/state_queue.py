"""StateQueue: predictions on one state, one after the other, first come first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class StateQueue:
    """Any thread may come. Who waits for the state_queue takes no slot of the model's flow from others."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._busy = False
        self._waiting: deque[Callable[[], object]] = deque()
        self._calling, self._left = False, 0

    def enter(self, go: Callable[[], object]) -> None:
        """Call `go` when its turn has come, perhaps at once; `leave` ends the turn."""
        with self._lock:
            if self._busy:
                self._waiting.append(go)
                return
            self._busy = True
        go()

    def forget(self, go: Callable[[], object]) -> bool:
        """Do not call it any more; False where its turn has come already."""
        with self._lock:
            if go in self._waiting:
                self._waiting.remove(go)
                return True
            return False

    def leave(self) -> None:
        with self._lock:
            if self._calling:  # who comes next was refused at once: the loop below goes on, without recursion
                self._left += 1
                return
            self._calling = True
        while True:
            with self._lock:
                following = self._waiting.popleft() if self._waiting else None
                self._busy = following is not None
                if following is None:
                    self._calling = False
                    return
            following()
            with self._lock:
                if not self._left:
                    self._calling = False
                    return
                self._left -= 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The block, in its turn; this thread waits for it."""
        come = Lock()
        come.acquire()
        self.enter(come.release)
        come.acquire()
        try:
            yield
        finally:
            self.leave()
