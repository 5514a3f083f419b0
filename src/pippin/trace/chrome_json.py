"""Chrome JSON: writes a recording as Chrome trace JSON, which Perfetto opens. Format: Chromium's "Trace Event Format".

A lane is a process of the trace; a model's subtrack is a thread in it. Events are complete events ("X"); overlapping
predictions get one thread per stack level. Counters are "C", refused predictions are instants ("i"), names are metadata
("M").
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..support.atomic_write import atomic_write
from ..version import __version__
from .events import Event
from .recorder import COUNTER, COUNTS, SAMPLE, Record
from .tracks import Track, in_flight, model_names, placed, refusals

_LANES = ("activity", "data")
_COUNTERS = 99
"""Process number of the counters, shown below the lanes."""

Entry = dict[str, Any]


def write(records: list[Record], path: str | os.PathLike[str], epoch: float) -> None:
    """Write the file atomically. Adding `epoch` converts a record's time to seconds since 1970."""
    with atomic_write(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","otherData":')
        json.dump(about(records, epoch), file)
        file.write(',"traceEvents":[\n')
        for number, entry in enumerate(entries(records)):
            file.write(",\n" if number else "")
            file.write(json.dumps(entry, separators=(",", ":")))
        file.write("\n]}\n")


def about(records: list[Record], epoch: float) -> Entry:
    """The file's metadata."""
    started = records[0][2] + epoch if records else epoch
    return {"producer": f"pippin {__version__}", "process": os.getpid(), "program": sys.argv[0], "started": started}


def entries(records: list[Record]) -> Iterator[Entry]:
    """The objects of `traceEvents`; times are microseconds since the first record."""
    origin = min((record[2] for record in records), default=0.0)
    numbers = _Numbers()
    for event, model, slot in placed(records, model_names(records)):
        for entry in _event(event, model, slot, origin, numbers):
            yield from numbers.new()
            yield entry
    for time, model, name in refusals(records):
        process, thread = numbers.of(Track("activity", model, 0))
        yield from numbers.new()
        at = {"ph": "i", "s": "t", "pid": process, "tid": thread, "ts": _micro(time - origin)}
        yield {"name": name, "cat": "activity", **at, "args": {"model": model}}
    yield {"name": "process_name", "ph": "M", "pid": _COUNTERS, "tid": 0, "args": {"name": "Counters"}}
    yield {"name": "process_sort_index", "ph": "M", "pid": _COUNTERS, "tid": 0, "args": {"sort_index": _COUNTERS}}
    yield from _counters(records, origin)


def _event(event: Event, model: str, slot: int, origin: float, numbers: _Numbers) -> Iterator[Entry]:
    process, thread = numbers.of(Track(event.lane, model, slot))
    details = {"event": event.name, "model": model, **event.details}
    if event.label:
        details["label"] = event.label
    yield {
        "name": f"{event.name} ({event.label})" if event.label else event.name,
        "cat": event.lane, "ph": "X", "pid": process, "tid": thread,
        "ts": _micro(event.start - origin), "dur": _micro(event.seconds), "args": details | {"thread": event.thread},
    }  # fmt: skip
    for child in event.children:
        yield from _event(child, model, slot, origin, numbers)


def _counters(records: list[Record], origin: float) -> Iterator[Entry]:
    def entry(time: float, name: str, **values: float) -> Entry:
        return {"name": name, "ph": "C", "pid": _COUNTERS, "tid": 0, "ts": _micro(time - origin), "args": values}

    for time, count, held in in_flight(records):
        yield entry(time, "in flight", predictions=count)
        yield entry(time, "bytes in flight", bytes=held)
    for record in records:
        if record[0] == COUNTS:
            _, model, time, waiting, *refused = record
            yield entry(time, f"waiting, {model}", predictions=waiting)
            for name, value in zip(("cancelled", "dropped", "rejected"), refused, strict=True):
                yield entry(time, f"{name}, {model}", predictions=value)
        elif record[0] == SAMPLE:
            if record[3]:
                yield entry(record[2], "resident memory", bytes=record[3])
            yield entry(record[2], "CPU use", cores=round(record[4], 3))
        elif record[0] == COUNTER:
            yield entry(record[2], record[1], value=record[3])


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)


class _Numbers:
    """Assigns process and thread numbers to tracks, and queues the metadata of new ones."""

    def __init__(self) -> None:
        self._lanes: dict[str, int] = {}
        self._tracks: dict[Track, int] = {}
        self._models: dict[str, int] = {}
        self._pending: list[Entry] = []

    def of(self, track: Track) -> tuple[int, int]:
        process = self._lanes.get(track.lane) or self._lane(track.lane)
        return process, self._tracks.get(track) or self._track(track, process)

    def new(self) -> list[Entry]:
        pending, self._pending = self._pending, []
        return pending

    def _lane(self, lane: str) -> int:
        others = sum(name not in _LANES for name in self._lanes)
        process = _LANES.index(lane) + 1 if lane in _LANES else len(_LANES) + 1 + others
        self._lanes[lane] = process
        self._add_metadata(process, 0, "process_name", name=lane[:1].upper() + lane[1:])
        self._add_metadata(process, 0, "process_sort_index", sort_index=process)
        return process

    def _track(self, track: Track, process: int) -> int:
        # Numbered by model, then by slot, so that a model's threads stay together.
        model = self._models.setdefault(track.model, len(self._models))
        thread = self._tracks[track] = 1 + model * 1000 + track.slot
        self._add_metadata(process, thread, "thread_name", name=track.name)
        self._add_metadata(process, thread, "thread_sort_index", sort_index=thread)
        return thread

    def _add_metadata(self, process: int, thread: int, name: str, /, **values: Any) -> None:
        self._pending.append({"name": name, "ph": "M", "pid": process, "tid": thread, "args": values})
