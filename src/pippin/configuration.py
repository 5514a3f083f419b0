"""Configuration: how a model is to be loaded. Frozen; the words and defaults are `MLModelConfiguration`'s."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import ConfigurationError


class ComputeUnits(enum.Enum):
    """The kinds of compute device that a model may use. The CPU is always among them."""

    ALL = "ALL"
    CPU_ONLY = "CPU_ONLY"
    CPU_AND_GPU = "CPU_AND_GPU"
    CPU_AND_NE = "CPU_AND_NE"


Precision = Literal["auto", "float32", "float16", "bfloat16"]
SpecializationStrategy = Literal["default", "fast_prediction", "fast_load"]
ReshapeFrequency = Literal["frequent", "infrequent"]


@dataclass(frozen=True, slots=True)
class Hints:
    """What to optimize for. Raises ConfigurationError for a value that does not exist."""

    specialization_strategy: SpecializationStrategy = "default"
    """"default" tries each engine, for about as long as the compilation takes and at most 2 s; "fast_prediction"
    searches engines, precisions and threads fully; "fast_load" takes the first engine that can run the model, in
    float32, and measures nothing."""
    reshape_frequency: ReshapeFrequency = "frequent"
    """"infrequent": the shapes of a flexible model seldom change. Known, and part of the cache's key; nothing is
    specialized for single shapes yet."""

    def __post_init__(self) -> None:
        _check("specialization_strategy", self.specialization_strategy, SpecializationStrategy)
        _check("reshape_frequency", self.reshape_frequency, ReshapeFrequency)


def _check(name: str, value: object, allowed: Any) -> None:
    if value not in get_args(allowed):
        raise ConfigurationError(f"{name} is {value!r}; it must be one of {', '.join(get_args(allowed))}")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Options of `pippin.load`. Raises ConfigurationError for a value that does not exist."""

    function_name: str | None = None
    """The function of a multi-function model; None: the model's default function."""
    compute_units: ComputeUnits = ComputeUnits.ALL
    """Which devices may be used. Every choice includes the CPU."""
    precision: Precision = "auto"
    """What float16 values are computed in: "float32", "bfloat16", or "float16" itself; "auto": in a 16-bit type where
    an engine has faster kernels for it and every output keeps 40 dB over the noise, measured. What a program declares
    float32 is computed in float32, unless "bfloat16" is asked for."""
    engine: str | None = None
    """ "openvino" or "onnxruntime"; None: the one that is measured to be the fastest for this model here."""
    threads: int | None = None
    """Threads of one prediction at most; None: as many as it has work for, at most one for each core."""
    hints: Hints = Hints()

    def __post_init__(self) -> None:
        _check("precision", self.precision, Precision)
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ConfigurationError(f"threads is {self.threads!r}; it must be a positive integer, or None")
        if not isinstance(self.compute_units, ComputeUnits):
            known = ", ".join(f"ComputeUnits.{unit.name}" for unit in ComputeUnits)
            raise ConfigurationError(f"compute_units is {self.compute_units!r}; it must be one of {known}")
        if not isinstance(self.hints, Hints):
            raise ConfigurationError(f"hints is {self.hints!r}; it must be Hints(...)")
