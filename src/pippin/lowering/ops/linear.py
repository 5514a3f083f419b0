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
    x = g.tensor(x)
    if x.shape is not None and x.rank == 2 and x.dtype.kind == "f":
        return g.Gemm(x, weight, bias, transB=1)
    product = g.MatMul(x, _transposed(g, weight, True))
    return product if bias is None else g.Add(product, bias)


@lowers("matmul")
def matmul(g: Builder, x: Any, y: Any, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    return g.MatMul(_transposed(g, x, transpose_x), _transposed(g, y, transpose_y))


@lowers("einsum")
def einsum(g: Builder, values: Variadic, equation: str) -> Tensor:
    return g.Einsum(*values, equation=equation)


def _transposed(g: Builder, x: Any, transpose: bool) -> Any:
    """x with its last two axes swapped."""
    rank = x.rank if isinstance(x, Tensor) else np.ndim(x)
    if not transpose or rank < 2:
        return x
    if not isinstance(x, Tensor):
        return np.swapaxes(x, -1, -2)  # OpenVINO confuses products that share a constant, one transposed and one not
    return g.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])
