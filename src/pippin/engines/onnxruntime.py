"""ONNX Runtime: the CPU engine with the lightest dispatch and every ONNX operator."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CompilationError, PredictionError
from ..lowering import Lowered, is_large, readable
from .base import Compiled

_PROVIDERS = ["CPUExecutionProvider"]
_SEVERITY_ERROR = 3  # warnings of the optimizer say nothing to a user


def _onnxruntime() -> Any:
    """The library, imported without its telemetry: 1.32 keeps a device id in the home folder."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    return importlib.import_module("onnxruntime")


class OnnxRuntime:
    name = "onnxruntime"

    @cached_property
    def version(self) -> str:
        return str(_onnxruntime().__version__)

    def supports(self, lowered: Lowered) -> str | None:
        return None  # every operator that the lowering emits has a CPU kernel; a test holds it to that

    def compile(self, lowered: Lowered, threads: int | None = None) -> CompiledOnnxRuntime:
        with readable(lowered.model) as source:
            return self._session(source, _options(threads))

    def export(self, lowered: Lowered, compiled: Compiled) -> bytes:
        """The model after ONNX Runtime's own graph optimizations, in ONNX format. Raises CompilationError for a model
        of over 2 GiB, which that format has in one piece no more."""
        if is_large(lowered.model):
            raise CompilationError("ONNX Runtime cannot export a model of over 2 GiB in one piece")
        with tempfile.TemporaryDirectory(prefix="pippin-") as folder, readable(lowered.model) as source:
            path = Path(folder) / "optimized.onnx"
            options = _options(None)
            options.optimized_model_filepath = str(path)
            self._session(source, options)
            return path.read_bytes()

    def load(self, artifact: bytes, threads: int | None = None) -> CompiledOnnxRuntime:
        return self._session(artifact, _options(threads))

    def _session(self, source: bytes | str, options: Any) -> CompiledOnnxRuntime:
        try:
            session = _onnxruntime().InferenceSession(source, options, providers=_PROVIDERS)
        except Exception as error:  # the library's exceptions share no base but Exception
            raise CompilationError(f"ONNX Runtime {self.version} cannot compile the model: {error}") from error
        return CompiledOnnxRuntime(session)


def _options(threads: int | None) -> Any:
    options = _onnxruntime().SessionOptions()
    options.log_severity_level = _SEVERITY_ERROR
    # float32 is a promise: by default products with 4- and 8-bit weights quantize their other side as well.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


class CompiledOnnxRuntime:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.output_names = [output.name for output in session.get_outputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            values = self.session.run(self.output_names, inputs)
        except Exception as error:
            raise PredictionError(f"ONNX Runtime failed: {error}") from error
        return dict(zip(self.output_names, values, strict=True))
