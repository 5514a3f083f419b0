"""Base: the one small interface of every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ..lowering import Lowered


class Compiled(Protocol):
    """A model compiled by an engine. `run` may be called from several threads at once."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output by its ONNX name. The arrays belong to the caller. Raises PredictionError."""
        ...


class Engine(Protocol):
    """A library that executes ONNX models on a compute device."""

    name: str

    @property
    def version(self) -> str: ...

    def supports(self, lowered: Lowered) -> str | None:
        """Why this engine must not run the model, as far as a look at the graph tells; None where it may try."""
        ...

    def compile(self, lowered: Lowered, threads: int | None = None) -> Compiled:
        """Compile for the CPU, with this many threads (None: the engine's own choice). Raises CompilationError."""
        ...

    def export(self, lowered: Lowered, compiled: Compiled) -> bytes:
        """What this engine compiled, for `load` of the same engine and version on the same kind of machine."""
        ...

    def load(self, artifact: bytes, threads: int | None = None) -> Compiled:
        """What `export` gave. Raises CompilationError where it is not that."""
        ...
