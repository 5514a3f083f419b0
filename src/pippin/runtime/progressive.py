"""Progressive: the second stage of a specialization, in a child process at low priority, while the first one predicts.

A child, not a thread: lowering and passes hold Python's lock, which a prediction needs several times; a thread of low
priority that holds it would keep predictions waiting on a busy machine; and an engine's threads inherit the priority of
the thread that compiles. A child can also be ended at any moment, and if it crashes, only its work is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any
from weakref import WeakMethod, finalize

from .. import trace
from ..cache.content import stamps_of
from ..cache.store import Cache
from ..configuration import Configuration
from ..devices.cpu import cores
from ..errors import EngineError, PippinError, PredictionCancelled
from ..specialization.progress import Stages
from ..support import fork
from ..support.boundary import described
from ..support.cancellation import Cancellation, Stop
from ..support.daemon_threads import asked_at_exit, in_thread
from .load_log import log_line
from .loading import Loaded, Source, load_model, measure_again, stored, whole
from .temporary_cache import TemporaryCache

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pippin.runtime.progressive import serve; serve()"
)
_NICENESS = 19
_HEAD_START = 0.2  # seconds for the first prediction, before a process is started beside it
_ATTEMPTS = 4  # how often a choice is measured at most
_IDLE = 0.5  # load of a core
_LEFT = "the model was closed or unloaded, or the load was cancelled"

Work = Callable[[Stop], object]
"""Specializes a model into a cache. Raises PippinError."""
Switch = Callable[[Loaded, Loaded], bool]
"""(first stage, second stage) -> whether the model went over; not if it was closed or unloaded meanwhile."""


class SecondStage:
    """What a progressive specialization has still to do: `model.specialized`. For other strategies it is complete from
    the start. Thread-safe."""

    def __init__(self, untried: tuple[str, ...] = (), engines: str = "") -> None:
        self._ended = Event()
        self._generation = fork.generation
        self._leave: Callable[[], object] = _nothing
        self._engines = engines
        self.stage = f"first of two: {engines}; being tried beside it: {', '.join(untried)}" if untried else ""
        """What it does, or why it ended early; "" if it is complete. The plan says so as well."""
        if not untried:
            self._ended.set()

    @property
    def done(self) -> bool:
        """Whether it has ended: the model has gone over to the best engine, or stays with the first one."""
        return self._ended.is_set()

    @property
    def complete(self) -> bool:
        """Whether the model runs on what the strategy "default" chooses."""
        return self.done and not self.stage

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, at most `timeout` seconds. Returns whether it is complete.

        Raises PredictionError in a process that was forked since the load.
        """
        if not self.done and self._generation != fork.generation:
            raise fork.refused()
        self._ended.wait(timeout)
        return self.complete

    def end(self, failure: str = "") -> None:
        """It is complete, or has ended for this reason."""
        if not self.done:
            self.stage = f"first of two alone: {self._engines}; {failure}" if failure else ""
            self._ended.set()
        self._leave = _nothing  # it holds the first stage

    def cancel(self) -> None:
        """Stop it: the model stays with what it has."""
        if not self.done and self._generation == fork.generation:
            leave = self._leave
            self.end(_LEFT)
            leave()

    def cancel_with(self, model: object) -> None:
        """Cancel it once nobody has the model. That is noticed anywhere, with any lock held, so a thread does it."""
        finalize(model, _forgotten.put, self.cancel).atexit = False


def weakly(switch: Switch) -> Switch:
    """A model's method that does not keep the model alive."""
    known = WeakMethod(switch)

    def switched(first: Loaded, second: Loaded) -> bool:
        method = known()
        return method is not None and bool(method(first, second))

    return switched


def _nothing() -> None:
    """What is to be done when there is nothing to leave."""


def begin_second_stage(
    first: Loaded, source: Source, configuration: Configuration, cache: Cache | None,
    cancellation: Cancellation | None, switch: Switch,
) -> SecondStage:  # fmt: skip
    """Start what the first stage left, or join a job of this process that does the same. A cached choice that a busy
    machine may have made is measured again, for the next load."""
    rest = SecondStage(first.untried, first.engines)
    if not first.untried:
        _measure_again(first, source, configuration, cache)
        return rest
    kept = None if cache is not None and first.key and cache.prepare() else TemporaryCache()
    used = cache if kept is None and cache is not None else Cache(kept.folder if kept else "")
    stamps = stamps_of(source.path) if source.path is not None else {}

    def ended(failure: str, stop: Stop) -> None:
        if not failure and source.path is not None and stamps_of(source.path) != stamps:
            failure = f"{source.name} has changed"
        try:
            failure = failure or _go_over(first, source, configuration, used, kept, stop, switch)
        except Exception as error:  # whatever fails here, the first stage goes on
            failure = _told(error)
        if failure:
            log_line("%s: stays with %s: %s", source.name, first.engines, failure)
        rest.end(failure)

    leave = _join((used.folder.absolute(), first.key), _work(source, whole(configuration), used), ended)
    unsubscribe = cancellation.listen(rest.cancel) if cancellation is not None else _nothing
    rest._leave = lambda: (leave(), unsubscribe())
    if rest.done:  # already
        rest.end()
    return rest


