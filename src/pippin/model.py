"""Model: the object that people hold. load, predict, predict_batch, make_state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .cancellation import Cancellation
from .configuration import Configuration
from .errors import ConfigurationError, FeatureShapeError, FeatureTypeError, StateError
from .trace import recorder

if TYPE_CHECKING:  # what these import is only needed once a model is loaded
    from .cache.store import Cache
    from .flow.control import FlowControl, Statistics
    from .format.asset import Asset
    from .format.description import ModelDescription
    from .loading import Loaded, Source
    from .plan import ComputePlan
    from .session import Session
    from .specialization.progress import Progress


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
    from .loading import Source
    from .specialization.progress import Stages

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

    from .loading import Source
    from .loading import save_compiled as save
    from .specialization.progress import Stages

    save(Source(source), Path(path), configurations, Stages(progress))


def _cache(given: Cache | os.PathLike[str] | str | bool) -> Cache | None:
    from .cache.store import Cache, default_cache

    if isinstance(given, bool):
        return default_cache() if given else None
    return given if isinstance(given, Cache) else Cache(given)


class State:
    """What a stateful model remembers between predictions. Made by `Model.make_state`, all zeros at first.

    Any thread may use it; predictions on one state wait for each other.
    """

    def __init__(self, session: Session) -> None:
        from threading import Lock

        self._session = session
        self._ports = {port.name: port for port in session.states}
        self._lock = Lock()
        self._arrays = {
            name: np.zeros(tuple(d or 0 for d in port.type.shape or ()), port.dtype)
            for name, port in self._ports.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._ports)

    def read(self, name: str) -> np.ndarray:
        """A copy of one state, in its declared shape and dtype. Raises StateError for an unknown name."""
        self._check(name)
        with self._lock:
            return self._arrays[name].astype(self._ports[name].type.dtype.numpy)

    def write(self, name: str, value: Any) -> None:
        """Replace one state. Raises StateError for an unknown name, FeatureError for an unfit array."""
        from .features.arrays import to_array

        self._check(name)
        port = self._ports[name]
        array = to_array(name, value, port.type.dtype, port.dtype)
        if array.shape != self._arrays[name].shape:
            raise FeatureShapeError(f"the state '{name}' has the shape {self._arrays[name].shape}, not {array.shape}")
        with self._lock:
            self._arrays[name] = array.copy()

    def _check(self, name: str) -> None:
        if name not in self._ports:
            raise StateError(f"there is no state '{name}' (the states are: {', '.join(self._ports) or 'none'})")


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

        from .flow.control import FlowControl
        from .flow.service import Service, cores

        self._source = source
        self.configuration = configuration
        self._load_now: Callable[[], Loaded] | None = load_now
        self._loaded: Loaded | None = None
        self._session: Session | None = None
        self._loading = Lock()
        self._bounded = flow is not None
        self._service = Service(flow or FlowControl(), cores())
        self._service.gate.name = source.name

    def load(self) -> None:
        """Load now what was to be loaded at the first prediction, or was unloaded. Raises what `pippin.load` does."""
        with self._loading:  # a second thread waits for the first one's
            if self._load_now is None:
                raise ConfigurationError("the model is closed")
            if self._session is None:
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
        return "+".join(dict.fromkeys(part.engine for part in self._opened().parts))

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
            return self._predict(features, state)
        from .flow.service import size_of

        work = recorder.within(lambda: self._predict(features, state))
        return self._service.call(work, size_of(features), priority, timeout, cancellation)

    async def predict_async(
        self,
        features: Mapping[str, Any],
        *,
        state: State | None = None,
        priority: int = 0,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """`predict` in a task of asyncio or trio. Cancelling the task cancels the prediction: where it waits, it is not
        begun; where it runs, its slot is given back when the device is done with it.

        The inputs are read when the prediction begins; leave them alone until this returns. A prediction that is
        shorter than the way to a thread and back is computed at once.
        """
        from .flow.service import size_of

        work = recorder.within(lambda: self._predict(features, state))
        return await self._service.call_async(work, size_of(features), priority, timeout)

    def predict_batch(
        self,
        batch: Iterable[Mapping[str, Any]],
        *,
        return_exceptions: bool = False,
        progress: Callable[[int, int], object] | None = None,
        cancellation: Cancellation | None = None,
    ) -> list[Any]:
        """Predictions for many inputs, in order; as many run at once as the model's flow allows.

        An element that fails is raised with its index in a note, after the others were cancelled; with
        `return_exceptions` its error stands in its place. `progress` is called with how many are done, of how many.
        """
        from .flow.batch import predict_all

        works = [recorder.within(partial(self._predict, features, None)) for features in batch]
        return predict_all(self._service, works, return_exceptions, progress, cancellation)

    def statistics(self) -> Statistics:
        """Of the predictions that went by the model's flow: in flight, waiting, done, refused, and their latencies."""
        return self._service.statistics()

    def _predict(self, features: Mapping[str, Any], state: State | None) -> dict[str, Any]:
        session = self._open()
        if not isinstance(features, Mapping):
            raise FeatureTypeError(f"features is a {type(features).__name__}; a dictionary of inputs by name is needed")
        if state is None:
            if session.states:
                names = ", ".join(port.name for port in session.states)
                raise StateError(f"the model has states ({names}): give state=model.make_state()")
            return session.run(features, {})
        if not session.states:
            raise StateError("the model has no states; predict without state")
        if state._session is not session:
            raise StateError("the state was made by another model")
        with state._lock:
            return session.run(features, state._arrays)

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
        self._service.close()

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
        return session if session is not None else self._opened().session

    def _opened(self) -> Loaded:
        while True:
            loaded = self._loaded
            if loaded is not None:
                return loaded
            self.load()
