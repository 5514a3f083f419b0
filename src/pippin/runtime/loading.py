"""Loading: a model source and a configuration go in, a session comes out, from the cache or newly specialized."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import trace
from ..cache.content import SPECIALIZATIONS, Content, content_of, content_of_bytes, stamps_of
from ..cache.key import Ingredients, ingredients
from ..cache.store import Cache, Entry, warn, warn_unusable
from ..configuration import Configuration
from ..devices import devices_of
from ..engines import Compiled, all_engines
from ..errors import (
    CacheError,
    CompilationError,
    DeadlineExceeded,
    EngineError,
    PackageError,
    PredictionError,
    SpecificationError,
    StateError,
)
from ..format.description import FunctionDescription, ModelDescription
from ..lowering.lowered_model import Lowered
from ..specialization.artifacts import CompiledSegment, load_artifacts
from ..specialization.nonfinite import Exact
from ..specialization.progress import Progress, Stages
from ..specialization.serialization import from_json, to_json
from ..support.boundary import boundary
from ..support.cancellation import Cancellation
from ..support.daemon_threads import asked_at_exit, in_thread
from ..support.regular_files import exists
from .load_log import log_decision
from .session import Session

if TYPE_CHECKING:
    from ..format.asset import Asset
    from ..specialization.compute_plan import ComputePlan
    from ..specialization.specializer import Specialized

_ATTEMPTS = 3
_NOTHING: Any = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded model: session, description and plan."""

    description: ModelDescription
    session: Session
    segments: tuple[CompiledSegment, ...]
    label: str
    """ "cached" or "prepare and cache"."""
    plan: ComputePlan | None
    entry: Entry | None
    untried: tuple[str, ...] = ()
    """What a progressive specialization has still to try."""
    key: str = ""
    """The key in the cache; "" without one."""
    unsettled: int = 0
    """How often it was measured, if other work on the machine disturbed that each time; else 0."""
    kept: Any = None
    """What the artifacts need as long as they are in use."""

    @property
    def engines(self) -> str:
        """The engines with precision and device, such as "openvino bfloat16 on cpu"."""
        try:
            return self.compute_plan().engines
        except CacheError:  # the entry was removed; settings do not know of rounding to float16
            settings = ((segment.engine, segment.settings) for segment in self.segments)
            return " + ".join(dict.fromkeys(f"{engine} {s.precision} on {s.device}" for engine, s in settings))

    @property
    def unbounded(self) -> bool:
        """Whether a prediction may take forever (`Settings.unbounded`)."""
        return any(segment.settings.unbounded for segment in self.segments)

    def compute_plan(self) -> ComputePlan:
        """Raises CacheError if the cache entry was removed."""
        if self.plan is not None:
            return self.plan
        assert self.entry is not None
        return _read_plan(self.entry)


@dataclass(frozen=True, slots=True)
class Source:
    """What a model is loaded from: a path or an object in memory."""

    given: Any
    weights: Any = None

    @property
    def path(self) -> Path | None:
        """Path of the model; None for an object in memory."""
        if isinstance(self.given, str | os.PathLike):
            return Path(self.given)
        path = getattr(self.given, "path", None)  # an Asset opened from a path
        return path if isinstance(path, Path) and self.weights is None else None

    def sendable(self, cached: bool) -> bool:
        """Whether another process can open the same. An opened model may differ from its file if it is not `cached`."""
        if isinstance(self.given, bytes):
            return not isinstance(self.weights, os.PathLike)
        return self.path is not None and (cached or isinstance(self.given, str | os.PathLike))

    @property
    def name(self) -> str:
        return self.path.name if self.path is not None else "model in memory"

    def open(self) -> Asset:
        from ..program.opening import open_model

        return open_model(self.given, self.weights)

    def content(self, index: Path | None) -> Content | None:
        """The hashed content; None if that requires opening the model, or if it is not a model (`open` reports why)."""
        path = self.path
        if path is not None and not isinstance(self.weights, Mapping):
            weights = None if self.weights is None else Path(self.weights)
            try:
                return content_of(path, weights, index) if exists(path) else None
            except (PackageError, OSError, ValueError):
                return None
        if isinstance(self.given, bytes) and (self.weights is None or isinstance(self.weights, Mapping)):
            return content_of_bytes([("model", self.given), *dict(self.weights or {}).items()])
        return None


