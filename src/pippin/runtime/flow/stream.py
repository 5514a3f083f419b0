"""Stream: predictions of what a source gives, one after the other, for as long as it gives."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import anyio.to_thread

from ...errors import PippinError, PredictionRejected
from .admission import AdmissionController, Request
from .async_bridge import ThreadSignal, beside
from .executor import Executor
from .flow_control import FlowControl
from .pending import PendingPrediction
from .predict_batch import Job

Source = AsyncIterable[Any] | Iterable[Any]
_END = object()


class Entry:
    """A frame on its way: it waits at the admission of the stream, is submitted to the model, and delivered."""

    __slots__ = ("error", "frame", "outputs", "pending", "ready", "request")

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.ready = False
        self.outputs: dict[str, Any] | None = None
        self.error: BaseException | None = None
        self.pending: PendingPrediction | None = None
        self.request: Request


class Stream:
    """What is under way of one stream: a slot lasts until the consumer has taken the result, so that a slow consumer is
    seen by the policy as a slow device is. The task that reads the source and the consumer's are of one event loop."""

    def __init__(
        self, executor: Executor, source: Source, work: Callable[[Any], Job], flow: FlowControl, ordered: bool
    ) -> None:
        self._executor = executor
        self._source = source
        self._work = work
        self._ordered = ordered
        self._waits = flow.policy == "wait"
        self._admission = AdmissionController(flow, 2 * executor.admission.room)
        self._entries: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()
        self._result_ready = ThreadSignal()  # a result is there, or the end
        self._slot_free = ThreadSignal()  # a slot is free
        self._failed: BaseException | None = None
        self._over = False

    async def read(self) -> None:
        """Submit what the source gives, until it ends or the consumer goes. Raises nothing but the cancellation."""
        try:
            async for frame in _frames(self._source):
                await self._come(Entry(frame))
        except Exception as error:  # it is raised where the consumer waits
            self._failed = error
        finally:
            self._over = True
            self._result_ready.ring()

    async def _come(self, entry: Entry) -> None:
        entry.request = Request(lambda: self._begin(entry), lambda error: self._refused(entry, error))
        self._entries.append(entry)
        self._admission.submit(entry.request)
        await self._executor.turn()
        while self._waits and entry.request.phase == "waiting":
            await self._slot_free.rung()
            self._slot_free.again()

    def _begin(self, entry: Entry) -> None:
        try:
            job = self._work(entry.frame)
            entry.outputs = self._executor.at_once(job.work, job.size)
            if entry.outputs is None:
                entry.pending = self._executor.submit(job.work, job.size)
                entry.pending.future.add_done_callback(lambda _: self._arrived(entry))
                return
        except Exception as error:
            entry.error = error
        self._arrived(entry)

    def _arrived(self, entry: Entry) -> None:
        """From any thread."""
        entry.ready = True
        self._ready.append(entry)
        self._result_ready.ring()

    def _refused(self, entry: Entry, error: PippinError) -> None:
        """The policy of the stream let go of it."""
        self._executor.admission.count("rejected" if isinstance(error, PredictionRejected) else "dropped")
        if isinstance(error, PredictionRejected):
            entry.error = error
            self._arrived(entry)
        else:
            self._entries.remove(entry)

    async def next(self) -> Entry | None:
        """The next result, in the order that was asked for; None at the end. Raises what the source raised."""
        while True:
            entry = self._taken()
            if entry is not None:
                return entry
            if self._over and not self._entries:
                if self._failed is not None:
                    raise self._failed
                return None
            await self._result_ready.rung()
            self._result_ready.again()

    def _taken(self) -> Entry | None:
        if self._ordered:
            if not self._entries or not self._entries[0].ready:
                return None
            entry = self._entries.popleft()
        else:
            if not self._ready:
                return None
            entry = self._ready.popleft()
            self._entries.remove(entry)
        if entry.pending is not None:
            entry.outputs, entry.error = _outcome(entry.pending)
        return entry

    def delivered(self, entry: Entry) -> None:
        """The consumer has it, and asks for the next one."""
        if entry.request.phase == "running":
            self._admission.done(entry.request, entry.error is not None)
        self._slot_free.ring()

    def close(self) -> None:
        """The consumer goes: what it has not taken is cancelled."""
        for entry in list(self._entries):
            self._admission.cancel(entry.request)
            if entry.pending is not None:
                entry.pending.cancel()


def _outcome(pending: PendingPrediction) -> tuple[dict[str, Any] | None, BaseException | None]:
    error = pending.future.exception()
    return (None, error) if error is not None else (pending.future.result(), None)


async def stream(
    executor: Executor, source: Source, work: Callable[[Any], Job], flow: FlowControl | None, ordered: bool,
    return_exceptions: bool,
) -> AsyncGenerator[tuple[Any, Any], None]:  # fmt: skip
    """(frame, outputs), as `Model.stream` says."""
    made = Stream(executor, source, work, flow or FlowControl(), ordered)
    cancel = beside(made.read)
    try:
        while (entry := await made.next()) is not None:
            if entry.error is not None and not (return_exceptions and isinstance(entry.error, PippinError)):
                raise entry.error
            yield entry.frame, entry.outputs if entry.error is None else entry.error
            made.delivered(entry)
    finally:
        cancel()
        made.close()


async def _frames(source: Source) -> AsyncIterator[Any]:
    """A collection is walked in the event loop, any other iterator in a thread: it may wait for a device."""
    if isinstance(source, AsyncIterable):
        async for frame in source:
            yield frame
    elif isinstance(source, list | tuple | range):
        for frame in source:
            yield frame
    else:
        iterator: Iterator[Any] = iter(source)
        while (frame := await anyio.to_thread.run_sync(next, iterator, _END)) is not _END:
            yield frame
