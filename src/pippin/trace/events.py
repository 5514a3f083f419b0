"""Events: converts the records of a trace to nested events: loads, predictions and their stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .recorder import FAILURE, PREDICTION, SPAN, Record, Subject


@dataclass(frozen=True, slots=True)
class Event:
    """A time span from `start` to `end`, in seconds of `time.perf_counter`. `children` are the events inside it."""

    name: str
    """ "load" with its stages ("compile", ...), "prediction" with "input copy", "compute", "output transformation"."""
    lane: str
    """ "activity", "data", or "compute" and the device: "compute cpu"."""
    start: float
    end: float
    label: str = ""
    """The kind of event: "cached" or "prepare and cache" for a load, the engine for a compute event."""
    model: int | str = ""
    """The number of the model it belongs to, or a name if the model has no number."""
    thread: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[Event, ...] = ()

    @property
    def seconds(self) -> float:
        return self.end - self.start


def events(records: list[Record]) -> Iterator[Event]:
    """The top-level events of `records`, which must be sorted by time."""
    spans: dict[int, list[Record]] = {}
    known = {record[8] for record in records if record[0] == SPAN}
    for record in records:
        if record[0] == SPAN:
            spans.setdefault(record[9] if record[9] in known else 0, []).append(record)
    for record in records:
        if record[0] == PREDICTION:
            yield _prediction(record)
        elif record[0] == FAILURE:
            _, subject, start, end, thread, error = record
            details = _described(subject) | {"error": error}
            yield Event("prediction", "activity", start, end, "failed", subject[0], thread, details)
        elif record[0] == SPAN and record[9] not in known:
            yield _span(record, spans)


def _span(record: Record, spans: dict[int, list[Record]]) -> Event:
    _, name, start, end, thread, label, lane, model, number, _, details = record
    inside = tuple(_span(child, spans) for child in spans.get(number, ()))
    return Event(name, lane, start, end, label, model, thread, dict(details), inside)


def _prediction(record: Record) -> Event:
    _, subject, start, end, thread, encoded, computed, marks, size = record
    number, _, _, parts = subject
    times = (encoded, *marks, computed)
    compute = [
        Event(
            "compute", f"compute {device}", times[i], times[i + 1], engine, number, thread,
            {"device": device, "engine": engine, "precision": precision, "segment": i},
        )
        for i, (device, engine, precision) in enumerate(parts)
    ]  # fmt: skip
    data = [
        Event("input copy", "data", start, encoded, "", number, thread),
        Event("output transformation", "data", computed, end, "", number, thread),
    ]
    inside = (data[0], *compute, data[1])
    details = _described(subject) | {"bytes": size}
    return Event("prediction", "activity", start, end, "", number, thread, details, inside)


def _described(subject: Subject) -> dict[str, Any]:
    return {"model": subject[1], "function": subject[2]}


def with_children(event: Event) -> Iterator[Event]:
    yield event
    for child in event.children:
        yield from with_children(child)
