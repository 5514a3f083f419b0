"""Profile: assigns the measured kernels of an engine to the operations of the program, for the compute plan."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

import onnx

from ..engines import Kernel
from ..lowering.lowered_model import source_of
from .compute_plan import ComputePlan
from .segment import VIEWS


def with_measurements(plan: ComputePlan, model: onnx.ModelProto, kernels: Sequence[Kernel]) -> ComputePlan:
    """The plan with `measured` and `fused`. `model` is the ONNX model that the engine was given."""
    costs = {op.name: op.cost for op in plan.operations if op.device}
    owners = _owners(model, costs)
    groups = _Groups(costs)
    views = {node.name for node in model.graph.node if node.op_type in VIEWS}
    with_view: dict[str, str] = {}
    for kernel in kernels:
        # Engines join the reshapes between two operations; that alone does not make the two one kernel.
        computed = [node for node in kernel.nodes if node not in views] or kernel.nodes[:1]
        members = {source_of(node, costs) or owners.get(node, "") for node in computed} - {""}
        groups.add(members, kernel.seconds)
        for node in kernel.nodes:
            with_view.setdefault(source_of(node, costs), next(iter(members), ""))
    for name, other in with_view.items():
        if name and name not in groups.leaders:
            groups.join(name, other)
    makers, readers = _neighbours(model, owners, costs)
    for name, cost in costs.items():
        if name not in groups.leaders:
            # An engine fuses a cheap operation into the one before it; a product is found with the one after it.
            first, then = (readers, makers) if cost else (makers, readers)
            groups.join(name, _nearest(name, first, groups) or _nearest(name, then, groups))
    return replace(plan, measured=groups.measured(), fused=groups.fused())


class _Groups:
    """Operations that run as one kernel, and its time. The costliest operation leads a group."""

    def __init__(self, costs: Mapping[str, float]) -> None:
        self._costs = costs
        self.leaders: dict[str, str] = {}
        self._members: dict[str, set[str]] = {}
        self._seconds: dict[str, float] = {}

    def add(self, members: set[str], seconds: float) -> None:
        """A kernel. An operation with several kernels has the sum of their times."""
        known = {self.leaders[name] for name in members if name in self.leaders}
        everyone = members.union(*(self._members.pop(leader) for leader in known))
        leader = max(everyone, key=lambda name: (self._costs[name], name), default="")
        seconds += sum(self._seconds.pop(leader) for leader in known)
        self._members[leader] = self._members.get(leader, set()) | everyone
        self._seconds[leader] = self._seconds.get(leader, 0.0) + seconds
        self.leaders |= dict.fromkeys(everyone, leader)

    def join(self, name: str, other: str) -> None:
        """Add an operation without a kernel to the group of another one."""
        if other:
            self.add({name, other}, 0.0)

    def measured(self) -> dict[str, float]:
        return self._seconds

    def fused(self) -> dict[str, str]:
        return {name: leader for name, leader in self.leaders.items() if name != leader}


Neighbours = Mapping[str, Sequence[str]]


def _owners(model: onnx.ModelProto, sources: Container[str]) -> dict[str, str]:
    """The operation that each node belongs to. A node that prepares an input or an output is counted with the operation
    that reads it, else with the one before it."""
    owners = {node.name: source_of(node.name, sources) for node in model.graph.node}
    readers: dict[str, str] = {}
    for node in reversed(model.graph.node):
        owners[node.name] = owners[node.name] or next((readers[n] for n in node.output if readers.get(n)), "")
        readers |= dict.fromkeys(node.input, owners[node.name])
    makers: dict[str, str] = {}
    for node in model.graph.node:
        owners[node.name] = owners[node.name] or next((makers[n] for n in node.input if makers.get(n)), "")
        makers |= dict.fromkeys(node.output, owners[node.name])
    return owners


def _neighbours(
    model: onnx.ModelProto, owners: Mapping[str, str], costs: Mapping[str, float]
) -> tuple[Neighbours, Neighbours]:
    """The operations that compute the inputs of each one, and those that read its outputs."""
    made_by = {name: owners[node.name] for node in model.graph.node for name in node.output}
    makers: dict[str, list[str]] = {name: [] for name in costs}
    readers: dict[str, list[str]] = {name: [] for name in costs}
    for node in model.graph.node:
        source = owners[node.name]
        for maker in (made_by.get(name, "") for name in node.input):
            if source and maker and maker != source:
                makers[source].append(maker)
                readers[maker].append(source)
    return makers, readers


def _nearest(name: str, neighbours: Neighbours, groups: _Groups) -> str:
    """The nearest operation in this direction that has a kernel."""
    seen, level = {name}, [name]
    while level:
        level = list(dict.fromkeys(n for one in level for n in neighbours.get(one, ()) if n not in seen))
        seen.update(level)
        for other in level:
            if other in groups.leaders:
                return other
    return ""
