"""Relative costs: the share of each operation in the time of a prediction, estimated from shapes alone.

A roofline for each node: it takes the longer of its arithmetic and its memory traffic, and a constant to start it. The
rates (`rates.py`) are those of two cores of a server in float32; only their proportions matter.
`bench/cost_correlation.py` compares the estimate with measurements (docs/notes/costs.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from ...lowering.lowered_model import source_of
from ...lowering.onnx_nodes import bodies
from ...passes.accurate_tails import LARGE, tails_of
from .cost_model import UNKNOWN_SIZE, Values, values_of, work_of
from .rates import TYPICAL, Rates

# Nodes that change no value: engines make them views or drop them.
VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
_ELEMENTWISE = _ACTIVATIONS | frozenset({
    "Abs", "Add", "Cast", "Ceil", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "HardSwish", "Less",
    "Log", "Max", "Min", "Mul", "Neg", "Not", "PRelu", "Pow", "Round", "Softplus", "Sqrt", "Sub", "Where",
})  # fmt: skip

_READS_WHAT_IT_RETURNS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
_NEUTRAL = {"Add": 0, "Div": 1, "Mul": 1, "Sub": 0}
_TAILS = frozenset({"Sigmoid"})

_LARGE = 1e-4  # seconds of arithmetic, beside which what an engine does around a product is little
_VIEW = 1e-7  # seconds; next to nothing
# Channels that a convolution computes at a time; with fewer, lanes stay idle.
_LANES = 16
# Bytes per second in the cache of a core.
_NEAR = 4e10
_CACHE = 2e6
# How many simple instructions an element takes; of the output, or of the input for what makes fewer.
_PER_OUTPUT = {
    "Cos": 20, "Div": 3, "Elu": 10, "Erf": 15, "Exp": 10, "Gather": 4, "GatherElements": 20, "GatherND": 20, "Gelu": 20,
    "GridSample": 80, "HardSwish": 3, "Log": 10, "Mod": 10, "Pow": 20, "Resize": 40, "RoiAlign": 80, "ScatterND": 20,
    "ScatterElements": 20, "Sigmoid": 10, "Sin": 20, "Softplus": 20, "Sqrt": 3, "Tanh": 12, "Tile": 2, "Transpose": 4,
    "Upsample": 40, "Where": 2,
}  # fmt: skip
_PER_INPUT = {
    "ArgMax": 8, "ArgMin": 8, "BatchNormalization": 2, "CumSum": 10, "GlobalAveragePool": 1, "GlobalMaxPool": 1,
    "GroupNormalization": 6, "InstanceNormalization": 6, "LRN": 40, "LayerNormalization": 6, "LogSoftmax": 20,
    "LpNormalization": 6, "NonMaxSuppression": 5, "NonZero": 10, "Softmax": 20, "TopK": 50,
}  # fmt: skip
_PER_WINDOW = 4
"""Instructions for each element of a pooling window."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What an engine makes of a graph, beyond computing its nodes one by one."""

    launch: float
    """Seconds to start a node."""
    per_input: float
    """Seconds more for each of its inputs."""
    after_products: frozenset[str]
    """The elementwise nodes that it computes with the product or convolution before them."""
    chains: bool
    """Whether it compiles several elementwise nodes in a row into one."""
    runs_views: bool
    """Whether it starts a node that changes the shape alone."""
    reorders: int
    """How many nodes it adds around a two-dimensional convolution to change the layout."""
    tail: int
    """How many nodes it gets for a small sigmoid that reaches an output (`passes/accurate_tails.py`)."""


_HABITS = {
    "onnxruntime": Habits(2.5e-6, 5e-7, _ACTIVATIONS, chains=False, runs_views=True, reorders=2, tail=7),
    "openvino": Habits(4e-7, 0.0, _ELEMENTWISE, chains=True, runs_views=False, reorders=0, tail=1),
}
_OTHER = _HABITS["openvino"]


def relative_costs(
    model: onnx.ModelProto,
    sources: Collection[str],
    engines: Mapping[str, str] | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, float]:
    """The share of each source (operation or layer) in the estimated time of a prediction, 0 to 1, by name.

    `engines` has the engine of each source, `sizes` what to assume for inputs with flexible ones. A loop counts as if
    it ran `UNKNOWN_SIZE` times.
    """
    values = values_of(model, sizes)
    costs = dict.fromkeys(sources, 0.0)
    places = _Places(model)
    for node, source, runs in _walk(model.graph, costs):
        if source:
            costs[source] += runs * _seconds(
                node, values, places, _HABITS.get((engines or {}).get(source, ""), _OTHER), TYPICAL
            )
    total = sum(costs.values())
    return {source: cost / total if total else 0.0 for source, cost in costs.items()}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of a prediction, and how many of them are in large products and convolutions, which are the surest."""

    seconds: float
    products: float


def estimates(model: onnx.ModelProto, rates: Mapping[str, Rates]) -> dict[str, Estimate]:
    """The time of a prediction in float32 on each engine, estimated from shapes and the engine's rates."""
    values, places = values_of(model), _Places(model)
    found = {}
    for engine, own in rates.items():
        habits, total, products = _HABITS.get(engine, _OTHER), own.start, 0.0
        for node, _, runs in _walk(model.graph, ()):
            seconds = runs * _seconds(node, values, places, habits, own)
            total += seconds
            if node.op_type in _PRODUCTS and seconds > _LARGE and not _is_depthwise(node, values):
                products += seconds
        found[engine] = Estimate(total, products)
    return found


