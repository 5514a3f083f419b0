"""Async bridge: lets asyncio and trio tasks await work that runs in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel
import sniffio

from ...errors import DeadlineExceeded
from ...support import daemon_threads

if TYPE_CHECKING:
    from .pending import PendingPrediction

T = TypeVar("T")


async def checkpoint() -> None:
    """Let other tasks of the event loop run."""
    if sniffio.current_async_library() == "asyncio":
        await asyncio.sleep(0)
    else:
        await anyio.lowlevel.checkpoint()


async def wait(pending: PendingPrediction, timeout: float | None) -> dict[str, Any]:
    """Await a prediction's outputs. Cancelling the task cancels the prediction.

    Raises what the prediction raises, and DeadlineExceeded.
    """
    done = ThreadSignal()
    pending.future.add_done_callback(done.set)
    try:
        if timeout is None:
            await done.wait()
        else:
            with anyio.move_on_after(timeout) as scope:
                await done.wait()
            if scope.cancelled_caught:
                pending.cancel()
                if pending.stop.finished:  # it had computed, and its state has the step
                    return pending.future.result()
                raise DeadlineExceeded(f"the prediction did not complete within {timeout} s")
    except BaseException:
        pending.cancel()
        raise
    return pending.future.result()


async def in_thread(work: Callable[[], T], name: str, cancel: Callable[[], object] = bool) -> T:
    """Await `work` in a thread that the interpreter does not wait for when it exits, as it does for anyio's and
    asyncio's. When the task is cancelled, `cancel` is called and the thread is left; so it is at exit."""
    done = ThreadSignal()

    def run() -> T:
        with daemon_threads.asked_at_exit(cancel):
            return work()

    future = daemon_threads.in_thread(run, name)
    future.add_done_callback(done.set)
    try:
        await done.wait()
    except BaseException:
        cancel()
        raise
    return future.result()


class ThreadSignal:
    """An event that any thread can set and one task awaits. Created in that task; `set` never blocks."""

    def __init__(self) -> None:
        self._asyncio = sniffio.current_async_library() == "asyncio"
        self._event: Any
        if self._asyncio:
            loop = asyncio.get_running_loop()
            self._event, self._call_soon, self._loop_closed = asyncio.Event(), loop.call_soon_threadsafe, RuntimeError
            return
        import trio

        self._event = trio.Event()
        token = trio.lowlevel.current_trio_token()
        self._call_soon, self._loop_closed = token.run_sync_soon, trio.RunFinishedError  # type: ignore[assignment]

    def set(self, *_: object) -> None:
        with suppress(self._loop_closed):  # no task is left to wait
            self._call_soon(self._set_event)

    def _set_event(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    def clear(self) -> None:
        """Reset, so that the next `wait` blocks again."""
        if self._asyncio:
            self._event.clear()
        else:
            self._event = type(self._event)()


def spawn_task(work: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run `work`, which must not raise, in a new task. Returns a function that cancels it, for use in the same loop."""
    if sniffio.current_async_library() == "asyncio":

        async def run() -> None:
            await work()

        task = asyncio.get_running_loop().create_task(run())
        return lambda: _cancel(task)
    import trio

    scope = trio.CancelScope()

    async def within() -> None:
        with scope:
            await work()

    trio.lowlevel.spawn_system_task(within)
    return scope.cancel


def _cancel(task: asyncio.Task[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed
        task.cancel()
