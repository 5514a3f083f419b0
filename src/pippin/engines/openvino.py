"""OpenVINO: the CPU engine with the fastest convolution, matrix product, 16-bit and 8-bit kernels."""

from __future__ import annotations

import importlib
import io
import sys
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from ..errors import CompilationError, PredictionError
from ..lowering import Lowered, readable
from .base import Compiled
from .openvino_defects import refused

_DEVICE = "CPU"
_importing = Lock()


def _openvino() -> Any:
    """The library, imported without its telemetry: on import it would report itself over the network and keep a
    counter in the home folder. It has a stub of its own for where the package is not installed."""
    with _importing:
        if "openvino" in sys.modules or "openvino_telemetry" in sys.modules:
            return importlib.import_module("openvino")
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            return importlib.import_module("openvino")
        finally:
            del sys.modules["openvino_telemetry"]


class OpenVINO:
    name = "openvino"

    @cached_property
    def core(self) -> Any:
        return _openvino().Core()

    @cached_property
    def version(self) -> str:
        return str(_openvino().__version__)

    def supports(self, lowered: Lowered) -> str | None:
        return refused(lowered)

    def compile(self, lowered: Lowered, threads: int | None = None) -> CompiledOpenVINO:
        try:
            with readable(lowered.model) as source:
                model = self.core.read_model(source)
                compiled = self.core.compile_model(model, _DEVICE, _settings(threads))
        except Exception as error:
            raise CompilationError(f"OpenVINO {self.version} cannot compile the model: {_first_line(error)}") from error
        return CompiledOpenVINO(compiled)

    def export(self, lowered: Lowered, compiled: Compiled) -> bytes:
        """OpenVINO's own compiled blob."""
        stream = io.BytesIO()
        compiled.compiled.export_model(stream)  # type: ignore[attr-defined]
        return stream.getvalue()

    def load(self, artifact: bytes, threads: int | None = None) -> CompiledOpenVINO:
        try:
            compiled = self.core.import_model(artifact, _DEVICE, _settings(threads))
        except Exception as error:
            raise CompilationError(f"OpenVINO {self.version} cannot load the artifact: {_first_line(error)}") from error
        return CompiledOpenVINO(compiled)


def _settings(threads: int | None) -> dict[str, Any]:
    # float32 is a promise: by default the plugin computes in bfloat16 where the machine has it, and quantizes
    # what it multiplies with compressed weights.
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "PERFORMANCE_HINT": "LATENCY",
        # Pinned, the threads of two models share the first cores while the others idle.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


def _first_line(error: Exception) -> str:
    """OpenVINO's messages carry source positions and several paragraphs; the last line is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class CompiledOpenVINO:
    """An infer request serves one prediction at a time: idle ones wait in a pool, which grows when all are busy."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        # Outputs that are one tensor share their names.
        self._outputs = [tuple(port.names) for port in compiled.outputs]
        # An input that nothing depends on is not an input any more.
        self._inputs = {name: index for index, port in enumerate(compiled.inputs) for name in port.names}
        self._tensor = _openvino().Tensor
        self._idle: deque[Any] = deque()  # append and pop are atomic

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self.compiled.create_infer_request()
        try:
            for name, array in inputs.items():
                index = self._inputs.get(name)
                if index is not None:
                    request.set_input_tensor(index, self._tensor(array, shared_memory=array.flags.writeable))
            # Not shared: the request's own buffers are overwritten by the next prediction.
            values = request.infer(share_outputs=False, decode_strings=False).values()
        except Exception as error:
            raise PredictionError(f"OpenVINO failed: {_first_line(error)}") from error
        self._idle.append(request)
        return {name: value for names, value in zip(self._outputs, values, strict=True) for name in names}
