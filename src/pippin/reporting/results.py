"""Results: the data of a report, in seconds, bytes and predictions per second."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..support.units import format_duration
from ..support.visible_text import quoted


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of repeated measurements, in seconds. `values` keeps their order."""

    values: tuple[float, ...]
    average: float
    first: float
    median: float
    minimum: float
    maximum: float
    deviation: float
    """Sample standard deviation; 0 for a single value."""

    def __repr__(self) -> str:
        shown = (format_duration(seconds) for seconds in (self.median, self.minimum, self.maximum))
        return "<Statistics median {}, from {} to {}, of {}>".format(*shown, len(self.values))

    @property
    def p90(self) -> float:
        return self.percentile(90)

    @property
    def p95(self) -> float:
        return self.percentile(95)

    @property
    def p99(self) -> float:
        return self.percentile(99)

    def percentile(self, percent: float) -> float:
        """The value below which this share of the measurements lies, interpolated between the two nearest."""
        ordered = sorted(self.values) or [self.median]
        place = (len(ordered) - 1) * percent / 100
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistics:
        return cls(
            tuple(values), statistics.fmean(values), values[0], statistics.median(values), min(values), max(values),
            statistics.stdev(values) if len(values) > 1 else 0.0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the program, or layer of the network, that a prediction runs."""

    name: str
    kind: str
    segment: int
    engine: str
    planned: str
    """The device in the compute plan."""
    actual: str
    """The device on which a recorded prediction ran its segment."""
    share: float
    """Its estimated share of the prediction, 0 to 1."""
    estimated: float
    """That share of the median prediction, in seconds."""
    measured: float | None
    """Seconds, the median of several profiled predictions, if the engine can profile; None for a fused operation."""
    supported: tuple[str, ...]
    reasons: Mapping[str, str]
    """Why other devices or engines do not run it."""
    fused: str = ""
    """The operation whose measured time includes this one's, since the engine runs both as one kernel."""


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
    """The precision of the computation, and how close its results are to float32."""

    precision: str
    explanation: str
    signal_to_noise: Mapping[str, float]
    """dB against the float32 run, by output; empty for float32."""

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
    """Measured seconds in operations that the engine added and that match no operation's name."""
    throughput: Mapping[str, float]
    """Predictions per second, by number in flight."""
    memory: Memory | None
    numerics: Numerics
    candidates: tuple[str, ...]
    """The candidates, each "chosen" or with the reason why not."""

    def __repr__(self) -> str:
        return f"<Result {quoted(self.title)} on {self.engine}: {format_duration(self.prediction.median)}>"

    @property
    def title(self) -> str:
        return f"{self.model}, {self.configuration}" if self.configuration else self.model


def figures(result: Result) -> Iterator[tuple[str, float, str]]:
    """(name, value, unit) of each comparable figure."""
    timed = {
        "prediction": result.prediction,
        "load.cached": result.load_cached,
        "load.uncached": result.load_uncached,
        "compilation": result.compilation,
    }
    for name, found in timed.items():
        if found is not None:
            for kind in ("average", "first", "median", "minimum", "maximum", "deviation", "p90", "p95", "p99"):
                yield f"{name}.{kind}", getattr(found, kind), "s"
    for count, rate in result.throughput.items():
        yield f"throughput[{count}]", rate, "1/s"
    if result.memory is not None:
        for kind in ("before", "loaded", "steady", "peak"):
            yield f"memory.{kind}", getattr(result.memory, kind), "B"
    if result.numerics.worst is not None:
        yield "signal_to_noise", result.numerics.worst, "dB"
    yield "size", result.size, "B"
