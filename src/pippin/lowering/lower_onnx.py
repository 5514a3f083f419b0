"""ONNX models: they are what other models are lowered to, so they get ports, names, one version of operators, and
weights that stay where they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import inliner, numpy_helper

from ..errors import SpecificationError, UnsupportedModelError, UnsupportedVersionError, WeightError
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
_DIGITS = 19  # of the place of a weight
_NODES = 1 << 17  # with all functions expanded
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
    _check_inner_weights(file)
    try:
        onnx.checker.check_model(_checkable(model))
    except Exception as error:  # of several kinds, without a common base
        raise SpecificationError(f"{file.name}: {_first_sentence(error)}") from None
    if not model.functions:
        return model
    _check_expansion(file)
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise SpecificationError(f"{file.name}: {_first_sentence(error)}") from None


def _first_sentence(error: Exception) -> str:
    """What the checker found, without the node that it prints over many lines."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if not lines[0].rstrip().endswith("of node:"):
        return lines[0]
    named = next((line.strip() for line in lines[1:] if line.lstrip().startswith(("name:", "op_type:", "OpType:"))), "")
    found = " ".join(f"{lines[0].strip().removesuffix(':')} {named}".split())
    end = next((line.strip() for line in lines[1:] if "is not output of any previous nodes" in line), "")
    return f"{found} {end}".rstrip()


def _check_inner_weights(file: OnnxFile) -> None:
    """The checker and engines would look for weights of inner graphs and functions in the current folder."""
    tensors = (
        tensor
        for nodes in (file.model.graph.node, *(function.node for function in file.model.functions))
        for tensor in _inner_tensors(nodes)
    )
    outside = next((tensor.name for tensor in tensors if tensor.external_data), None)
    if outside is not None:
        raise WeightError(
            f"{file.name}: '{outside}', a constant of a node, inner graph or function, is in another file; only the"
            " weights of the main graph may be (store it inside the model)"
        )


def _inner_tensors(nodes: Iterable[Any]) -> Iterator[Any]:
    """The constants in attributes, and those of inner graphs at any depth."""
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.initializer
                yield from _inner_tensors(graph.node)


def _check_expansion(file: OnnxFile) -> None:
    """Functions that call functions may double at each step: a file of some kilobytes asks for any number of nodes."""
    functions = {(each.domain, each.name): each for each in file.model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[Any]) -> int:
        count = 0
        for node in nodes:
            called = (node.domain, node.op_type)
            if called in functions:
                if called not in sizes:
                    sizes[called] = size(functions[called].node)
                count += sizes[called]
            count += 1 + sum(size(body.node) for body in bodies(node))
        return count

    total = size(file.model.graph.node)
    if total > _NODES:
        raise UnsupportedModelError(
            f"{file.name}: its functions expand to {total:,} nodes, and {_NODES:,} are supported"
        )


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the checker takes it: it would look for files of weights, and refuse values of unknown rank."""
    slim = onnx.ModelProto()
    slim.CopyFrom(model)
    for info in (*slim.graph.input, *slim.graph.output):
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
    numbers = set(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}
    if tensor.data_type not in numbers or min(tensor.dims, default=0) < 0:
        what = f"the shape {list(tensor.dims)}" if tensor.data_type in numbers else f"the type {tensor.data_type}"
        raise WeightError(f"{file.name}: '{tensor.name}' has {what}, which no weight in another file can have")
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    path = file.external_files[where.get("location", "")]
    count = math.prod(tensor.dims)
    packed = dtype.name in ("int4", "uint4")
    size = (count + 1) // 2 if packed else count * dtype.itemsize
    offset, length = (_number(file, tensor.name, where, *each) for each in (("offset", 0), ("length", size)))
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


def _number(file: OnnxFile, name: str, where: Mapping[str, str], key: str, default: int) -> int:
    text = where.get(key, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        shown = text if len(text) <= _DIGITS else f"{text[:_DIGITS]}..."
        raise WeightError(f"{file.name}: the {key} of '{name}' in its file of weights must be a number, got {shown!r}")
    return int(text)


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
