"""Waiting: how a task of asyncio or trio waits for what a thread does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import sniffio

from ...errors import DeadlineExceeded

if TYPE_CHECKING:
    from .pending import PendingPrediction


async def give_turn() -> None:
    """Let the other tasks run."""
    if sniffio.current_async_library() == "asyncio":
        await asyncio.sleep(0)
    else:
        await anyio.lowlevel.checkpoint()


async def wait(pending: PendingPrediction, timeout: float | None) -> dict[str, Any]:
    """The result of a prediction; a task that is cancelled meanwhile cancels it.

    Raises what the prediction raises, and DeadlineExceeded.
    """
    bell = ThreadSignal()
    pending.future.add_done_callback(bell.ring)
    try:
        if timeout is None:
            await bell.rung()
        else:
            with anyio.move_on_after(timeout) as scope:
                await bell.rung()
            if scope.cancelled_caught:
                raise DeadlineExceeded(f"the prediction was not done within {timeout} s")
    except BaseException:
        pending.cancel()
        raise
    return pending.future.result()


class ThreadSignal:
    """Made in a task, which waits for it to ring; any thread may ring, and never waits for the task."""

    def __init__(self) -> None:
        self._asyncio = sniffio.current_async_library() == "asyncio"
        self._event: Any
        if self._asyncio:
            loop = asyncio.get_running_loop()
            self._event, self._soon, self._over = asyncio.Event(), loop.call_soon_threadsafe, RuntimeError
            return
        import trio

        self._event = trio.Event()
        token = trio.lowlevel.current_trio_token()
        self._soon, self._over = token.run_sync_soon, trio.RunFinishedError  # type: ignore[assignment]

    def ring(self, *_: object) -> None:
        with suppress(self._over):  # the loop is closed: nobody waits any more
            self._soon(self._set)

    def _set(self) -> None:
        self._event.set()

    async def rung(self) -> None:
        await self._event.wait()

    def again(self) -> None:
        """The task goes on to wait for the next time."""
        if self._asyncio:
            self._event.clear()
        else:
            self._event = type(self._event)()


def beside(work: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run `work`, which raises nothing, in a task beside this one; returns what cancels it, from the same loop."""
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
