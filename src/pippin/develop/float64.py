"""Float64: evaluates the nodes of an ONNX graph in float64, the truth that precisions, engines and models are held to.

Convolutions and matrix products are numpy's, most other operators those of ONNX's reference. What that has not, or does
element by element in Python, is computed by ONNX Runtime in float32: pooling and resizing add no noise to speak of.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..engines import engine_named
from ..lowering.onnx_nodes import attributes, values_read
from ..lowering.weight_arrays import array_of
from ..specialization.nonfinite import EXACT

Arrays = Mapping[str, np.ndarray]
# ONNX's reference loops over the elements of these, or has other rules at their edges.
_BY_ENGINE = frozenset(
    {"AveragePool", "ConvTranspose", "GRU", "GridSample", "If", "LSTM", "Loop", "MaxPool", "MaxRoiPool",
     "NonMaxSuppression", "RNN", "Resize", "RoiAlign", "Scan", "TopK"}
)  # fmt: skip
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


class Float64:
    """Evaluates nodes of one model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._opsets = {opset.domain: opset.version for opset in model.opset_import}
        self._opset_import = model.opset_import
        self._ir_version = model.ir_version
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.in_float32: set[str] = set()
        """Kinds of operators that were computed in float32."""

    def weight(self, name: str) -> np.ndarray | None:
        """A weight in float64; None if there is none of this name."""
        tensor = self._weights.get(name)
        return None if tensor is None else wide(array_of(tensor))

    def run(self, nodes: Iterable[Any], values: Arrays) -> dict[str, np.ndarray]:
        """The results of nodes in topological order, by name; `values` are what they read besides weights."""
        made: dict[str, np.ndarray] = {}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for node in nodes:
                read = {name: made[name] if name in made else self._value(name, values) for name in values_read(node)}
                made.update(zip(node.output, self._evaluated(node, read), strict=False))
        return made

    def _value(self, name: str, values: Arrays) -> np.ndarray:
        found = values.get(name)
        if found is not None:
            return wide(found)
        weight = self.weight(name)
        if weight is None:
            raise KeyError(name)
        return weight

    def _evaluated(self, node: Any, read: Arrays) -> list[np.ndarray]:
        rule = _RULES.get(node.op_type) if not node.domain else None
        x = [read[name] if name else None for name in node.input]
        if rule is not None and all(each is None or each.dtype.kind != "O" for each in x):
            return rule(attributes(node), x)
        if node.op_type not in _BY_ENGINE and not node.domain:
            try:
                return self._by_reference(node, x)
            except Exception:  # it has not this operator, or not for these types
                pass
        exact = _is_in_float64(node)
        if not exact:
            self.in_float32.add(node.op_type)
        return self._by_engine(node, read, np.float64 if exact else np.float32)

    def _by_reference(self, node: Any, x: list[np.ndarray | None]) -> list[np.ndarray]:
        from onnx.reference import ReferenceEvaluator

        named = {name: array for name, array in zip(node.input, x, strict=True) if name}
        evaluator = ReferenceEvaluator(node, opsets=self._opsets)
        return [np.asarray(each) for each in evaluator.run(None, named)]

    def _by_engine(self, node: Any, read: Arrays, dtype: type) -> list[np.ndarray]:
        narrow = {name: array.astype(dtype) if array.dtype == np.float64 else array for name, array in read.items()}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in narrow.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "node", inputs, outputs)
        model = helper.make_model(graph, opset_imports=self._opset_import, ir_version=self._ir_version)
        engine: Any = engine_named(EXACT)
        made = engine.compile_plainly(model.SerializeToString()).run(narrow)
        return [wide(made[name]) if name else np.zeros(0) for name in node.output]


def _is_in_float64(node: Any) -> bool:
    """Whether a node's own numbers are float64, as those of tree ensembles: its operands must be so too."""
    return any(attribute.t.data_type == onnx.TensorProto.DOUBLE for attribute in node.attribute)


def wide(array: np.ndarray) -> np.ndarray:
    """Floats in float64; everything else as it is."""
    return array.astype(np.float64) if array.dtype.kind == "f" or array.dtype.name == "bfloat16" else array


def _conv(given: dict[str, Any], x: list[Any]) -> list[np.ndarray]:
    """A sum of matrix products, one for each element of the kernel, so that no window is copied."""
    data, weight, bias = x[0], x[1], x[2] if len(x) > 2 else None
    rank, group = weight.ndim - 2, given.get("group", 1)
    strides, dilations = (given.get(name) or [1] * rank for name in ("strides", "dilations"))
    kernel = weight.shape[2:]
    pads = _pads(given, data.shape[2:], kernel, strides, dilations)
    data = np.pad(data, [(0, 0), (0, 0), *pads])
    sizes = [
        (size - dilation * (k - 1) - 1) // stride + 1
        for size, k, stride, dilation in zip(data.shape[2:], kernel, strides, dilations, strict=True)
    ]
    batch, channels = data.shape[:2]
    weights = weight.reshape(group, weight.shape[0] // group, weight.shape[1], -1)
    made = np.zeros((batch, group, weight.shape[0] // group, math.prod(sizes)))
    for place, offset in enumerate(np.ndindex(*kernel)):
        window = tuple(
            slice(at * dilation, at * dilation + (size - 1) * stride + 1, stride)
            for at, dilation, size, stride in zip(offset, dilations, sizes, strides, strict=True)
        )
        part = data[(slice(None), slice(None), *window)].reshape(batch, group, channels // group, -1)
        made += weights[..., place] @ part
    made = made.reshape(batch, weight.shape[0], *sizes)
    return [made if bias is None else made + bias.reshape(-1, *[1] * rank)]


def _pads(given: dict[str, Any], sizes: Any, kernel: Any, strides: Any, dilations: Any) -> list[tuple[int, int]]:
    rank, how = len(kernel), given.get("auto_pad", b"NOTSET")
    if how in (b"NOTSET", b"VALID"):
        pads = given.get("pads") or [0] * 2 * rank
        return list(zip(pads[:rank], pads[rank:], strict=True))
    found = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if how == b"SAME_UPPER" else (more, less))
    return found


def _gemm(given: dict[str, Any], x: list[Any]) -> list[np.ndarray]:
    a = x[0].T if given.get("transA") else x[0]
    b = x[1].T if given.get("transB") else x[1]
    made = given.get("alpha", 1.0) * (a @ b)
    return [made if len(x) < 3 or x[2] is None else made + given.get("beta", 1.0) * x[2]]


def _cast(given: dict[str, Any], x: list[Any]) -> list[np.ndarray]:
    """Between float types, nothing is rounded."""
    to = given["to"]
    return [x[0].astype(np.float64 if to in _FLOATS else helper.tensor_dtype_to_np_dtype(to))]


def _softmax(given: dict[str, Any], x: list[Any]) -> list[np.ndarray]:
    axis = given.get("axis", -1)
    powers = np.exp(x[0] - x[0].max(axis, keepdims=True))
    return [powers / powers.sum(axis, keepdims=True)]


_RULES: Mapping[str, Callable[[dict[str, Any], list[Any]], list[np.ndarray]]] = {
    "Cast": _cast,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda given, x: [x[0] @ x[1]],
    "Softmax": _softmax,
}
