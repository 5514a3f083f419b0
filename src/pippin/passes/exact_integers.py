"""Exact integers: gives an engine that computes an integer operation in floating point another form of it.

OpenVINO computes comparisons, choices, quotients and reductions of integers in float32, in which 2**24 + 1 is 2**24,
and has no 16-bit integers; its sums, differences and products of two integers are exact and wrap. ONNX Runtime's
reductions of integers saturate. The other forms use only what is exact. Values that are known to be below 2**24 are
exact in float32 too, and so is a comparison with one of them: rounding keeps the order. Those stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx

from ..lowering.interval import EXACT
from ..lowering.onnx_builder import IR_VERSION, Graph, Tensor, value_info
from ..lowering.onnx_nodes import bodies
from .integer_values import Values
from .value_types import value_types

Rule: TypeAlias = Callable[[Graph, Values, Any], Any]
"""(graph to add to, values, node) -> the Tensor in another form; None if the node is right as it is."""


def exact_integers(model: onnx.ModelProto, rules: Mapping[str, Rule]) -> onnx.ModelProto:
    """The model with these operators in another form where they compute integers; the same object if there are none."""
    if not any(_suspects(model.graph, rules)):
        return model
    types = value_types(model)
    values = Values.of(model.graph.node, model.graph.initializer, types)
    rewriter = _Rewriter(rules, model.opset_import)
    nodes = rewriter.nodes(model.graph.node, values, {info.name for info in model.graph.output})
    if not rewriter.changed:
        return model
    made = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    made.opset_import.extend(model.opset_import)
    made.graph.name = model.graph.name
    made.graph.node.extend(nodes)
    made.graph.input.extend(model.graph.input)
    made.graph.output.extend(model.graph.output)
    made.graph.value_info.extend(model.graph.value_info)
    made.graph.initializer.extend(model.graph.initializer)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in rewriter.constants.items())
    return made


def integer_nodes(model: onnx.ModelProto, kinds: Mapping[str, Any]) -> list[Any]:
    """The nodes of these kinds that compute integers, or make them, and are not known to stay below 2**24."""
    if not any(_suspects(model.graph, kinds)):
        return []
    values = Values.of(model.graph.node, model.graph.initializer, value_types(model))

    def small(node: Any) -> bool:
        names = [name for name in (*node.input, *node.output) if values.integers(name)]
        return values.below(EXACT, *names)

    return [node for node in model.graph.node if node.op_type in kinds and _computes_integers(node, values)
            and not small(node)]  # fmt: skip


_INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
_SOURCES = frozenset(
    {"ArgMax", "ArgMin", "If", "Loop", "NonMaxSuppression", "NonZero", "Range", "Scan", "Shape", "TopK"}
)
# Operators whose other inputs are axes, sizes or ends.
_FIRST = frozenset({"ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"})


def _suspects(graph: Any, rules: Mapping[str, Any]) -> Iterator[bool]:
    """Whether the graph may compute integers: a quick look that spares most models the inference of types."""
    inside = [body for node in graph.node for body in bodies(node)]
    if not inside and not any(node.op_type in rules for node in graph.node):
        return
    yield any(info.type.tensor_type.elem_type in _INTEGERS for info in graph.input)
    stored = {tensor.name for tensor in graph.initializer if tensor.data_type in _INTEGERS}
    for node in graph.node:
        yield node.op_type in _SOURCES
        yield node.op_type == "Cast" and any(a.i in _INTEGERS for a in node.attribute)
        if node.op_type in rules and not stored.isdisjoint(node.input[:1] if node.op_type in _FIRST else node.input):
            yield True
    for inner in inside:
        yield from _suspects(inner, rules)


class _Rewriter:
    def __init__(self, rules: Mapping[str, Rule], opsets: Any) -> None:
        self.rules = rules
        self.opsets = opsets
        self.constants: dict[str, np.ndarray] = {}
        self.changed = False

    def nodes(self, nodes: Any, values: Values, outputs: set[str]) -> list[Any]:
        """These nodes, in another form where a rule has one. `outputs` are the results of their graph."""
        clamped = _clamps(nodes, values, outputs)
        found: list[Any] = []
        for node in nodes:
            rule = self.rules.get(node.op_type)
            if rule is None or node.domain or (node.output[0] in clamped) or not _computes_integers(node, values):
                found.append(self._with_bodies(node, values))
                continue
            graph = Graph()
            graph.label = f"{node.name or node.output[0]}/exact"
            result = rule(graph, values, node)
            found += [node] if result is None else self._renamed(graph, result, node.output[0])
        return found

    def _renamed(self, graph: Graph, result: Tensor, name: str) -> list[Any]:
        self.changed = True
        self.constants.update(graph.initializers)
        for node in graph.nodes:
            node.input[:] = [name if i == result.name else i for i in node.input]
            node.output[:] = [name if o == result.name else o for o in node.output]
        return graph.nodes

    def _with_bodies(self, node: Any, values: Values) -> Any:
        """The node, with its branches or loop body rewritten."""
        if not bodies(node):
            return node
        made = onnx.NodeProto()
        made.CopyFrom(node)
        for body in bodies(made):
            self._body(body, values)
        return made

    def _body(self, graph: Any, outer: Values) -> None:
        read = {name for inner in graph.node for name in inner.input} - {info.name for info in graph.input}
        model = onnx.ModelProto(ir_version=IR_VERSION, opset_import=self.opsets)
        model.graph.CopyFrom(graph)
        model.graph.input.extend(value_info(outer.tensors[name]) for name in sorted(read & outer.tensors.keys()))
        values = outer.inside(graph.node, value_types(model))
        nodes = self.nodes(list(graph.node), values, {info.name for info in graph.output})
        del graph.node[:]
        graph.node.extend(nodes)


def _computes_integers(node: Any, values: Values) -> bool:
    place = 1 if node.op_type == "Where" else 0
    return values.integers(node.input[place]) or node.op_type == "Range"


# Elementwise operators that OpenVINO computes in float32, together with an elementwise operator beside them.
_ROUNDING = frozenset({
    "Abs", "And", "Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod", "Not", "Or", "Pow",
    "Sign", "Where", "Xor",
})  # fmt: skip
_MOVES = frozenset({"Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def _clamps(nodes: Any, values: Values, outputs: set[str]) -> set[str]:
    """Results of Min and Max that are right as they are: OpenVINO computes these two exactly unless it joins them with
    an operator that rounds, and even then their result is right if it is small, or only goes into one that is."""
    readers: dict[str, list[Any]] = {}
    makers = {name: node for node in nodes for name in node.output}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
        for body in bodies(node):
            outputs = outputs | {name for inner in body.node for name in inner.input}

    def small(node: Any) -> bool:
        return node.op_type in ("Max", "Min", "Clip") and values.below(EXACT, node.output[0])

    def apart(node: Any) -> bool:
        """Whether no operator beside it rounds. With constants, OpenVINO makes one that clips, and rounds, of two."""
        if any(name in values.fixed for name in node.input):
            return False
        seen, todo = {node.output[0]}, [node]
        while todo:
            at = todo.pop()
            beside = [makers[name] for name in at.input if name in makers]
            for other in (*beside, *(reader for name in at.output for reader in readers.get(name, ()))):
                if other.op_type in _ROUNDING:
                    return False
                if other.op_type in _MOVES | {"Max", "Min"} and other.output[0] not in seen:
                    seen.add(other.output[0])
                    todo.append(other)
        return True

    return {
        node.output[0]
        for node in nodes
        if node.op_type in ("Max", "Min", "Clip") and values.integers(node.output[0])
        and (small(node) or (node.op_type != "Clip" and apart(node))
             or (node.output[0] not in outputs and all(map(small, readers.get(node.output[0], ())))))
    }  # fmt: skip
