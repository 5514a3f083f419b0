"""MatMulNBits: products with 4- and 8-bit weights as the kernel of ONNX Runtime that reads 4-bit weights.

https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#commicrosoftmatmulnbits

Its kernels for 2 and 8 bits are fast only if the other operand may be quantized too: in float32, one row times 2,048 x
8,192 weights of 8 bits takes 50 to 120 ms, and 1.1 to 2.1 ms with float32 weights. So a byte b = 16 high + low is two
4-bit numbers: [x, x] times [high with 16 times the scales, low], 1.3 ms, where 4-bit weights take 0.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .compressed_products import Product, rewritten

FLOAT32, INT8 = 1, 4
"""Levels of accuracy: in which type the other operand may be computed."""
_DOMAIN, _KIND, _LEVEL = "com.microsoft", "MatMulNBits", "accuracy_level"
_BLOCKS = (256, 128, 64, 32, 16)  # columns that share a scale


def packed_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its compressed products as MatMulNBits in float32, where that is the fastest; the same object if
    nothing changes."""
    return rewritten(model, _nodes)


def with_quantized_activations(model: onnx.ModelProto) -> int:
    """Let these products quantize their other operand to 8 bits. Returns how many there are."""
    found = [node for node in model.graph.node if node.op_type == _KIND and node.domain == _DOMAIN]
    for node in found:
        for attribute in node.attribute:
            if attribute.name == _LEVEL:
                attribute.i = INT8
    return len(found)


def _nodes(product: Product, store: Callable[[str, np.ndarray], str]) -> list[Any] | None:
    columns = product.codes.shape[1]
    block = _block(product)
    if block is None or (product.bits == 8 and not product.few):
        return None
    repeats = -(-columns // block) if product.scales.shape[1] == 1 else product.block // block
    codes = product.codes - product.lowest
    scales = np.repeat(product.scales, repeats, 1)
    zeros = np.full_like(product.scales, -product.lowest, dtype=np.int16)
    if product.zeros is not None:
        zeros += product.zeros
    zeros = np.repeat(zeros, repeats, 1)
    x, made, out = product.x, [], product.out
    codes = _padded(codes, zeros, block)
    if product.bits == 8:
        if codes.shape[1] != columns:
            return None  # the padding would lie between the two halves
        codes, zeros = (np.concatenate([each >> 4, each & 15], 1) for each in (codes, zeros))
        scales = np.concatenate([16 * scales, scales], 1)
        made.append(helper.make_node("Concat", [x, x], [f"{out}/twice"], name=f"{out}/twice", axis=-1))
        x, columns = f"{out}/twice", 2 * columns
    inputs = [x, store(f"{product.weights}/codes", _nibbles(codes.reshape(len(codes), -1, block)))]
    inputs.append(store(f"{product.weights}/scales", np.ascontiguousarray(scales)))
    if (zeros != _MIDDLE).any():
        inputs.append(store(f"{product.weights}/zeros", _nibbles(zeros)))
    given = {"K": columns, "N": len(codes), "bits": 4, "block_size": block, _LEVEL: FLOAT32}
    result = f"{out}/product" if product.bias else out
    made.append(helper.make_node(_KIND, inputs, [result], name=product.name, domain=_DOMAIN, **given))
    if product.bias:
        made.append(helper.make_node("Add", [result, product.bias], [out], name=f"{out}/bias"))
    return made


_MIDDLE = 8  # the zero point of a product without zero points


def _block(product: Product) -> int | None:
    """The largest block of the kernel that has one scale; None if there is none."""
    columns = product.codes.shape[1]
    if product.scales.shape[1] > 1:
        return next((block for block in _BLOCKS if product.block % block == 0), None)
    return next((block for block in _BLOCKS[1:] if columns % block == 0), 32)


def _padded(codes: np.ndarray, zeros: np.ndarray, block: int) -> np.ndarray:
    """The codes with columns of 0 up to a whole number of blocks."""
    missing = zeros.shape[1] * block - codes.shape[1]
    return codes if not missing else np.concatenate([codes, np.repeat(zeros[:, -1:], missing, 1)], 1)


def _nibbles(values: np.ndarray) -> np.ndarray:
    """Numbers below 16, two in a byte along the last axis, the first in the lower bits."""
    values = values.astype(np.uint8)
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), np.uint8)], -1)
    return np.ascontiguousarray(values[..., 0::2] | values[..., 1::2] << 4)
