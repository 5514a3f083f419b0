"""Chrome: a recording as Chrome trace JSON, which Perfetto opens. Format: Chromium's "Trace Event Format".

A lane is a process of the trace, a model's subtrack a thread in it: complete events ("X"), one thread for each place in
the stack where predictions overlap; counters ("C"), instants ("i") for what was refused, metadata ("M") for the names.
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
"""The process that the counters stand in, below the lanes."""

Entry = dict[str, Any]


def write(records: list[Record], path: str | os.PathLike[str], epoch: float) -> None:
    """Write the file, aside and then in place. `epoch` is what makes seconds since 1970 of a record's time."""
    with atomic_write(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","otherData":')
        json.dump(about(records, epoch), file)
        file.write(',"traceEvents":[\n')
        for number, entry in enumerate(entries(records)):
            file.write(",\n" if number else "")
            file.write(json.dumps(entry, separators=(",", ":")))
        file.write("\n]}\n")


def about(records: list[Record], epoch: float) -> Entry:
    """What the file says of itself."""
    started = records[0][2] + epoch if records else epoch
    return {"producer": f"pippin {__version__}", "process": os.getpid(), "program": sys.argv[0], "started": started}


def entries(records: list[Record]) -> Iterator[Entry]:
    """The objects of `traceEvents`: microseconds from the first record on."""
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
    """The process and thread numbers of the tracks, and the metadata of those that nobody was told of yet."""

    def __init__(self) -> None:
        self._lanes: dict[str, int] = {}
        self._tracks: dict[Track, int] = {}
        self._models: dict[str, int] = {}
        self._untold: list[Entry] = []

    def of(self, track: Track) -> tuple[int, int]:
        process = self._lanes.get(track.lane) or self._lane(track.lane)
        return process, self._tracks.get(track) or self._track(track, process)

    def new(self) -> list[Entry]:
        untold, self._untold = self._untold, []
        return untold

    def _lane(self, lane: str) -> int:
        others = sum(name not in _LANES for name in self._lanes)
        process = _LANES.index(lane) + 1 if lane in _LANES else len(_LANES) + 1 + others
        self._lanes[lane] = process
        self._tell(process, 0, "process_name", name=lane[:1].upper() + lane[1:])
        self._tell(process, 0, "process_sort_index", sort_index=process)
        return process

    def _track(self, track: Track, process: int) -> int:
        # Numbers by model, and within by slot, so that a model's stack stands together.
        model = self._models.setdefault(track.model, len(self._models))
        thread = self._tracks[track] = 1 + model * 1000 + track.slot
        self._tell(process, thread, "thread_name", name=track.name)
        self._tell(process, thread, "thread_sort_index", sort_index=thread)
        return thread

    def _tell(self, process: int, thread: int, name: str, /, **what: Any) -> None:
        self._untold.append({"name": name, "ph": "M", "pid": process, "tid": thread, "args": what})
