"""Compiled segments: how they are stored in a cache entry and loaded from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..engines import PYTHON_ENGINE, Compiled, Settings, engine_named
from ..support.cancellation import Stop
from .variants import Serialized, Variant, VariantSelector


@dataclass(frozen=True, slots=True)
class CompiledSegment:
    """One segment: what compiled it, and the values that it takes and gives (both empty where it is the whole)."""

    engine: str
    settings: Settings
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    concurrent_settings: tuple[Settings, ...] = ()
    """The forms of the same artifact for many predictions at once; one of a single stream: one after the other."""

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, found: Mapping[str, Any]) -> CompiledSegment:
        settings = Settings(**found["settings"])
        concurrent_settings = tuple(Settings(**each) for each in found["concurrent_settings"])
        return cls(found["engine"], settings, tuple(found["inputs"]), tuple(found["outputs"]), concurrent_settings)


class SegmentedModel:
    """Segments that run one after the other; each sees the values of those before it."""

    def __init__(self, segments: Sequence[tuple[CompiledSegment, Compiled]], outputs: Sequence[str]) -> None:
        self._segments = tuple(segments)
        self._outputs = tuple(outputs)

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        return self.run_timed(inputs, stop, into)[0]

    def run_timed(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, np.ndarray], tuple[float, ...]]:
        """Also when each segment ended but the last one, by `time.perf_counter`."""
        values, marks = dict(inputs), []
        for segment, compiled in self._segments:
            if stop is not None:
                stop.check()
            mine = {name: into[name] for name in segment.outputs if name in into} if into else None
            values.update(compiled.run({name: values[name] for name in segment.inputs}, stop, mine))
            marks.append(perf_counter())
        return {name: values[name] for name in self._outputs}, tuple(marks[:-1])


def folder_of(folder: Path, number: int) -> Path:
    """Where the artifact of a segment lies in its entry."""
    return folder / f"segment{number}"


def join(segments: Sequence[tuple[CompiledSegment, Compiled]], outputs: Sequence[str]) -> Compiled:
    """What runs the segments; a single one runs itself."""
    return segments[0][1] if len(segments) == 1 else SegmentedModel(segments, outputs)


def load_artifacts(folder: Path, segments: Sequence[CompiledSegment], outputs: Sequence[str]) -> Compiled:
    """The segments of an entry. Raises CompilationError where one is not what its engine wrote."""
    if any(segment.engine == PYTHON_ENGINE for segment in segments):
        from . import custom_model_operator as custom_model_operator  # which adds an operator to that engine
    loaded = []
    for number, segment in enumerate(segments):
        engine, where = engine_named(segment.engine), folder_of(folder, number)
        alone = engine.load(where, segment.settings)
        loaded.append((segment, adapted(alone, segment.concurrent_settings, lambda s, e=engine, w=where: e.load(w, s))))  # type: ignore[misc]
    return join(loaded, outputs)


def adapted(
    alone: Compiled, concurrent_settings: Sequence[Settings], load: Callable[[Settings], Compiled],
    made: Mapping[Settings, Compiled] | None = None,
) -> Compiled:  # fmt: skip
    """What chooses between the forms of a segment; `made` are those that are compiled already."""
    if any(settings.streams == 1 for settings in concurrent_settings):
        return Serialized(alone)
    if not concurrent_settings:
        return alone
    variants = [Variant(s.streams or 1, partial(load, s), (made or {}).get(s)) for s in concurrent_settings]
    return VariantSelector(alone, variants)
