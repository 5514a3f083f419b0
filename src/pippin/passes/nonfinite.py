"""Non-finite: finds where an engine would make a number of a NaN, and adds a probe to the graph that tells it.

Most operators of an engine pass NaN and infinity on as they are defined; the rest are in its table of defects. They do
no harm unless such a value reaches them. It comes from an input, which is checked before a prediction, or arises in the
graph (`lowering/intervals.py`), where a probe adds up the values: one scalar more among the outputs, NaN if there is
anything that the engine may get wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import onnx
from onnx import TensorProto, helper

from ..lowering.intervals import Intervals, of_graph
from ..lowering.onnx_nodes import bodies

Kind = Literal["NaN", "infinity"]
Wrong = Callable[[str, Kind], bool]
"""(operator, kind of value) -> whether an engine computes something else than defined."""

PROBE = "pippin/nonfinite"
"""The graph output of the probe."""
_HUGE = 1e12  # as of inputs: sums and products of larger numbers can overflow
# Their results do not depend on the values.
_BLIND = frozenset({"Shape", "Size", "ConstantOfShape"})
_SUBGRAPHS = frozenset({"If", "Loop", "Scan"})
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


@dataclass(frozen=True, slots=True)
class Exposure:
    """Where non-finite values meet operators that an engine gets wrong."""

    inputs: tuple[str, ...] = ()
    """Graph inputs whose NaN reaches one."""
    nan: tuple[str, ...] = ()
    """Results in which a NaN arises that reaches one."""
    infinite: tuple[str, ...] = ()
    """Operands of one that can be infinite."""
    large: tuple[str, ...] = ()
    """Quotients that must not be large: what follows then is finite."""
    hidden: tuple[tuple[str, str], ...] = ()
    """(node name, operator) where no probe can be placed: in a subgraph."""

    @property
    def probes(self) -> int:
        return len(self.nan) + len(self.infinite) + len(self.large)

    def __bool__(self) -> bool:
        return bool(self.inputs or self.probes or self.hidden)


def exposure(graph: Any, known: Intervals, wrong: Wrong, bounded: Iterable[str] = ()) -> Exposure:
    """The exposure of an engine to a graph with these intervals. Inputs in `bounded` hold pixels."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in (*node.input, *_captured(node)):
            readers.setdefault(name, []).append(node)
    if not any(_misjudged(node, wrong, "NaN") for node in graph.node):
        return Exposure()
    reach = _Reach(readers, known, wrong)
    pixels, stored = set(bounded), {tensor.name for tensor in graph.initializer}
    inputs = (i.name for i in graph.input if i.type.tensor_type.elem_type in _FLOATS and i.name not in pixels | stored)
    results = [name for node in known.sources for name in node.output if name and known.of(name).floats]
    infinite = {
        name: node
        for node in graph.node
        for name in node.input
        if name not in known.constants and known.of(name).infinite and _misjudged(node, wrong, "infinity")
        and not (node.op_type in ("Softmax", "LogSoftmax") and known.of(name).hi < float("inf"))  # -inf is a mask
    }  # fmt: skip
    hidden = [
        (node.name, inner.op_type)
        for node in known.bodies
        for inner in _inside(node)
        if _misjudged(inner, wrong, "NaN")
    ]
    return Exposure(tuple(filter(reach, inputs)), tuple(filter(reach, results)), tuple(infinite), hidden=tuple(hidden))


def with_moderate_quotients(graph: Any, found: Exposure, known: Intervals, wrong: Wrong, pixels: set[str]) -> Exposure:
    """The exposure if quotients are checked to be moderate, provided that this takes fewer probes: where one may be
    infinite, a NaN may arise in each convolution after it."""
    quotients = [name for node in known.sources if node.op_type == "Div" for name in node.output]
    if found.probes <= len(quotients) or not quotients:
        return found
    others = exposure(graph, of_graph(graph, pixels, checked=quotients), wrong, pixels)
    made = replace(others, large=tuple(quotients))
    return made if made.probes < found.probes else found


class _Reach:
    """Whether a NaN in a tensor reaches an operator that the engine gets wrong."""

    def __init__(self, readers: dict[str, list[Any]], known: Intervals, wrong: Wrong) -> None:
        self._readers, self._known, self._wrong = readers, known, wrong
        self._harmless: set[str] = set()

    def __call__(self, name: str) -> bool:
        todo, seen = [name], {name}
        while todo:
            for node in self._readers.get(todo.pop(), ()):
                if node.op_type in _BLIND:
                    continue
                if _misjudged(node, self._wrong, "NaN"):
                    return True
                for result in node.output:
                    if result not in seen and result not in self._harmless and self._known.of(result).floats:
                        seen.add(result)
                        todo.append(result)
        self._harmless |= seen
        return False


def _misjudged(node: Any, wrong: Wrong, kind: Kind) -> bool:
    if node.op_type in _SUBGRAPHS:
        return any(_misjudged(inner, wrong, kind) for inner in _inside(node))
    if node.domain or node.op_type in _BLIND:
        return False
    if node.op_type == "Cast" and any(a.name == "to" and a.i in _FLOATS for a in node.attribute):
        return wrong("Identity", kind)
    return wrong(node.op_type, kind)


def _inside(node: Any) -> list[Any]:
    return [inner for body in bodies(node) for inner in body.node]


def _captured(node: Any) -> set[str]:
    """Names that the subgraphs of a node read from outside."""
    return {name for inner in _inside(node) for name in (*inner.input, *_captured(inner))}


def probed(model: onnx.ModelProto, found: Exposure) -> onnx.ModelProto:
    """The model with the probe among its outputs; the same object if nothing has to be probed."""
    if not found.probes:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = made.graph.node

    def emit(kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{PROBE}/{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(name: str, value: float) -> str:
        made.graph.initializer.append(helper.make_tensor(f"{PROBE}/{name}", TensorProto.FLOAT, [], [value]))
        return f"{PROBE}/{name}"

    def scalar(kind: str, name: str) -> str:
        return emit("Cast", emit(kind, name, keepdims=0), to=TensorProto.FLOAT)

    zero = constant("zero", 0.0)
    sums = []
    for name in dict.fromkeys((*found.nan, *found.infinite, *found.large)):
        total = scalar("ReduceSum", name)
        # A NaN stays one. An infinite sum may be meant, unless an operator after it gets infinities wrong.
        sums.append(emit("Mul", total, zero) if name in found.infinite else total)
    if found.large:
        nan, most = constant("nan", math.nan), constant("most", _HUGE)
        for name in found.large:
            moderate = emit("Less", scalar("ReduceMax", emit("Abs", name)), most)
            sums.append(emit("Where", moderate, zero, nan))
    while len(sums) > 1:
        sums.append(emit("Add", sums.pop(0), sums.pop(0)))
    nodes.append(helper.make_node("Identity", sums, [PROBE], name=PROBE))
    made.graph.output.append(helper.make_tensor_value_info(PROBE, TensorProto.FLOAT, []))
    return made


def find(model: onnx.ModelProto, bounded: Iterable[str] = ()) -> Intervals:
    """The intervals of a model, and where NaN and infinity can arise."""
    return of_graph(model.graph, bounded)