def load_model(source: Source, configuration: Configuration, cache: Cache | None, stages: Stages) -> Loaded:
    """Load a model and record it as a trace span. Raises what `pippin.load` raises."""
    configuration = configuration if source.sendable(cache is not None) else whole(configuration)
    with trace.span("load", model=source.name, file=source.name) as span:
        loaded = _with_content(_load(source, configuration, cache, stages), source, cache)
        span.label, span.model = loaded.label, loaded.session.subject[0]
        stages.report("done")
    log_decision(source.name, loaded.label, loaded.compute_plan)
    return loaded


def _with_content(loaded: Loaded, source: Source, cache: Cache | None) -> Loaded:
    if loaded.session.states:
        loaded.session.content = _content(source, cache.index if cache else None)
    return loaded


def whole(configuration: Configuration) -> Configuration:
    """The configuration without a second stage."""
    if configuration.hints.specialization_strategy != "progressive":
        return configuration
    return replace(configuration, hints=replace(configuration.hints, specialization_strategy="default"))


def stored(source: Source, configuration: Configuration, cache: Cache, key: str, stages: Stages) -> Loaded | None:
    """Load an entry of the cache, without a key the only one."""
    key = key or next((entry.key for entry in cache.entries()), "")
    loaded = _cached(cache, key, source, stages, _exact(source, configuration), note=False) if key else None
    return _with_content(loaded, source, cache) if loaded is not None else None


def _content(source: Source, index: Path | None) -> Callable[[], str]:
    """The hash of the model's files, computed when a state is saved or loaded."""
    path = source.path
    stamps = stamps_of(path) if path is not None else {}

    @lru_cache(1)
    def digest() -> str:
        if path is not None and stamps_of(path) != stamps:
            raise StateError(f"{path} has changed since the model was loaded; load it again to save or load its states")
        content = source.content(index)
        if content is None:
            raise StateError(
                f"{source.name} cannot be hashed, so its states cannot be saved or loaded: load it by its path"
            )
        return content.digest

    return digest


def load_within(
    seconds: float,
    source: Source,
    configuration: Configuration,
    cache: Cache | None,
    progress: Callable[[Progress], object] | None,
    cancellation: Cancellation | None,
) -> Loaded:
    """`load_model` in a thread, which is left when the time is up. Raises what it raises, and DeadlineExceeded."""
    own = Cancellation()
    stages = Stages(progress, own, compile_in_child=True)

    def work() -> Loaded:
        with asked_at_exit(own.cancel):
            return load_model(source, configuration, cache, stages)

    unsubscribe = cancellation.listen(own.cancel) if cancellation is not None else lambda: None
    future = in_thread(work, "pippin load")
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise  # the load itself raised it
        raise DeadlineExceeded(f"{source.name} did not load within {seconds} s") from None
    finally:
        own.cancel() if not future.done() else None  # time is up, or this thread was interrupted, for example by Ctrl-C
        unsubscribe()


def key_of(source: Source, configuration: Configuration, index: Path | None) -> tuple[Ingredients, Content] | None:
    """Ingredients of the cache key, and the content; None for a source whose content cannot be hashed."""
    content = source.content(index)
    if content is None:
        return None
    return ingredients(content.digest, configuration, devices_of(configuration.compute_units)), content


def prune(cache: Cache) -> dict[str, str]:
    """Remove unusable cache entries. Returns {key: reason}."""
    cache.prepare()
    return cache.prune(
        {name: engine.version for name, engine in all_engines().items() if engine.installed},
        lambda entry: any(_still_holds(path, entry, cache) for path in entry.sources),
    )


def _still_holds(path: Path, entry: Entry, cache: Cache) -> bool:
    """Whether a path still holds the model of an entry."""
    content = Source(path).content(cache.index)
    return content is not None and content.digest == entry.manifest["ingredients"].get("model")


