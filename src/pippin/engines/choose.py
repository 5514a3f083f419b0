"""Choose: the engines there are, and the one that runs a model. Where a choice by measurement will go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from ..errors import CompilationError, ConfigurationError, UnsupportedOperationError
from ..lowering import Lowered
from .base import Compiled, Engine
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO


@cache
def all_engines() -> Mapping[str, Engine]:
    """Every engine by name, the preferred one first."""
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
