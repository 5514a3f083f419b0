"""Engine selection: the engines that a configuration allows, and which to suggest if the named one cannot run it."""

from __future__ import annotations

from ..engines import Engine, all_engines
from ..errors import ConfigurationError, EngineError, UnsupportedOperationError
from ..lowering.external_data import readable
from ..lowering.lowered_model import Lowered
from .prepared_models import prepared
from .segmentation import python_code


def engines_for(name: str | None, thorough: bool) -> list[Engine]:
    if name is None:
        return [e for e in all_engines().values() if e.installed and (thorough or not e.thorough)]
    if name not in all_engines():
        raise ConfigurationError(f"unknown engine '{name}'; choose one of {', '.join(all_engines())}")
    engine = all_engines()[name]
    if not engine.installed:
        raise ConfigurationError(f"engine '{name}' is not installed (pip install {engine.package})")
    return [engine]


def named_engine_fails(name: str, message: str, lowered: Lowered) -> UnsupportedOperationError:
    """The error for a model that the engine named in the configuration cannot run: says which one can."""
    reason = message.partition(f"{name}: ")[2]
    others = [engine for engine in all_engines().values() if engine.installed and engine.name != name]
    able = next((engine.name for engine in others if _can_run(engine, lowered)), None)
    advice = (
        f"{able} can: choose engine='{able}', or name no engine" if able else "no other installed engine can either"
    )
    return UnsupportedOperationError(f"{name} cannot run this model: {reason}\n  {advice}")


def _can_run(engine: Engine, lowered: Lowered) -> bool:
    python = python_code(lowered)
    if engine.declined(lowered).keys() - python.keys():
        return False
    if python:  # it runs the segments between
        return True
    try:
        with readable(prepared(engine, lowered.model)) as source:
            engine.compile(source)
    except EngineError:
        return False
    return True
