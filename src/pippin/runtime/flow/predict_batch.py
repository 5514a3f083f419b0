"""Batch: many predictions that belong together: results in order, one bad element does not lose the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from ...errors import PippinError, PredictionCancelled
from ...support.cancellation import Cancellation
from .executor import Executor
from .pending import Work

Result = Any  # the outputs, or a PippinError
Progress = Callable[[int, int], object]


class Job(NamedTuple):
    work: Work
    size: int
    """Bytes that it holds."""
    elements: int = 1
    """Elements of the batch that it computes; it gives a list where these are several."""


class Ready:
    """A prediction that was computed at once."""

    __slots__ = ("_outputs",)

    def __init__(self, outputs: Result) -> None:
        self._outputs = outputs

    def result(self) -> Result:
        return self._outputs


def results(
    executor: Executor, jobs: Iterable[Job], cancellation: Cancellation | None = None
) -> Generator[Result, None, None]:
    """The outputs of each, or its error, in order. Only some more are submitted than
    can run, so that others get their turn between; leaving early cancels these."""
    window: deque[Any] = deque()
    ahead = 2 * executor.admission.room

    def cancel() -> None:
        for pending in list(window):
            if not isinstance(pending, Ready):
                pending.cancel()

    forget = cancellation.listen(cancel) if cancellation is not None else lambda: None
    following = iter(jobs)
    more = True
    try:
        while True:
            while more and len(window) < ahead:
                found = next(following, None)
                if found is None:
                    more = False
                    break
                window.append(_begun(executor, found, cancellation))
            if not window:
                return
            first = window[0]
            result = first.result() if isinstance(first, Ready) else _result(first.future.result)
            window.popleft()
            yield result
    finally:
        forget()
        cancel()


def _begun(executor: Executor, job: Job, cancellation: Cancellation | None) -> Any:
    """Under way, or done already where that is faster."""
    if cancellation is not None and cancellation.cancelled:
        return Ready(PredictionCancelled("the prediction was cancelled"))
    try:
        outputs = executor.at_once(job.work, job.size)
    except PippinError as error:
        return Ready(error)
    return Ready(outputs) if outputs is not None else executor.submit(job.work, job.size)


def _result(result: Callable[[], Any]) -> Result:
    try:
        return result()
    except PippinError as error:
        return error


class Gathered:
    """The results of a batch as they come; a work may stand for several elements (`Job.elements`)."""

    def __init__(self, of: int, return_exceptions: bool, progress: Progress | None) -> None:
        self.results: list[Result] = []
        self._of = of
        self._return_exceptions = return_exceptions
        self._progress = progress

    def add(self, result: Result, count: int) -> None:
        """Raises the error of an element with its index in a note, and what `progress` raises."""
        for one in result if count > 1 and isinstance(result, list) else [result] * count:
            if isinstance(one, PippinError):
                one.add_note(f"in element {len(self.results)} of the batch")
                if not self._return_exceptions:
                    raise one
            self.results.append(one)
        if self._progress is not None:
            self._progress(len(self.results), self._of)


def gather(
    executor: Executor, jobs: Sequence[Job], gathered: Gathered, cancellation: Cancellation | None
) -> list[Result]:
    """The results of a batch, in this thread."""
    with closing(results(executor, jobs, cancellation)) as found:
        for job, result in zip(jobs, found, strict=True):
            gathered.add(result, job.elements)
    return gathered.results


async def gather_async(executor: Executor, jobs: Sequence[Job], gathered: Gathered) -> list[Result]:
    """The results of a batch, in a task; cancelling it cancels what is not done."""
    from .async_bridge import wait

    window: deque[tuple[Job, Any]] = deque()
    following = iter(jobs)
    try:
        while True:
            while len(window) < 2 * executor.admission.room and (job := next(following, None)) is not None:
                await executor.turn()
                window.append((job, _begun(executor, job, None)))
            if not window:
                return gathered.results
            job, first = window.popleft()
            try:
                result = first.result() if isinstance(first, Ready) else await wait(first, None)
            except PippinError as error:
                result = error
            gathered.add(result, job.elements)
    finally:
        for _, pending in window:
            if not isinstance(pending, Ready):
                pending.cancel()
