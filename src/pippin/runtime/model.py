"""Model: the object that people hold. load, predict, predict_batch, make_state."""

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
from .prediction_options import PredictionOptions
from .state import State

if TYPE_CHECKING:  # what these import is only needed once a model is loaded
    from ..cache.store import Cache
    from ..format.asset import Asset
    from ..format.description import ModelDescription
    from ..specialization.compute_plan import ComputePlan
    from ..specialization.progress import Progress
    from .flow.dynamic_batching import DynamicBatcher
    from .flow.flow_control import FlowControl, Statistics
    from .flow.predict_batch import Job
    from .loading import Loaded, Source
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
    flow: FlowControl | None = None,
) -> Model:
    """Open a model and specialize it for this machine.

    `source` is the path of an `.mlpackage` or `.mlmodel`, or a specification in memory (bytes or a protobuf
    message) whose weight files are `weights`: {"weights/weight.bin": bytes}, or the folder that holds them.
    `cache` is where specializations are kept: the user's cache (True), another folder, or nowhere (False). A `lazy`
    model is loaded at its first prediction. `progress` is called with reports, in the thread that loads; a
    `cancellation` that is set stops the specialization. `flow` bounds the predictions that are under way. Raises
    FormatError where the file is unsound, UnsupportedError where it cannot be executed here, ConfigurationError for
    options that do not fit it, CompilationError where an engine fails, SpecializationCancelled.
    """
    from ..specialization.progress import Stages
    from .loading import Source

    def load_now() -> Loaded:
        from .loading import load_model

        return load_model(given, chosen, _cache(cache), Stages(progress, cancellation))

    given, chosen = Source(source, weights), configuration or Configuration()
    model = Model(given, chosen, load_now, flow)
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
    flow: FlowControl | None = None,
) -> Model:
    """`load` in a thread, on asyncio or trio. `progress` is called in that thread.

    Cancelling the task cancels the specialization at its next step, and leaves nothing behind; an engine's compilation
    that is under way is waited for by the thread alone.
    """
    from anyio import get_cancelled_exc_class, to_thread

    cancellation = Cancellation()
    work = partial(
        load,
        source,
        configuration,
        weights=weights,
        cache=cache,
        progress=progress,
        cancellation=cancellation,
        flow=flow,
    )
    try:
        return await to_thread.run_sync(work, abandon_on_cancel=True)
    except get_cancelled_exc_class():
        cancellation.cancel()
        raise


def specialize(
    source: str | os.PathLike[str],
    configurations: Iterable[Configuration] = (Configuration(),),
    *,
    cache: Cache | os.PathLike[str] | str | bool = True,
    progress: Callable[[Progress], object] | None = None,
) -> None:
    """Fill the cache with a model for some configurations, so that later loads are cached. Raises what `load` does."""
    for configuration in configurations:
        load(source, configuration, cache=cache, progress=progress).close()


def save_compiled(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    configurations: Iterable[Configuration] = (Configuration(),),
    *,
    progress: Callable[[Progress], object] | None = None,
) -> None:
    """Write a model as a compiled model, the folder X.mlmodelc: it loads without the package it came from, anywhere,
    and on machines like this one from the specializations inside. Raises what `load` does."""
    from pathlib import Path

    from ..specialization.progress import Stages
    from .loading import Source
    from .loading import save_compiled as save

    save(Source(source), Path(path), configurations, Stages(progress))


def _cache(given: Cache | os.PathLike[str] | str | bool) -> Cache | None:
    from ..cache.store import Cache, default_cache

    if isinstance(given, bool):
        return default_cache() if given else None
    return given if isinstance(given, Cache) else Cache(given)


