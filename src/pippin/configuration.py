"""Configuration: how a model is to be loaded. Frozen; the words and defaults are `MLModelConfiguration`'s."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, get_args

from .errors import ConfigurationError


class ComputeUnits(enum.Enum):
    """The kinds of compute device that a model may use. The CPU is always among them."""

    ALL = "ALL"
    CPU_ONLY = "CPU_ONLY"
    CPU_AND_GPU = "CPU_AND_GPU"
    CPU_AND_NE = "CPU_AND_NE"


Precision = Literal["auto", "float32", "float16"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Options of `pippin.load`. Raises ConfigurationError for a value that does not exist."""

    function_name: str | None = None
    """The function of a multi-function model; None: the model's default function."""
    compute_units: ComputeUnits = ComputeUnits.ALL
    """Which devices may be used. Every choice includes the CPU, the only device of this version."""
    precision: Precision = "auto"
    """What float16 values are computed in: "float32" (and "auto", for now) or "float16" itself."""
    engine: str | None = None
    """ "openvino" or "onnxruntime"; None: the preferred one that supports the model."""
    threads: int | None = None
    """Threads of one prediction; None: the engine's choice, usually one for each core."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ConfigurationError(f"precision is {self.precision!r}; it must be one of {known}")
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ConfigurationError(f"threads is {self.threads!r}; it must be a positive integer, or None")
        if not isinstance(self.compute_units, ComputeUnits):
            known = ", ".join(f"ComputeUnits.{unit.name}" for unit in ComputeUnits)
            raise ConfigurationError(f"compute_units is {self.compute_units!r}; it must be one of {known}")
