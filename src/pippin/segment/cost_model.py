"""Cost: what each operation of a lowered model is estimated to take on each unit, and each value to be brought over.

A roofline: an operation takes as long as its arithmetic or its memory traffic, whichever is longer, and a launch.
(S. Williams et al., "Roofline: an insightful visual performance model", 2009.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from .partition import Problem, Transfer

# The size of an axis that is only known at a prediction.
_UNKNOWN = 16
_HOST = "cpu"


@dataclass(frozen=True, slots=True)
class Unit:
    """A device through one engine, with its measured (or, in tests, described) speed."""

    engine: str
    device: str = _HOST
    arithmetic: float = 1e11
    """Multiply-adds in a second."""
    bandwidth: float = 1e10
    """Bytes moved to and from its memory in a second."""
    launch: float = 5e-6
    """Seconds to start one operation."""
    transfer: float = 1e10
    """Bytes in a second between its memory and the host's; without effect on the host itself."""
    latency: float = 2e-5
    """Seconds to start a segment on it, and so to bring a value to it or from it."""

    def seconds(self, work: Work) -> float:
        return self.launch + max(work.products / self.arithmetic, work.bytes / self.bandwidth)

    def bring(self, size: float, source: Unit) -> float:
        """Seconds to bring a value of so many bytes from another unit."""
        ways = [unit for unit in (source, self) if unit.device != _HOST and source.device != self.device]
        return max(self.latency, source.latency) + sum(size / unit.transfer for unit in ways)


@dataclass(frozen=True, slots=True)
class Work:
    products: float
    bytes: float


Values = Mapping[str, tuple[int, tuple[int, ...]]]
"""Of each value its bytes an element and its shape, unknown sizes guessed."""


def estimate(model: onnx.ModelProto, units: Sequence[Unit], declined: Sequence[Mapping[str, str]]) -> Problem:
    """The partition problem of a lowered model: its nodes in order, then one operation more, which stands for the
    caller: it makes the inputs and reads the outputs, on the host.

    `declined` says for each unit which nodes it must not run.
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
        for name in read_by(node):
            readers.setdefault(name, []).append(i)
    for info in model.graph.output:
        readers.setdefault(info.name, []).append(caller)
    transfers = []
    for name, consumers in readers.items():
        if name in makers and set(consumers) != {makers[name]}:
            width, shape = values.get(name, (4, ()))
            size = width * math.prod(shape)
            prices = [[0.0 if a == b else b.bring(size, a) for b in units] for a in units]
            transfers.append(Transfer(makers[name], tuple(consumers), prices))
    return Problem(costs, transfers)


def read_by(node: Any) -> list[str]:
    """The values that a node reads, with what its subgraphs read from around it."""
    found = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            made = {name for inner in attribute.g.node for name in inner.output}
            made |= {info.name for info in attribute.g.input} | {t.name for t in attribute.g.initializer}
            inside = [name for inner in attribute.g.node for name in read_by(inner)]
            inside += [info.name for info in attribute.g.output]
            found += [name for name in inside if name not in made]
    return list(dict.fromkeys(found))


def typed(model: onnx.ModelProto) -> Mapping[str, Any]:
    """The `ValueInfoProto` of every value whose type ONNX infers, without copying the weights."""
    slim = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    slim.graph.name = model.graph.name
    slim.graph.node.extend(model.graph.node)
    slim.graph.input.extend(model.graph.input)
    slim.graph.output.extend(model.graph.output)
    slim.graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        small = len(tensor.raw_data) <= 1024 and not tensor.external_data
        if small:
            slim.graph.initializer.add().CopyFrom(tensor)
        else:
            dims = list(tensor.dims)
            slim.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, dims))
    graph = onnx.shape_inference.infer_shapes(slim, data_prop=True).graph
    return {info.name: info for info in (*graph.input, *graph.output, *graph.value_info)}


def _values(model: onnx.ModelProto) -> Values:
    found = {}
    for name, info in typed(model).items():
        tensor = info.type.tensor_type
        sizes = (d.dim_value if d.WhichOneof("value") == "dim_value" else _UNKNOWN for d in tensor.shape.dim)
        try:
            width = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
        except (KeyError, TypeError):  # a list, or a type that is not known
            width = 4
        found[name] = (width, tuple(sizes))
    return found


def _work(node: Any, values: Values) -> Work:
    shapes = [values[name][1] if name in values else () for name in node.input]
    moved = sum(values[n][0] * math.prod(values[n][1]) for n in (*node.input, *node.output) if n in values)
    out = math.prod(values[node.output[0]][1]) if node.output[0] in values else 1
    match node.op_type:
        case "Conv" if len(shapes) > 1:
            products = out * math.prod(shapes[1][1:])
        case "ConvTranspose" if len(shapes) > 1:
            products = math.prod(shapes[0]) * math.prod(shapes[1][1:])
        case "MatMul" | "Gemm" if shapes and shapes[0]:
            products = out * shapes[0][-1]
        case "LSTM" | "GRU" | "RNN" if len(shapes) > 2:
            products = math.prod(shapes[0][:2]) * (math.prod(shapes[1]) + math.prod(shapes[2]))
        case _:
            products = out
    return Work(float(products), float(moved))
