"""Parts: the compiled segments of a model, as they lie in a cache entry and as they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..engines import Compiled, Engine, Settings, all_engines
from .python import Python


@dataclass(frozen=True, slots=True)
class Part:
    """One segment: what compiled it, and the values that it takes and gives (both empty where it is the whole)."""

    engine: str
    settings: Settings
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, found: Mapping[str, Any]) -> Part:
        settings = Settings(**found["settings"])
        return cls(found["engine"], settings, tuple(found["inputs"]), tuple(found["outputs"]))


class Segmented:
    """Segments that run one after the other; each sees the values of those before it."""

    def __init__(self, parts: Sequence[tuple[Part, Compiled]], outputs: Sequence[str]) -> None:
        self._parts = tuple(parts)
        self._outputs = tuple(outputs)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.run_timed(inputs)[0]

    def run_timed(self, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[float, ...]]:
        """Also when each segment ended but the last one, by `time.perf_counter`."""
        values, marks = dict(inputs), []
        for part, compiled in self._parts:
            values.update(compiled.run({name: values[name] for name in part.inputs}))
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
    loaded = [(p, engine_named(p.engine).load(folder_of(folder, i), p.settings)) for i, p in enumerate(parts)]
    return join(loaded, outputs)


def engine_named(name: str) -> Engine:
    """An engine, or what runs the Python nodes between the segments of engines. Raises KeyError."""
    return PYTHON_NODES if name == PYTHON_NODES.name else all_engines()[name]


PYTHON_NODES = Python()
