"""Cost model: estimates the seconds of each operation on each unit, and of each transfer between units.

Roofline model: an operation takes its launch time plus the longer of its arithmetic and its memory traffic
(S. Williams et al., "Roofline: an insightful visual performance model", 2009).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from ...lowering.onnx_nodes import values_read
from ...passes.value_types import value_types
from .partition import Problem, Transfer

# Assumed size of an axis, or number of turns of a loop, that is known only at prediction time.
UNKNOWN_SIZE = 16
_HOST = "cpu"
# Nodes that return few of their elements.
_SELECTS = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})


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
    nodes, values = model.graph.node, values_of(model)
    costs = []
    for node in nodes:
        name = node.name or node.output[0]
        work = work_of(node, values)
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


def values_of(model: onnx.ModelProto, sizes: Mapping[str, Sequence[int]] | None = None) -> Values:
    """The values of a model. `sizes` are those to assume for inputs whose own are flexible."""
    types = value_types(model, sizes)
    values: dict[str, tuple[int, tuple[int, ...]]] = {}
    for tensor in model.graph.initializer:
        values[tensor.name] = (_width(tensor.data_type), tuple(tensor.dims))
    given = [info.name for info in model.graph.input]
    made = [(name, node) for node in model.graph.node for name in node.output]
    for name, node in [*((name, None) for name in given), *made]:
        if name in types:
            tensor = types[name].type.tensor_type
            shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in tensor.shape.dim)
            values[name] = (_width(tensor.elem_type), _assumed(shape, node, values))
    return values


def _width(kind: int) -> int:
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize)
    except (KeyError, TypeError):  # a sequence, or an unknown type
        return 4


def _assumed(shape: tuple[int | None, ...], node: Any, values: Values) -> tuple[int, ...]:
    """The shape with sizes for those that only the prediction knows: as many elements as the largest operand has."""
    operands = [math.prod(values[name][1]) for name in node.input if name in values] if node is not None else []
    if not operands or node.op_type in _SELECTS:
        return tuple(UNKNOWN_SIZE if size is None else size for size in shape)
    if node.op_type.startswith("Gather"):  # as many as there are indices
        left = operands[-1]
    else:
        elements = sum(operands) if node.op_type == "Concat" else max(operands)
        left = max(elements // max(math.prod(size for size in shape if size is not None), 1), 1)
    found = []
    for size in shape:
        found.append(left if size is None else size)
        left = 1 if size is None else left
    return tuple(found)


def work_of(node: Any, values: Values) -> Work:
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
