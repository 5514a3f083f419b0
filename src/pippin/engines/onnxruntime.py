"""ONNX Runtime: CPU engine with the lightest dispatch and every ONNX operator; CUDA and NPUs through its providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import CompilationError, PredictionError
from ..lowering.lowered_model import PYTHON, WEIGHTS, Lowered
from ..support.cancellation import Stop
from ..support.linked_copy import linked_copy
from .base import PLAIN, FloatPrecision, Kernel, Settings
from .installed_version import installed_version
from .onnxruntime_io_binding import BoundRuns, written
from .onnxruntime_providers import NVIDIA, chain, device_name, failure, library, provider

if TYPE_CHECKING:
    from onnx import ModelProto

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-qnn", "onnxruntime-openvino")
_SEVERITY_FATAL = 4  # optimizer warnings do not help users, and errors are raised
_ARTIFACT = "model.onnx"
# Of the maximum of numbers and a NaN, it makes a number; argmax, argmin and sorts depend on the order of the values.
_MISJUDGED = frozenset({"ArgMax", "ArgMin", "GlobalMaxPool", "HardSwish", "MaxPool", "ReduceMax", "ReduceMin", "TopK"})
# Of a window of -inf alone, the lowest number; of the hard swish of -inf, NaN.
_MISJUDGED_INFINITY = frozenset({"GlobalMaxPool", "HardSwish", "MaxPool"})
_CUT_TO_ZERO = frozenset({"Sigmoid"})  # exactly 0 below -18
_LEAVE_WEIGHTS = frozenset({"Gather", "GatherBlockQuantized", "Gemm", "MatMul", "MatMulNBits"})
_UNPACKED = ("session.disable_prepacking", "1")
_SMALLEST_IN_WEIGHTS = "1024"  # bytes; smaller tensors stay in the model file


class OnnxRuntime:
    name = "onnxruntime"
    package = "onnxruntime"
    load_rank = 0
    thorough = False
    stops_in_loops = True
    spins = True
    quantizes = True

    @property
    def installed(self) -> bool:
        return bool(self.version)

    @property
    def version(self) -> str:
        return installed_version(*_PACKAGES)

    def device_name(self, kind: str) -> str | None:
        if kind == "cpu":
            return "CPU"
        if not NVIDIA.exists() and not installed_version(*_PACKAGES[1:]):
            return None  # the plain package supports only the CPU: skip the import
        found = provider(kind)
        return None if found is None or failure(found) else device_name(found)

    def absence(self, kind: str) -> str:
        if not self.installed:
            return "not installed (pip install onnxruntime)"
        found = provider(kind) if installed_version(*_PACKAGES[1:]) else None
        if found is not None:
            return f"{found} does not start: {failure(found)}"
        if kind == "gpu":
            if not NVIDIA.exists():
                return f"no NVIDIA driver: {NVIDIA} does not exist"
            return "its CUDA provider is not installed (pip install onnxruntime-gpu instead of onnxruntime)"
        return "no NPU provider is installed (for Qualcomm: pip install onnxruntime-qnn instead of onnxruntime)"

    def precisions(self, device: str) -> tuple[FloatPrecision, ...]:
        return ()  # its 16-bit float CPU kernels are slower than float32

    def declined(self, lowered: Lowered) -> Mapping[str, str]:
        # The lowering emits only operators with a CPU kernel; a test checks this.
        return {n.name: f"{n.op_type} runs in Python" for n in lowered.model.graph.node if n.domain == PYTHON}

    def misjudges(self, operator: str, kind: Literal["NaN", "infinity"]) -> bool:
        return operator in (_MISJUDGED if kind == "NaN" else _MISJUDGED_INFINITY)

    def prepared(self, model: ModelProto, saturates: bool = False) -> ModelProto:
        from ..passes.accurate_tails import accurate_tails
        from ..passes.compressed_tables import looked_up
        from ..passes.decompress import decompressed
        from ..passes.eight_bit import unsigned
        from ..passes.exact_integers import exact_integers
        from ..passes.integer_forms import SATURATING
        from ..passes.matmul_nbits import packed_products
        from ..passes.widen import widened

        model = looked_up(packed_products(widened(accurate_tails(model, _CUT_TO_ZERO))))
        model = exact_integers(decompressed(model, _has_kernel), SATURATING)
        return unsigned(model) if saturates else model

    def compile_plainly(self, source: bytes | Path, settings: Settings = PLAIN) -> CompiledOnnxRuntime:
        """Compile without fusing operators: their plain kernels keep to the definitions."""
        options = _options(settings)
        options.graph_optimization_level = library().GraphOptimizationLevel.ORT_DISABLE_ALL
        return self._session(source, options, settings.device)

    def compile(
        self, source: bytes | Path, settings: Settings = PLAIN, artifact: Path | None = None
    ) -> CompiledOnnxRuntime:
        options = _options(settings)
        model = _with_precision(source, options, settings)
        if artifact is None:
            return self._session(model, options, settings.device)
        if isinstance(source, bytes) or model is not source or not _leaves_weights(source):
            _write_into(artifact, options)
            return self._session(model, options, settings.device)
        # It refers to the weights of the source, which are then those of the artifact. Written into a file of its own,
        # all of them would be in memory once more.
        options.optimized_model_filepath = str(artifact / _ARTIFACT)
        compiled = self._session(source, options, settings.device)
        linked_copy(source.with_name(WEIGHTS), artifact / WEIGHTS)
        return compiled

    def save(self, source: bytes | Path, compiled: Any, settings: Settings, folder: Path) -> None:
        """Write the optimized model, with its weights in a separate file that `load` maps into memory."""
        if (folder / _ARTIFACT).is_file():
            return  # already written by `compile`
        options = _options(settings)
        _write_into(folder, options)
        if not settings.shared:
            options.add_session_config_entry(*_UNPACKED)  # this session never runs
        self._session(_with_precision(source, options, settings), options, settings.device)

    def load(self, folder: Path, settings: Settings = PLAIN) -> CompiledOnnxRuntime:
        options = _options(settings)
        options.graph_optimization_level = library().GraphOptimizationLevel.ORT_DISABLE_ALL
        return self._session(folder / _ARTIFACT, options, settings.device)

    def weights_held(self, kind: str, settings: Settings) -> tuple[str, str]:
        return kind, "mapped, shared" if settings.shared else "repacked, private"

    def concurrent_settings(self, settings: Settings, cores: int) -> tuple[Settings, ...]:
        """All runs of a session share its threads. With one thread, each prediction runs on its caller's thread."""
        if settings.device != "cpu" or settings.threads == 1:
            return ()
        return (replace(settings, threads=1, streams=cores),)

    def profile(
        self, source: bytes | Path, settings: Settings, inputs: Mapping[str, np.ndarray]
    ) -> list[Kernel] | None:
        import tempfile

        if settings.unbounded:
            return None
        from .onnxruntime_profile import kernels
        from .profiled_runs import repeat

        with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
            options = _options(settings)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            _write_into(Path(folder), options)
            compiled = self._session(_with_precision(source, options, settings), options, settings.device)
            compiled.run(inputs)  # warm-up
            runs = repeat(lambda: compiled.run(inputs))
            return kernels(Path(compiled.session.end_profiling()), Path(folder) / _ARTIFACT, runs)

    def _session(self, source: bytes | Path, options: Any, device: str) -> CompiledOnnxRuntime:
        try:
            model = source if isinstance(source, bytes) else str(source)
            session = library().InferenceSession(model, options, providers=chain(device))
        except Exception as error:  # its exceptions have no common base but Exception
            raise CompilationError(f"ONNX Runtime {self.version} cannot compile the model: {error}") from error
        return CompiledOnnxRuntime(session, device)


