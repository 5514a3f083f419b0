"""Exact forms: rewrites operators that ONNX Runtime gets wrong for NaN or infinity, for runs that have such values.

A NaN makes a maximum NaN (as in numpy); argmax and argmin give the first NaN; a sort puts NaN last in both directions
(as coremltools evaluates `topk` and `argsort`: numpy's argsort of x or -x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper

from ..lowering.intervals import Intervals, of_graph
from ..lowering.onnx_nodes import attributes, bodies

_LOWEST = -3.4028234663852886e38


class _Writer:
    """Appends nodes whose names start with that of the node they replace."""

    def __init__(self, node: Any) -> None:
        self.nodes: list[Any] = []
        self._base, self._node = f"{node.name or node.output[0]}/exact", node

    def __call__(self, kind: str, *inputs: str, outputs: list[str] | None = None, **attributes: Any) -> str:
        name = f"{self._base}/{len(self.nodes)}"
        made = helper.make_node(kind, inputs, outputs or [name], name=name, **attributes)
        self.nodes.append(made)
        return str(made.output[0])

    def again(self, *inputs: str, outputs: list[str] | None = None, kind: str = "") -> str:
        """The replaced operator on other operands."""
        name = self(kind or self._node.op_type, *inputs, outputs=outputs)
        self.nodes[-1].attribute.extend(self._node.attribute)
        return name

    def number(self, value: float, like: str) -> str:
        tensor = helper.make_tensor("value", TensorProto.FLOAT, [], [value])
        return self("CastLike", self("Constant", value=tensor), like)

    def integers(self, values: list[int]) -> str:
        return self("Constant", value=helper.make_tensor("value", TensorProto.INT64, [len(values)], values))

    def is_nan(self, x: str) -> str:
        return self("Cast", self("IsNaN", x), to=TensorProto.FLOAT)

    def true(self, x: str) -> str:
        return self("Cast", x, to=TensorProto.BOOL)


def exact(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the exact forms; the same object if it needs none."""
    if not _needed(model.graph):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _rewrite(made.graph, None)
    return made


def _needed(graph: Any) -> bool:
    return any(node.op_type in _FORMS or any(map(_needed, bodies(node))) for node in graph.node)


def _rewrite(graph: Any, outer: Intervals | None) -> None:
    known = of_graph(graph, outer=outer)
    nodes: list[Any] = []
    for node in graph.node:
        for body in bodies(node):
            _rewrite(body, known)
        form = (
            _FORMS.get(node.op_type)
            if not node.domain and known.of(node.input[0] if node.input else "").floats
            else None
        )
        write = _Writer(node)
        if form is not None:
            form(node, write)
        nodes += write.nodes or [node]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _pool(node: Any, write: _Writer) -> None:
    """The engine skips NaN, and makes the lowest number of a window of -inf alone."""
    if len(node.output) > 1 and node.output[1]:
        return
    x = node.input[0]
    nan, lowest = write.is_nan(x), write.number(float("-inf"), x)
    greater = write("Cast", write("Greater", x, lowest), to=TensorProto.FLOAT)
    maximum = write.again(write("Where", write("IsNaN", x), lowest, x))
    maximum = write("Where", write.true(write.again(greater)), maximum, lowest)
    write("Where", write.true(write.again(nan)), write.number(float("nan"), x), maximum, outputs=[node.output[0]])


def _extremum(node: Any, write: _Writer) -> None:
    x, axes = node.input[0], list(node.input[1:])
    seen = write.again(write.is_nan(x), *axes, kind="ReduceMax")
    write("Where", write.true(seen), write.number(float("nan"), x), write.again(x, *axes), outputs=[node.output[0]])


def _place(node: Any, write: _Writer) -> None:
    x, given = node.input[0], attributes(node)
    nan = write.is_nan(x)
    axes, keep = write.integers([given.get("axis", 0)]), given.get("keepdims", 1)
    first = write("ArgMax", nan, axis=given.get("axis", 0), keepdims=keep)
    seen = write("ReduceMax", nan, axes, keepdims=keep)
    write("Where", write.true(seen), first, write.again(x), outputs=[node.output[0]])


def _sort(node: Any, write: _Writer) -> None:
    x, given = node.input[0], attributes(node)
    last = float("-inf") if given.get("largest", 1) else float("inf")
    # Infinity itself comes before NaN.
    bounds = [write.number(_LOWEST, x), ""] if given.get("largest", 1) else ["", write.number(-_LOWEST, x)]
    key = write("Where", write("IsNaN", x), write.number(last, x), write("Clip", x, *bounds))
    outputs = [f"{node.output[0]}/exact/sorted", *([node.output[1]] if len(node.output) > 1 else [])]
    places = node.output[1] if len(node.output) > 1 and node.output[1] else f"{node.output[0]}/exact/places"
    write.again(key, *node.input[1:], outputs=[outputs[0], places])
    if node.output[0]:
        write("GatherElements", x, places, outputs=[node.output[0]], axis=given.get("axis", -1))


def _hard_swish(node: Any, write: _Writer) -> None:
    """0 for -inf, which the engine multiplies by 0."""
    x = node.input[0]
    gate = write("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    write("Mul", write("Where", write("GreaterOrEqual", x, write.number(-3, x)), x, write.number(0, x)), gate,
          outputs=[node.output[0]])  # fmt: skip


_FORMS: Mapping[str, Callable[[Any, _Writer], None]] = {
    "ArgMax": _place,
    "ArgMin": _place,
    "GlobalMaxPool": _pool,
    "HardSwish": _hard_swish,
    "MaxPool": _pool,
    "ReduceMax": _extremum,
    "ReduceMin": _extremum,
    "TopK": _sort,
}
