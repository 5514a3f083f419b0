"""Results: what a report holds. Seconds, bytes, predictions a second."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of repeated measurements, in seconds, in the order in which they were made."""

    values: tuple[float, ...]
    average: float
    first: float
    median: float
    minimum: float
    maximum: float
    deviation: float
    """The standard deviation of the sample; 0 for a single value."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistics:
        return cls(
            tuple(values), statistics.fmean(values), values[0], statistics.median(values), min(values), max(values),
            statistics.stdev(values) if len(values) > 1 else 0.0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the program, or layer of the network, that runs at a prediction."""

    name: str
    kind: str
    segment: int
    engine: str
    planned: str
    """The device that the compute plan has it on."""
    actual: str
    """The device that a recorded prediction ran its segment on."""
    share: float
    """Its estimated share of the prediction, 0 to 1."""
    estimated: float
    """That share of the median prediction, seconds."""
    measured: float | None
    """Seconds, where the engine can profile; an operation that was fused into another one has none."""
    supported: tuple[str, ...]
    reasons: Mapping[str, str]
    """Why each other device or engine does not run it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of a fresh process that loads the model from the cache and predicts."""

    before: int
    loaded: int
    steady: int
    """After the predictions."""
    peak: int


@dataclass(frozen=True, slots=True)
class Numerics:
    """What is computed in which precision, and what of the float32 results it keeps."""

    precision: str
    explanation: str
    signal_to_noise: Mapping[str, float]
    """dB against the float32 run, by output; empty where it computes in float32."""

    @property
    def worst(self) -> float | None:
        return min(self.signal_to_noise.values(), default=None)


@dataclass(frozen=True, slots=True)
class Result:
    """One model in one configuration."""

    model: str
    configuration: str
    function: str
    kind: str
    engine: str
    size: int
    """Bytes on disk."""
    prediction: Statistics
    load_cached: Statistics | None
    load_uncached: Statistics
    compilation: Statistics | None
    stages: Mapping[str, float]
    """Seconds of each stage of an uncached load."""
    operations: tuple[Operation, ...]
    unnamed: float | None
    """Measured seconds of what the engine added and no operation has the name of."""
    throughput: Mapping[str, float]
    """Predictions a second, by number in flight."""
    memory: Memory | None
    numerics: Numerics
    candidates: tuple[str, ...]
    """What was tried, and why it was not chosen."""

    @property
    def title(self) -> str:
        return f"{self.model}, {self.configuration}" if self.configuration else self.model


def figures(result: Result) -> Iterator[tuple[str, float, str]]:
    """(name, value, unit) of each figure that can be compared."""
    timed = {
        "prediction": result.prediction,
        "load.cached": result.load_cached,
        "load.uncached": result.load_uncached,
        "compilation": result.compilation,
    }
    for name, found in timed.items():
        if found is not None:
            for kind in ("average", "first", "median", "minimum", "maximum", "deviation"):
                yield f"{name}.{kind}", getattr(found, kind), "s"
    for count, rate in result.throughput.items():
        yield f"throughput[{count}]", rate, "1/s"
    if result.memory is not None:
        for kind in ("before", "loaded", "steady", "peak"):
            yield f"memory.{kind}", getattr(result.memory, kind), "B"
    if result.numerics.worst is not None:
        yield "signal_to_noise", result.numerics.worst, "dB"
    yield "size", result.size, "B"
