"""Compressed products: finds matrix products whose weights are integers of 4 or 8 bits with scales, for the passes that
give each engine the form in which its kernels read these integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..lowering.onnx_nodes import attributes
from ..lowering.unused_nodes import remove_unused
from ..lowering.weight_arrays import array_of
from .value_types import value_types

WORTHWHILE = 4096
"""Weights of a product; with fewer, any form takes as long."""
# Bits, and whether they have a sign.
_INTEGERS = {
    TensorProto.INT8: (8, True),
    TensorProto.UINT8: (8, False),
    TensorProto.INT4: (4, True),
    TensorProto.UINT4: (4, False),
}
_BATCH = 16
"""Rows; a product of more of them takes as long as its arithmetic, one of fewer as long as reading its weights."""
_POSITIONS = 64
"""Of a convolution: with more, moving the channels costs as much as the kernel saves."""
_UNKNOWN_RANK = -1


@dataclass(frozen=True, slots=True)
class Product:
    """out = x @ W.T + bias, where W [rows, columns] = (codes - zeros) * scales."""

    name: str
    """Of the node."""
    x: str
    out: str
    weights: str
    """Names W; products with equal weights share them."""
    bits: int
    signed: bool
    codes: np.ndarray
    """int16 [rows, columns]"""
    scales: np.ndarray
    """float32 [rows, blocks]; a block is as many columns as the others."""
    zeros: np.ndarray | None
    """int16 [rows, blocks]; None: all are 0."""
    bias: str
    """"" if there is none."""
    few: bool
    """Whether x may have so few rows that reading the weights takes the time."""

    @property
    def block(self) -> int:
        return int(self.codes.shape[1] // self.scales.shape[1])

    @property
    def lowest(self) -> int:
        """The lowest number that the integers can hold."""
        return -1 << (self.bits - 1) if self.signed else 0

    def split(self, block: int) -> Product:
        """The same with smaller blocks."""
        times = self.block // block
        zeros = None if self.zeros is None else np.repeat(self.zeros, times, 1)
        return replace(self, scales=np.repeat(self.scales, times, 1), zeros=zeros)


Emit = Callable[["Product", Callable[[str, np.ndarray], str]], "Sequence[Any] | None"]
"""(product, stores a constant under a name and returns it) -> the nodes that replace it; None: it stays."""


def rewritten(model: onnx.ModelProto, emit: Emit) -> onnx.ModelProto:
    """The model with other nodes for its compressed products; the same object if nothing changes."""
    found: dict[int, Sequence[Any]] = {}
    stored: dict[str, Any] = {}

    def store(name: str, array: np.ndarray) -> str:
        if name not in stored:
            stored[name] = numpy_helper.from_array(array, name)
        return name

    for number, product in _products(model):
        nodes = emit(product, store)
        if nodes is not None:
            found[number] = _around(model.graph.node[number], product, nodes)
    if not found:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    for number, node in enumerate(model.graph.node):
        made.graph.node.extend(found.get(number, [node]))
    made.graph.initializer.extend(stored.values())
    remove_unused(made.graph)
    import_domains(made)
    return made


def _around(node: Any, product: Product, nodes: Sequence[Any]) -> Sequence[Any]:
    """The nodes of a product; a convolution's channels are moved to the end and back."""
    if node.op_type != "Conv":
        return nodes
    rank = len(attributes(node)["kernel_shape"]) + 2
    there, back = [0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)]
    return [
        helper.make_node("Transpose", [node.input[0]], [product.x], name=product.x, perm=there),
        *nodes,
        helper.make_node("Transpose", [product.out], [node.output[0]], name=product.out, perm=back),
    ]


def import_domains(model: onnx.ModelProto) -> None:
    """Import the domains of nodes that a pass has added."""
    known = {imported.domain for imported in model.opset_import}
    for domain in sorted({node.domain for node in model.graph.node} - known - {""}):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def has_compressed_products(model: onnx.ModelProto) -> bool:
    """Whether a product reads integers with scales, without their values."""
    return any(True for _ in _places(model))


@dataclass(frozen=True, slots=True)
class _Place:
    number: int
    node: Any
    dequantize: Any
    turned: bool
    """Whether the integers lie as [columns, rows]."""
    stored: Mapping[str, Any]


def _places(model: onnx.ModelProto) -> Iterator[_Place]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    for number, node in enumerate(model.graph.node):
        given = attributes(node) if node.op_type in ("MatMul", "Gemm", "Conv") else {}
        if node.op_type == "Conv":
            if not _is_pointwise(given):
                continue
        elif node.op_type not in ("MatMul", "Gemm") or given.get("transA") or _is_weighted(given):
            continue
        maker, turned = makers.get(node.input[1]), node.op_type != "Conv" and not given.get("transB", 0)
        if maker is not None and maker.op_type == "Transpose" and len(attributes(maker).get("perm", ())) == 2:
            maker, turned = makers.get(maker.input[0]), turned != (attributes(maker)["perm"] == [1, 0])
        quantized = makers.get(node.input[0])
        if quantized is not None and quantized.op_type == "DequantizeLinear":
            continue  # kernels that multiply 8-bit activations
        if maker is not None and _is_plain(maker, stored):
            yield _Place(number, node, maker, turned, stored)


