"""Scaled weights: products with 4- and 8-bit weights in the form that OpenVINO's kernels read: integers are converted,
shifted and scaled. Measured for one row times 2,048 x 8,192 weights of 4 bits in blocks of 32: float32 weights 2.2 ms,
DequantizeLinear 1.2 ms, because it has zero points, this form 0.87 ms.

Its kernels quantize the other operand, if that is allowed, for signed integers without zero points and unsigned ones
with them.

They are wrong (0 to 25 dB, OpenVINO 2026.4, AVX2 and AVX-512) for 4-bit weights in blocks of 40, 48, 80, 120, 240,
for 8-bit ones in blocks of 6 or 10, and for an odd number of 4-bit columns with 8 rows or more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from .compressed_products import Product, rewritten
from .decompress import decompressed

_SMALLEST_BLOCK = 8
_FOUR_BITS = (TensorProto.INT4, TensorProto.UINT4)
_SIGNED: dict[int, Any] = {4: ml_dtypes.int4, 8: np.int8}
_UNSIGNED: dict[int, Any] = {4: ml_dtypes.uint4, 8: np.uint8}


def scaled_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its compressed products in this form, and weights that the kernels get wrong as floats; the same
    object if nothing changes."""
    model = rewritten(model, _nodes)
    matrices = [t for t in model.graph.initializer if t.data_type in _FOUR_BITS and len(t.dims) == 2]
    dims = {tensor.name: tuple(tensor.dims) for tensor in matrices}

    def right(dequantize: Any, reader: Any, makers: Mapping[str, Any]) -> bool:
        block = next((a.i for a in dequantize.attribute if a.name == "block_size"), 0)
        odd = any(size % 2 for size in dims.get(dequantize.input[0], ()))
        return not odd and (not block or _whole_block(block) == block)

    return decompressed(model, right)


def _whole_block(block: int) -> int | None:
    """The largest part of a block that the kernels get right; None if there is none."""
    found = block & -block
    return found if found >= _SMALLEST_BLOCK else None


def _nodes(product: Product, store: Callable[[str, np.ndarray], str]) -> list[Any] | None:
    rows, columns = product.codes.shape
    blocks = product.scales.shape[1]
    if product.bits == 4 and columns % 2:
        return None
    if blocks > 1:
        block = _whole_block(product.block)
        if block is None:
            return None
        product = product.split(block)
        blocks = columns // block
    out, made = product.out, []
    codes, zeros = _codes(product)
    shape, per_block = ((rows, columns), (rows, 1)) if blocks == 1 else ((rows, blocks, -1), (rows, blocks, 1))

    def emit(kind: str, inputs: list[str], label: str, **given: Any) -> str:
        made.append(helper.make_node(kind, inputs, [f"{out}/{label}"], name=f"{out}/{label}", **given))
        return f"{out}/{label}"

    def floats(label: str, values: np.ndarray) -> str:
        return emit("Cast", [store(f"{product.weights}/{label}", values)], label, to=TensorProto.FLOAT)

    weights = floats("codes", codes.reshape(shape))
    if zeros is not None:
        weights = emit("Sub", [weights, floats("zeros", zeros.reshape(per_block))], "shifted")
    scales = np.ascontiguousarray(product.scales.reshape(per_block))
    weights = emit("Mul", [weights, store(f"{product.weights}/scales", scales)], "scaled")
    if blocks > 1:
        weights = emit("Reshape", [weights, store(f"{product.weights}/shape", np.array([rows, columns]))], "whole")
    weights = emit("Transpose", [weights], "turned", perm=[1, 0])
    result = f"{out}/product" if product.bias else out
    made.append(helper.make_node("MatMul", [product.x, weights], [result], name=product.name))
    if product.bias:
        made.append(helper.make_node("Add", [result, product.bias], [out], name=f"{out}/bias"))
    return made


def _codes(product: Product) -> tuple[np.ndarray, np.ndarray | None]:
    """The codes and zero points: signed without zero points, or unsigned."""
    if product.signed and product.zeros is None:
        return product.codes.astype(_SIGNED[product.bits]), None
    kind = _UNSIGNED[product.bits]
    codes = (product.codes - product.lowest).astype(kind)
    return codes, None if product.zeros is None else (product.zeros - product.lowest).astype(kind)