class Model:
    """A loaded model. Any thread may predict; `close` (or leaving a `with` block) gives its memory back."""

    def __init__(
        self,
        source: Source,
        configuration: Configuration,
        load_now: Callable[[], Loaded],
        flow: FlowControl | None = None,
    ) -> None:
        from threading import Lock

        from ..devices.cpu import cores
        from .flow.executor import Executor
        from .flow.flow_control import FlowControl

        self._source = source
        self.configuration = configuration
        self._load_now: Callable[[], Loaded] | None = load_now
        self._loaded: Loaded | None = None
        self._session: Session | None = None
        self._loading = Lock()
        self._bounded = flow is not None
        self._executor = Executor(flow or FlowControl(), cores())
        self._executor.admission.name = source.name
        self._generation = fork.generation
        self._batcher: tuple[Session, DynamicBatcher] | None = None
        self._outputs = 0
        """Bytes of the outputs of the last prediction, of a model whose outputs have no fixed shape."""

    def load(self) -> None:
        """Load now what was to be loaded at the first prediction, or was unloaded. Raises what `pippin.load` does."""
        with self._loading:  # a second thread waits for the first one's
            if self._load_now is None:
                raise ConfigurationError("the model is closed")
            if self._session is None:
                self._generation = fork.generation
                self._loaded = self._load_now()
                self._session = self._loaded.session

    def unload(self) -> None:
        """Give back the engine's memory; the next prediction loads the model again."""
        with self._loading:
            self._loaded = self._session = None

    @property
    def description(self) -> ModelDescription:
        """What the model takes and gives."""
        return self._opened().description

    @property
    def function_name(self) -> str:
        return self._opened().session.function.name

    @property
    def engine(self) -> str:
        """The engine that runs the model; several, joined by "+", where it is in segments of several."""
        return "+".join(dict.fromkeys(segment.engine for segment in self._opened().segments))

    @property
    def compute_plan(self) -> ComputePlan:
        """What runs where, and why. Raises CacheError where the cache entry it lies in was removed."""
        return self._opened().compute_plan()

    def measured_plan(self) -> ComputePlan:
        """The compute plan with the measured time of each operation, where its engine can profile."""
        from .loading import profiled

        return profiled(self._opened(), self._source, self.configuration)

    @property
    def load_label(self) -> str:
        """ "cached" where it came from the cache, else "prepare and cache"."""
        return self._opened().label

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
        """One prediction: {input name: value} to {output name: value}.

        A multiarray takes numpy arrays of any layout, anything with `__array__` or DLPack on the CPU, numbers and
        nested lists; an image takes a Pillow image, a file path, or a uint8 array (height, width[, 3]). Arrays come
        back in the declared dtype, images as Pillow images, a classifier's label and {label: probability}. A
        stateful model needs a `state` of its own and updates it. Raises FeatureError, StateError, PredictionError.

        With a `flow` of the model, or any of `timeout` (seconds) and `cancellation`, it is computed in a thread of the
        model, by its turn, and may raise PredictionCancelled, DeadlineExceeded, PredictionDropped, PredictionRejected.
        """
        if timeout is None and cancellation is None and not self._bounded:
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
        """`predict` in a task of asyncio or trio. Cancelling the task cancels the prediction: where it waits, it is not
        begun; where it runs, the engine is asked to stop, and its slot is given back when the device is done with it.

        The inputs are read when the prediction begins; leave them alone until this returns. A prediction that is
        shorter than the way to a thread and back is computed at once.
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
        cancellation: Cancellation | None = None,
    ) -> list[Any]:
        """Predictions for many inputs, in order; as many run at once as the model's flow allows, or several as one
        where the first axis of all inputs is flexible, and that was measured to give the same results faster.

        An element that fails is raised with its index in a note, after the others were cancelled; with
        `return_exceptions` its error stands in its place. `progress` is called with how many are done, of how many.
        """
        from .flow.predict_batch import Gathered, gather

        elements = list(batch)
        jobs = self._jobs(elements)
        return gather(self._executor, jobs, Gathered(len(elements), return_exceptions, progress), cancellation)

    async def predict_batch_async(
        self,
        batch: Iterable[Mapping[str, Any]],
        *,
        return_exceptions: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[Any]:
        """`predict_batch` in a task of asyncio or trio; cancelling the task cancels what is not done. `progress` is
        called in the task."""
        from anyio import to_thread

        from .flow.predict_batch import Gathered, gather_async

        elements = list(batch)
        undecided = (
            len(elements) > 1 and self._dynamic_batcher().undecided
        )  # it measures, which is nothing for an event loop
        jobs = await to_thread.run_sync(self._jobs, elements) if undecided else self._jobs(elements)
        return await gather_async(self._executor, jobs, Gathered(len(elements), return_exceptions, progress))

    def map(
        self, inputs: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> Generator[dict[str, Any] | Any, None, None]:
        """The outputs for each of `inputs`, in order, as the loop asks for them; `inputs` may be endless. Some are
        computed ahead; leaving the loop cancels these. An error is raised in its place, and ends the loop; with
        `return_exceptions` it is one of the results."""
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
    ) -> AsyncGenerator[tuple[Any, Any], None]:
        """(frame, outputs) of each frame that a source gives: `async for frame, outputs in model.stream(camera)`.

        `source` is an iterator or an asynchronous one, on asyncio or trio; an iterator is advanced in a thread. A frame
        is what `predict` takes, or `features` makes that of it. `flow` says how many frames may be between the source
        and the consumer (by default twice as many as run at once), and what becomes of one more: "wait" stops reading
        the source, the other policies let go of frames, of which nothing is heard. Results come in the order of the
        frames, or as they are done (`ordered=False`). An error ends the stream, or stands in its place with
        `return_exceptions`. Leaving the loop cancels what is under way (`contextlib.aclosing` does so at once).
        """
        from .flow.stream import stream

        def job(frame: Any) -> Job:
            return self._job(frame if features is None else features(frame))

        return stream(self._executor, source, job, flow, ordered, return_exceptions)

    def statistics(self) -> Statistics:
        """Of the predictions that went by the model's flow: in flight, waiting, done, refused, and their latencies."""
        return self._executor.statistics()

    def _job(self, features: Mapping[str, Any]) -> Job:
        from .flow.predict_batch import Job

        return Job(partial(self._predict, features, None, None), self._size(features))

    def _jobs(self, batch: list[Mapping[str, Any]]) -> list[Job]:
        """The work of a batch, element by element or in stacks."""
        from .flow.predict_batch import Job, results

        def many(part: Sequence[Mapping[str, Any]]) -> object:
            return list(results(self._executor, map(self._job, part)))

        def predict(features: Mapping[str, Any], stop: Stop | None = None) -> dict[str, Any]:
            return self._predict(features, None, None, stop)

        size = self._dynamic_batcher().size(batch, predict, many) if batch else 1
        return (
            [self._job(features) for features in batch]
            if size == 1
            else self._dynamic_batcher().jobs(batch, size, predict, Job)
        )

    def _dynamic_batcher(self) -> DynamicBatcher:
        session = self._open()
        if self._batcher is None or self._batcher[0] is not session:
            from .flow.dynamic_batching import DynamicBatcher

            self._batcher = session, DynamicBatcher(session.function, bool(session.states))
        return self._batcher[1]

    def _size(self, features: Any) -> int:
        """Bytes that a prediction holds while it is under way: its inputs and outputs."""
        session = self._session
        if session is not None and session.bytes is not None:
            return session.bytes
        given = sum(getattr(v, "nbytes", 0) for v in features.values()) if isinstance(features, Mapping) else 0
        return given + self._outputs

    def _predict(
        self,
        features: Mapping[str, Any],
        state: State | None,
        options: PredictionOptions | None,
        stop: Stop | None,
    ) -> dict[str, Any]:
        """The prediction itself; of one on a state it is the turn."""
        session = self._session if fork.generation == self._generation else None
        if session is None:
            session = self._open()
        if type(features) is not dict and not isinstance(features, Mapping):  # the first is the faster test
            raise FeatureTypeError(f"features is a {type(features).__name__}; a dictionary of inputs by name is needed")
        backings = None if options is None else options.output_backings
        if state is None:
            if session.states:
                names = ", ".join(port.name for port in session.states)
                raise StateError(f"the model has states ({names}): give state=model.make_state()")
            outputs = session.run(features, None, stop, backings)
        elif not session.states:
            raise StateError("the model has no states; predict without state")
        elif not state.belongs_to(session):
            raise StateError("the state was made by another model")
        else:
            outputs = state.run(features, stop, backings)
        if session.bytes is None:
            self._outputs = sum(getattr(value, "nbytes", 0) for value in outputs.values())
        return outputs

    def make_state(self) -> State:
        """A new state, all zeros. Raises StateError where the model has none."""
        session = self._open()
        if not session.states:
            raise StateError("the model has no states")
        return State(session)

    def close(self) -> None:
        """Give back the engine's memory; later predictions raise ConfigurationError."""
        with self._loading:
            self._load_now = self._loaded = self._session = None
        self._executor.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._loaded is None:
            return "<pippin.Model, not loaded>"
        return f"<pippin.Model {self.function_name!r} on {self.engine}>"

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
