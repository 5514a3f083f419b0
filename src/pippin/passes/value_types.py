"""Value types: the types and shapes of all values of an ONNX model, as far as ONNX infers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx


def value_types(model: onnx.ModelProto, sizes: Mapping[str, Sequence[int]] | None = None) -> Mapping[str, Any]:
    """The `ValueInfoProto` of every value whose type ONNX can infer. Does not copy the weights. `sizes` are those to
    assume for inputs whose own are flexible."""
    slim = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    slim.graph.name = model.graph.name
    slim.graph.node.extend(model.graph.node)
    slim.graph.input.extend(model.graph.input)
    for info in slim.graph.input:
        for dim, size in zip(info.type.tensor_type.shape.dim, (sizes or {}).get(info.name, ()), strict=False):
            dim.dim_value = size
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
