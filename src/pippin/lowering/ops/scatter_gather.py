"""Scatter and gather: elements by index.

An index outside of its axis is undefined in MIL, but must be safe. Engines differ: `Gather` and `GatherElements` are
safe in both, while OpenVINO reads and writes elsewhere in `GatherND`, `ScatterND` and `ScatterElements`. So the
indices of these are bounded here. With `validate_indices` they are not, and ONNX Runtime refuses them.
"""

from __future__ import annotations

from typing import Any

from ...errors import UnsupportedOperationError
from ..builder import Builder
from ..graph import Tensor
from ..registry import lowers

# `sub` adds the negated updates, and `div` divides by the product of the updates.
_REDUCTIONS = {"update": "none", "add": "add", "sub": "add", "mul": "mul", "div": "mul", "max": "max", "min": "min"}


@lowers("gather")
def gather(
    g: Builder, x: Tensor, indices: Any, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    x, batch = g.tensor(x), int(batch_dims)
    axis = int(axis) % x.rank
    found = _indices(g, indices, _sizes(g, x, [axis]), validate_indices) if batch or validate_indices else indices
    # OpenVINO's Gather takes any index, and gives 0 for one outside.
    if batch == 0 and not (validate_indices and isinstance(found, Tensor)):
        return g.Gather(x, found, axis=axis)
    order = [*range(batch), axis, *(i for i in range(batch, x.rank) if i != axis)]
    taken = g.GatherND(_transposed(g, x, order), _unsqueezed(g, found, -1), batch_dims=batch)
    # taken: the batch axes, those of the indices, those of x before the axis, those behind it.
    picked = len(indices.shape) - batch
    before = axis - batch
    axes = list(range(taken.rank))
    back = axes[:batch] + axes[batch + picked : batch + picked + before] + axes[batch : batch + picked]
    return _transposed(g, taken, back + axes[batch + picked + before :])


@lowers("gather_along_axis")
def gather_along_axis(g: Builder, x: Tensor, indices: Any, axis: int = 0, validate_indices: bool = False) -> Tensor:
    x = g.tensor(x)
    found = _indices(g, indices, _sizes(g, x, [axis]), True) if validate_indices else indices
    return g.GatherElements(x, found, axis=axis)


@lowers("gather_nd")
def gather_nd(g: Builder, x: Tensor, indices: Any, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    x, batch = g.tensor(x), int(batch_dims)
    sizes = _sizes(g, x, range(batch, batch + _depth(g, indices)))
    return g.GatherND(x, _indices(g, indices, sizes, validate_indices), batch_dims=batch)


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
    data = g.tensor(data)
    axis = int(axis) % data.rank
    spots = _indices(g, indices, _sizes(g, data, [axis]), validate_indices)
    if mode == "update" and axis == 0:
        return g.ScatterND(data, _unsqueezed(g, spots, -1), updates)
    aligned = _reshaped(g, spots, [-1 if i == axis else 1 for i in range(data.rank)])
    return _scatter(g, data, _expanded(g, aligned, g.shape_of(updates)), updates, axis, mode)


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
    data = g.tensor(data)
    spots = _indices(g, indices, _sizes(g, data, [axis]), validate_indices)
    return _scatter(g, data, spots, updates, int(axis), mode)


@lowers("scatter_nd")
def scatter_nd(
    g: Builder, data: Tensor, indices: Any, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    data, updates = g.tensor(data), g.tensor(updates)
    depth = _depth(g, indices)
    sizes = _sizes(g, data, range(depth))
    if mode == "update":
        return g.ScatterND(data, _indices(g, indices, sizes, validate_indices), updates)
    # ONNX Runtime's ScatterND loses updates of one element by several threads; its ScatterElements does not.
    rest = _sizes(g, data, range(depth, data.rank))
    rows = _rows(g, _indices(g, indices, sizes, validate_indices), sizes)
    flat = g.Reshape(data, _joined(g, [-1], rest))
    values = g.Reshape(updates, _joined(g, [-1], rest))
    column = _reshaped(g, rows, [-1] + [1] * (data.rank - depth))
    spots = bounded(g, column, _joined(g, g.shape_of(flat))[:1] if flat.static_shape else g.Shape(flat, end=1))
    spots = _expanded(g, spots, g.shape_of(values))
    return g.Reshape(_scatter(g, flat, spots, values, 0, mode), g.shape_of(data))


def _scatter(g: Builder, data: Tensor, indices: Any, updates: Any, axis: int, mode: str) -> Tensor:
    if mode not in _REDUCTIONS:
        raise UnsupportedOperationError(f"mode is '{mode}'; it must be one of {', '.join(_REDUCTIONS)}")
    if mode == "sub":
        updates = g.Neg(updates)
    if mode == "div":
        ones = g.Expand(g.cast(1, data.dtype), g.shape_of(data))
        return g.Div(data, g.ScatterElements(ones, indices, updates, axis=axis, reduction="mul"))
    return g.ScatterElements(data, indices, updates, axis=axis, reduction=_REDUCTIONS[mode])
