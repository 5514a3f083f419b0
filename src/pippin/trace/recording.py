"""Recording: the events of a stretch of time, of every thread and task of the process."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import recorder
from .recorder import FAILURE, PREDICTION, SPAN, Record


@dataclass(frozen=True, slots=True)
class Event:
    """From `start` to `end`, in seconds of `time.perf_counter`, with the events inside it as `children`."""

    name: str
    """ "load" with its stages ("compile", ...), "prediction" with "input copy", "compute", "output transformation"."""
    lane: str
    """ "activity", "data", or "compute" and the device: "compute cpu"."""
    start: float
    end: float
    label: str = ""
    """What kind of event: a load is "cached" or "prepare and cache", a compute event has its engine."""
    model: int | str = ""
    """The number of the model that it belongs to, or a name where it has none."""
    thread: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[Event, ...] = ()

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Recording:
    """What `pippin.trace.record` makes. Records between `start` and `stop`, or in a `with` block.

    Any thread may start, stop and read it, also while it records.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, sample: float = 0.02, limit: int = 1_000_000
    ) -> None:
        self.path = path
        self._sample = sample
        self._records: deque[Record] = deque(maxlen=limit)
        self._append = self._records.append  # one object, which `disconnect` finds again
        self._sampler: Any = None
        self.started = time.perf_counter()
        """By `time.perf_counter`."""
        self.time = time.time()
        """Seconds since 1970 when it was started."""

    def start(self) -> Recording:
        from .sampler import Sampler

        self.started, self.time = time.perf_counter(), time.time()
        if self._sample:
            self._sampler = Sampler(self._append, self._sample)
            self._sampler.start()
        recorder.connect(self._append)
        return self

    def stop(self) -> None:
        """Nothing is recorded any more; where it has a path, it is written."""
        recorder.disconnect(self._append)
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.stop()
        if self.path is not None:
            self.write(self.path)

    __enter__ = start

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def full(self) -> bool:
        """Whether it has as many records as it may keep: older ones were dropped."""
        return len(self._records) == self._records.maxlen

    def records(self) -> list[Record]:
        """What was recorded, by time."""
        while True:
            try:
                return sorted(self._records, key=lambda record: record[2])
            except RuntimeError:  # an event came meanwhile
                continue

    @property
    def children(self) -> list[Event]:
        """The events that are in no other one, by their start."""
        return list(events(self.records()))

    @property
    def events(self) -> list[Event]:
        """All events, each before those inside it."""
        return [event for top in self.children for event in _with_children(top)]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it as Chrome trace JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open."""
        from .chrome import write

        write(self.records(), path, self.time - self.started)

    def __repr__(self) -> str:
        return f"<pippin.trace.Recording of {len(self._records)} records>"


def events(records: list[Record]) -> Iterator[Event]:
    """The events that are in no other one; `records` are sorted by time."""
    spans: dict[int, list[Record]] = {}
    there = {record[8] for record in records if record[0] == SPAN}
    for record in records:
        if record[0] == SPAN:
            spans.setdefault(record[9] if record[9] in there else 0, []).append(record)
    for record in records:
        if record[0] == PREDICTION:
            yield _prediction(record)
        elif record[0] == FAILURE:
            _, subject, start, end, thread, error = record
            details = _described(subject) | {"error": error}
            yield Event("prediction", "activity", start, end, "failed", subject[0], thread, details)
        elif record[0] == SPAN and record[9] not in there:
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


def _described(subject: recorder.Subject) -> dict[str, Any]:
    return {"model": subject[1], "function": subject[2]}


def _with_children(event: Event) -> Iterator[Event]:
    yield event
    for child in event.children:
        yield from _with_children(child)
