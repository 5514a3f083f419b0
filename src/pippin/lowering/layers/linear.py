"""Linear: lowers matrix products and embedding lookups."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProgramError
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .weights import weights


@layer("innerProduct")
def inner_product(n: Network, p: Any, x: Tensor) -> Any:
    """x @ weights.T over the last axis, or over the last three of an image [.., C, H, W], which gives [.., C, 1, 1]."""
    x = n.tensor(x)
    weight = weights(p.weights, (p.outputChannels, p.inputChannels))
    bias = weights(p.bias, (p.outputChannels,), "bias") if p.hasBias else None
    sizes = x.shape or ()
    channels_first = len(sizes) >= 3 and sizes[-2:] == (1, 1) and (not n.exact or int(p.inputChannels) != 1)
    image = sizes[-3:] if len(sizes) >= 4 else ()
    channels_first |= bool(image) and sizes[-1] != int(p.inputChannels) and None not in image
    if not channels_first and n.exact:
        return n.mil("linear", x=x, weight=weight, bias=bias)
    rows = n.Reshape(x, n.shape(*n.sizes(x)[:-3], int(p.inputChannels)))  # an image is flattened
    return n.Unsqueeze(n.mil("linear", x=rows, weight=weight, bias=bias), [-2, -1])


@layer("batchedMatmul")
def batched_matmul(n: Network, p: Any, x: Any, y: Any = None) -> Any:
    if y is not None:
        x, y = n.tensor(x), n.tensor(y)  # rank 1: x is a row, y a column; the product keeps both axes
        x = n.Unsqueeze(x, [0]) if x.rank == 1 else x
        y = n.Unsqueeze(y, [1]) if y.rank == 1 else y
        return n.mil("matmul", x=x, y=y, transpose_x=bool(p.transposeA), transpose_y=bool(p.transposeB))
    rows, columns = int(p.weightMatrixFirstDimension), int(p.weightMatrixSecondDimension)
    matrix = weights(p.weights, (columns, rows)).T  # stored by columns
    product = n.mil("matmul", x=x, y=matrix)  # transposeA and transposeB only apply to two inputs
    return n.Add(product, weights(p.bias, (columns,), "bias")) if p.hasBias else product


@layer("embedding")
def embedding(n: Network, p: Any, x: Tensor) -> Any:
    """[.., 1, 1, 1] to [.., C, 1, 1]."""
    if any(size not in (1, None) for size in (x.shape or ())[-3:]):
        raise ProgramError(
            f"its input must have one number in the last three axes, got the shape {list(x.shape or ())}"
        )
    found = _lookup(n, p, n.Reshape(x, n.shape(*n.sizes(x)[:-3])), int(p.inputDim), int(p.outputChannels))
    return n.Unsqueeze(found, [-2, -1])


@layer("embeddingND")
def embedding_nd(n: Network, p: Any, x: Any) -> Any:
    """[.., 1] to [.., C]."""
    return _lookup(n, p, n.Squeeze(x, [-1]), int(p.vocabSize), int(p.embeddingSize))


def _lookup(n: Network, p: Any, numbers: Any, count: int, size: int) -> Any:
    table = np.ascontiguousarray(weights(p.weights, (size, count)).T)
    found = n.mil("gather", x=n.tensor(table), indices=n.integers(numbers), axis=0)
    return n.Add(found, weights(p.bias, (size,), "bias")) if p.hasBias else found
