"""Base: the interface that every engine implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ..lowering.lowered_model import Lowered
from ..support.cancellation import Stop

if TYPE_CHECKING:  # loading from the cache does not need onnx
    from onnx import ModelProto

FloatPrecision = Literal["float32", "bfloat16", "float16", "dynamic_int8"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Compilation target: device, precision, threads and streams."""

    device: str = "cpu"
    """ "cpu", "gpu" or "neuralEngine"."""
    precision: FloatPrecision = "float32"
    """The type in which the engine computes the float32 values of the graph; "dynamic_int8": float32, but products with
    4- and 8-bit weights quantize their other operand."""
    threads: int | None = None
    """CPU threads of one prediction; None: the engine's default, usually one per core."""

    streams: int | None = None
    """Concurrent predictions, which share the threads; None: compiled for one prediction at a time."""

    unbounded: bool = False
    """Whether the graph has a loop without a bound (`lowering/unbounded_loops.py`), so that a run may take forever. An
    engine that cannot be stopped inside a loop runs it in a child process (`engines/child.py`)."""

    shared: bool = False
    """Whether weights stay as they are in the file that `load` maps, so that processes share them. By default an engine
    may copy them into a layout of its own."""

    growing: bool = False
    """Whether sizes change from one prediction to the next, as those of a decoder do, so that kernels for each size are
    not worth keeping."""

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        streams = "" if self.streams is None else f", {self.streams} streams"
        shared = ", shared weights" if self.shared else ""
        return f"{self.precision} on {self.device}{threads}{streams}{shared}"


PLAIN = Settings()


@dataclass(frozen=True, slots=True)
class Kernel:
    """One step of a profiled prediction: one node of the model, or several that were fused."""

    seconds: float
    """The middle of several runs."""
    nodes: tuple[str, ...]
    """The ONNX nodes that it computes, by name; empty if the engine added it and cannot name a node that it serves."""


class Compiled(Protocol):
    """A model compiled by an engine. `run` may be called from several threads concurrently."""

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Return every output by its ONNX name. The arrays belong to the caller. Raises PredictionError.

        `stop` ends the run early with PredictionCancelled. `into` holds C-order arrays of the outputs' shapes and
        dtypes to fill instead of new ones; an engine without support for this ignores them.
        """
        ...


class Engine(Protocol):
    """A library that executes ONNX models on a compute device."""

    name: str
    package: str
    """The package to install."""
    load_rank: int
    """Engines with a lower rank load faster from the cache (`bench/load.py`)."""
    thorough: bool
    """Whether it is tried only for fast predictions, because it compiles slowly, and has its results checked."""
    stops_in_loops: bool
    """Whether a run can be stopped between two turns of a loop."""
    spins: bool
    """Whether its threads keep spinning for a while after a run and take cores from the next one."""
    quantizes: bool
    """Whether products with compressed weights can quantize their other operand ("dynamic_int8")."""

    @property
    def installed(self) -> bool: ...

    @property
    def version(self) -> str:
        """The version of the installed package, found without importing it."""
        ...

    def device_name(self, kind: str) -> str | None:
        """The engine's name for its device of a kind ("cpu", "gpu", "neuralEngine"); None if it cannot use one."""
        ...

    def absence(self, kind: str) -> str:
        """Why the engine reaches no device of this kind, and what to do about it."""
        ...

    def precisions(self, device: str) -> tuple[FloatPrecision, ...]:
        """The precisions that are faster than float32 on a device; float32 itself is not listed."""
        ...

    def declined(self, lowered: Lowered) -> Mapping[str, str]:
        """The operations that this engine must not run, as far as the graph shows: {node name: reason}.

        The name "" refers to the model as a whole.
        """
        ...

    def misjudges(self, operator: str, kind: Literal["NaN", "infinity"]) -> bool:
        """Whether it makes something else of NaN or infinity than an ONNX operator is defined to.

        If it does for "ReduceSum", no probe can tell where such a value arises.
        """
        ...

    def prepared(self, model: ModelProto, saturates: bool = False) -> ModelProto:
        """The graph after the `passes` that this engine needs; the same object if it needs none.

        `saturates`: whether sums of 8-bit products saturate on this processor (`devices.cpu.saturates`).
        """
        ...

    def compile(self, source: bytes | Path, settings: Settings = PLAIN, artifact: Path | None = None) -> Compiled:
        """Compile an ONNX model: its bytes, or a file with its weights next to it. Raises CompilationError.

        `artifact` is the folder that a later `save` may use, for engines that write it while compiling.
        """
        ...

    def save(self, source: bytes | Path, compiled: Compiled, settings: Settings, folder: Path) -> None:
        """Write the compiled model to a folder, for `load` by the same version on the same machine."""
        ...

    def load(self, folder: Path, settings: Settings = PLAIN) -> Compiled:
        """Load what `save` wrote. Raises CompilationError if the folder holds anything else."""
        ...

    def weights_held(self, kind: str, settings: Settings) -> tuple[str, str]:
        """The element type in which it holds weights of a type in memory, and how: "mapped, shared" or "repacked,
        private"."""
        ...

    def concurrent_settings(self, settings: Settings, cores: int) -> tuple[Settings, ...]:
        """Other settings for the same artifact that may be faster under concurrency, lower concurrency first."""
        ...

    def profile(
        self, source: bytes | Path, settings: Settings, inputs: Mapping[str, np.ndarray]
    ) -> list[Kernel] | None:
        """The kernels of a prediction with their times; None if the engine cannot profile."""
        ...
