"""Plan: what a specialization decided, operation by operation, with the measured candidates and the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the model (or a segment of it) that was tried, or why it was not."""

    engine: str
    device: str
    precision: str
    threads: int | None = None
    seconds: float | None = None
    """What one prediction takes, the lower quartile of some; None where it was not measured."""
    throughput: float | None = None
    """Predictions in a second with one in flight on each core; only measured for fast predictions."""
    compilation: float | None = None
    """Seconds that its compilation took."""
    signal_to_noise: Mapping[str, float] = field(default_factory=dict)
    """In dB against the float32 run, by output, where it computes in another precision."""
    note: str = ""
    """Why it was not chosen, or not tried."""
    streams: int | None = None
    """Predictions that it computes side by side; None where it is made for one."""

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        streams = "" if self.streams is None else f", {self.streams} streams"
        return f"{self.engine} {self.precision} on {self.device}{threads}{streams}"


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """One operation of the program (or layer of the network)."""

    name: str
    kind: str
    device: str
    """Where it is planned to run; "" for a constant, which is computed once, at load."""
    engine: str
    segment: int
    cost: float
    """Its estimated share of the prediction, 0 to 1."""
    supported: tuple[str, ...] = ()
    """The devices that could run it."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why each other device and engine does not run it."""


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    device: str
    engine: str
    engine_version: str
    precision: str
    threads: int | None
    operations: int
    streams: tuple[int, ...] = ()
    """Its other forms, for so many predictions at once; (1,): they are computed one after the other."""


@dataclass(frozen=True, slots=True)
class ComputePlan:
    """What a specialization decided. `model.compute_plan` gives it."""

    function: str
    segments: tuple[PlannedSegment, ...]
    candidates: tuple[Candidate, ...]
    operations: tuple[PlannedOperation, ...]
    precision: str
    """What float16 values are computed in, and why."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each stage of the specialization."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Measured seconds by operation, where the plan was profiled."""

    def share(self, device: str) -> float:
        """The estimated share of the work that a device ("cpu", "gpu", "neuralEngine") or an engine does, 0 to 1."""
        total = sum(op.cost for op in self.operations)
        return sum(op.cost for op in self.operations if device in (op.device, op.engine)) / total if total else 0.0
