"""ONNX models: they are what other models are lowered to, so they get ports, names, one version of operators, and
weights that stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import inliner, numpy_helper

from ..errors import SpecificationError, UnsupportedVersionError, WeightError
from ..format.asset import Asset
from ..format.description import FunctionDescription
from ..format.onnx_file import DTYPES, OnnxFile, shape_of
from ..types import DataType, TensorType
from .lowered_model import Lowered, Port, Source, output_name
from .onnx_builder import OPSET
from .onnx_nodes import attributes, bodies, values_read
from .weight_arrays import WeightArrays, worth_referring

# What lowerings make, with the attributes that they give; the other engines are compared on these.
_FAMILIAR = frozenset({
    "Abs", "Acos", "Add", "And", "ArgMax", "ArgMin", "Asin", "Atan", "AveragePool", "BatchNormalization",
    "BitwiseAnd", "Cast", "Ceil", "Clip", "Compress", "Concat", "Constant", "ConstantOfShape", "Conv",
    "ConvTranspose", "Cos", "Cosh", "CumSum", "DepthToSpace", "DequantizeLinear", "Div", "Einsum", "Elu", "Equal",
    "Erf", "Exp", "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "HardSigmoid", "HardSwish",
    "Identity", "If", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LSTM", "LayerNormalization", "LeakyRelu",
    "Less", "LessOrEqual", "Log", "LogSoftmax", "Loop", "MatMul", "Max", "MaxPool", "Min", "Mod", "Mul", "Neg",
    "NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "RNN", "Range",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence", "Round",
    "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax",
    "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh",
    "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
})  # fmt: skip
_STRANGE: Mapping[str, Mapping[str, Any]] = {
    "GRU": {"layout": 1},
    "LSTM": {"layout": 1},
    "MaxPool": {"ceil_mode": 1},
    "RNN": {"layout": 1},
    "Resize": {"antialias": 1, "exclude_outside": 1, "mode": b"cubic"},
    "SpaceToDepth": {"mode": b"CRD"},
}
"""Values of attributes with which an operator is not familiar."""
_WIDE_CODES = (onnx.TensorProto.INT16, onnx.TensorProto.UINT16)
_OLDEST = 13  # of what passes take, if a model cannot be converted to a newer one


def lower_onnx(asset: Asset, function: FunctionDescription) -> Lowered:
    """Raises UnsupportedVersionError for operators of an old version that cannot be converted, SpecificationError for a
    model that breaks ONNX's rules, WeightError."""
    file = asset.specification
    assert isinstance(file, OnnxFile)
    model = _converted(_checked(file), asset.name)
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    kept = [info for info in graph.input if info.name not in stored]
    del graph.input[:]
    graph.input.extend(kept)
    inputs = tuple(_port(info) for info in graph.input)
    outputs = tuple(_output(graph, info, inputs) for info in list(graph.output))
    _without_dropout(graph)
    # OpenVINO's quantization to 16 bits is one code off where a quotient is half-way between two.
    codes = {t.name for t in graph.initializer if t.data_type in _WIDE_CODES}
    codes |= {info.name for info in graph.input if info.type.tensor_type.elem_type in _WIDE_CODES}
    wide_codes = {name for node in graph.node if node.op_type == "QuantizeLinear" for name in node.input[2:]} & codes
    sources = _named(graph)
    weights = WeightArrays()
    _refer(file, graph, weights)
    return Lowered(
        name=function.name,
        model=model,
        inputs=inputs,
        outputs=outputs,
        states=(),
        written=(),
        labels=None,
        computes=_floats(inputs, outputs, graph),
        sources=sources,
        unfamiliar={
            node.name: node.op_type for node in graph.node if not _is_familiar(node) or set(node.input) & wide_codes
        },
        weights=(weights,),
    )


