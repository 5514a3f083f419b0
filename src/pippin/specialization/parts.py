"""Parts: the compiled segments of a model, as they lie in a cache entry and as they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..cancellation import Stop
from ..engines import PYTHON_ENGINE, Compiled, Settings, engine_named
from .adaptive import Adaptive, OneAtATime, Variant


@dataclass(frozen=True, slots=True)
class Part:
    """One segment: what compiled it, and the values that it takes and gives (both empty where it is the whole)."""

    engine: str
    settings: Settings
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    together: tuple[Settings, ...] = ()
    """The forms of the same artifact for many predictions at once; one of a single stream: one after the other."""

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, found: Mapping[str, Any]) -> Part:
        settings = Settings(**found["settings"])
        together = tuple(Settings(**each) for each in found["together"])
        return cls(found["engine"], settings, tuple(found["inputs"]), tuple(found["outputs"]), together)


class Segmented:
    """Segments that run one after the other; each sees the values of those before it."""

    def __init__(self, parts: Sequence[tuple[Part, Compiled]], outputs: Sequence[str]) -> None:
        self._parts = tuple(parts)
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
        for part, compiled in self._parts:
            if stop is not None:
                stop.check()
            mine = {name: into[name] for name in part.outputs if name in into} if into else None
            values.update(compiled.run({name: values[name] for name in part.inputs}, stop, mine))
            marks.append(perf_counter())
        return {name: values[name] for name in self._outputs}, tuple(marks[:-1])


def folder_of(folder: Path, number: int) -> Path:
    """Where the artifact of a segment lies in its entry."""
    return folder / f"segment{number}"


def join(parts: Sequence[tuple[Part, Compiled]], outputs: Sequence[str]) -> Compiled:
    """What runs the segments; a single one runs itself."""
    return parts[0][1] if len(parts) == 1 else Segmented(parts, outputs)


def load_parts(folder: Path, parts: Sequence[Part], outputs: Sequence[str]) -> Compiled:
    """The segments of an entry. Raises CompilationError where one is not what its engine wrote."""
    if any(part.engine == PYTHON_ENGINE for part in parts):
        from . import custom_models as custom_models  # which adds an operator to that engine
    loaded = []
    for number, part in enumerate(parts):
        engine, where = engine_named(part.engine), folder_of(folder, number)
        alone = engine.load(where, part.settings)
        loaded.append((part, adapted(alone, part.together, lambda s, e=engine, w=where: e.load(w, s))))  # type: ignore[misc]
    return join(loaded, outputs)


def adapted(
    alone: Compiled, together: Sequence[Settings], load: Callable[[Settings], Compiled],
    made: Mapping[Settings, Compiled] | None = None,
) -> Compiled:  # fmt: skip
    """What chooses between the forms of a segment; `made` are those that are compiled already."""
    if any(settings.streams == 1 for settings in together):
        return OneAtATime(alone)
    if not together:
        return alone
    variants = [Variant(s.streams or 1, partial(load, s), (made or {}).get(s)) for s in together]
    return Adaptive(alone, variants)