def _is_depthwise(node: Any, values: Values) -> bool:
    return node.op_type == "Conv" and math.prod(values.get(node.input[1], (0, (0,)))[1][1:2]) == 1


def _walk(graph: Any, sources: Container[str], around: str = "", runs: int = 1) -> Iterator[tuple[Any, str, int]]:
    """Each node with its source, that of the branch or loop around it if it has none, and how often it runs."""
    for node in graph.node:
        source = source_of(node.name, sources) or around
        yield node, source, runs
        inside = runs * UNKNOWN_SIZE if node.op_type in ("Loop", "Scan") else runs
        for body in bodies(node):
            yield from _walk(body, sources, source, inside)


class _Places:
    """Where a node stands: whether an engine drops it or computes it with another one."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._readers = Counter(name for node in model.graph.node for name in node.input)
        self._scalars = {t.name: t for t in model.graph.initializer if math.prod(t.dims) == 1 and not t.external_data}
        self._constants = {tensor.name for tensor in model.graph.initializer}
        for node in model.graph.node:
            if (
                not bodies(node)
                and not node.op_type.startswith("Random")
                and self._constants.issuperset(filter(None, node.input))
            ):
                self._constants.update(filter(None, node.output))
        self.tails = tails_of(model.graph, _TAILS)

    def dropped(self, node: Any) -> bool:
        """Whether it is computed at load, as decompressed weights are, or returns what it gets: x + 0, x * 1."""
        if node.op_type == "Identity" or node.output[0] in self._constants:
            return True
        neutral = _NEUTRAL.get(node.op_type)
        scalar = self._scalars.get(node.input[1]) if neutral is not None and len(node.input) > 1 else None
        return scalar is not None and bool((onnx.numpy_helper.to_array(scalar) == neutral).all())

    def fused(self, node: Any, habits: Habits) -> bool:
        """Whether it is computed with a node before it, whose result nothing else reads."""
        if node.op_type not in _ELEMENTWISE or node.output[0] in self.tails:
            return False
        for name in node.input:
            maker = self._makers.get(name)
            while habits.chains and maker is not None and self._readers[name] == 1 and maker.op_type in VIEWS:
                name = maker.input[0]
                maker = self._makers.get(name)
            if maker is None or self._readers[name] != 1:
                continue
            if maker.op_type in _PRODUCTS and node.op_type in habits.after_products:
                return True
            if habits.chains and maker.op_type in _ELEMENTWISE:
                return True
        return False


def _seconds(node: Any, values: Values, places: _Places, habits: Habits, rates: Rates) -> float:
    if places.dropped(node):
        return 0.0
    launch = rates.launch or habits.launch + len(node.input) * habits.per_input
    if node.op_type in VIEWS:
        return launch if habits.runs_views else _VIEW
    arithmetic = _arithmetic(node, values, rates)
    sizes = [_bytes(name, values) for name in node.input]
    made = sum(_bytes(name, values) for name in node.output)
    if places.fused(node, habits):  # what it is fused with is in a register
        return max(arithmetic, (sum(sizes) - max(sizes, default=0)) / _NEAR)
    moved = 2 * made if node.op_type in _READS_WHAT_IT_RETURNS else sum(sizes) + made
    traffic = moved / _NEAR + max(moved - _CACHE, 0.0) / rates.memory
    seconds = launch + max(arithmetic, traffic)
    if node.op_type == "Conv" and len(values.get(node.output[0], (0, ()))[1]) == 4:
        seconds += habits.reorders * (launch + traffic / 2)
    small = node.output[0] in places.tails and math.prod(values.get(node.output[0], (0, ()))[1]) < LARGE
    return seconds * habits.tail if small else seconds


def _bytes(name: str, values: Values) -> int:
    width, shape = values.get(name, (0, ()))
    return width * math.prod(shape)


def _arithmetic(node: Any, values: Values, rates: Rates) -> float:
    multiply_adds = work_of(node, values).multiply_adds
    shapes = [values[name][1] if name in values else () for name in node.input]
    match node.op_type:
        case "Conv" if len(shapes) > 1 and math.prod(shapes[1][1:2]) == 1:
            return multiply_adds / rates.depthwise
        case "Conv" if len(shapes) > 1:
            return multiply_adds / rates.dense * max(_LANES / max(shapes[1][0], 1), 1.0)
        case "ConvTranspose":
            return multiply_adds / rates.transposed
        case "MatMul" | "Gemm":
            return multiply_adds / rates.product
        case "LSTM" | "GRU" | "RNN":
            return multiply_adds / rates.recurrent
    made = sum(math.prod(values[name][1]) for name in node.output if name in values)
    given = max((math.prod(shape) for shape in shapes), default=0)
    if node.op_type in ("MaxPool", "AveragePool", "LpPool"):
        window = next((math.prod(a.ints) for a in node.attribute if a.name == "kernel_shape"), 1)
        return made * window * _PER_WINDOW / rates.simple
    if node.op_type in _PER_INPUT or node.op_type.startswith("Reduce"):
        return given * _PER_INPUT.get(node.op_type, 2) / rates.simple
    return made * _PER_OUTPUT.get(node.op_type, 1) / rates.simple
