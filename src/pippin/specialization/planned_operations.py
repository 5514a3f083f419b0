"""Planned operations: maps the segments of ONNX nodes back to the operations of the program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ..devices import all_compute_devices
from ..errors import PippinError
from ..format.description import FunctionDescription
from ..lowering.lowered_model import Lowered
from .artifacts import CompiledSegment
from .compute_plan import PlannedOperation
from .sample_inputs import example_inputs
from .segment import relative_costs


def planned_operations(
    lowered: Lowered,
    segments: Sequence[CompiledSegment],
    nodes: Sequence[Collection[str] | None],
    declined: Mapping[str, Mapping[str, str]],
    function: FunctionDescription,
) -> tuple[PlannedOperation, ...]:
    """The program's operations (or layers) in order. `nodes` are the names of each segment's ONNX nodes; an operation
    is assigned to the segment with most of its nodes."""
    segment_votes: dict[str, Counter[int]] = {}
    if len(segments) > 1:
        for number, names in enumerate(nodes):
            for name in names or ():
                segment_votes.setdefault(name.rpartition("/")[0], Counter())[number] += 1
    refusals: dict[str, dict[str, str]] = {}
    for engine, reasons in declined.items():
        for name, reason in reasons.items():
            refusals.setdefault(name.rpartition("/")[0], {})[engine] = reason
    absent = {
        device.kind: "; ".join(f"{engine}: {why}" for engine, why in device.absent.items())
        for device in all_compute_devices()
        if not device.available
    }
    available = tuple(device.kind for device in all_compute_devices() if device.available)
    places = {
        op.name: segment_votes[op.name].most_common(1)[0][0] if op.name in segment_votes else 0
        for op in lowered.sources
    }
    engines = {name: segments[number].engine for name, number in places.items()}
    costs = relative_costs(lowered.model, [op.name for op in lowered.sources], engines, _sizes(function, lowered))
    planned = []
    for op in lowered.sources:
        if op.constant:
            planned.append(PlannedOperation(op.name, op.kind, "", "", 0, 0.0))
            continue
        number = places[op.name]
        segment = segments[number]
        reasons = absent | refusals.get(op.name, {})
        planned.append(
            PlannedOperation(
                op.name, op.kind, segment.settings.device, segment.engine, number, costs[op.name], available, reasons
            )
        )
    return tuple(planned)


def _sizes(function: FunctionDescription, lowered: Lowered) -> Mapping[str, Sequence[int]]:
    """The default shapes of the inputs, if some have flexible sizes."""
    dims = [dim for info in lowered.model.graph.input for dim in info.type.tensor_type.shape.dim]
    if all(dim.HasField("dim_value") for dim in dims):
        return {}
    try:
        return {name: array.shape for name, array in example_inputs(function, lowered).items()}
    except PippinError:  # no sample values for a type, or sizes that contradict each other
        return {}