def _load(source: Source, configuration: Configuration, cache: Cache | None, stages: Stages) -> Loaded:
    if cache is not None and not cache.prepare() and not cache.is_readable():
        cache = None
    for _ in range(_ATTEMPTS):
        keyed = key_of(source, configuration, cache.index if cache else None) if cache or _has_bundled(source) else None
        if keyed is None:
            return _fresh(_specialized(source, configuration, stages, None), source.name)
        wanted, content = keyed
        exact = _exact(source, configuration)
        loaded = _bundled(source, wanted.key, stages, exact) or (
            _cached(cache, wanted.key, source, stages, exact) if cache else None
        )
        if loaded is not None:
            return loaded
        if cache is None:
            return _fresh(_specialized(source, configuration, stages, None), source.name)
        loaded = _prepared(source, configuration, cache, wanted, content, stages)
        if loaded is not None:
            return loaded
    raise PackageError(f"{source.name} is being written: its files changed during each of {_ATTEMPTS} load attempts")


def _prepared(
    source: Source, configuration: Configuration, cache: Cache, wanted: Ingredients, content: Content, stages: Stages,
    measured: int = 0,
) -> Loaded | None:  # fmt: skip
    """Specialize and store; None if the source changed while it was loaded. An entry that was `measured` so often is
    replaced."""
    wait = None if configuration == whole(configuration) else 0.0  # the first stage is not stored
    with cache.lock(wanted.key, lambda: stages.report("wait"), wait) as held:
        if held and not measured:
            loaded = _cached(
                cache, wanted.key, source, stages, _exact(source, configuration)
            )  # another process may have stored it first
            if loaded is not None:
                return loaded
        with ExitStack() as stack:
            folder = None
            try:
                folder = cache.begin(wanted.key) if held else None
                stack.callback(cache.abandon, wanted.key) if held else None
            except OSError as error:
                warn_unusable(cache.folder, "cannot be used as a cache: %s", error.strerror)
            made = _specialized(source, configuration, stages, folder, cache)
            if not content.unchanged():
                return None
            storing = folder is not None and not (made.specialized.unsaved or made.specialized.untried)
            if storing and content.covers(made.weights):
                try:
                    with stages.stage("store"):
                        plan = to_json(made.specialized.plan)
                        entry = cache.commit(wanted, _session_json(made, measured), plan, source.path)
                    made.specialized.artifacts.stored(entry.folder)
                except OSError as error:
                    warn_unusable(cache.folder, "cannot be used as a cache: %s", error.strerror)
                except CacheError as error:
                    warn("%s: not cached: %s", cache.folder, error)
            return replace(_fresh(made, source.name), key=wanted.key)


@dataclass(frozen=True, slots=True)
class _Made:
    description: ModelDescription
    specialized: Specialized
    weights: list[str]
    """Weight files read from disk; empty for a model in memory."""


def _specialized(
    source: Source, configuration: Configuration, stages: Stages, folder: Path | None, cache: Cache | None = None
) -> _Made:
    from ..format.optional_thresholds import description_for_callers
    from ..specialization.specializer import specialize

    with stages.stage("read"):
        asset = source.open()
        description = description_for_callers(asset)
    exact = _exact(source, configuration)
    with boundary(CompilationError, f"{asset.name} cannot be specialized", stages.reported):
        made = specialize(asset, configuration, stages, folder, cache.calibration if cache else None, exact)
    if made.unsaved:
        warn("not cached: %s", made.unsaved)
    return _Made(description, made, asset.opened() if source.path is not None else [])


def _fresh(made: _Made, name: str) -> Loaded:
    lowered, compiled, segments = made.specialized.lowered, made.specialized.compiled, made.specialized.segments
    kinds = {source.name: source.kind for source in lowered.sources}
    with boundary(SpecificationError, f"{name}: its description does not fit what it computes"):
        session = Session(made.description.function(lowered.name), lowered, compiled, name, segments, lambda: kinds)
    plan, untried = made.specialized.plan, made.specialized.untried
    return Loaded(made.description, session, segments, "prepare and cache", plan, None, untried)


