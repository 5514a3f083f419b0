"""MNN: optional CPU engine. Its Winograd convolutions halve the time of float32 networks with 3 x 3 convolutions.

MNN's Python packages are not imported: on import they access the network and install a package. Only their two
extension modules are used. The converter runs in a separate process, because it prints and may exit. The engine runs
with standard output muted, because it prints too. MNN reads ONNX and compiles for one shape.
Imports that only compilation needs are local: every load from the cache imports this module.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import CompilationError, PredictionError
from ..lowering.lowered_model import Lowered
from ..support.cancellation import Stop
from .base import PLAIN, FloatPrecision, Kernel, Settings
from .installed_version import installed_version

if TYPE_CHECKING:
    from onnx import ModelProto

_ARTIFACT = "model.mnn"
_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"
_CONVERT_TIMEOUT = 300  # seconds
# MNN infers shapes for one input shape only; its support for subgraphs and 64-bit types is incomplete.
_SUBGRAPHS = frozenset({"If", "Loop", "Scan"})
_NOT_FROM_THE_END = frozenset({"GatherElements", "GatherND", "ScatterElements"})
# What MNN 3.6 accepts but computes wrong, and how.
_WRONG = {
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"), "MNN reduces over all axes"
    ),
    "Equal": "MNN compares bits, so that -0.0 is not 0.0",
    "GRU": "MNN returns an empty result",
    "Resize": "MNN's cubic interpolation is wrong",
    "Round": "MNN rounds halves away from 0",
    "Softplus": "MNN cuts it to 0 below -17, and ends at 88",
    "TopK": "MNN returns equal elements in any order",
}
_DTYPES = frozenset({np.dtype(np.float32), np.dtype(np.int32)})
# Seconds that a prediction may take without being stoppable.
_SHORT = 0.5
# Of MNN's `SessionInfoCode`: 0 if the session is ready to run.
_RESIZE_STATUS = 3
_stdout_lock = RLock()


# What MNN computes in float32 for integers, or does not reduce to 8 or 16 bits.
_FLOAT32 = frozenset({
    "Abs", "ArgMax", "ArgMin", "Clip", "MatMul", "Max", "Min", "Mul", "Pow", "ScatterElements", "ScatterND", "TopK",
    "Where",
})  # fmt: skip
_NARROW = frozenset({2, 3, 4, 5, 9})  # of `TensorProto.DataType`: 8 bits, 16 bits, and booleans, which it keeps whole


class MNN:
    name = "mnn"
    package = "MNN"
    load_rank = 2
    thorough = True
    stops_in_loops = False
    spins = True
    quantizes = False

    @property
    def installed(self) -> bool:
        return bool(self.version)

    @property
    def version(self) -> str:
        return installed_version("mnn")

    def device_name(self, kind: str) -> str | None:
        return "CPU" if kind == "cpu" else None

    def absence(self, kind: str) -> str:
        if kind == "cpu":
            return "not installed (pip install 'pippin[mnn]')"
        return "its wheels support only the CPU"

    def precisions(self, device: str) -> tuple[FloatPrecision, ...]:
        return ()

    def declined(self, lowered: Lowered) -> Mapping[str, str]:
        from ..passes.float16_rounding import rounds_to_float16

        graph = lowered.model.graph
        if lowered.states or any(port.dtype not in _DTYPES for port in (*lowered.inputs, *lowered.outputs)):
            return {"": "only used for stateless models with float32 and int32 inputs and outputs"}
        for info in graph.input:
            dims = info.type.tensor_type.shape.dim
            if not dims or any(dim.WhichOneof("value") != "dim_value" or dim.dim_value < 1 for dim in dims):
                return {"": f"'{info.name}' has no fixed shape, which MNN requires"}
        declined = {
            n.name: f"{n.op_type}: MNN's support for subgraphs is incomplete"
            for n in graph.node
            if n.op_type in _SUBGRAPHS
        }
        declined |= {
            n.name: f"{n.op_type}: MNN takes other elements for a negative index, and ignores a reduction"
            for n in graph.node
            if n.op_type in _NOT_FROM_THE_END
        }
        declined |= {n.name: "MNN does not round to float16" for n in graph.node if rounds_to_float16(n)}
        declined |= {
            n.name: f"{n.op_type}: {_WRONG[n.op_type]}"
            for n in graph.node
            if n.op_type in _WRONG and (n.op_type != "Resize" or any(a.s == b"cubic" for a in n.attribute))
        }
        declined |= _inexact(lowered.model)
        declined |= _of_other_ranks(lowered.model)
        return declined | {
            n.name: f"{n.domain}: only standard ONNX operators are supported" for n in graph.node if n.domain
        }

    def misjudges(self, operator: str, kind: Literal["NaN", "infinity"]) -> bool:
        return True  # even its convolutions, products and sums make numbers of NaN

    def prepared(self, model: ModelProto, saturates: bool = False) -> ModelProto:
        """The model with weights in float32, since MNN's converter misreads others, and with activations it computes
        exactly."""
        from ..passes.decompress import decompressed
        from ..passes.eight_bit import in_float32
        from ..passes.exact_activations import exact_activations
        from ..passes.widen import widened

        model = widened(decompressed(in_float32(model), lambda *_: False))
        return exact_activations(model)

    def compile(self, source: bytes | Path, settings: Settings = PLAIN, artifact: Path | None = None) -> CompiledMNN:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
            path = Path(folder) / "model.onnx"
            if isinstance(source, bytes):
                path.write_bytes(source)
            self._convert(path if isinstance(source, bytes) else source, Path(folder) / _ARTIFACT)
            return self._open((Path(folder) / _ARTIFACT).read_bytes(), settings)

    def save(self, source: bytes | Path, compiled: Any, settings: Settings, folder: Path) -> None:
        (folder / _ARTIFACT).write_bytes(compiled.data)

    def load(self, folder: Path, settings: Settings = PLAIN) -> CompiledMNN:
        try:
            data = (folder / _ARTIFACT).read_bytes()
        except OSError as error:
            raise CompilationError(f"MNN {self.version} cannot load the artifact: {error}") from error
        return self._open(data, settings)

    def weights_held(self, kind: str, settings: Settings) -> tuple[str, str]:
        return "float32", "copied, private"

    def concurrent_settings(self, settings: Settings, cores: int) -> tuple[Settings, ...]:
        return ()  # a session runs one prediction at a time, on all cores

    def profile(
        self, source: bytes | Path, settings: Settings, inputs: Mapping[str, np.ndarray]
    ) -> list[Kernel] | None:
        return None

    def _convert(self, source: Path, target: Path) -> None:
        import subprocess

        arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "pippin"]
        try:
            done = subprocess.run(
                [sys.executable, "-c", _CONVERT, *arguments],
                capture_output=True, text=True, check=False, timeout=_CONVERT_TIMEOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CompilationError(f"MNN {self.version} cannot convert the model: {error}") from error
        if done.returncode or not target.is_file():
            printed = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise CompilationError(
                f"MNN {self.version} cannot convert the model: {printed[-1] if printed else 'no output'}"
            )

    def _open(self, data: bytes, settings: Settings) -> CompiledMNN:
        import tempfile

        threads = settings.threads or len(os.sched_getaffinity(0))
        try:
            with _muted_stdout():
                engine = importlib.import_module("_mnncengine")
                # From a file: a buffer in memory would have to outlive the call.
                with tempfile.NamedTemporaryFile(prefix="pippin-", suffix=".mnn") as file:
                    file.write(data)
                    file.flush()
                    interpreter = engine.Interpreter(file.name)
                options = {"backend": "CPU", "precision": "high", "numThread": threads}
                session = interpreter.createSession(options)
        except Exception as error:
            raise CompilationError(f"MNN {self.version} cannot load the model: {error}") from error
        if session is None:
            raise CompilationError(f"MNN {self.version} cannot load the model")
        if interpreter.getSessionInfo(session, _RESIZE_STATUS):
            raise CompilationError(f"MNN {self.version} cannot load the model: its shapes do not fit together")
        return CompiledMNN(engine, interpreter, session, data)


def _inexact(model: ModelProto) -> dict[str, str]:
    from ..passes.exact_integers import integer_nodes

    reason = "{} of integers from 2**24 on: MNN computes them in float32"
    found = {node.name: reason.format(node.op_type) for node in integer_nodes(model, dict.fromkeys(_FLOAT32))}
    return found | {
        node.name: "Cast to booleans or to 8 or 16 bits: MNN keeps the number"
        for node in model.graph.node
        if node.op_type == "Cast" and any(a.i in _NARROW for a in node.attribute)
    }


def _of_other_ranks(model: ModelProto) -> dict[str, str]:
    from ..passes.value_types import value_types

    kinds = {
        "Conv": "a three-dimensional convolution",
        "MatMul": "a product with a vector",
        "Slice": "a slice backwards",
    }
    found = [node for node in model.graph.node if node.op_type in kinds]
    types = value_types(model) if found else {}

    def ranks(node: Any) -> list[int | None]:
        infos = [types.get(name) for name in node.input[:2]]
        return [None if info is None else len(info.type.tensor_type.shape.dim) for info in infos]

    def wrong(node: Any) -> bool:
        if node.op_type == "MatMul":
            return 1 in ranks(node)
        return ranks(node)[0] not in (None, *range(5)) and (node.op_type == "Conv" or len(node.input) > 4)

    return {node.name: f"{kinds[node.op_type]}: MNN fails or crashes" for node in found if wrong(node)}


class CompiledMNN:
    """One session. A lock serializes predictions from several threads."""

    def __init__(self, engine: Any, interpreter: Any, session: Any, data: bytes) -> None:
        self.data = data
        self._engine, self._interpreter, self._session = engine, interpreter, session
        self._inputs: dict[str, Any] = interpreter.getSessionInputAll(session)
        self._outputs: dict[str, Any] = interpreter.getSessionOutputAll(session)
        self._lock = Lock()
        self._took = math.inf
        """Seconds of the last prediction."""

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        with self._lock:
            if stop is not None:
                stop.check()
            try:
                for name, array in inputs.items():
                    if name in self._inputs:
                        self._set_input(name, array)
                self._compute(stop)
                return {name: self._get_output(tensor) for name, tensor in self._outputs.items()}
            except PredictionError:
                raise
            except Exception as error:
                raise PredictionError(f"MNN failed: {error}") from error

    def _compute(self, stop: Stop | None) -> None:
        """Compute the outputs; raises PredictionCancelled.

        MNN stops where a callback after each operation says so. It keeps Python's lock between these calls, so that
        other threads only run in them: not for predictions that are short.
        """
        started = time.perf_counter()
        if stop is None or self._took < _SHORT:
            code = self._interpreter.runSession(self._session)
        else:
            asked = stop

            def go_on(tensors: Any, name: str) -> bool:
                time.sleep(0)  # lets other threads run
                return not asked.asked

            code = self._interpreter.runSessionWithCallBack(self._session, _always, go_on)
            stop.check()
        if code:  # the outputs hold what was in memory
            raise PredictionError(f"MNN failed with the error code {code}")
        self._took = time.perf_counter() - started

    def _set_input(self, name: str, array: np.ndarray) -> None:
        tensor = self._inputs[name]
        if tuple(tensor.getShape()) != array.shape:
            raise PredictionError(
                f"MNN failed: '{name}' must have the shape {tuple(tensor.getShape())}, got {array.shape}"
            )
        tensor.copyFrom(self._host(array.shape, tensor.getDataType(), np.ascontiguousarray(array)))

    def _get_output(self, tensor: Any) -> np.ndarray:
        dtype = np.int32 if tensor.getDataType() == self._engine.Halide_Type_Int else np.float32
        array = np.empty(tuple(tensor.getShape()), dtype)
        host = self._host(array.shape, tensor.getDataType(), array)
        tensor.copyToHostTensor(host)
        return np.array(host.getNumpyData(), dtype)  # a copy: the host tensor owns the memory

    def _host(self, shape: tuple[int, ...], kind: Any, array: np.ndarray) -> Any:
        return self._engine.Tensor(shape, kind, array, self._engine.Tensor_DimensionType_Caffe)


def _always(tensors: Any, name: str) -> bool:
    return True


@contextmanager
def _muted_stdout() -> Iterator[None]:
    """Discard standard output inside the block, at file descriptor level: MNN prints from C++, bypassing Python."""
    import ctypes

    libc = ctypes.CDLL(None)
    with _stdout_lock:
        libc.fflush(None)
        saved, devnull = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, 1)
            yield
        finally:
            libc.fflush(None)
            os.dup2(saved, 1)
            os.close(saved)
            os.close(devnull)
