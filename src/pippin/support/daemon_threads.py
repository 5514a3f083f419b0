"""Daemon threads: workers that the interpreter does not wait for when it exits. Python's own pools are joined."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")
V = TypeVar("V")
_Queue = SimpleQueue["Callable[[], object] | None"]

_GRACE = 1.0  # seconds at exit in which work that was asked to stop may end
_busy: dict[object, Callable[[], object]] = {}
"""How to stop each piece of work that is running in a daemon thread."""
_exiting = False


class DaemonThreads:
    """A pool of at most `most` threads, which start when needed. They end with `close`, or when nobody has the pool."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._queue: _Queue = SimpleQueue()
        self._idle = Semaphore(0)
        self._count = 0
        self._closed = False
        self._lock = Lock()

    def submit(self, work: Callable[[], object]) -> None:
        """Queue work, which must not raise. Raises RuntimeError if the pool is closed or no thread can start."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if not self._idle.acquire(blocking=False) and self._count < self._most:
                # Not a method: a thread must not keep the pool alive.
                Thread(target=_serve, args=(self._queue, self._idle), name=self._name, daemon=True).start()
                self._count += 1
            self._queue.put(work)

    def map(self, function: Callable[[V], T], items: Iterable[V]) -> Generator[T, None, None]:
        """The results, in order. Raises what the function raises. Even if closed early, it ends with the last item."""
        futures = [future_of(self.submit, partial(function, item)) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            wait(futures)

    def close(self) -> None:
        """Accept no more work. What is queued still runs."""
        with self._lock:
            self._closed = True
        self._queue.put(None)

    __del__ = close


def _serve(queue: _Queue, idle: Semaphore) -> None:
    while (work := queue.get()) is not None:
        work()
        del work  # free what it holds before waiting for more
        idle.release()
    queue.put(None)  # for the next thread


def in_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Run `work` in a new daemon thread, in the context of this one."""

    def start(run: Callable[[], object]) -> None:
        Thread(target=copy_context().run, args=(run,), name=name, daemon=True).start()

    return future_of(start, work)


def future_of(start: Callable[[Callable[[], object]], object], work: Callable[[], T]) -> Future[T]:
    """The future of `work`, which `start` runs in another thread."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # any error is delivered to whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    start(run)
    return future


@contextmanager
def asked_at_exit(stop: Callable[[], object]) -> Iterator[None]:
    """While the block runs in a daemon thread, an exit of the interpreter calls `stop` and waits a moment for it."""
    key = object()
    _busy[key] = stop
    if _exiting:  # it waited for work that has just been stopped
        stop()
    try:
        yield
    finally:
        del _busy[key]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_busy.clear)  # the threads exist only in the parent


@atexit.register
def _stop_all() -> None:
    global _exiting
    _exiting = True
    for stop in list(_busy.values()):
        with suppress(Exception):
            stop()
    deadline = time.monotonic() + _GRACE
    while _busy and time.monotonic() < deadline:
        time.sleep(0.005)
    if _busy:
        _skip_destructors()


def _skip_destructors() -> None:
    """Let the process end beside threads that still compute in C++ libraries."""
    libc = ctypes.CDLL(None)
    # The libraries' destructors would crash under them. glibc's handlers get the exit status, the last one first.
    with suppress(AttributeError):
        libc.fflush(None)
        libc.on_exit(libc._exit, None)
    # Before 3.14, Python ends a thread that returns during its finalization, and C++ aborts at that: let it wait.
    libc.signal(int(signal.SIGABRT), libc.pause)
