"""OpenVINO: CPU engine with the fastest convolution, matrix product, 16-bit and 8-bit kernels; Intel GPU and NPU."""

from __future__ import annotations

import math
import mmap
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..errors import CompilationError, PredictionCancelled, PredictionError
from ..lowering.lowered_model import Lowered
from ..support.cancellation import Stop
from .base import PLAIN, FloatPrecision, Kernel, Settings
from .installed_version import installed_version
from .openvino_lean_import import openvino
from .openvino_memory import FEW_KERNELS, export, few_kernels, let_go
from .openvino_narrow_weights import keep_narrow

if TYPE_CHECKING:
    from onnx import ModelProto

    from .child import CompiledInChild

_DEVICES = {"cpu": "CPU", "gpu": "GPU", "neuralEngine": "NPU"}
# Without its file a device is absent. Asking the library instead takes 50 ms.
_DEVICE_FILES = {"gpu": Path("/dev/dri"), "neuralEngine": Path("/dev/accel")}
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "dynamic_int8": "f32"}
# Elements that share a scale when an operand is quantized. Products whose blocks it does not divide stay exact.
_QUANTIZED_GROUP = 32
_ARTIFACT = "openvino.blob"
# Softplus below -17, and Erf near 0 in steps of 1e-7.
_CUT_TO_ZERO = frozenset({"Erf", "Softplus"})
_COPIED = 16_384  # bytes of an input