def _leaves_weights(source: Path) -> bool:
    """Whether only operators read the weights outside of the model file for which they are not rewritten."""
    import onnx

    graph = onnx.load(source, load_external_data=False).graph
    outside = {tensor.name for tensor in graph.initializer if tensor.external_data}
    readers = {node.op_type for node in graph.node if not outside.isdisjoint(node.input)}
    return (source.with_name(WEIGHTS)).is_file() and readers <= _LEAVE_WEIGHTS


def _has_kernel(dequantize: Any, reader: Any, makers: Mapping[str, Any]) -> bool:
    """Whether one kernel covers both nodes: MatMul with block-quantized weights, or a layer with quantized input."""
    if reader.op_type == "MatMul" and any(attribute.name == "block_size" for attribute in dequantize.attribute):
        return bool(reader.input[1] == dequantize.output[0])
    others = [makers.get(name) for name in reader.input[:1]]
    return any(other is not None and other.op_type == "DequantizeLinear" for other in others if other != dequantize)


def _with_precision(source: bytes | Path, options: Any, settings: Settings) -> bytes | Path:
    """What a session loads: the model itself, or one whose products may quantize their other operand."""
    if settings.precision != "dynamic_int8":
        return source
    import onnx

    from ..passes.matmul_nbits import with_quantized_activations

    model = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source, load_external_data=False)
    if not with_quantized_activations(model):
        return source
    if isinstance(source, Path):
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(source.parent))
    return bytes(model.SerializeToString())