def _go_over(
    first: Loaded, source: Source, configuration: Configuration, cache: Cache, kept: TemporaryCache | None,
    stop: Stop, switch: Switch,
) -> str:  # fmt: skip
    """Load what was stored, run it once, and let the model go over to it. Returns why it did not, or ""."""
    with trace.span("switch", model=source.name) as span:
        second = stored(source, whole(configuration), cache, first.key, Stages())
        if second is None:
            return f"nothing was stored in {cache.folder}"
        if not second.unbounded:
            # The first run packs weights and allocates memory; no prediction should wait for that.
            with suppress(PippinError):
                second.session.warm_up(stop)
        stop.check()
        span.label = f"{first.engines} to {second.engines}"
        if not switch(first, replace(second, label=first.label, kept=kept)):
            return _LEFT
    log_line("%s: went over from %s to %s", source.name, first.engines, second.engines)
    return ""


def _measure_again(loaded: Loaded, source: Source, configuration: Configuration, cache: Cache | None) -> None:
    if cache is None or not loaded.key or not 0 < loaded.unsettled < _ATTEMPTS or not is_idle():
        return

    def ended(failure: str, stop: Stop) -> None:
        log_line("%s: measured again, for the next load%s", source.name, f": {failure}" if failure else "")

    work = _work(source, whole(configuration), cache, loaded.unsettled)
    _join((cache.folder.absolute(), f"{loaded.key} again"), work, ended)


def is_idle() -> bool:
    """Whether little else ran on this machine in the last minute."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] < _IDLE * cores()


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, PippinError) else described(error)


# Jobs: one for each model and cache in this process, however many models wait for it.


@dataclass(eq=False)
class _Job:
    stop: Stop = field(default_factory=Stop)
    asked: Event = field(default_factory=Event)
    waiting: list[Callable[[str, Stop], object]] = field(default_factory=list)


_Key = tuple[Path, str]
_jobs: dict[_Key, _Job] = {}
_lock = Lock()
_forgotten: SimpleQueue[Callable[[], object]] = SimpleQueue()
"""What is to be cancelled because nobody has its model any more."""
_cancels = False


def _forked() -> None:
    """The threads that do the jobs exist only in the parent."""
    global _lock, _cancels
    _lock, _cancels = Lock(), False
    _jobs.clear()


def _cancel_forgotten() -> None:
    while True:
        _forgotten.get()()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _join(key: _Key, work: Work, ended: Callable[[str, Stop], object]) -> Callable[[], None]:
    """Call `ended` with "" or the reason for a failure when the work has ended. Returns a function to wait no longer;
    the work is stopped when nobody waits."""
    global _cancels
    with _lock:
        if not _cancels:
            _cancels = True
            Thread(target=_cancel_forgotten, name="pippin cancellation", daemon=True).start()
        job = _jobs.get(key)
        new = job is None
        if job is None:
            job = _jobs[key] = _Job()
        job.waiting.append(ended)
    if new:
        in_thread(lambda: _do(key, job, work), "pippin specialization")

    def leave() -> None:
        with _lock:
            with suppress(ValueError):
                job.waiting.remove(ended)
            if job.waiting:
                return
            _forget(key, job)
        job.stop.ask()

    return leave


def _do(key: _Key, job: _Job, work: Work) -> None:
    failure = ""
    with asked_at_exit(job.stop.ask):
        try:
            with job.stop.by(job.asked.set):
                job.asked.wait(_HEAD_START)
            job.stop.check()
            work(job.stop)
        except PredictionCancelled:
            failure = _LEFT
        except Exception as error:  # given to those who wait
            failure = _told(error)
        while True:
            with _lock:
                if not job.waiting:
                    _forget(key, job)
                    return
                ended = job.waiting.pop(0)
            ended(failure, job.stop)


def _forget(key: _Key, job: _Job) -> None:
    if _jobs.get(key) is job:
        del _jobs[key]


# The child process.


def _work(source: Source, configuration: Configuration, cache: Cache, measured: int = 0) -> Work:
    """Specialize in a child process, although there is an entry that was `measured` so often."""
    given, weights = source.given, source.weights
    if source.path is not None:
        given = str(source.path.absolute())
        weights = dict(weights) if isinstance(weights, Mapping) else weights and str(Path(weights).absolute())
    folder, limit, wait = str(cache.folder.absolute()), cache.limit, cache.wait

    def work(stop: Stop) -> None:
        from ..engines.child import Child

        child = Child(_START)
        try:
            child.do(stop, given, weights, configuration, folder, limit, wait, measured)
        finally:
            child.close()

    return work


def serve() -> None:
    """What the child does: specialize one model into a cache."""
    import sys
    from multiprocessing.connection import Connection

    from ..engines.child_tasks import end_with_parent

    os.nice(_NICENESS)
    connection = Connection(int(sys.argv[2]))
    Thread(target=end_with_parent, daemon=True).start()
    given, weights, configuration, folder, limit, wait, measured = connection.recv()
    failure: Any = None
    source, cache, stages = Source(given, weights), Cache(folder, limit, wait), Stages(patient=True)
    try:
        if measured:
            measure_again(source, configuration, cache, measured, stages)
        else:
            load_model(source, configuration, cache, stages)
    except Exception as error:
        failure = EngineError(_told(error))
    with suppress(OSError):
        connection.send((failure, None))