def _is_weighted(given: Mapping[str, Any]) -> bool:
    return bool(given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0)


def _is_pointwise(given: Mapping[str, Any]) -> bool:
    """Whether a convolution is a product for each position, which is how transformers are written for the ANE."""
    ones = [*given.get("kernel_shape", [0]), *given.get("strides", []), given.get("group", 1)]
    plain = given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    return plain and all(one == 1 for one in ones) and not any(given.get("pads", []))


def _is_plain(maker: Any, stored: Mapping[str, Any]) -> bool:
    if maker.op_type != "DequantizeLinear" or any(name not in stored for name in maker.input if name):
        return False
    data, scale = stored[maker.input[0]], stored[maker.input[1]]
    return (
        data.data_type in _INTEGERS
        and scale.data_type == TensorProto.FLOAT
        and (len(data.dims) == 2 or all(size == 1 for size in data.dims[2:]))
        and math.prod(data.dims) >= WORTHWHILE
    )


def _products(model: onnx.ModelProto) -> Iterator[tuple[int, Product]]:
    places = list(_places(model))
    types = value_types(model) if places else {}
    for place in places:
        count = _row_count(types.get(place.node.input[0]), 1 if place.node.op_type == "Conv" else -1)
        if count == _UNKNOWN_RANK or (place.node.op_type == "Conv" and not 0 < (count or 0) <= _POSITIONS):
            continue
        product = _product(place, count)
        if product is not None:
            yield place.number, product


def _product(place: _Place, count: int | None) -> Product | None:
    node, dequantize = place.node, place.dequantize
    tensors = [array_of(place.stored[name]) if name else None for name in dequantize.input]
    data, scale, *_ = (each.reshape(each.shape[:2]) if each is not None and each.ndim > 2 else each for each in tensors)
    assert data is not None
    assert scale is not None
    zero = tensors[2].reshape(scale.shape) if len(tensors) > 2 and tensors[2] is not None else None
    given = attributes(dequantize)
    axis = given.get("axis", 1) % len(place.stored[dequantize.input[0]].dims)
    by_row = 1 if place.turned else 0
    shapes = [_aligned(each, data.shape, axis, by_row, bool(given.get("block_size"))) for each in (scale, zero)]
    if shapes[0] is None or (zero is not None and shapes[1] is None):
        return None
    codes, scales, zeros = (
        None if each is None else np.ascontiguousarray(each.T if place.turned else each)
        for each in (data.astype(np.int16), shapes[0], shapes[1])
    )
    assert codes is not None
    assert scales is not None
    if codes.shape[1] % scales.shape[1] or not np.isfinite(scales).all():
        return None
    bias = node.input[2] if len(node.input) > 2 else ""
    x, out = (
        (f"{node.output[0]}/positions", f"{node.output[0]}/products")
        if node.op_type == "Conv"
        else (node.input[0], node.output[0])
    )
    name = f"{dequantize.output[0]}{'/turned' if place.turned else ''}"
    bits, signed = _INTEGERS[place.stored[dequantize.input[0]].data_type]
    zeros = None if zeros is None else zeros.astype(np.int16)
    middle = 1 << bits >> 1
    if not signed and zeros is not None and (zeros == middle).all():
        codes, zeros, signed = codes - np.int16(middle), None, True  # kernels are faster without zero points
    if zeros is not None and not zeros.any():
        zeros = None
    few = count is None or count < _BATCH
    return Product(node.name, x, out, name, bits, signed, codes, scales, zeros, bias, few)


def _aligned(
    values: np.ndarray | None, shape: tuple[int, ...], axis: int, by_row: int, blocks: bool
) -> np.ndarray | None:
    """Scales or zero points as a matrix with one number per row and block; None if they lie otherwise."""
    if values is None:
        return None
    if blocks:
        return values if axis != by_row else None
    if values.size == 1:
        values = np.full(shape[by_row], values.reshape(()))
    elif axis != by_row:
        return None  # a number per column
    return values.reshape([-1 if i == by_row else 1 for i in range(2)])


def _row_count(info: Any, columns: int) -> int | None:
    """How many rows a value has, all axes but one taken together; None if only the prediction knows."""
    if info is None or not info.type.tensor_type.HasField("shape"):
        return _UNKNOWN_RANK
    dims = list(info.type.tensor_type.shape.dim)
    if len(dims) < 2:
        return _UNKNOWN_RANK
    del dims[columns]
    return math.prod(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None