def _write_into(folder: Path, options: Any) -> None:
    """Make sessions with these options write their optimized model to `folder`."""
    options.optimized_model_filepath = str(folder / _ARTIFACT)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", _SMALLEST_IN_WEIGHTS
    )


def _options(settings: Settings) -> Any:
    options = library().SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    # float32 is guaranteed: by default, products with 4- and 8-bit weights quantize their other operand too.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if settings.shared:
        options.add_session_config_entry(*_UNPACKED)
    if settings.threads is not None:
        options.intra_op_num_threads = settings.threads
    return options


class CompiledOnnxRuntime:
    def __init__(self, session: Any, device: str) -> None:
        self.session = session
        self.output_names = [output.name for output in session.get_outputs()]
        # Bypasses the Python wrapper, whose checks the C++ core repeats: saves 2 of 16 us.
        self._run = partial(getattr(session, "_sess", session).run, self.output_names)
        self._bound = BoundRuns.of(session) if device == "cpu" else None
        # Never modified, so threads can share it. Without it the library creates new options: 0.7 us a run.
        self._options = library().RunOptions()

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        bound = self._bound
        if bound is not None and not into:
            try:
                values = bound.run(inputs, self._options) if stop is None else self._stoppable(bound.run, inputs, stop)
                if values is not None:
                    return values
            except PredictionError:
                raise
            except Exception:
                if stop is not None:
                    stop.check()
                if not bound.trusted:
                    self._bound = None
                # The unbound run below succeeds, or raises the error to report.
        try:
            if into:
                return self._run_into(inputs, into, stop)
            values = self._run(inputs, self._options) if stop is None else self._stoppable(self._run, inputs, stop)
        except PredictionError:
            raise
        except Exception as error:
            if stop is not None:
                stop.check()
            raise PredictionError(f"ONNX Runtime failed: {error}") from error
        return dict(zip(self.output_names, values, strict=True))

    def _stoppable(self, run: Callable[..., Any], inputs: Mapping[str, np.ndarray], stop: Stop) -> Any:
        options = library().RunOptions()
        with stop.by(lambda: setattr(options, "terminate", True)):
            return run(inputs, options)

    def _run_into(
        self, inputs: Mapping[str, np.ndarray], into: Mapping[str, np.ndarray], stop: Stop | None
    ) -> dict[str, np.ndarray]:
        """Run with the outputs bound to the caller's arrays."""
        binding, options = self.session.io_binding(), self._options if stop is None else library().RunOptions()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name in self.output_names:
            if name in into:
                array = into[name]
                binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            else:
                binding.bind_output(name, "cpu")
        with nullcontext() if stop is None else stop.by(lambda: setattr(options, "terminate", True)):
            self.session.run_with_iobinding(binding, options)
        found = {}
        for name, value in zip(self.output_names, binding.get_outputs(), strict=True):
            if name in into and not written(value, into[name]):
                np.copyto(into[name], value.numpy())
            found[name] = into[name] if name in into else value.numpy()
        return found
