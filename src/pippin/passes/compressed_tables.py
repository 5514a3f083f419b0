"""Compressed tables: rows of 4- and 8-bit weights, such as embeddings, that ONNX Runtime looks up and then dequantizes,
so that the whole table does not become floats.

https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#commicrosoftgatherblockquantized
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..lowering.onnx_nodes import attributes
from ..lowering.unused_nodes import remove_unused
from ..lowering.weight_arrays import array_of
from .compressed_products import WORTHWHILE, import_domains

_BLOCKS = (256, 128, 64, 32, 16)  # columns that share a scale
_FOUR_BITS = (TensorProto.INT4, TensorProto.UINT4)


def looked_up(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with lookups of such rows; the same object if there are none."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    found: dict[int, Any] = {}
    constants: dict[str, np.ndarray] = {}
    for number, node in enumerate(model.graph.node):
        table = makers.get(node.input[0]) if node.op_type == "Gather" and not attributes(node).get("axis", 0) else None
        if table is not None and _fits(table, stored):
            made = _lookup(node, table, stored, constants)
            if made is not None:
                found[number] = made
    if not found:
        return model
    made_model = onnx.ModelProto()
    made_model.CopyFrom(model)
    del made_model.graph.node[:]
    made_model.graph.node.extend(found.get(number, node) for number, node in enumerate(model.graph.node))
    made_model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    remove_unused(made_model.graph)
    import_domains(made_model)
    return made_model


def _fits(table: Any, stored: Mapping[str, Any]) -> bool:
    if any(name not in stored for name in table.input if name):
        return False
    data, scale = stored[table.input[0]], stored[table.input[1]]
    return (
        data.data_type in (*_FOUR_BITS, TensorProto.INT8, TensorProto.UINT8)
        and scale.data_type == TensorProto.FLOAT
        and len(data.dims) == 2
        and math.prod(data.dims) >= WORTHWHILE
    )


def _lookup(node: Any, table: Any, stored: Mapping[str, Any], constants: dict[str, np.ndarray]) -> Any | None:
    """One node for both; None if the kernel does not have the blocks."""
    data, scale = stored[table.input[0]], array_of(stored[table.input[1]])
    given, (rows, columns) = attributes(table), data.dims
    zero = array_of(stored[table.input[2]]) if len(table.input) > 2 and table.input[2] else None
    block, axis = given.get("block_size", 0), given.get("axis", 1) % 2
    if block and (axis != 1 or block not in _BLOCKS or columns % block):
        return None
    if not block:
        block = next((size for size in _BLOCKS if columns % size == 0), 0)
        if not block or (scale.size > 1 and axis != 0):
            return None
        scale = _by_block(scale, rows, columns // block)
        zero = None if zero is None else _by_block(zero, rows, columns // block)
    name = table.output[0]
    inputs = [table.input[0], node.input[1], f"{name}/table/scales"]
    constants[inputs[2]] = np.ascontiguousarray(scale)
    if data.data_type not in _FOUR_BITS:
        # The kernel reads unsigned bytes.
        codes, zero = array_of(data), np.zeros(scale.shape, np.int16) if zero is None else zero
        moved = 128 if data.data_type == TensorProto.INT8 else 0
        inputs[0] = f"{name}/table/bytes"
        constants[inputs[0]] = (codes.astype(np.int16) + moved).astype(np.uint8)
        zero = (zero.astype(np.int16) + moved).astype(np.uint8)
    if zero is not None:
        inputs.append(f"{name}/table/zeros")
        constants[inputs[3]] = np.ascontiguousarray(zero)
    how = {"gather_axis": 0, "quantize_axis": 1, "block_size": block}
    how |= {} if data.data_type in _FOUR_BITS else {"bits": 8}
    return helper.make_node("GatherBlockQuantized", inputs, node.output, name=node.name, domain="com.microsoft", **how)


def _by_block(values: np.ndarray, rows: int, blocks: int) -> np.ndarray:
    """A number for each row, or one for all, as one for each block of each row."""
    return np.repeat(np.broadcast_to(values.reshape(-1, 1), (rows, 1)), blocks, 1)
