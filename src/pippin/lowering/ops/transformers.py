"""Transformers: lowers attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers


@lowers("scaled_dot_product_attention", since=18)
def scaled_dot_product_attention(
    g: Builder, query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None
) -> Tensor:
    """softmax(query @ key.T / sqrt(E) + mask) @ value; a boolean mask selects the elements that take part."""
    query, key = g.tensor(query), g.tensor(key)
    rank = key.rank
    width = (query.shape or ())[-1]
    if width is not None:
        scaled = g.Mul(query, 1 / math.sqrt(width))
    else:
        size = g.cast(g.Gather(g.Shape(query), [query.rank - 1]), query.dtype)
        scaled = g.Div(query, g.Sqrt(size))
    scores = g.MatMul(scaled, g.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2]))
    if attn_mask is not None and attn_mask.dtype == np.bool_:
        scores = g.Where(attn_mask, scores, -math.inf)
    elif attn_mask is not None:
        scores = g.Add(scores, attn_mask)
    return g.MatMul(g.Softmax(scores, axis=-1), value)
