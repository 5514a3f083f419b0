"""Model: the public entry point. A model file and features go in, outputs come out."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..configuration import Configuration
from ..errors import ConfigurationError, FeatureTypeError, StateError
from ..support import fork
from ..support.cancellation import Cancellation, Stop
from ..trace import recorder
from .model_facts import ModelFacts
from .prediction_options import PredictionOptions
from .state import State

if TYPE_CHECKING:  # deferred: needed only once a model is loaded
    from ..cache.store import Cache
    from ..format.asset import Asset
    from ..specialization.progress import Progress
    from .flow.dynamic_batching import DynamicBatcher
    from .flow.flow_control import FlowControl, Statistics
    from .flow.predict_batch import Job
    from .loading import Loaded, Source
    from .progressive import SecondStage, Switch
    from .session import Session


def load(
    source: str | os.PathLike[str] | bytes | Asset | Any,
    configuration: Configuration | None = None,
    *,
    weights: Mapping[str, bytes] | os.PathLike[str] | None = None,
    cache: Cache | os.PathLike[str] | str | bool = True,
    lazy: bool = False,
    progress: Callable[[Progress], object] | None = None,
    cancellation: Cancellation | None = None,
    timeout: float | None = None,
    flow: FlowControl | None = None,
) -> Model:
    """Open a model and specialize it for this machine.

    `source` is the path of an `.mlpackage`, `.mlmodel`, `.mlmodelc`, `.mil` or Core AI's `.aimodel`, or an in-memory
    specification (bytes or a protobuf message), whose weight files are passed as `weights`: {"weights/weight.bin":
    bytes}, or their folder.
    `cache` stores specializations: the user's cache (True), another folder, or none (False). A `lazy` model is loaded
    at its first prediction. `progress` is called with reports in the loading thread; `cancellation` stops the
    specialization. With a `timeout` (seconds), engines compile in child processes, which can be ended. `flow` limits
    the predictions in flight. Raises ModelNotFoundError, FormatError for an invalid file, UnsupportedError for a model
    that cannot run here, ConfigurationError for unfit options, CompilationError, SpecializationCancelled,
    DeadlineExceeded.
    """
    from ..specialization.progress import Stages
    from .loading import Source

    def load_now() -> Loaded:
        from ..cache.store import cache_of
        from .loading import load_model, load_within

        opened = cache_of(cache)
        if timeout is None:
            return load_model(model_source, chosen, opened, Stages(progress, cancellation))
        return load_within(timeout, model_source, chosen, opened, progress, cancellation)

    def go_on(first: Loaded, switch: Switch) -> SecondStage:
        from ..cache.store import cache_of
        from .progressive import begin_second_stage

        return begin_second_stage(first, model_source, chosen, cache_of(cache), cancellation, switch)

    model_source, chosen = Source(source, weights), configuration or Configuration()
    model = Model(model_source, chosen, load_now, flow, go_on)
    if not lazy:
        model.load()
    return model


async def load_async(
    source: str | os.PathLike[str] | bytes | Asset | Any,
    configuration: Configuration | None = None,
    *,
    weights: Mapping[str, bytes] | os.PathLike[str] | None = None,
    cache: Cache | os.PathLike[str] | str | bool = True,
    progress: Callable[[Progress], object] | None = None,
    timeout: float | None = None,
    flow: FlowControl | None = None,
) -> Model:
    """`load` in a worker thread, for asyncio or trio. `progress` is called in that thread.

    Cancelling the task cancels the specialization and leaves nothing behind. A run that is measured is stopped. Only
    the thread waits for an engine compilation that is still running; an exit of the interpreter does not. With a
    `timeout`, compilations are ended too.
    """
    from .flow.async_bridge import in_thread

    cancellation = Cancellation()
    work = partial(
        load, source, configuration, weights=weights, cache=cache, progress=progress, cancellation=cancellation,
        timeout=timeout, flow=flow,
    )  # fmt: skip
    return await in_thread(work, "pippin load", cancellation.cancel)


def specialize(
    source: str | os.PathLike[str],
    configurations: Iterable[Configuration] = (Configuration(),),
    *,
    cache: Cache | os.PathLike[str] | str | bool = True,
    progress: Callable[[Progress], object] | None = None,
) -> None:
    """Specialize a model into the cache for each configuration. Raises what `load` raises."""
    from .loading import whole

    for configuration in configurations:
        load(source, whole(configuration), cache=cache, progress=progress).close()


def save_compiled(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    configurations: Iterable[Configuration] = (Configuration(),),
    *,
    progress: Callable[[Progress], object] | None = None,
) -> None:
    """Write a compiled model, the folder X.mlmodelc. It loads anywhere without the original package; machines like this
    one use the specializations inside. Raises what `load` raises."""
    from pathlib import Path

    from ..specialization.progress import Stages
    from .loading import Source
    from .saving import save_compiled as save

    save(Source(source), Path(path), configurations, Stages(progress))


class Model(ModelFacts):
    """A loaded model. Thread-safe. `close`, or leaving a `with` block, frees its memory."""

    def __init__(
        self,
        source: Source,
        configuration: Configuration,
        load_now: Callable[[], Loaded],
        flow: FlowControl | None = None,
        go_on: Callable[[Loaded, Switch], SecondStage] | None = None,
    ) -> None:
        from threading import Lock

        from ..devices.cpu import cores
        from .flow.executor import Executor
        from .flow.flow_control import FlowControl

        super().__init__(source, configuration)
        self._load_now: Callable[[], Loaded] | None = load_now
        self._go_on = go_on
        self._session: Session | None = None
        self._loading = Lock()
        self._limited = flow is not None
        # The thread that waits for a prediction can be interrupted, the one that computes it cannot.
        self._queues = True
        self._executor = Executor(flow or FlowControl(), cores())
        self._executor.admission.name = source.name
        self._generation = fork.generation
        self._batcher: tuple[Session, DynamicBatcher] | None = None
        self._outputs = 0
        """Bytes of the last prediction's outputs, for a model whose outputs have no fixed shape."""

    def load(self) -> None:
        """Load a lazy or unloaded model now. Raises what `pippin.load` raises."""
        with self._loading:  # a second thread waits for the first one's load
            if self._load_now is None:
                raise ConfigurationError("the model is closed")
            if self._session is None:
                self._generation = fork.generation
                self._loaded = self._load_now()
                self._queues = self._limited or self._loaded.unbounded
                self._executor.inline = not self._loaded.unbounded
                self._session = self._loaded.session
                if (self._loaded.untried or self._loaded.unsettled) and self._go_on is not None:
                    from .progressive import weakly

                    self._second_stage = self._go_on(self._loaded, weakly(self._switch))
                    self._second_stage.cancel_with(self)

    def _switch(self, first: Loaded, second: Loaded) -> bool:
        """Go over to the second stage of a progressive specialization. Predictions that run end on the first."""
        with self._loading:
            if self._loaded is not first:
                return False
            self._loaded, self._session = second, second.session
            return True

    def unload(self) -> None:
        """Free the engine's memory; the next prediction loads the model again."""
        with self._loading:
            self._loaded = self._session = None
            self._end_second_stage()

    def _end_second_stage(self) -> None:
        if self._second_stage is not None:
            self._second_stage.cancel()

    def predict(
        self,
        features: Mapping[str, Any],
        *,
        state: State | None = None,
        options: PredictionOptions | None = None,
        priority: int = 0,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> dict[str, Any]:
        """Run one prediction: {input name: value} to {output name: value}.

        A multiarray accepts numpy arrays of any layout, anything with `__array__` or DLPack on the CPU, numbers and
        nested lists; an image accepts a Pillow image, a file path or the bytes of a file, resized if necessary, or a
        uint8 array (height, width[, 3]). Returns arrays in the declared dtype, Pillow images, and for a classifier the
        label and {label: probability}. A `state` that a model needs is updated. Raises FeatureError, StateError,
        PredictionError.

        If the model has a `flow` or a loop without a bound, or `timeout` (seconds) or `cancellation` is passed, the
        prediction is queued and runs in a worker thread, so that it can be stopped, with Ctrl-C too. It may raise
        PredictionCancelled, DeadlineExceeded, PredictionDropped, PredictionRejected.
        """
        if timeout is None and cancellation is None and not self._queues:
            if state is None:
                return self._predict(features, None, options, None)
            with state.state_queue.turn():
                return self._predict(features, state, options, None)
        work = recorder.within(partial(self._predict, features, state, options))
        state_queue = None if state is None else state.state_queue
        return self._executor.call(work, self._size(features), priority, timeout, cancellation, state_queue)

    async def predict_async(
        self,
        features: Mapping[str, Any],
        *,
        state: State | None = None,
        options: PredictionOptions | None = None,
        priority: int = 0,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """`predict` for asyncio and trio tasks. Cancelling the task cancels the prediction: a waiting one never starts;
        a running one is asked to stop, and its slot is released when the device finishes.

        The inputs are read when the prediction starts; do not modify them until this returns. A prediction shorter than
        a thread hop runs inline.
        """
        work = recorder.within(partial(self._predict, features, state, options))
        state_queue = None if state is None else state.state_queue
        return await self._executor.call_async(work, self._size(features), priority, timeout, state_queue)

    def predict_batch(
        self,
        batch: Iterable[Mapping[str, Any]],
        *,
        return_exceptions: bool = False,
        progress: Callable[[int, int], object] | None = None,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> list[Any]:
        """Predict many inputs; results are in order. Predictions run concurrently, within the model's flow. If the
        first axis of all inputs is flexible, elements are merged, provided a trial gave the same results faster.

        A failing element cancels the others and raises its error, with its index in a note; with `return_exceptions`
        the error takes the place of its result. `progress` is called with the number done and the total. What is not
        complete after `timeout` (seconds, for the batch as a whole) is cancelled and fails with DeadlineExceeded.
        """
        from .flow.predict_batch import Deadline, Gathered, gather

        deadline = None if timeout is None else Deadline(timeout)
        elements = list(batch)
        jobs, gathered = self._jobs(elements), Gathered(len(elements), return_exceptions, progress)
        return gather(self._executor, jobs, gathered, cancellation, deadline)

    async def predict_batch_async(
        self,
        batch: Iterable[Mapping[str, Any]],
        *,
        return_exceptions: bool = False,
        progress: Callable[[int, int], object] | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """`predict_batch` for asyncio and trio tasks. Cancelling the task cancels the unfinished predictions.
        `progress` is called in the task."""
        from .flow.async_bridge import in_thread
        from .flow.predict_batch import Deadline, Gathered, gather_async

        deadline = None if timeout is None else Deadline(timeout)
        elements = list(batch)
        # A trial runs predictions, which would block the event loop.
        trial = len(elements) > 1 and self._dynamic_batcher().needs_trial
        jobs = await in_thread(partial(self._jobs, elements), "pippin trial") if trial else self._jobs(elements)
        return await gather_async(self._executor, jobs, Gathered(len(elements), return_exceptions, progress), deadline)

    def map(
        self, inputs: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> Generator[dict[str, Any] | Any, None, None]:
        """Yield the outputs for each input, in order; `inputs` may be endless. Some are computed ahead; leaving the
        loop cancels those. An error is raised in its place and ends the loop; with `return_exceptions` it is
        yielded."""
        from ..errors import PippinError
        from .flow.predict_batch import results

        for result in results(self._executor, map(self._job, inputs)):
            if isinstance(result, PippinError) and not return_exceptions:
                raise result
            yield result

    def stream(
        self,
        source: AsyncIterable[Any] | Iterable[Any],
        *,
        features: Callable[[Any], Mapping[str, Any]] | None = None,
        flow: FlowControl | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
        timeout: float | None = None,
    ) -> AsyncGenerator[tuple[Any, Any], None]:
        """Yield (frame, outputs) for each frame of a source: `async for frame, outputs in model.stream(camera)`.

        `source` is an iterator, which is advanced in a thread, or an asynchronous iterator on asyncio or trio. A frame
        is what `predict` accepts, or `features` converts it. `flow` limits the frames between source and consumer
        (default: twice as many as can run). Beyond the limit, "wait" stops reading the source, "reject" fails the
        frame, and the others drop frames silently. Results arrive in frame order, or as they complete
        (`ordered=False`). An error ends the stream; with `return_exceptions` it is yielded in place of the outputs.
        A frame whose prediction takes longer than `timeout` (seconds) fails with DeadlineExceeded.
        Leaving the loop cancels the frames in flight (immediately with `contextlib.aclosing`).
        """
        from .flow.stream import stream

        def job(frame: Any) -> Job:
            return self._job(frame if features is None else features(frame))

        return stream(self._executor, source, job, flow, ordered, return_exceptions, timeout)

    def statistics(self) -> Statistics:
        """Counters and latencies of the predictions that passed through the model's flow control."""
        return self._executor.statistics()

    def _job(self, features: Mapping[str, Any]) -> Job:
        from .flow.predict_batch import Job

        return Job(partial(self._predict, features, None, None), self._size(features))

    def _jobs(self, batch: list[Mapping[str, Any]]) -> list[Job]:
        """The jobs of a batch, for single or merged elements."""
        from .flow.predict_batch import Job, results

        def many(part: Sequence[Mapping[str, Any]]) -> object:
            return list(results(self._executor, map(self._job, part)))

        def predict(features: Mapping[str, Any], stop: Stop | None = None) -> dict[str, Any]:
            return self._predict(features, None, None, stop)

        batcher = self._dynamic_batcher()  # one for both: the session may change in between
        size = batcher.batch_size(batch, predict, many) if batch else 1
        return [self._job(features) for features in batch] if size == 1 else batcher.jobs(batch, size, predict, Job)

    def _dynamic_batcher(self) -> DynamicBatcher:
        session, known = self._open(), self._batcher
        if known is None or known[0] is not session:
            from .flow.dynamic_batching import DynamicBatcher

            self._batcher = known = session, DynamicBatcher(session.function, bool(session.states))
        return known[1]

    def _size(self, features: Any) -> int:
        """Bytes of inputs and outputs that a prediction holds while in flight."""
        session = self._session
        if session is not None and session.bytes is not None:
            return session.bytes
        inputs = sum(getattr(v, "nbytes", 0) for v in features.values()) if isinstance(features, Mapping) else 0
        return inputs + self._outputs

    def _predict(
        self,
        features: Mapping[str, Any],
        state: State | None,
        options: PredictionOptions | None,
        stop: Stop | None,
    ) -> dict[str, Any]:
        """Run one prediction in this thread. With a state, the caller holds its turn."""
        session = self._session if fork.generation == self._generation else None
        if session is None:
            session = self._open()
        if type(features) is not dict and not isinstance(features, Mapping):  # the first test is faster
            raise FeatureTypeError(
                f"features must be a dictionary of input name to value, got {type(features).__name__}"
            )
        backings = None if options is None else options.output_backings
        if options is not None and options.resize is not None:
            features = options.with_resize(features, session.function)
        if state is None:
            if session.states:
                names = ", ".join(port.name for port in session.states)
                raise StateError(f"the model has states ({names}): pass state=model.make_state()")
            outputs = session.run(features, None, stop, backings)
        elif not session.states:
            raise StateError("the model has no states: call predict without `state`")
        else:
            outputs = state.run(session, features, stop, backings)
        if session.bytes is None:
            self._outputs = sum(getattr(value, "nbytes", 0) for value in outputs.values())
        return outputs

    def make_state(self) -> State:
        """Create a state, all zeros. Raises StateError if the model has none."""
        return State.of(self._open())

    def load_state(self, path: str | os.PathLike[str]) -> State:
        """Read what `State.save` wrote. Raises StateError for a damaged file, or a state of another model."""
        return State.load(path, self._open())

    def close(self) -> None:
        """Free the engine's memory; later predictions raise ConfigurationError."""
        with self._loading:
            self._load_now = self._loaded = self._session = None
            self._closed = True
            self._end_second_stage()
        self._executor.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self) -> Session:
        session = self._session
        if session is not None and fork.generation != self._generation:
            raise fork.refused()
        return session if session is not None else self._opened().session

    def _opened(self) -> Loaded:
        while True:
            loaded = self._loaded
            if loaded is not None:
                return loaded
            self.load()
