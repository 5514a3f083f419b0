"""Stream: frames of a source enter, (frame, outputs) pairs leave, until the source ends."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any

import anyio.to_thread

from ...errors import PippinError, PredictionRejected
from .admission import AdmissionController, Request
from .async_bridge import ThreadSignal, spawn_task, wait
from .executor import Executor
from .flow_control import FlowControl
from .pending import PendingPrediction
from .predict_batch import Job

Source = AsyncIterable[Any] | Iterable[Any]
_END = object()


class Entry:
    """A frame in flight: waits for the stream's admission, is submitted to the model, then delivered."""

    __slots__ = ("error", "frame", "leave", "outputs", "pending", "ready", "request")

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.ready = False
        self.outputs: dict[str, Any] | None = None
        self.error: BaseException | None = None
        self.pending: PendingPrediction | None = None
        self.leave: Callable[[], object] = bool
        """Ends the task that waits for it, if there is one."""
        self.request: Request


class Stream:
    """Frames in flight of one stream. A slot is held until the consumer takes the result, so that the policy treats a
    slow consumer like a slow device. The reader task and the consumer run in the same event loop."""

    def __init__(
        self, executor: Executor, source: Source, work: Callable[[Any], Job], flow: FlowControl, ordered: bool,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        self._executor = executor
        self._source = source
        self._work = work
        self._ordered = ordered
        self._timeout = timeout
        self._backpressure = flow.policy == "wait"
        self._admission = AdmissionController(flow, 2 * executor.admission.capacity)
        self._entries: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()
        self._result_ready = ThreadSignal()  # a result, or the end of the source
        self._slot_free = ThreadSignal()
        self._source_error: BaseException | None = None
        self._source_done = False

    async def read(self) -> None:
        """Submit frames until the source ends or the consumer leaves. Raises nothing but cancellation."""
        try:
            async for frame in _frames(self._source):
                await self._submit(Entry(frame))
        except Exception as error:  # raised in the consumer, by `next`
            self._source_error = error
        finally:
            self._source_done = True
            self._result_ready.set()

    async def _submit(self, entry: Entry) -> None:
        entry.request = Request(lambda: self._start(entry), lambda error: self._on_refused(entry, error))
        self._entries.append(entry)
        self._admission.submit(entry.request)
        await self._executor.yield_to_loop()
        while self._backpressure and entry.request.phase == "waiting":
            await self._slot_free.wait()
            self._slot_free.clear()

    def _start(self, entry: Entry) -> None:
        try:
            job = self._work(entry.frame)
            entry.outputs = self._executor.run_inline(job.work, job.size)
            if entry.outputs is None:
                entry.pending = self._executor.submit(job.work, job.size, timeout=self._timeout)
                if self._timeout is not None:
                    entry.leave = spawn_task(partial(self._wait, entry, entry.pending))
                    return
                entry.pending.future.add_done_callback(lambda _: self._mark_ready(entry))
                return
        except Exception as error:
            entry.error = error
        self._mark_ready(entry)

    async def _wait(self, entry: Entry, pending: PendingPrediction) -> None:
        """Wait for a frame as long as it may take. Raises nothing but cancellation."""
        try:
            entry.outputs = await wait(pending, self._timeout)
        except Exception as error:
            entry.error = error
        entry.pending = None
        self._mark_ready(entry)

    def _mark_ready(self, entry: Entry) -> None:
        """Called from any thread."""
        entry.ready = True
        self._ready.append(entry)
        self._result_ready.set()

    def _on_refused(self, entry: Entry, error: PippinError) -> None:
        """The stream's policy dropped or rejected the frame."""
        self._executor.admission.count("rejected" if isinstance(error, PredictionRejected) else "dropped")
        if isinstance(error, PredictionRejected):
            entry.error = error
            self._mark_ready(entry)
        else:
            self._entries.remove(entry)

    async def next(self) -> Entry | None:
        """The next result, by frame order or by completion; None at the end. Raises what the source raised."""
        while True:
            entry = self._pop_ready()
            if entry is not None:
                return entry
            if self._source_done and not self._entries:
                if self._source_error is not None:
                    raise self._source_error
                return None
            await self._result_ready.wait()
            self._result_ready.clear()

    def _pop_ready(self) -> Entry | None:
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
        """Release the slot: the consumer took the result and wants the next one."""
        if entry.request.phase == "running":
            self._admission.done(entry.request, entry.error is not None)
        self._slot_free.set()

    def close(self) -> None:
        """Cancel the frames whose results were not taken."""
        for entry in list(self._entries):
            self._admission.cancel(entry.request)
            entry.leave()
            if entry.pending is not None:
                entry.pending.cancel()


def _outcome(pending: PendingPrediction) -> tuple[dict[str, Any] | None, BaseException | None]:
    error = pending.future.exception()
    return (None, error) if error is not None else (pending.future.result(), None)


async def stream(
    executor: Executor, source: Source, work: Callable[[Any], Job], flow: FlowControl | None, ordered: bool,
    return_exceptions: bool, timeout: float | None = None,
) -> AsyncGenerator[tuple[Any, Any], None]:  # fmt: skip
    """Yield (frame, outputs); see `Model.stream`."""
    running = Stream(executor, source, work, flow or FlowControl(), ordered, timeout)
    cancel = spawn_task(running.read)
    try:
        while (entry := await running.next()) is not None:
            if entry.error is not None and not (return_exceptions and isinstance(entry.error, PippinError)):
                raise entry.error
            yield entry.frame, entry.outputs if entry.error is None else entry.error
            running.delivered(entry)
    finally:
        cancel()
        running.close()


async def _frames(source: Source) -> AsyncIterator[Any]:
    """Iterate a collection in the event loop; any other iterator in a thread, since it may block on a device."""
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
