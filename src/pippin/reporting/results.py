"""Results: what a report holds. Seconds, bytes, predictions a second."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import ReportError

FORMAT = 1


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


@dataclass(frozen=True, slots=True)
class Report:
    results: tuple[Result, ...]
    machine: Mapping[str, str] = field(default_factory=dict)
    """What it was measured on and with."""

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write it for `read_report`, and for `--baseline`."""
        write_aside(path, self.to_json())

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """One line for each figure: model, configuration, figure, value, unit."""
        from .table import as_csv

        write_aside(path, as_csv(self))

    def write_html(self, path: str | os.PathLike[str], baseline: Report | None = None) -> None:
        """One page that needs nothing beside it, nor the network."""
        from .page import page

        write_aside(path, page(self, baseline))


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


def read_report(path: str | os.PathLike[str]) -> Report:
    """What `write_json` wrote. Raises ReportError."""
    name = os.fspath(path)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ReportError(f"{name}: is no report of this version (format {FORMAT})")
        return Report(tuple(_result(one) for one in found["results"]), found["machine"])
    except OSError as error:
        raise ReportError(f"{name}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{name}: is no report: {type(error).__name__}: {error}") from None


def _result(found: dict[str, Any]) -> Result:
    for name in ("prediction", "load_cached", "load_uncached", "compilation"):
        if found[name] is not None:
            found[name] = Statistics(**found[name] | {"values": tuple(found[name]["values"])})
    found["operations"] = tuple(
        Operation(**one | {"supported": tuple(one["supported"])}) for one in found["operations"]
    )
    found["memory"] = Memory(**found["memory"]) if found["memory"] is not None else None
    found["numerics"] = Numerics(**found["numerics"])
    found["candidates"] = tuple(found["candidates"])
    return Result(**found)


def write_aside(path: str | os.PathLike[str], text: str) -> None:
    """Write a file so that it is there whole, or not at all. Raises ReportError."""
    target = Path(path)
    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(target)
    except OSError as error:
        raise ReportError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)
