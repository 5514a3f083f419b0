"""Base: the one small interface of every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ..lowering.lowered_model import Lowered
from ..support.cancellation import Stop

if TYPE_CHECKING:  # a load from the cache needs no ONNX
    from onnx import ModelProto

FloatPrecision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine compiles for."""

    device: str = "cpu"
    """ "cpu", "gpu" or "neuralEngine"."""
    precision: FloatPrecision = "float32"
    """What the engine computes float32 values of the graph in."""
    threads: int | None = None
    """Threads of one prediction on the CPU; None: the engine's own choice, usually one for each core."""

    streams: int | None = None
    """Predictions that are computed side by side, each by some of the threads; None: it is made for one at a time."""

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        streams = "" if self.streams is None else f", {self.streams} streams"
        return f"{self.precision} on {self.device}{threads}{streams}"


PLAIN = Settings()


class Compiled(Protocol):
    """A model compiled by an engine. `run` may be called from several threads at once."""

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Every output by its ONNX name. The arrays belong to the caller. Raises PredictionError.

        `stop` may ask it to end early, with PredictionCancelled. `into` are arrays of the outputs' shapes and dtypes,
        in C order, that are to be filled in place of new ones; an engine that cannot leaves them alone.
        """
        ...


class Engine(Protocol):
    """A library that executes ONNX models on a compute device."""

    name: str
    package: str
    """What to install for it."""
    load_rank: int
    """Of two engines, the one with the lower rank loads faster from the cache (`bench/load.py`)."""
    thorough: bool
    """Whether it is only tried for fast predictions, since it compiles slowly, and its results are checked."""
    spins: bool
    """Whether its threads go on spinning for a while after a run, and take the cores from whoever runs next."""

    @property
    def installed(self) -> bool: ...

    @property
    def version(self) -> str:
        """The version of the installed package; asking does not import it."""
        ...

    def device_name(self, kind: str) -> str | None:
        """What this engine calls its device of a kind ("cpu", "gpu", "neuralEngine"); None where it reaches none."""
        ...

    def absence(self, kind: str) -> str:
        """Why it reaches no device of this kind, and what would help."""
        ...

    def precisions(self, device: str) -> tuple[FloatPrecision, ...]:
        """What it can compute in on a device, faster than in float32; float32 itself is not named."""
        ...

    def declined(self, lowered: Lowered) -> Mapping[str, str]:
        """The operations that it must not run, as far as a look at the graph tells: {node name: reason}.

        The name is "" for what concerns the model as a whole.
        """
        ...

    def prepared(self, model: ModelProto) -> ModelProto:
        """The graph as this engine runs it best: what of `passes` it needs. The same object where it needs nothing."""
        ...

    def compile(self, source: bytes | Path, settings: Settings = PLAIN, artifact: Path | None = None) -> Compiled:
        """Compile an ONNX model: its bytes, or a file with its weights beside it. Raises CompilationError.

        `artifact` is the folder that `save` may be called with later, for an engine that writes while it compiles.
        """
        ...

    def save(self, source: bytes | Path, compiled: Compiled, settings: Settings, folder: Path) -> None:
        """Write what was compiled of `source` into a folder, for `load` by the same version on the same machine."""
        ...

    def load(self, folder: Path, settings: Settings = PLAIN) -> Compiled:
        """What `save` wrote. Raises CompilationError where it is not that."""
        ...

    def concurrent_settings(self, settings: Settings, cores: int) -> tuple[Settings, ...]:
        """Other settings, for the same artifact, that many predictions at once may be computed faster with; those for
        fewer at once come first."""
        ...

    def profile(
        self, source: bytes | Path, settings: Settings, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, float] | None:
        """Seconds of each node in one prediction, by name; what was fused stands under one of the names."""
        ...
