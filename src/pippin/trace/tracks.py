"""Tracks: assigns each event its lane, the subtrack of its model, and its slot among overlapping events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .events import Event, events
from .recorder import COUNTS, FAILURE, PREDICTION, SPAN, Record


@dataclass(frozen=True, slots=True)
class Track:
    """One row. `slot` 0 is the lowest row of a model's overlapping events."""

    lane: str
    model: str
    slot: int

    @property
    def name(self) -> str:
        named = self.model or "no model"
        return named if self.slot == 0 else f"{named} ({self.slot + 1} in flight)"


def model_names(records: Sequence[Record]) -> dict[int, str]:
    """Subtrack names by model number; models with equal names get their number appended."""
    found: dict[int, str] = {}
    for record in records:
        if record[0] in (PREDICTION, FAILURE):
            number, name, function, _ = record[1]
            found[number] = name if function in ("main", "") else f"{name} {function}"
        elif record[0] == SPAN and isinstance(record[7], int):
            found.setdefault(record[7], str(dict(record[10]).get("file", record[7])))
    names = list(found.values())
    return {number: name if names.count(name) == 1 else f"{name} #{number}" for number, name in found.items()}


def placed(records: list[Record], names: dict[int, str]) -> Iterator[tuple[Event, str, int]]:
    """Each top-level event with its model's subtrack and its lowest free slot."""
    busy: dict[str, list[float]] = {}
    for event in events(records):
        model = names.get(event.model, "") if isinstance(event.model, int) else event.model
        ends = busy.setdefault(model, [])
        slot = next((i for i, end in enumerate(ends) if end <= event.start), len(ends))
        ends[slot : slot + 1] = [event.end]
        yield event, model, slot


def in_flight(records: Sequence[Record]) -> Iterator[tuple[float, int, int]]:
    """(time, predictions in flight, bytes of their inputs and outputs) after each change."""
    steps: list[tuple[float, int, int]] = []
    for record in records:
        if record[0] in (PREDICTION, FAILURE):
            size = record[8] if record[0] == PREDICTION else 0
            steps += [(record[2], 1, size), (record[3], -1, -size)]
    count = held = 0
    for time, change, size in sorted(steps):
        count, held = count + change, held + size
        yield time, count, held


def refusals(records: Sequence[Record]) -> Iterator[tuple[float, str, str]]:
    """(time, model, "cancelled", "dropped" or "rejected") for each prediction that flow control refused."""
    before: dict[str, tuple[int, ...]] = {}
    for record in records:
        if record[0] == COUNTS:
            _, model, time, _, *counts = record
            for name, old, new in zip(
                ("cancelled", "dropped", "rejected"), before.get(model, counts), counts, strict=True
            ):
                for _ in range(new - old):
                    yield time, model, name
            before[model] = tuple(counts)
