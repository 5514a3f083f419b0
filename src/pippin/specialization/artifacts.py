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
from .concurrency_variants import Serialized, Variant, VariantSelector
from .nonfinite import Guard, Guarded, NonFinite, unavailable


@dataclass(frozen=True, slots=True)
class CompiledSegment:
    """How a segment was compiled, and the names of its inputs and outputs (both empty for a whole model)."""

    engine: str
    settings: Settings
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    concurrent_settings: tuple[Settings, ...] = ()
    """Settings for the same artifact under concurrent load; `streams=1` means predictions are serialized."""
    checked: tuple[str, ...] = ()
    """Inputs that are checked for NaN before each prediction."""
    probe: str = ""
    """The output that is NaN if one arose."""

    @property
    def guard(self) -> Guard:
        return Guard(self.checked, self.probe)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CompiledSegment:
        settings = Settings(**stored["settings"])
        concurrent_settings = tuple(Settings(**each) for each in stored["concurrent_settings"])
        return cls(
            stored["engine"], settings, tuple(stored["inputs"]), tuple(stored["outputs"]), concurrent_settings,
            tuple(stored["checked"]), stored["probe"],
        )  # fmt: skip


class SegmentedModel:
    """Runs segments in sequence; each reads outputs of earlier ones. A prediction that one of them may get wrong runs
    on `exact` instead."""

    def __init__(
        self,
        segments: Sequence[tuple[CompiledSegment, Compiled]],
        outputs: Sequence[str],
        exact: Compiled | None = None,
    ) -> None:
        self._segments = tuple((segment, _guarded(segment, compiled)) for segment, compiled in segments)
        self._outputs = tuple(outputs)
        self._exact = exact

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        return self.run_timed(inputs, stop, into)[0]

    def run_timed(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, np.ndarray], tuple[float, ...]]:
        """`run`, plus the time (`time.perf_counter`) at which each segment but the last one ended."""
        try:
            return self._run_timed(inputs, stop, into)
        except NonFinite:
            return (self._exact or unavailable()).run(inputs, stop, into), ()

    def _run_timed(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None, into: Mapping[str, np.ndarray] | None
    ) -> tuple[dict[str, np.ndarray], tuple[float, ...]]:
        values, marks = dict(inputs), []
        for segment, compiled in self._segments:
            if stop is not None:
                stop.check()
            buffers = {name: into[name] for name in segment.outputs if name in into} if into else None
            values.update(compiled.run({name: values[name] for name in segment.inputs}, stop, buffers))
            marks.append(perf_counter())
        return {name: values[name] for name in self._outputs}, tuple(marks[:-1])


def artifact_folder(folder: Path, number: int) -> Path:
    """The folder of a segment's artifact in a cache entry."""
    return folder / f"segment{number}"


def _guarded(segment: CompiledSegment, compiled: Compiled) -> Compiled:
    return Guarded(compiled, segment.guard) if segment.guard else compiled


def join_segments(
    segments: Sequence[tuple[CompiledSegment, Compiled]], outputs: Sequence[str], exact: Compiled | None = None
) -> Compiled:
    """One runnable model from its segments. `exact` runs what their engines may get wrong."""
    if len(segments) > 1:
        return SegmentedModel(segments, outputs, exact)
    ((segment, compiled),) = segments
    if not segment.guard or exact is None:
        return compiled
    return Guarded(compiled, segment.guard, exact)


def load_artifacts(
    folder: Path, segments: Sequence[CompiledSegment], outputs: Sequence[str], exact: Compiled | None = None
) -> Compiled:
    """Load the segments of a cache entry. Raises CompilationError if an engine cannot read its artifact."""
    if any(segment.engine == PYTHON_ENGINE for segment in segments):
        from . import custom_model_operator as custom_model_operator  # registers its operator
    loaded = []
    for number, segment in enumerate(segments):
        engine, at = engine_named(segment.engine), artifact_folder(folder, number)
        single = engine.load(at, segment.settings)
        load = partial(engine.load, at)
        loaded.append((segment, with_variants(single, segment.concurrent_settings, load)))
    return join_segments(loaded, outputs, exact)


def with_variants(
    single: Compiled, concurrent_settings: Sequence[Settings], load: Callable[[Settings], Compiled],
    compiled: Mapping[Settings, Compiled] | None = None,
) -> Compiled:  # fmt: skip
    """A segment that picks settings by load. Settings missing from `compiled` are loaded on first use."""
    if any(settings.streams == 1 for settings in concurrent_settings):
        return Serialized(single)
    if not concurrent_settings:
        return single
    variants = [Variant(s.streams or 1, partial(load, s), (compiled or {}).get(s)) for s in concurrent_settings]
    return VariantSelector(single, variants)
