"""Compute plan: the result of a specialization: segments, measured candidates, and device and reasons by operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..support.html_table import html_table
from ..support.units import format_bytes, format_duration
from ..support.visible_text import quoted

_SHOWN = 10  # operations in a notebook
_QUIET = 1.3  # the largest spread of times on a quiet machine
_REACH = 2.6  # times the fastest: what a busy machine can make of two equals


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine with settings that was considered for the model or one of its segments."""

    engine: str
    device: str
    precision: str
    threads: int | None = None
    seconds: float | None = None
    """Latency of one prediction, lower quartile; None if not measured."""
    throughput: float | None = None
    """Predictions per second with one in flight per core; measured only by the strategy "fast_prediction"."""
    compilation: float | None = None
    """Compilation time in seconds."""
    signal_to_noise: Mapping[str, float] = field(default_factory=dict)
    """Signal-to-noise ratio against the float32 run in dB, by output; empty if not compared."""
    note: str = ""
    """Why it was not chosen or not tried."""
    streams: int | None = None
    """Number of concurrent predictions it is compiled for; None for one at a time."""
    memory: int | None = None
    """Bytes that it holds after its runs, the weights included; measured only for large models."""
    weights: str = ""
    """How the engine holds the weights in memory: in which type, and whether processes share them; "" if they are
    few."""
    spread: float | None = None
    """Median of its measured times over the least: near 1 on a quiet machine."""

    @property
    def held(self) -> str:
        """The memory that it takes and how it holds the weights, for people; "" if neither is known."""
        return "; ".join(filter(None, (format_bytes(self.memory) if self.memory else "", self.weights)))

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        streams = "" if self.streams is None else f", {self.streams} streams"
        return f"{self.engine} {self.precision} on {self.device}{threads}{streams}"


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """One operation of a program or layer of a network."""

    name: str
    kind: str
    device: str
    """Planned device; "" for a constant, which is computed at load."""
    engine: str
    segment: int
    cost: float
    """Estimated share of the prediction's cost, 0 to 1."""
    supported: tuple[str, ...] = ()
    """Devices that could run it."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why other devices and engines do not run it."""


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    device: str
    engine: str
    engine_version: str
    precision: str
    threads: int | None
    operations: int
    streams: tuple[int, ...] = ()
    """Stream counts of its concurrent variants; (1,) means predictions are serialized."""


@dataclass(frozen=True, slots=True)
class ComputePlan:
    """The result of a specialization, available as `model.compute_plan`."""

    function: str
    segments: tuple[PlannedSegment, ...]
    candidates: tuple[Candidate, ...]
    operations: tuple[PlannedOperation, ...]
    precision: str
    """The precision used for float16 values, and why."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in each stage of the specialization."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Profiled seconds by operation, medians of several runs; empty unless profiled. A group that the engine runs as
    one kernel has one entry, under its costliest operation."""
    fused: Mapping[str, str] = field(default_factory=dict)
    """{operation: the operation whose entry in `measured` includes it}."""
    declined: Mapping[str, str] = field(default_factory=dict)
    """Why an engine was not given the whole model, by engine: the first reason."""
    stage: str = ""
    """What a progressive specialization has still to do, or why it ended early; "" for one that is complete."""

    def chosen(self) -> tuple[Candidate, ...]:
        """The candidates that were chosen."""
        return tuple(candidate for candidate in self.candidates if not candidate.note)

    @property
    def unsettled(self) -> bool:
        """Whether other work on the machine may have decided between the candidates: the times of the chosen one, or of
        another within reach, are spread widely."""
        return any(
            max(best.spread or 0.0, other.spread or 0.0) > _QUIET and other.seconds < _REACH * best.seconds
            for best in self.chosen()
            for other in self.candidates
            if other is not best and best.seconds is not None and other.seconds is not None
        )

    @property
    def engines(self) -> str:
        """The engines with precision and device, such as "openvino bfloat16 on cpu"."""
        return " + ".join(dict.fromkeys(f"{s.engine} {s.precision} on {s.device}" for s in self.segments))

    def __repr__(self) -> str:
        times = [candidate.seconds for candidate in self.chosen() if candidate.seconds is not None]
        took = f", {format_duration(sum(times))}" if times else ", not measured"
        others = len(self.candidates) - len(self.chosen())
        beside = f"; {others} other candidates" if others > 1 else "; 1 other candidate" if others else ""
        count = sum(1 for operation in self.operations if operation.device)
        run = f"{count} operations" if count != 1 else "1 operation"
        stage = f"; {self.stage}" if self.stage else ""
        return f"<ComputePlan {quoted(self.function)}: {run}, {self.engines}{took}{beside}{stage}>"

    def _repr_html_(self) -> str:
        """For notebooks: the candidates, and the costliest operations."""
        candidates: list[tuple[object, ...]] = [
            (
                c,
                *(format_duration(t) if t is not None else "" for t in (c.seconds, c.compilation)),
                c.held,
                c.note or "chosen",
            )
            for c in self.candidates
        ]
        candidates += [
            (engine, "", "", "", f"not given the whole model: {why}") for engine, why in self.declined.items()
        ]
        costliest = sorted((op for op in self.operations if op.device), key=lambda op: -op.cost)[:_SHOWN]
        operations = ((op.name, op.kind, op.device, op.engine, f"{op.cost:.1%}") for op in costliest)
        return html_table(
            f"Compute plan of {self.function}; precision: {self.precision}" + (f"; {self.stage}" if self.stage else ""),
            ("candidate", "prediction", "compilation", "memory", ""),
            candidates,
        ) + html_table("Costliest operations", ("operation", "kind", "device", "engine", "estimated share"), operations)

    def measurement(self, operation: str) -> float | str | None:
        """The measured seconds of an operation, or the name of the operation that it was fused with."""
        return self.fused.get(operation) or self.measured.get(operation)

    def estimates(self) -> dict[str, float]:
        """The estimated share of each operation, those that were fused added to the operation that they run with."""
        shares: dict[str, float] = {}
        for op in self.operations:
            name = self.fused.get(op.name, op.name)
            shares[name] = shares.get(name, 0.0) + op.cost
        return shares

    def share(self, device: str) -> float:
        """Estimated share of the cost on a device ("cpu", "gpu", "neuralEngine") or engine, 0 to 1."""
        total = sum(op.cost for op in self.operations)
        return sum(op.cost for op in self.operations if device in (op.device, op.engine)) / total if total else 0.0
