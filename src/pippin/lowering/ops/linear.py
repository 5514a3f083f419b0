"""Linear: lowers matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Variadic, lowers


@lowers("linear")
def linear(g: Builder, x: Tensor, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight.T + bias"""
    x = _with_size(g, g.tensor(x), -1, _size(weight, -1))
    if isinstance(bias, np.ndarray) and not bias.any():  # coremltools writes one for each product
        bias = None
    if x.shape is not None and x.rank == 2 and x.dtype.kind == "f":
        return g.Gemm(x, weight, bias, transB=1)
    product = g.MatMul(x, _transposed(g, weight, True))
    return product if bias is None else g.Add(product, bias)


@lowers("matmul")
def matmul(g: Builder, x: Any, y: Any, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    x, y = _transposed(g, x, transpose_x), _transposed(g, y, transpose_y)
    return g.MatMul(_with_size(g, x, -1, _size(y, -2)), _with_size(g, y, -2, _size(x, -1)))


@lowers("einsum")
def einsum(g: Builder, values: Variadic, equation: str) -> Tensor:
    return g.Einsum(*values, equation=equation)


def _size(x: Any, axis: int) -> int | None:
    """The size of an axis, -2 being that of a vector too; None if only the prediction knows it."""
    shape = x.shape if isinstance(x, Tensor) else np.shape(x)
    return shape[max(axis, -len(shape))] if shape else None


def _with_size(g: Builder, x: Any, axis: int, size: int | None) -> Any:
    """x with a known size of an axis, which the engines check by that: OpenVINO repeats a size of 1 in a product."""
    if size is None or not isinstance(x, Tensor) or not x.shape or _size(x, axis) is not None:
        return x
    return g.Reshape(x, [0] * (x.rank + max(axis, -x.rank)) + [size] + [0] * (-max(axis, -x.rank) - 1))


def _transposed(g: Builder, x: Any, transpose: bool) -> Any:
    """x with its last two axes swapped."""
    rank = x.rank if isinstance(x, Tensor) else np.ndim(x)
    if not transpose or rank < 2:
        return x
    if not isinstance(x, Tensor):
        return np.swapaxes(x, -1, -2)  # OpenVINO confuses products that share a constant, one transposed and one not
    return g.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])
