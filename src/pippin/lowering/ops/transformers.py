"""Transformers: lowers attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers
from ..repeated_heads import turned, unrepeated


@lowers("scaled_dot_product_attention", since=18)
def scaled_dot_product_attention(
    g: Builder, query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None
) -> Tensor:
    """softmax(query @ key.T / sqrt(E) + mask) @ value; a boolean mask selects the elements that take part.

    Keys and values that are repeated for several query heads are not: these heads become rows of one product.
    """
    key = g.tensor(key)
    query = _with_heads(g, g.tensor(query), key)
    given = key, value
    width = (query.shape or ())[-1]
    if width is not None:
        scaled = g.Mul(query, 1 / math.sqrt(width))
    else:
        size = g.cast(g.Gather(g.Shape(query), [query.rank - 1]), query.dtype)
        scaled = g.Div(query, g.Sqrt(size))
    key, count = unrepeated(g, key)
    value, same = unrepeated(g, g.tensor(value))
    if count != same or count != _repeats(query, key):
        key, value, count = given[0], given[1], 1
    scores = g.MatMul(_grouped(g, scaled, key, count), turned(g, key))
    if attn_mask is not None:
        scores = _apart(g, scores, query, count)
        masked = g.Where(attn_mask, scores, -math.inf) if attn_mask.dtype == np.bool_ else g.Add(scores, attn_mask)
        scores = _grouped(g, masked, key, count)
    return _apart(g, g.MatMul(g.Softmax(scores, axis=-1), value), query, count)


def _with_heads(g: Builder, query: Tensor, key: Tensor) -> Tensor:
    """The query with the number of its heads, if only the key's is known, as after `view(batch, length, -1, size)`: MIL
    wants the two to be equal. Otherwise the Reshape fails."""
    heads = key.shape[1] if key.shape is not None and len(key.shape) == 4 else None
    if heads is None or query.shape is None or len(query.shape) != 4 or query.shape[1] is not None:
        return query
    return g.Reshape(query, [0, heads, 0, 0])


def _repeats(query: Tensor, key: Tensor) -> int:
    """How many query heads share one of the keys'."""
    heads, groups = (t.shape[1] if t.shape is not None and len(t.shape) == 4 else None for t in (query, key))
    return heads // groups if heads and groups and heads % groups == 0 else 1


def _grouped(g: Builder, x: Tensor, key: Tensor, count: int) -> Tensor:
    """(batch, heads, length, ...) as (batch, groups, heads of a group times length, ...), which moves nothing."""
    return x if count == 1 else g.Reshape(x, [0, key.static_size(1), -1, 0])


def _apart(g: Builder, x: Tensor, query: Tensor, count: int) -> Tensor:
    """The inverse of `_grouped`."""
    return x if count == 1 else g.Reshape(x, [0, query.static_size(1), -1, 0])
