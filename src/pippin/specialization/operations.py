"""Operations: the compute plan of each operation of the program, from that of the nodes it was lowered to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..devices import all_compute_devices
from ..format.asset import Asset
from ..format.description import FunctionDescription
from ..lowering.lowered import Lowered
from ..plan import PlannedOperation
from ..program import read_program
from ..program.cost import is_constant, relative_costs
from .parts import Part

if TYPE_CHECKING:
    from .specializer import Planned


@dataclass(frozen=True, slots=True)
class _Listed:
    name: str
    kind: str
    cost: float
    constant: bool


def planned_operations(
    asset: Asset,
    function: FunctionDescription,
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
    for op in _listed(asset, function):
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


def _listed(asset: Asset, function: FunctionDescription) -> list[_Listed]:
    kind = asset.description.kind
    if kind == "mlProgram":
        program = read_program(asset).functions[function.name]
        costs = relative_costs(program)
        return [
            _Listed(op.name, op.kind, costs.get(id(op), 0.0), is_constant(op))
            for op in program.block.walk()
            if op.kind != "const"
        ]
    if kind.startswith("pipeline"):
        return [op for part in asset.parts() for op in _listed(part, part.description.function())]
    message: Any = getattr(asset.specification, kind)
    layers = list(getattr(message, "layers", ()))
    if not layers:
        return [_Listed(function.name, kind, 1.0, False)]
    return [_Listed(layer.name, layer.WhichOneof("layer") or "", 1 / len(layers), False) for layer in layers]