def _checked(file: OnnxFile) -> onnx.ModelProto:
    """A copy with local functions inlined. Raises SpecificationError if it breaks ONNX's own rules."""
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    try:
        onnx.checker.check_model(_checkable(model))
        return inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # of several kinds, without a common base
        raise SpecificationError(f"{file.name}: {str(error).strip().splitlines()[0]}") from None


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the checker takes it: it would look for files of weights, and refuse outputs of unknown rank."""
    slim = onnx.ModelProto()
    slim.CopyFrom(model)
    for info in slim.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.shape.SetInParent()
    for tensor in slim.graph.initializer:
        if tensor.external_data:
            slim.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    kept = [tensor for tensor in slim.graph.initializer if not tensor.external_data]
    del slim.graph.initializer[:]
    slim.graph.initializer.extend(kept)
    return slim


def _converted(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    version = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), OPSET)
    if version >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:
        if version >= _OLDEST:
            return model
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedVersionError(
            f"{name} uses opset {version}, and its operators cannot be converted to opset {OPSET}: {why}"
        ) from None


def _port(info: Any) -> Port:
    dtype = DTYPES[info.type.tensor_type.elem_type]
    return Port(info.name, TensorType(dtype, shape_of(info)), np.dtype(dtype.numpy))


def _output(graph: Any, info: Any, inputs: tuple[Port, ...]) -> Port:
    """ONNX lets an input be an output; engines need a name for each."""
    dtype = DTYPES[info.type.tensor_type.elem_type]
    tensor = output_name(info.name, inputs)
    kind, shape = TensorType(dtype, shape_of(info)), np.dtype(dtype.numpy)
    if tensor == info.name:
        return Port(info.name, kind, shape)
    graph.node.append(onnx.helper.make_node("Identity", [info.name], [tensor], tensor))
    port = Port(info.name, kind, shape, tensor)
    info.name = tensor
    return port


def _refer(file: OnnxFile, graph: Any, weights: WeightArrays) -> None:
    """Large constants are referred to, in the mapped files where they are."""
    arrays = {tensor.name: _array(file, tensor) for tensor in graph.initializer if tensor.name}
    large = worth_referring(arrays)
    for tensor in graph.initializer:
        array = arrays.get(tensor.name)
        if array is None or not (tensor.external_data or tensor.name in large):
            continue
        name = tensor.name
        tensor.Clear()
        if name in large:
            tensor.name = name
            weights.refer(tensor, array)
        else:
            tensor.CopyFrom(numpy_helper.from_array(array, name))


def _array(file: OnnxFile, tensor: Any) -> np.ndarray:
    if not tensor.external_data:
        return numpy_helper.to_array(tensor)
    where = {entry.key: entry.value for entry in tensor.external_data}
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    path = file.external_files[where.get("location", "")]
    count = int(np.prod(tensor.dims, dtype=np.int64)) if tensor.dims else 1
    packed = dtype.name in ("int4", "uint4")
    size = (count + 1) // 2 if packed else count * dtype.itemsize
    offset, length = int(where.get("offset", 0)), int(where.get("length", size))
    if offset < 0 or length != size or offset + size > path.stat().st_size:
        raise WeightError(
            f"{file.name}: '{tensor.name}' has {size} bytes, from {offset} on in {path.name}, which has"
            f" {path.stat().st_size}; the model says {length}"
        )
    if not size:
        return np.zeros(tuple(tensor.dims), dtype)
    data = np.memmap(path, np.uint8, "r", offset, (size,))
    if packed:
        stored = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=data.tobytes())
        return numpy_helper.to_array(stored)
    return data.view(dtype).reshape(tuple(tensor.dims))


def _is_familiar(node: Any) -> bool:
    strange = _STRANGE.get(node.op_type, {})
    given = attributes(node)
    inner = all(_is_familiar(each) for body in bodies(node) for each in body.node)
    known = not node.domain and node.op_type in _FAMILIAR and inner
    return known and not any(given.get(name) == value for name, value in strange.items())


def _without_dropout(graph: Any) -> None:
    """Dropout does nothing outside of training."""
    read = {name for node in graph.node for name in values_read(node)} | {info.name for info in graph.output}
    for node in graph.node:
        trains = len(node.input) > 2 and node.input[2]
        if node.op_type == "Dropout" and not node.domain and not trains and not any(n in read for n in node.output[1:]):
            node.CopyFrom(onnx.helper.make_node("Identity", node.input[:1], node.output[:1], node.name))


def _named(graph: Any) -> tuple[Source, ...]:
    """Give each node a name of its own; they are the operations of the model."""
    seen: set[str] = set()
    found = []
    for number, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{number}"
        while name in seen:
            name = f"{name}_{number}"
        seen.add(name)
        node.name = name
        found.append(Source(name, node.op_type, node.op_type == "Constant"))
    return tuple(found)


def _floats(inputs: tuple[Port, ...], outputs: tuple[Port, ...], graph: Any) -> frozenset[DataType]:
    """float16 only if all that enters and leaves is: then the model may be computed in 16 bits."""
    found = {port.type.dtype for port in (*inputs, *outputs) if port.type.dtype.is_float}
    found |= {DTYPES[t.data_type] for t in graph.initializer if t.data_type in DTYPES and DTYPES[t.data_type].is_float}
    return frozenset(found or {DataType.FLOAT32})