def _exact(source: Source, configuration: Configuration) -> Compiled | None:
    """The compilation for values that the chosen engine may get wrong, made from the source when one comes; None for a
    model in memory, which may have changed by then."""
    path = source.path
    if path is None and not isinstance(source.given, bytes):
        return None
    stamps = stamps_of(path) if path is not None else {}

    def make() -> Compiled:
        from ..specialization.exactness import compile_exact
        from ..specialization.specializer import lower_function

        # An opened model whose file was removed since is whole: coremltools removes the one it wrote for the load.
        removed = not isinstance(source.given, str | os.PathLike) and path is not None and not exists(path)
        if path is not None and not removed and stamps_of(path) != stamps:
            raise PredictionError(
                f"the prediction holds NaN, infinite or huge values, which need the file of the model once more, but"
                f" {path} has changed since the load; load the model again"
            )
        return compile_exact(lower_function(source.open(), configuration))

    return Exact(make)


def _cached(
    cache: Cache, key: str, source: Source, stages: Stages, exact: Compiled | None, note: bool = True
) -> Loaded | None:
    entry = cache.get(key)
    if entry is None:
        return None
    with stages.stage("load"):
        try:
            loaded = _from_entry(entry, source.name, exact)
        except (EngineError, OSError, ValueError, KeyError, CacheError) as error:
            warn("%s: cannot load the cache entry: %s; specializing the model again", entry.folder, error)
            cache.remove(key)
            return None
    if note and source.path is not None:
        cache.note_source(entry, source.path)
    return loaded


def _has_bundled(source: Source) -> bool:
    return source.path is not None and os.path.isdir(source.path / SPECIALIZATIONS)  # noqa: PTH112 (a name too long)


def _bundled(source: Source, key: str, stages: Stages, exact: Compiled | None) -> Loaded | None:
    """A specialization stored inside the compiled model itself."""
    if not _has_bundled(source) or source.path is None:
        return None
    return _cached(Cache(source.path / SPECIALIZATIONS), key, source, stages, exact, note=False)


def _from_entry(entry: Entry, name: str, exact: Compiled | None) -> Loaded:
    stored = from_json(entry.read("session.json"))
    lowered = Lowered(
        stored["name"], _NOTHING, tuple(stored["inputs"]), tuple(stored["outputs"]), tuple(stored["states"]),
        tuple(stored["written"]), stored["labels"], checks=tuple(stored["checks"]),
        index_checks=tuple(stored["index_checks"]), writes=tuple(stored["writes"]),
    )  # fmt: skip
    segments = tuple(CompiledSegment.from_dict(segment) for segment in stored["segments"])
    compiled: Compiled = load_artifacts(entry.folder, segments, stored["arrays"], exact)
    description: ModelDescription = stored["description"]
    function: FunctionDescription = description.function(stored["name"])
    session = Session(function, lowered, compiled, name, segments, lambda: _kinds(entry))
    unsettled = stored.get("unsettled", 0)
    plan = _read_plan(entry) if unsettled else None  # the entry may be replaced
    return Loaded(description, session, segments, "cached", plan, entry, key=entry.key, unsettled=unsettled)


def _kinds(entry: Entry) -> dict[str, str]:
    """The kinds of the operations by name; empty if the cache entry is gone."""
    try:
        return {operation.name: operation.kind for operation in _read_plan(entry).operations}
    except (CacheError, OSError):
        return {}


def measure_again(source: Source, configuration: Configuration, cache: Cache, measured: int, stages: Stages) -> None:
    """Replace an entry whose candidates were measured so often on a busy machine."""
    keyed = key_of(source, configuration, cache.index)
    if keyed is not None and cache.prepare():
        _prepared(source, configuration, cache, *keyed, stages, measured)


def _session_json(made: _Made, measured: int) -> str:
    lowered = made.specialized.lowered
    session = {
        "description": made.description,
        "name": lowered.name,
        "inputs": lowered.inputs,
        "outputs": lowered.outputs,
        "states": lowered.states,
        "written": lowered.written,
        "labels": lowered.labels,
        "checks": lowered.checks,
        "index_checks": lowered.index_checks,
        "writes": lowered.writes,
        "segments": [segment.to_dict() for segment in made.specialized.segments],
        "arrays": [info.name for info in lowered.model.graph.output],
        "unsettled": measured + 1 if made.specialized.plan.unsettled else 0,
    }
    return to_json(session)


def _read_plan(entry: Entry) -> ComputePlan:
    try:
        plan: ComputePlan = from_json(entry.read("plan.json"))
    except ValueError as error:
        raise CacheError(f"{entry.folder}: plan.json cannot be read: {error}") from None
    return plan