class OpenVINO:
    name = "openvino"
    package = "openvino"
    load_rank = 1
    thorough = False
    stops_in_loops = False
    spins = False
    quantizes = True

    @cached_property
    def core(self) -> Any:
        return openvino().Core()

    @property
    def installed(self) -> bool:
        return bool(self.version)

    @property
    def version(self) -> str:
        return installed_version("openvino")

    def device_name(self, kind: str) -> str | None:
        if kind == "cpu":
            return "CPU"
        if not _DEVICE_FILES[kind].exists():
            return None
        found = [device for device in self.core.available_devices if device.startswith(_DEVICES[kind])]
        return str(self.core.get_property(found[0], "FULL_DEVICE_NAME")) if found else None

    def absence(self, kind: str) -> str:
        if not self.installed:
            return "not installed (pip install openvino)"
        file = _DEVICE_FILES.get(kind)
        if file is not None and not file.exists():
            return f"no Intel {'GPU' if kind == 'gpu' else 'NPU'}: {file} does not exist"
        driver = "intel-opencl-icd" if kind == "gpu" else "the Intel NPU driver"
        return f"{file} exists, but OpenVINO finds no device; for Intel hardware install {driver}"

    def precisions(self, device: str) -> tuple[FloatPrecision, ...]:
        offered = self.core.get_property(_DEVICES[device], "OPTIMIZATION_CAPABILITIES")
        return tuple(p for p, word in _CAPABILITIES if word in offered)

    def declined(self, lowered: Lowered) -> Mapping[str, str]:
        from .openvino_defects import refused

        return refused(lowered)

    def misjudges(self, operator: str, kind: Literal["NaN", "infinity"]) -> bool:
        from .openvino_defects import misjudged

        return misjudged(operator, kind)

    def prepared(self, model: ModelProto, saturates: bool = False) -> ModelProto:
        """Compressed constants stay, since OpenVINO folds them. Its 8-bit kernels may saturate, and it drops casts."""
        from ..passes.accurate_tails import accurate_tails
        from ..passes.eight_bit import in_float32
        from ..passes.exact_integers import exact_integers
        from ..passes.float16_rounding import rounded_in_float32
        from ..passes.integer_forms import IN_FLOAT32
        from ..passes.overlap_threshold import exclusive_overlap
        from ..passes.scaled_weights import scaled_weights
        from ..passes.stable_sorts import stable_sorts

        model = scaled_weights(rounded_in_float32(in_float32(model) if saturates else model))
        model = stable_sorts(exclusive_overlap(model))
        return exact_integers(accurate_tails(model, _CUT_TO_ZERO), IN_FLOAT32)

    def compile(
        self, source: bytes | Path, settings: Settings = PLAIN, artifact: Path | None = None
    ) -> CompiledOpenVINO:
        return self._compile(source, _properties(settings), settings.device)

    def save(self, source: bytes | Path, compiled: Any, settings: Settings, folder: Path) -> None:
        """Write OpenVINO's compiled blob."""
        if (folder / _ARTIFACT).is_file():
            return  # already written by a child
        export(compiled.compiled, folder / _ARTIFACT)

    def load(self, folder: Path, settings: Settings = PLAIN) -> CompiledOpenVINO | CompiledInChild:
        """Load the blob. The weights stay in the memory-mapped file."""
        if settings.unbounded:
            from .child import CompiledInChild

            return CompiledInChild(self, folder, settings)
        try:
            with (folder / _ARTIFACT).open("rb") as file:
                # Private: the library requires writable memory.
                mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
            tensor = openvino().Tensor(np.frombuffer(mapped, np.uint8), shared_memory=True)
            with few_kernels():
                compiled = self.core.import_model(tensor, _DEVICES[settings.device], _properties(settings))
        except Exception as error:
            raise CompilationError(f"OpenVINO {self.version} cannot load the artifact: {_cause(error)}") from error
        return CompiledOpenVINO(compiled, mapped)

    def weights_held(self, kind: str, settings: Settings) -> tuple[str, str]:
        """Float weights are packed in the precision that it computes in."""
        computed = settings.precision if settings.precision in ("bfloat16", "float16") else "float32"
        return computed if kind.startswith(("float", "bfloat")) else kind, "repacked, private"

    def concurrent_settings(self, settings: Settings, cores: int) -> tuple[Settings, ...]:
        """One stream per core; with 8 or more, also one per four cores, for moderate concurrency.

        OpenVINO's throughput hint would pin threads, so that two models share the first cores.
        """
        if settings.device != "cpu" or settings.unbounded:  # each prediction in flight has a process already
            return ()
        most = cores // (settings.threads or 1)
        counts = [most // 4, most] if most >= 8 and settings.threads is None else [most]
        return tuple(
            replace(settings, threads=settings.threads or cores // count, streams=count)
            for count in counts
            if count > 1
        )

    def profile(
        self, source: bytes | Path, settings: Settings, inputs: Mapping[str, np.ndarray]
    ) -> list[Kernel] | None:
        from .openvino_profile import kernels
        from .profiled_runs import repeat

        if settings.unbounded:
            return None
        compiled = self._compile(source, _properties(settings) | {"PERF_COUNT": True}, settings.device)
        request, runs = compiled.take(), []

        def run() -> None:
            compiled.infer(request, inputs)
            runs.append(request.made.profiling_info)

        run()  # warm-up
        repeat(run)
        return kernels(compiled.compiled.get_runtime_model(), runs, cumulative=settings.device == "cpu")

    def _compile(self, source: bytes | Path, properties: dict[str, Any], device: str) -> CompiledOpenVINO:
        try:
            model = self.core.read_model(source if isinstance(source, bytes) else str(source))
            _keep_order(model)
            if properties["INFERENCE_PRECISION_HINT"] == _PRECISIONS["bfloat16"]:
                keep_narrow(self.core, model)
            with few_kernels():
                compiled = self.core.compile_model(model, _DEVICES[device], properties)
        except Exception as error:
            raise CompilationError(f"OpenVINO {self.version} cannot compile the model: {_cause(error)}") from error
        return CompiledOpenVINO(compiled)


_CAPABILITIES: tuple[tuple[FloatPrecision, str], ...] = (("bfloat16", "BF16"), ("float16", "FP16"))


def _properties(settings: Settings) -> dict[str, Any]:
    # float32 is guaranteed: by default, the plugin computes in bfloat16 if the machine supports it, and quantizes
    # the other operand of products with compressed weights.
    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[settings.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if settings.device == "cpu":
        properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _QUANTIZED_GROUP if settings.precision == "dynamic_int8" else 0
        # With pinning, the threads of two models share the first cores while the others idle.
        properties["ENABLE_CPU_PINNING"] = False
        if settings.growing:
            properties["CPU_RUNTIME_CACHE_CAPACITY"] = FEW_KERNELS
        if settings.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = settings.threads * (settings.streams or 1)  # total of all streams
        if settings.streams is not None:
            properties["NUM_STREAMS"] = settings.streams
        elif settings.threads == 1 or (settings.threads is None and _one_core()):
            # A stream of one thread loses the errors of shapes that do not fit, and returns what is in memory, or
            # crashes. Without a stream, the calling thread computes.
            properties["NUM_STREAMS"] = 0
    return properties


def _one_core() -> bool:
    return hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1


def _keep_order(model: Any) -> None:
    """Choose the stable kernel of TopK for short axes; for long ones, the graph has another form."""
    from ..passes.stable_sorts import stable_kernel

    for op in model.get_ops():
        if op.get_type_name() == "TopK":
            axis = op.get_attributes()["axis"]
            shapes = (op.input(0).get_partial_shape(), op.output(0).get_partial_shape())
            sizes = [shape[axis] if shape.rank.is_static else None for shape in shapes]
            if stable_kernel(*(size.get_length() if size is not None and size.is_static else None for size in sizes)):
                op.set_attribute("stable", True)


def _cause(error: Exception) -> str:
    """The last line of an OpenVINO message; source positions and several paragraphs precede it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class Request(NamedTuple):
    """An infer request, and its own buffers for small inputs, which are copied: 0.3 instead of 2.9 us."""

    made: Any
    buffers: dict[str, np.ndarray]


class CompiledOpenVINO:
    """Keeps a pool of idle infer requests, which grows on demand. A request serves one prediction at a time."""

    def __init__(self, compiled: Any, mapped: Any = None) -> None:
        self.compiled = compiled
        self._mapped = mapped  # keeps the memory of the weights alive
        # Outputs that are the same tensor share one port, which has all their names.
        self._outputs = [tuple(port.names) for port in compiled.outputs]
        # OpenVINO removes inputs that nothing depends on.
        self._inputs = {name: index for index, port in enumerate(compiled.inputs) for name in port.names}
        self._tensor = openvino().Tensor
        self._small = {
            name: index
            for name, index in self._inputs.items()
            if (shape := compiled.inputs[index].get_partial_shape()).is_static
            and math.prod(shape.to_shape()) * compiled.inputs[index].get_element_type().size <= _COPIED
        }
        self._idle: deque[Request] = deque()  # append and pop are atomic
        self._unused = True

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        if self._unused:
            return self._first_run(inputs, stop, into)
        request = self.take()
        try:
            values = self._infer_into(request, inputs, into, stop) if into else self.infer(request, inputs, stop)
        except PredictionCancelled:
            self._idle.append(request)
            raise
        self._idle.append(request)
        return values

    def _first_run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None, into: Mapping[str, np.ndarray] | None
    ) -> dict[str, np.ndarray]:
        """It makes kernels and packs the weights, which are then no longer read from the file."""
        self._unused = False
        with few_kernels():
            values = self.run(inputs, stop, into)
        if self._mapped is not None:
            let_go(self._mapped)
        return values

    def take(self) -> Request:
        """An infer request for exclusive use."""
        try:
            return self._idle.pop()
        except IndexError:
            made = self.compiled.create_infer_request()
            return Request(made, {name: made.get_input_tensor(index).data for name, index in self._small.items()})

    def infer(
        self, request: Request, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, copied: bool = True
    ) -> dict[str, np.ndarray]:
        """Return the outputs. If not `copied`, they are the request's buffers, which its next prediction overwrites."""
        made, buffers = request
        try:
            for name, array in inputs.items():
                buffer = buffers.get(name)
                if buffer is not None and buffer.shape == array.shape and buffer.dtype == array.dtype:
                    buffer[...] = array
                elif (index := self._inputs.get(name)) is not None:
                    buffers.pop(name, None)  # no longer the request's
                    made.set_input_tensor(index, self._tensor(array, shared_memory=array.flags.writeable))
            if stop is None:
                values = made.infer({}, not copied, False).values()
            else:
                with stop.by(made.cancel):
                    values = made.infer({}, not copied, False).values()
        except PredictionError:
            raise
        except Exception as error:
            if stop is not None:
                stop.check()
            raise PredictionError(f"OpenVINO failed: {_cause(error)}") from error
        return {name: value for names, value in zip(self._outputs, values, strict=True) for name in names}

    def _infer_into(
        self, request: Request, inputs: Mapping[str, np.ndarray], into: Mapping[str, np.ndarray], stop: Stop | None
    ) -> dict[str, np.ndarray]:
        """Run one prediction with the outputs bound to the caller's arrays."""
        made = request.made
        own, given = [], {}
        for index, names in enumerate(self._outputs):
            array = next((into[name] for name in names if name in into), None)
            if array is not None:
                given[index] = array
                own.append((index, made.get_output_tensor(index)))
                made.set_output_tensor(index, self._tensor(array, shared_memory=True))
        try:
            values = self.infer(request, inputs, stop, copied=False)
        finally:
            for index, tensor in own:
                made.set_output_tensor(index, tensor)
        found: dict[str, np.ndarray] = {}
        for index, names in enumerate(self._outputs):
            found.update(dict.fromkeys(names, given[index] if index in given else values[names[0]].copy()))
        return found
