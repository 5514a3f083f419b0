"""Exact activations: gelu and softmax by operators that MNN computes exactly.

MNN's own gelu is off by 5e-4 (`Gelu` with either approximation), and it makes one of x * (1 + erf(x / sqrt(2))) / 2. It
takes an error function of the negated value, with the sign put right afterwards, as it stands. It subtracts the largest
element of the whole tensor from those of a softmax over any axis but the last, so that rows far below it are uniform.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..lowering.onnx_nodes import attributes
from .value_types import value_types

_CONSTANTS = {"half": 0.5, "root": math.sqrt(0.5), "cubic": 0.044715, "twice": 2 * math.sqrt(2 / math.pi)}


def exact_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without Gelu, bare Erf and Softmax nodes over another axis than the last; the same object if it has
    none."""
    ranks = _ranks(model)
    if not any(node.op_type in _FORMS or node.output[0] in ranks for node in model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = [
        new
        for node in model.graph.node
        for new in (
            _on_the_last_axis(node, ranks[node.output[0]])
            if node.output[0] in ranks
            else _FORMS.get(node.op_type, _same)(node)
        )
    ]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    made.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), f"{name}/exact")
        for name, value in _CONSTANTS.items()
        if f"{name}/exact" in used
    )
    return made


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """The ranks of the results of softmax over another axis than the last, by name."""
    found = [node for node in model.graph.node if node.op_type in _SOFTMAX and _axis(node) != -1]
    types = value_types(model) if found else {}
    infos = [(node, types.get(node.input[0])) for node in found]
    ranks = {
        node.output[0]: len(info.type.tensor_type.shape.dim)
        for node, info in infos
        if info is not None and info.type.tensor_type.HasField("shape")
    }
    return {node.output[0]: ranks[node.output[0]] for node in found if _axis(node) != ranks.get(node.output[0], 0) - 1
            and node.output[0] in ranks}  # fmt: skip


def _axis(node: Any) -> int:
    return int(attributes(node).get("axis", -1))


def _on_the_last_axis(node: Any, rank: int) -> list[Any]:
    out, order = node.output[0], [*range(rank)]
    order[_axis(node)], order[-1] = order[-1], order[_axis(node)]
    return [
        helper.make_node("Transpose", [node.input[0]], [f"{out}/turned"], name=f"{out}/turned", perm=order),
        helper.make_node(node.op_type, [f"{out}/turned"], [f"{out}/last"], name=f"{out}/last", axis=-1),
        helper.make_node("Transpose", [f"{out}/last"], [out], name=out, perm=order),
    ]


def _same(node: Any) -> list[Any]:
    return [node]


def _erf(node: Any) -> list[Any]:
    """-erf(-x)."""
    out = node.output[0]
    return [
        _node("Neg", [node.input[0]], f"{out}/negated"),
        _node("Erf", [f"{out}/negated"], f"{out}/erf"),
        _node("Neg", [f"{out}/erf"], out),
    ]


def _gelu(node: Any) -> list[Any]:
    """x / 2 + x / 2 * erf(x / sqrt(2)); with the tangent, x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))."""
    x, out = node.input[0], node.output[0]
    if any(attribute.s == b"tanh" for attribute in node.attribute):
        return [
            _node("Mul", [x, x], f"{out}/square"),
            _node("Mul", [f"{out}/square", "cubic/exact"], f"{out}/share"),
            _node("Mul", [f"{out}/share", x], f"{out}/cube"),
            _node("Add", [f"{out}/cube", x], f"{out}/inner"),
            _node("Mul", [f"{out}/inner", "twice/exact"], f"{out}/scaled"),
            _node("Sigmoid", [f"{out}/scaled"], f"{out}/weight"),
            _node("Mul", [x, f"{out}/weight"], out),
        ]
    return [
        _node("Mul", [x, "root/exact"], f"{out}/scaled"),
        _node("Erf", [f"{out}/scaled"], f"{out}/erf"),
        _node("Mul", [x, "half/exact"], f"{out}/half"),
        _node("Mul", [f"{out}/half", f"{out}/erf"], f"{out}/rest"),
        _node("Add", [f"{out}/half", f"{out}/rest"], out),
    ]


def _node(kind: str, inputs: list[str], output: str) -> Any:
    return helper.make_node(kind, inputs, [output], name=output)


_SOFTMAX = frozenset({"LogSoftmax", "Softmax"})
_FORMS = {"Erf": _erf, "Gelu": _gelu}
