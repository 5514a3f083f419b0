"""Registry: all engines by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from .base import Engine
from .mnn import MNN
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO

PYTHON_ENGINE = "python"


@cache
def all_engines() -> Mapping[str, Engine]:
    """Every engine by name, installed or not. Without measurements, the first that can run a model is used."""
    return {engine.name: engine for engine in (OpenVINO(), OnnxRuntime(), MNN())}


def engine_named(name: str) -> Engine:
    """An engine by name, including the Python engine, which cannot be chosen."""
    return python_engine() if name == PYTHON_ENGINE else all_engines()[name]


@cache
def python_engine() -> Engine:
    from .python import Python  # few models need it

    return Python()
