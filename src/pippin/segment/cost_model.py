"""Cost model: estimates the seconds of each operation on each unit, and of each transfer between units.

Roofline model: an operation takes its launch time plus the longer of its arithmetic and its memory traffic
(S. Williams et al., "Roofline: an insightful visual performance model", 2009).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from ..lowering.lowered_model import source_of
from ..passes.value_types import value_types
from .partition import Problem, Transfer

# Assumed size of an axis, or number of turns of a loop, that is known only at prediction time.
_UNKNOWN = 16
_HOST = "cpu"
# Nodes that change no value: engines make them views or drop them.
_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
# What remains of the cost of an elementwise node that is probably fused (`bench/cost_correlation.py`).
_FUSED_SHARE = 0.2
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ELEMENTWISE = frozenset({
    "Add", "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "PRelu", "Relu", "Sigmoid", "Sub", "Tanh",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unit:
    """A device as used by one engine, with its measured speed."""

    engine: str
    device: str = _HOST
    arithmetic: float = 1e11
    """Multiply-adds per second."""
    bandwidth: float = 1e10
    """Bytes read from and written to its memory per second."""
    launch: float = 5e-6
    """Seconds to launch one operation."""
    transfer: float = 1e10
    """Bytes per second between its memory and the host's; unused for the host itself."""
    latency: float = 2e-5
    """Seconds to start a segment on it, and so to transfer a value to or from it."""

    def seconds(self, work: Work) -> float:
        return self.launch + max(work.multiply_adds / self.arithmetic, work.bytes / self.bandwidth)

    def transfer_seconds(self, size: float, source: Unit) -> float:
        """Seconds to transfer a value of `size` bytes from another unit."""
        links = [unit for unit in (source, self) if unit.device != _HOST and source.device != self.device]
        return max(self.latency, source.latency) + sum(size / unit.transfer for unit in links)


_REFERENCE = Unit("", arithmetic=1.5e11, bandwidth=4e10)
"""A core of an ordinary server, for the proportions between operations: small values stay in its cache."""


@dataclass(frozen=True, slots=True)
class Work:
    multiply_adds: float
    bytes: float


Values = Mapping[str, tuple[int, tuple[int, ...]]]
"""Bytes per element and shape of each value; unknown sizes are assumed."""


def estimate(model: onnx.ModelProto, units: Sequence[Unit], declined: Sequence[Mapping[str, str]]) -> Problem:
    """The partition problem of a lowered model: its nodes in order, then one operation for the caller, which produces
    the inputs and reads the outputs on the host.

    `declined` has, for each unit, the nodes it must not run.
    """
    nodes, values = model.graph.node, _values(model)
    costs = []
    for node in nodes:
        name = node.name or node.output[0]
        work = _work(node, values)
        costs.append(
            [math.inf if name in d or "" in d else u.seconds(work) for u, d in zip(units, declined, strict=True)]
        )
    caller = len(costs)
    home = next((i for i, unit in enumerate(units) if unit.device == _HOST), 0)
    costs.append([0.0 if i == home else math.inf for i in range(len(units))])
    makers = {name: i for i, node in enumerate(nodes) for name in node.output}
    makers |= {info.name: caller for info in model.graph.input}
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(nodes):
        for name in values_read(node):
            readers.setdefault(name, []).append(i)
    for info in model.graph.output:
        readers.setdefault(info.name, []).append(caller)
    transfers = []
    for name, consumers in readers.items():
        if name in makers and set(consumers) != {makers[name]}:
            width, shape = values.get(name, (4, ()))
            size = width * math.prod(shape)
            prices = [[0.0 if a == b else b.transfer_seconds(size, a) for b in units] for a in units]
            transfers.append(Transfer(makers[name], tuple(consumers), prices))
    return Problem(costs, transfers)


def relative_costs(model: onnx.ModelProto, sources: Collection[str]) -> dict[str, float]:
    """The share of each source (operation or layer) in the estimated time of a prediction, 0 to 1, by name.

    An elementwise node after a product or convolution is usually fused into it, so it counts with `_FUSED_SHARE`.
    A loop counts as if it ran `_UNKNOWN` times.
    """
    values = _values(model)
    costs = dict.fromkeys(sources, 0.0)
    fused = _fused(model)
    for node, source, runs in _walk(model.graph, costs):
        if source:
            work = Work(0.0, 0.0) if node.op_type in _VIEWS else _work(node, values)
            share = _FUSED_SHARE if node.name in fused or node.op_type in _VIEWS else 1.0
            costs[source] += runs * share * _REFERENCE.seconds(work)
    total = sum(costs.values())
    return {source: cost / total if total else 0.0 for source, cost in costs.items()}


def _walk(graph: Any, sources: Container[str], around: str = "", runs: int = 1) -> Iterator[tuple[Any, str, int]]:
    """Each node with its source, that of the branch or loop around it if it has none, and how often it runs."""
    for node in graph.node:
        source = source_of(node.name, sources) or around
        yield node, source, runs
        inside = runs * _UNKNOWN if node.op_type in ("Loop", "Scan") else runs
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _walk(attribute.g, sources, source, inside)


def _fused(model: onnx.ModelProto) -> set[str]:
    """The names of elementwise nodes that follow a product or convolution which nothing else reads."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = Counter(name for node in model.graph.node for name in node.input)
    fused: set[str] = set()
    for node in model.graph.node:
        if node.op_type in _ELEMENTWISE | _VIEWS:
            before = [makers[name] for name in node.input if name in makers and readers[name] == 1]
            if any(maker.op_type in _PRODUCTS or maker.name in fused for maker in before):
                fused.add(node.name)
    return fused


def values_read(node: Any) -> list[str]:
    """The values a node reads, including outer values that its subgraphs read."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            made = {name for inner in attribute.g.node for name in inner.output}
            made |= {info.name for info in attribute.g.input} | {t.name for t in attribute.g.initializer}
            inside = [name for inner in attribute.g.node for name in values_read(inner)]
            inside += [info.name for info in attribute.g.output]
            names += [name for name in inside if name not in made]
    return list(dict.fromkeys(names))


def _values(model: onnx.ModelProto) -> Values:
    values = {}
    for name, info in value_types(model).items():
        tensor = info.type.tensor_type
        sizes = (d.dim_value if d.WhichOneof("value") == "dim_value" else _UNKNOWN for d in tensor.shape.dim)
        try:
            width = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
        except (KeyError, TypeError):  # a sequence, or an unknown type
            width = 4
        values[name] = (width, tuple(sizes))
    return values


def _work(node: Any, values: Values) -> Work:
    shapes = [values[name][1] if name in values else () for name in node.input]
    moved = sum(values[n][0] * math.prod(values[n][1]) for n in (*node.input, *node.output) if n in values)
    out = math.prod(values[node.output[0]][1]) if node.output[0] in values else 1
    match node.op_type:
        case "Conv" if len(shapes) > 1:
            multiply_adds = out * math.prod(shapes[1][1:])
        case "ConvTranspose" if len(shapes) > 1:
            multiply_adds = math.prod(shapes[0]) * math.prod(shapes[1][1:])
        case "MatMul" | "Gemm" if shapes and shapes[0]:
            multiply_adds = out * shapes[0][-1]
        case "LSTM" | "GRU" | "RNN" if len(shapes) > 2:
            multiply_adds = math.prod(shapes[0][:2]) * (math.prod(shapes[1]) + math.prod(shapes[2]))
        case _:
            multiply_adds = out
    return Work(float(multiply_adds), float(moved))
