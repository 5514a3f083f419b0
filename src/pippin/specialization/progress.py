"""Progress: reports the stages of a specialization, records their times and checks for cancellation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer

from .. import trace
from ..errors import SpecializationCancelled
from ..support.cancellation import Cancellation, Stop

# Stages in order, with their expected share of the total time.
_SHARES = {"read": 0.03, "lower": 0.15, "segment": 0.02, "compile": 0.4, "measure": 0.25, "store": 0.15}


@dataclass(frozen=True, slots=True)
class Progress:
    """One progress report. `share` is the fraction done, 0 to 1; `seconds_left` is extrapolated from it."""

    stage: str
    """ "wait" (another process is specializing the same model), "read", "lower", "segment", "compile", "measure",
    "store", "load" (from the cache) or "done"."""
    share: float
    seconds_left: float | None
    segment: int = 0
    segments: int = 1
    detail: str = ""


class Stages:
    """Reports each stage, records its time and a trace span, and raises once cancelled."""

    def __init__(
        self,
        report: Callable[[Progress], object] | None = None,
        cancellation: Cancellation | None = None,
        compile_in_child: bool = False,
        patient: bool = False,
    ) -> None:
        self.compile_in_child = compile_in_child
        """Whether engines compile in a child process, since nothing else ends a compilation early."""
        self.patient = patient
        """Whether nobody waits: candidates are measured for longer, in an idle moment if one comes."""
        self.seconds: dict[str, float] = {}
        self._report = report
        self._cancellation = cancellation
        self._started = time.perf_counter()
        self._done = 0.0
        self._raised: BaseException | None = None

    @contextmanager
    def stage(self, name: str, segments: int = 1) -> Iterator[None]:
        self.report(name, segments=segments)
        started = time.perf_counter()
        try:
            with trace.span(name):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
            self._done = min(self._done + _SHARES.get(name, 0.0), 1.0)

    def report(self, stage: str, segment: int = 0, segments: int = 1, detail: str = "", share: float = 0.0) -> None:
        """Send a report; `share` is the fraction of the stage done. Raises SpecializationCancelled."""
        self.check()
        if self._report is None:
            return
        done = 1.0 if stage == "done" else self._done + share * _SHARES.get(stage, 0.0)
        spent = time.perf_counter() - self._started
        left = 0.0 if stage == "done" else spent * (1 - done) / done if done > 0 else None
        try:
            self._report(Progress(stage, done, left, segment, segments, detail))
        except BaseException as error:
            self._raised = error
            raise

    def reported(self, error: BaseException) -> bool:
        """Whether the caller's report raised this exception."""
        return error is self._raised

    def check(self) -> None:
        """Raise SpecializationCancelled if the load was cancelled."""
        if self._cancellation is not None and self._cancellation.cancelled:
            raise SpecializationCancelled("the specialization was cancelled")

    @contextmanager
    def stoppable(self, seconds: float) -> Iterator[Stop]:
        """A `Stop` for the work in the block. It is asked when the load is cancelled, and after these seconds."""
        stop = Stop()
        timer = Timer(seconds, stop.ask)
        timer.daemon = True
        unsubscribe = self._cancellation.listen(stop.ask) if self._cancellation is not None else lambda: None
        timer.start()
        try:
            yield stop
        finally:
            timer.cancel()
            unsubscribe()
