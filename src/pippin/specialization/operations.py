"""Operations: the compute plan of each operation of the program, from that of the nodes it was lowered to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..devices import all_compute_devices
from ..lowering.lowered import Lowered
from ..plan import PlannedOperation
from .parts import Part

if TYPE_CHECKING:
    from .specializer import Planned


def planned_operations(
    lowered: Lowered,
    segments: Sequence[Planned],
    parts: Sequence[Part],
    declined: Mapping[str, Mapping[str, str]],
) -> tuple[PlannedOperation, ...]:
    """Each operation (or layer) in order; it stands in the segment that most of its nodes are in."""
    where: dict[str, Counter[int]] = {}
    if len(parts) > 1:
        for number, segment in enumerate(segments):
            for name in segment.nodes or ():
                where.setdefault(name.rpartition("/")[0], Counter())[number] += 1
    refusals: dict[str, dict[str, str]] = {}
    for engine, reasons in declined.items():
        for name, reason in reasons.items():
            refusals.setdefault(name.rpartition("/")[0], {})[engine] = reason
    absent = {
        device.kind: "; ".join(f"{engine}: {why}" for engine, why in device.absent.items())
        for device in all_compute_devices()
        if not device.available
    }
    there = tuple(device.kind for device in all_compute_devices() if device.available)
    planned = []
    for op in lowered.sources:
        if op.constant:
            planned.append(PlannedOperation(op.name, op.kind, "", "", 0, 0.0))
            continue
        number = where[op.name].most_common(1)[0][0] if op.name in where else 0
        part = parts[number]
        reasons = absent | refusals.get(op.name, {})
        planned.append(
            PlannedOperation(op.name, op.kind, part.settings.device, part.engine, number, op.cost, there, reasons)
        )
    return tuple(planned)
