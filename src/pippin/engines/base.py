"""Base: the one small interface of every engine, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Protocol

import numpy as np

from ..errors import CompilationError, ConfigurationError, UnsupportedOperationError
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


@cache
def all_engines() -> Mapping[str, Engine]:
    """Every engine by name, the preferred one first."""
    from .onnxruntime import OnnxRuntime
    from .openvino import OpenVINO

    return {engine.name: engine for engine in (OpenVINO(), OnnxRuntime())}


def compile_model(lowered: Lowered, name: str | None = None, threads: int | None = None) -> tuple[Engine, Compiled]:
    """Compile for the named engine, or for the first one that can run the whole model.

    Raises ConfigurationError for an unknown name, UnsupportedOperationError with every engine's reason where
    none can run it.
    """
    engines: Sequence[Engine] = list(all_engines().values())
    if name is not None:
        if name not in all_engines():
            raise ConfigurationError(f"no engine '{name}' (there are: {', '.join(all_engines())})")
        engines = [all_engines()[name]]
    reasons = []
    for engine in engines:
        reason = engine.supports(lowered)
        if reason is None:
            try:
                return engine, engine.compile(lowered, threads)
            except CompilationError as error:
                reason = str(error)
        reasons.append(f"{engine.name}: {reason}")
    raise UnsupportedOperationError("no engine can run this model\n  " + "\n  ".join(reasons))
