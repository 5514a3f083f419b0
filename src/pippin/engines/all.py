"""All: the engines there are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from .base import Engine
from .mnn import MNN
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO


@cache
def all_engines() -> Mapping[str, Engine]:
    """Every engine by name, installed or not; where nothing is measured, the first that can run a model does."""
    return {engine.name: engine for engine in (OpenVINO(), OnnxRuntime(), MNN())}
