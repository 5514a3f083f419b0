"""Decompress: dequantizes weights once, at compilation, if the engine has no kernel for their quantized form.

ONNX Runtime keeps every DequantizeLinear for kernels that fuse it; if no kernel does, it dequantizes the weights at
each prediction. ResNet-50 with 8-bit weights: 59 ms per prediction before this pass, 39 ms after it, the same as with
float32 weights (`bench/passes.py`). The weights then take the memory of float32 weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..lowering.onnx_nodes import values_read
from ..lowering.weight_arrays import array_of

Keeps = Callable[[Any, Any, Mapping[str, Any]], bool]
"""(dequantizing node, node that reads it, producers of all values) -> whether one kernel covers both."""


def decompressed(model: onnx.ModelProto, keeps: Keeps) -> onnx.ModelProto:
    """The model with float weights, except those for which every reader has a kernel; the same object if nothing
    changes."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {info.name for info in graph.output}
    folded = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and all(not name or name in stored for name in node.input)
        and node.output[0] not in outputs
        and readers.get(node.output[0])  # weights that only a subgraph reads stay
        and not all(keeps(node, reader, makers) for reader in readers[node.output[0]])
    ]
    if not folded:
        return model
    removed = {node.output[0] for node in folded}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:], made.graph.initializer[:]
    made.graph.node.extend(node for node in graph.node if node.output[0] not in removed)
    needed = {name for node in made.graph.node for name in values_read(node)}
    made.graph.initializer.extend(tensor for name, tensor in stored.items() if name in needed)
    for node in folded:
        made.graph.initializer.append(numpy_helper.from_array(_dequantized(node, stored), node.output[0]))
    return made


def _dequantized(node: Any, stored: Mapping[str, Any]) -> np.ndarray:
    """(x - zero point) * scale, with scales by tensor, by axis, or by block along an axis.

    https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
    """
    arrays = [array_of(stored[name]) if name else None for name in node.input]
    x, scale = arrays[0], arrays[1]
    assert x is not None
    assert scale is not None
    zero = arrays[2] if len(arrays) > 2 and arrays[2] is not None else np.zeros(scale.shape, np.int8)
    given = {attribute.name: attribute.i for attribute in node.attribute}
    axis, block = given.get("axis", 1), given.get("block_size", 0)

    def along(values: np.ndarray) -> np.ndarray:
        if block:
            return np.repeat(values, block, axis=axis)
        if values.ndim == 1 and values.size > 1:
            return values.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
        return values.reshape(()) if values.size == 1 else values

    values: np.ndarray = x.astype(np.float32) - along(zero.astype(np.float32))
    values *= along(scale.astype(np.float32))
    return values.astype(scale.dtype, copy=False)
