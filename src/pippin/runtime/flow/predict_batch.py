"""Batch prediction: many predictions enter, results leave in order; a failing element does not lose the others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from ...errors import DeadlineExceeded, PippinError, PredictionCancelled
from ...support.cancellation import Cancellation
from .executor import Executor
from .pending import PendingPrediction, Work

Result = Any  # the outputs, or a PippinError
Progress = Callable[[int, int], object]


class Job(NamedTuple):
    work: Work
    size: int
    """Bytes held while in flight."""
    elements: int = 1
    """Number of batch elements it computes; with more than one, it returns a list."""


class Deadline:
    """When a batch as a whole must be complete."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._at = seconds, time.monotonic() + seconds

    def left(self) -> float:
        return max(0.0, self._at - time.monotonic())

    def error(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the batch did not complete within {self._seconds} s")


class Ready:
    """A prediction that was computed inline."""

    __slots__ = ("_outputs",)

    def __init__(self, outputs: Result) -> None:
        self._outputs = outputs

    def result(self) -> Result:
        return self._outputs


def results(
    executor: Executor,
    jobs: Iterable[Job],
    cancellation: Cancellation | None = None,
    deadline: Deadline | None = None,
) -> Generator[Result, None, None]:
    """Yield the outputs or error of each job, in order. At most twice the capacity is submitted ahead, so that other
    callers get their turn; closing the generator cancels what is in flight. After the `deadline`, what is not complete
    is cancelled, and its error is DeadlineExceeded."""
    window: deque[Any] = deque()
    ahead = 2 * executor.admission.capacity

    def cancel() -> None:
        for pending in list(window):
            if not isinstance(pending, Ready):
                pending.cancel()

    unsubscribe = cancellation.listen(cancel) if cancellation is not None else lambda: None
    following = iter(jobs)
    more = True
    try:
        while True:
            while more and len(window) < ahead:
                job = next(following, None)
                if job is None:
                    more = False
                    break
                window.append(_start(executor, job, cancellation, deadline))
            if not window:
                return
            first = window[0]
            result = first.result() if isinstance(first, Ready) else _result(first, deadline)
            window.popleft()
            yield result
    finally:
        unsubscribe()
        cancel()


def _start(executor: Executor, job: Job, cancellation: Cancellation | None, deadline: Deadline | None) -> Any:
    """Run a short job inline, or submit it."""
    if cancellation is not None and cancellation.cancelled:
        return Ready(PredictionCancelled("the prediction was cancelled"))
    if deadline is not None and not deadline.left():
        return Ready(deadline.error())
    try:
        outputs = executor.run_inline(job.work, job.size)
    except PippinError as error:
        return Ready(error)
    return Ready(outputs) if outputs is not None else executor.submit(job.work, job.size)


def _result(pending: PendingPrediction, deadline: Deadline | None) -> Result:
    if deadline is None:
        return _outcome(pending)
    try:
        pending.future.exception(deadline.left())  # waits
    except TimeoutError:
        pending.cancel()
        return deadline.error()
    return _outcome(pending)


def _outcome(pending: PendingPrediction) -> Result:
    try:
        return pending.future.result()
    except PippinError as error:
        return error


class Gathered:
    """Collects the results of a batch; one job may cover several elements (`Job.elements`)."""

    def __init__(self, of: int, return_exceptions: bool, progress: Progress | None) -> None:
        self.results: list[Result] = []
        self._of = of
        self._return_exceptions = return_exceptions
        self._progress = progress

    def add(self, result: Result, count: int) -> None:
        """Append results. Raises an element's error with its index in a note, and what `progress` raises."""
        for element in result if count > 1 and isinstance(result, list) else [result] * count:
            if isinstance(element, PippinError):
                element.add_note(f"in element {len(self.results)} of the batch")
                if not self._return_exceptions:
                    raise element
            self.results.append(element)
        if self._progress is not None:
            self._progress(len(self.results), self._of)


def gather(
    executor: Executor,
    jobs: Sequence[Job],
    gathered: Gathered,
    cancellation: Cancellation | None,
    deadline: Deadline | None = None,
) -> list[Result]:
    """Compute a batch, blocking this thread."""
    with closing(results(executor, jobs, cancellation, deadline)) as outcomes:
        for job, result in zip(jobs, outcomes, strict=True):
            gathered.add(result, job.elements)
    return gathered.results


async def gather_async(
    executor: Executor, jobs: Sequence[Job], gathered: Gathered, deadline: Deadline | None = None
) -> list[Result]:
    """Compute a batch in a task. Cancelling the task cancels the unfinished jobs."""
    from .async_bridge import wait

    window: deque[tuple[Job, Any]] = deque()
    following = iter(jobs)
    try:
        while True:
            while len(window) < 2 * executor.admission.capacity and (job := next(following, None)) is not None:
                await executor.yield_to_loop()
                window.append((job, _start(executor, job, None, deadline)))
            if not window:
                return gathered.results
            job, first = window.popleft()
            try:
                left = None if deadline is None else deadline.left()
                result = first.result() if isinstance(first, Ready) else await wait(first, left)
            except PippinError as error:
                late = deadline is not None and isinstance(error, DeadlineExceeded)
                result = deadline.error() if late and deadline is not None else error
            gathered.add(result, job.elements)
    finally:
        for _, pending in window:
            if not isinstance(pending, Ready):
                pending.cancel()
