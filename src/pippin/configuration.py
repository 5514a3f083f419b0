"""Configuration: options of a load. Frozen; names and defaults follow Core ML's `MLModelConfiguration`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from .errors import ConfigurationError


class ComputeUnits(enum.Enum):
    """The kinds of compute device that a model may use. All of them include the CPU."""

    ALL = "ALL"
    CPU_ONLY = "CPU_ONLY"
    CPU_AND_GPU = "CPU_AND_GPU"
    CPU_AND_NE = "CPU_AND_NE"

    @classmethod
    def of(cls, units: AnyComputeUnits) -> ComputeUnits:
        """The member that is given as such, by its name, or as a member of that name of coremltools' `ComputeUnit`.
        Raises ConfigurationError."""
        name = units.name if isinstance(units, enum.Enum) else units
        found = cls.__members__.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(cls.__members__)
            raise ConfigurationError(f"compute_units must be one of {known}, as text or in ComputeUnits, got {units!r}")
        return found


AnyComputeUnits: TypeAlias = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"] | enum.Enum
"""`ComputeUnits`, the name of one, or coremltools' `ComputeUnit`."""

Precision = Literal["auto", "float32", "float16", "bfloat16", "dynamic_int8"]
SpecializationStrategy = Literal["default", "fast_prediction", "fast_load", "progressive"]
ReshapeFrequency = Literal["frequent", "infrequent"]


@dataclass(frozen=True, slots=True)
class Hints:
    """What to optimize for. Raises ConfigurationError for an unknown value."""

    specialization_strategy: SpecializationStrategy = "default"
    """"default" tries each engine, for about as long as compilation takes and at most 2 s; "fast_prediction" searches
    all engines, precisions and thread counts; "fast_load" takes the first engine that can run the model, in float32,
    and measures nothing; "progressive" loads with the engine that compiles soonest, and goes over to what "default"
    chooses when that is ready (`Model.specialized`)."""
    reshape_frequency: ReshapeFrequency = "frequent"
    """"infrequent": the shapes of a flexible model rarely change. Accepted and part of the cache key, but single shapes
    are not specialized yet."""

    def __post_init__(self) -> None:
        _check("specialization_strategy", self.specialization_strategy, SpecializationStrategy)
        _check("reshape_frequency", self.reshape_frequency, ReshapeFrequency)


def _check(name: str, value: object, allowed: Any) -> None:
    if value not in get_args(allowed):
        raise ConfigurationError(f"{name} must be one of {', '.join(get_args(allowed))}, got {value!r}")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Options of `pippin.load`. Raises ConfigurationError for an unknown value."""

    function_name: str | None = None
    """The function of a multi-function model; None: the model's default function."""
    compute_units: ComputeUnits = ComputeUnits.ALL
    """The devices that may be used. Every choice includes the CPU. A name such as "CPU_ONLY" is accepted, and so is
    coremltools' `ComputeUnit`."""
    precision: Precision = "auto"
    """Compute precision for float16 values: "float32", "bfloat16" or "float16"; "auto": a 16-bit type if an engine has
    faster kernels for it and every output keeps a measured signal-to-noise ratio of 40 dB. Values declared as float32
    are computed in float32, except with "bfloat16". With "float16", the result of each operation that is declared
    float16 is rounded to float16, as on a device: it is slower than "float32" on a CPU. MNN cannot do this.
    "dynamic_int8": float32, but products with 4- and 8-bit weights round their other operand to 8 bits at each
    prediction, which is the fastest and keeps about 40 dB; never chosen by "auto"."""
    engine: str | None = None
    """ "openvino", "onnxruntime" or "mnn"; None: the one measured to be fastest for this model on this machine."""
    threads: int | None = None
    """Maximum threads of one prediction; None: as many as it can keep busy, at most one for each core."""
    hints: Hints = Hints()

    if TYPE_CHECKING:  # what is accepted is wider than what is held

        def __init__(
            self,
            function_name: str | None = None,
            compute_units: AnyComputeUnits = ComputeUnits.ALL,
            precision: Precision = "auto",
            engine: str | None = None,
            threads: int | None = None,
            hints: Hints = Hints(),
        ) -> None: ...

    def __post_init__(self) -> None:
        _check("precision", self.precision, Precision)
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ConfigurationError(f"threads must be None or a positive integer, got {self.threads!r}")
        object.__setattr__(self, "compute_units", ComputeUnits.of(self.compute_units))
        if not isinstance(self.hints, Hints):
            raise ConfigurationError(f"hints must be a Hints object, got {self.hints!r}")
