"""OpenVINO defects: what OpenVINO 2026.4 accepts but gets wrong, so that another engine runs it. Each has a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from ..lowering.lowered_model import Lowered
from ..lowering.onnx_nodes import bodies
from ..passes.stable_sorts import LIMIT, takes_all
from ..passes.value_types import value_types


def refused(lowered: Lowered) -> dict[str, str]:
    """What OpenVINO must not run: {node name: reason}, with the name "" for the model as a whole."""
    ports = (*lowered.inputs, *lowered.outputs)
    if any(port.dtype == np.float64 for port in ports):
        return {"": "float64: OpenVINO computes it in float32"}
    if any(port.dtype == np.int64 for port in lowered.inputs):
        return {"": "64-bit integers as inputs: OpenVINO computes them in 32 bits"}
    if any(port.dtype == object for port in ports):
        return {"": "strings: OpenVINO has no string tensors"}
    model, graph = lowered.model, lowered.model.graph
    if any(tensor.data_type in (_DOUBLE, _STRING) for tensor in graph.initializer):
        return {"": "float64 or string constants: OpenVINO computes float64 in float32 and has no string tensors"}
    empty = any(dim.HasField("dim_value") and not dim.dim_value for port in graph.input for dim in _dims(port))
    failing = _NOT_OF_NOTHING.intersection(node.op_type for node in graph.node) if empty else ()
    if failing:
        return {"": f"{min(failing)} beside an input of no elements: OpenVINO crashes, or returns other numbers"}
    if any(len(name) > _LONGEST for node in graph.node for name in (node.name, *node.input, *node.output)):
        return {"": f"a name of more than {_LONGEST:,} characters: OpenVINO crashes when it reads its own file"}
    if {tensor.name for tensor in graph.input} & {tensor.name for tensor in graph.output}:
        return {"": "an output that is also an input: OpenVINO loses its name"}
    if _depth(graph) > _DEEPEST:
        return {"": f"graphs inside graphs, more than {_DEEPEST} deep: OpenVINO takes twice as long for each"}
    return dict(_refused(graph, {tensor.name: tensor for tensor in graph.initializer})) | _of_nothing(model)


def _dims(port: Any) -> Any:
    return port.type.tensor_type.shape.dim


def _depth(graph: Any) -> int:
    return 1 + max((_depth(body) for node in graph.node for body in bodies(node)), default=-1)


def misjudged(operator: str, kind: Literal["NaN", "infinity"]) -> bool:
    """Whether OpenVINO makes something else of NaN or infinity than the operator is defined to."""
    return operator not in _EXACT and not (kind == "infinity" and operator in _EXACT_FOR_INFINITY)


# These pass NaN and infinity on as defined, alone and fused. Others make a number of NaN: relu, clip, max, min and
# their fused forms take the other operand, exp gives inf, softmax 0 beside the NaN, `greater` is "not less".
_EXACT = frozenset({
    "Abs", "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "BatchNormalization", "Ceil",
    "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DepthToSpace",
    "DequantizeLinear", "Div", "Dropout", "Equal", "Erf", "Expand", "Flatten", "Floor", "Gather", "GatherElements",
    "GatherND", "Gemm", "GlobalAveragePool", "Identity", "InstanceNormalization", "IsInf", "IsNaN",
    "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Mul", "Neg", "Pad", "Pow", "Range",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Reshape",
    "Round", "ScatterElements", "ScatterND", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Softplus",
    "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tan", "Tanh", "Tile", "Transpose", "Unsqueeze",
    "Where",
})  # fmt: skip
# Resize leaves out what it would multiply by 0; whether an infinity or NaN does something there depends on the sizes.
# Softmax is right for -inf, which masks use, and the analysis excludes inf.
_EXACT_FOR_INFINITY = frozenset({
    "Clip", "Elu", "Exp", "Greater", "GreaterOrEqual", "HardSigmoid", "Max", "Min", "PRelu", "Relu",
})  # fmt: skip

_NOT_OF_NOTHING = frozenset({
    "AveragePool", "Conv", "ConvTranspose", "GRU", "Gather", "GatherElements", "GatherND", "GridSample", "LSTM",
    "MaxPool", "RNN", "Resize",
})  # fmt: skip
_LONGEST = 1 << 14  # characters of a name; 2**16 are too many
_DEEPEST = 10  # graphs inside graphs
# Of `TensorProto.DataType`.
_FLOAT, _STRING, _DOUBLE = 1, 8, 11
_WHOLE = frozenset({2, 3, 4, 5, 6, 7, 12, 13})


@dataclass(frozen=True, slots=True)
class _Surroundings:
    makers: Mapping[str, Any]
    """The node that makes each value of the graph."""
    constants: Mapping[str, Any]


def _refused(graph: Any, constants: Mapping[str, Any], nested: bool = False) -> Iterator[tuple[str, str]]:
    around = _Surroundings({name: node for node in graph.node for name in node.output}, constants)
    for node in graph.node:
        check = _CHECKS.get(node.op_type)
        reason = check(node, around) if check else None
        if nested and reason is None:
            reason = _ONLY_OUTSIDE.get(node.op_type)
        if node.domain and reason is None:
            reason = f"{node.domain}.{node.op_type}: only standard ONNX operators are supported"
        for body in bodies(node):
            if reason is None:
                reason = next((inner for _, inner in _refused(body, constants, nested=True)), None)
        if reason is not None:
            yield node.name or node.output[0], reason


_MOVES = frozenset({"Expand", "Reshape", "Transpose", "Unsqueeze"})


def _recurrent(node: Any, around: _Surroundings) -> str | None:
    if len(node.input) > 7 and node.input[7]:
        return "LSTM with peepholes: OpenVINO's results are wrong"
    for name in node.input[5:7]:
        while name in around.makers and around.makers[name].op_type in _MOVES | {"Cast", "Squeeze"}:
            maker = around.makers[name]
            if maker.op_type == "Expand" and _by_values(maker.input[1], around):
                return (
                    f"{node.op_type} with an initial state whose size depends on values: if it differs from the "
                    "input's, OpenVINO fails, returns an empty result or crashes"
                )
            name = maker.input[0]
    return None


def _by_values(name: str, around: _Surroundings) -> bool:
    """Whether a shape is computed from the values of a graph input, not from its shape."""
    todo, seen = [name], set()
    while todo:
        name = todo.pop()
        if not name or name in seen or name in around.constants:
            continue
        seen.add(name)
        maker = around.makers.get(name)
        if maker is None:
            return True
        if maker.op_type not in ("Shape", "Size"):
            todo += maker.input
    return False


def _test_for_nan(node: Any, around: _Surroundings) -> str | None:
    return "a test for NaN (x == x): OpenVINO does not detect NaN" if node.input[0] == node.input[1] else None


def _repeats(node: Any, around: _Surroundings) -> str | None:
    if node.input[1] in around.constants:
        return None
    return "Tile with computed repeats: OpenVINO leaves the result unwritten for three or more repeats"


def _product(node: Any, around: _Surroundings) -> str | None:
    """Weights with a scale per summed element: OpenVINO applies the scales per result element."""
    flipped = {a.name: a.i for a in node.attribute} if node.op_type == "Gemm" else {}
    for side, (name, flag) in enumerate(zip(node.input[:2], ("transA", "transB"), strict=True)):
        maker = around.makers.get(name)
        turned = bool(flipped.get(flag))
        if maker is not None and maker.op_type == "Transpose":
            turned, maker = not turned, around.makers.get(maker.input[0])
        if maker is None or maker.op_type != "DequantizeLinear":
            continue
        attributes = {a.name: a.i for a in maker.attribute}
        data, scale = (around.constants.get(operand) for operand in maker.input[:2])
        if "axis" not in attributes or "block_size" in attributes or data is None or scale is None:
            continue
        summed = len(data.dims) - (1 if (side == 0) != turned else 2)
        if scale.dims and attributes["axis"] % len(data.dims) == summed:
            return "a product with weights that have a scale per summed element: OpenVINO mixes up the scales"
    return None


def _rounded_quotient(node: Any, around: _Surroundings) -> str | None:
    """An integer made of a quotient of floats: OpenVINO multiplies by the reciprocal, so that x / x is below 1."""
    quotient = around.makers.get(node.input[0])
    if quotient is None or quotient.op_type != "Div" or quotient.input[1] in around.constants:
        return None
    if node.op_type == "Cast" and not any(a.name == "to" and a.i in _WHOLE for a in node.attribute):
        return None
    if not any(_by_values(name, around) for name in quotient.input):
        return None
    return f"{node.op_type} of a quotient: OpenVINO multiplies by the reciprocal, and the floor of x / x is 0"


# Their results are elements of their first operand, so that there are none of nothing.
_PICK = frozenset({"ArgMax", "ArgMin", "ReduceMax", "ReduceMin", "TopK"})
# Their results may be empty though their operands are not; the others, if a size comes from values.
_EMPTYING = frozenset({"Compress", "NonMaxSuppression", "NonZero"})
_BY_SIZES = {"ConstantOfShape": 0, "Expand": 1, "Range": 0, "Reshape": 1, "Slice": 1, "Split": 1, "Tile": 1}

# Operands that give the result its sizes, where it is not all of them; padding is taken to add elements.
_SHAPED_BY = {
    "GatherElements": slice(1, 2),
    "Pad": slice(0),
    "ScatterElements": slice(1),
    "ScatterND": slice(1),
}


def _of_nothing(model: Any) -> dict[str, str]:
    """The nodes that pick elements along an axis of which there may be none."""
    graph = model.graph
    around = _Surroundings(
        {name: node for node in graph.node for name in node.output},
        {tensor.name: tensor for tensor in graph.initializer},
    )
    found = [node for node in graph.node if node.op_type in _PICK and _may_be_empty(node.input[0], around)]
    types = value_types(model) if found else {}
    return {
        node.name: f"{node.op_type} of what may be nothing: OpenVINO makes a number of it"
        for node in found
        if not _sized(node, types, around)
    }


def _may_be_empty(name: str, around: _Surroundings) -> bool:
    """Whether the elements of a value depend on a size that comes from values."""
    todo, seen = [name], set()
    while todo:
        name = todo.pop()
        maker = around.makers.get(name)
        if name in seen or maker is None or maker.op_type in ("Shape", "Size"):
            continue
        seen.add(name)
        if maker.op_type in _EMPTYING:
            return True
        first = _BY_SIZES.get(maker.op_type)
        if first is not None and any(_by_values(size, around) for size in maker.input[first:] if size):
            return True
        todo += list(maker.input)[_SHAPED_BY.get(maker.op_type, slice(None))]
    return False


def _sized(node: Any, types: Mapping[str, Any], around: _Surroundings) -> bool:
    """Whether the axes along which a node picks have known sizes; for TopK, whether it takes as many as there are."""
    if node.op_type == "TopK" and takes_all(node, around.makers):
        return True
    info = types.get(node.input[0])
    if info is None or not info.type.tensor_type.HasField("shape"):
        return False
    dims = info.type.tensor_type.shape.dim
    axes = [next((a.i for a in node.attribute if a.name == "axis"), -1 if node.op_type == "TopK" else 0)]
    if node.op_type.startswith("Reduce"):
        given = around.constants.get(node.input[1]) if len(node.input) > 1 else None
        axes = list(range(len(dims))) if given is None else onnx.numpy_helper.to_array(given).tolist()
    return all(dims[axis].WhichOneof("value") == "dim_value" and dims[axis].dim_value > 0 for axis in axes)


def _sort(node: Any, around: _Surroundings) -> str | None:
    """A sort of more elements than the stable form has numbers for."""
    count = around.constants.get(node.input[1])
    if count is None or int(onnx.numpy_helper.to_array(count).max(initial=0)) <= LIMIT:
        return None
    return f"TopK of more than {LIMIT} elements: OpenVINO returns equal ones in any order"


# They have another form outside of branches and loops.
_ONLY_OUTSIDE = {
    "NonMaxSuppression": "suppression in a branch or loop: OpenVINO suppresses an overlap that equals the threshold",
    "TopK": "TopK in a branch or loop: OpenVINO returns equal elements in any order",
}

_CHECKS: Mapping[str, Callable[[Any, _Surroundings], str | None]] = {
    "Cast": _rounded_quotient,
    "Ceil": _rounded_quotient,
    "Equal": _test_for_nan,
    "Floor": _rounded_quotient,
    "Gemm": _product,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "MatMul": _product,
    "RNN": _recurrent,
    "Tile": _repeats,
    "TopK": _sort,
}
