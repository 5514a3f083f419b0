"""Scatter and gather: elements by index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Builder
from ..graph import Tensor
from ..registry import lowers

# `sub` adds the negated updates, and `div` divides by the product of the updates.
_REDUCTIONS = {"update": "none", "add": "add", "sub": "add", "mul": "mul", "div": "mul", "max": "max", "min": "min"}


@lowers("gather")
def gather(
    g: Builder, x: Tensor, indices: Any, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    if batch_dims == 0:
        return g.Gather(x, indices, axis=axis)
    x = g.tensor(x)
    batch, axis = int(batch_dims), int(axis) % x.rank
    order = [*range(batch), axis, *(i for i in range(batch, x.rank) if i != axis)]
    found = g.GatherND(g.Transpose(x, perm=order), g.Unsqueeze(indices, [-1]), batch_dims=batch)
    # found: the batch axes, those of the indices, those of x before the axis, those behind it.
    picked = g.tensor(indices).rank - batch
    before = axis - batch
    axes = list(range(found.rank))
    back = axes[:batch] + axes[batch + picked : batch + picked + before] + axes[batch : batch + picked]
    return g.Transpose(found, perm=back + axes[batch + picked + before :])


@lowers("gather_along_axis")
def gather_along_axis(g: Builder, x: Tensor, indices: Any, axis: int = 0, validate_indices: bool = False) -> Tensor:
    return g.GatherElements(x, indices, axis=axis)


@lowers("gather_nd")
def gather_nd(g: Builder, x: Tensor, indices: Any, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    return g.GatherND(x, indices, batch_dims=batch_dims)


@lowers("scatter")
def scatter(
    g: Builder,
    data: Tensor,
    indices: Any,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    rank = g.tensor(data).rank
    axis = int(axis) % rank
    aligned = g.Reshape(g.cast(indices, np.int64), [-1 if i == axis else 1 for i in range(rank)])
    everywhere = g.Expand(aligned, g.shape_of(updates))
    return scatter_along_axis(g, data, everywhere, updates, axis, mode)


@lowers("scatter_along_axis")
def scatter_along_axis(
    g: Builder,
    data: Tensor,
    indices: Any,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    def write(into: Any, values: Any, reduction: str) -> Tensor:
        return g.ScatterElements(into, indices, values, axis=axis, reduction=reduction)

    return _scatter(g, data, updates, mode, write)


@lowers("scatter_nd")
def scatter_nd(
    g: Builder, data: Tensor, indices: Any, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    def write(into: Any, values: Any, reduction: str) -> Tensor:
        return g.ScatterND(into, indices, values, reduction=reduction)

    return _scatter(g, data, updates, mode, write)


def _scatter(g: Builder, data: Tensor, updates: Tensor, mode: str, write: Callable[[Any, Any, str], Tensor]) -> Tensor:
    if mode == "sub":
        updates = g.Neg(updates)
    if mode == "div":
        ones = g.Expand(g.cast(1, data.dtype), g.shape_of(data))
        return g.Div(data, write(ones, updates, "mul"))
    return write(data, updates, _REDUCTIONS[mode])
