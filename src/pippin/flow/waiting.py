"""Waiting: how a task of asyncio or trio waits for what a thread does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import sniffio

from ..errors import DeadlineExceeded

if TYPE_CHECKING:
    from .service import Pending


async def give_turn() -> None:
    """Let the other tasks run."""
    await anyio.lowlevel.checkpoint()


async def wait(pending: Pending, timeout: float | None) -> dict[str, Any]:
    """The result of a prediction; a task that is cancelled meanwhile cancels it.

    Raises what the prediction raises, and DeadlineExceeded.
    """
    with anyio.move_on_after(timeout) if timeout is not None else anyio.CancelScope() as scope:
        try:
            await _done(pending)
        except anyio.get_cancelled_exc_class():
            pending.cancel()
            raise
    if scope.cancelled_caught:
        raise DeadlineExceeded(f"the prediction was not done within {timeout} s")
    return pending.future.result()


async def _done(pending: Pending) -> None:
    """Return once the future is done. `anyio`'s own ways from a thread to a task make the thread wait for the task."""
    if sniffio.current_async_library() == "asyncio":
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()

        def resolve() -> None:
            if not waiter.done():
                waiter.set_result(None)

        def wake(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(resolve)

        pending.future.add_done_callback(wake)
        await waiter
        return
    import trio

    event, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake_trio(_: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    pending.future.add_done_callback(wake_trio)
    await event.wait()
