"""Shaping: lowers operations that reorder, repeat, join, cut or pad, and those that compute shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from .. import limits
from ..onnx_builder import Tensor
from ..op_registry import Variadic
from ..ops import tensor_operation, tensor_transformation
from .builder import CoreAIBuilder
from .registry import lowers


@lowers("get_shape")
def get_shape(g: CoreAIBuilder, input: Any) -> Any:
    return g.shape_of(input)


@lowers("reshape")
def reshape(g: CoreAIBuilder, input: Any, new_shape: Any) -> Any:
    """A size of 0 is no more than that, where MIL's keeps an axis."""
    if isinstance(new_shape, Tensor):
        return g.Reshape(input, new_shape, allowzero=1)
    sizes = new_shape.astype(np.int64).reshape(-1)
    if not isinstance(input, Tensor):
        return np.reshape(input, sizes)
    return g.Reshape(input, sizes, allowzero=1 if 0 in sizes else None)


@lowers("transpose")
def transpose(g: CoreAIBuilder, input: Any, permutation: Any) -> Any:
    order = [int(axis) for axis in g.known(permutation, "permutation")]
    if not isinstance(input, Tensor):
        return np.transpose(input, order)
    return tensor_transformation.transpose(g, input, order)


@lowers("expand_dims")
def expand_dims(g: CoreAIBuilder, input: Any, axes: Any) -> Any:
    where = g.known(axes, "axes").astype(np.int64)
    if isinstance(input, Tensor):
        return g.Unsqueeze(input, where)
    return np.expand_dims(input, tuple(where.tolist()))


@lowers("shrink_dims")
def shrink_dims(g: CoreAIBuilder, input: Any, axes: Any) -> Any:
    where = g.known(axes, "axes").astype(np.int64)
    if isinstance(input, Tensor):
        return g.Squeeze(input, where)
    return np.squeeze(input, tuple(where.tolist()))


@lowers("broadcast_to")
def broadcast_to(g: CoreAIBuilder, input: Any, shape: Any) -> Any:
    if not isinstance(input, Tensor) and not isinstance(shape, Tensor):
        limits.constant(int(np.prod(shape.astype(object))), input.dtype.itemsize)
        return np.broadcast_to(input, tuple(shape.tolist()))
    if not isinstance(shape, Tensor) and isinstance(input, Tensor) and input.shape == tuple(shape.tolist()):
        return input
    return g.Expand(input, g.cast(shape, np.int64))


@lowers("broadcast_in_dims")
def broadcast_in_dims(g: CoreAIBuilder, input: Any, dim_sizes: Any, axes: Any) -> Any:
    rank = input.rank if isinstance(input, Tensor) else np.ndim(input)
    places = limits.axes(g.known(axes, "axes"), rank)
    if not isinstance(dim_sizes, Tensor):
        sizes = np.ones(rank, np.int64)
        sizes[places] = dim_sizes
        return g.Expand(input, sizes)
    parts = [
        g.Gather(dim_sizes, [places.index(axis)]) if axis in places else np.ones(1, np.int64) for axis in range(rank)
    ]
    return g.Expand(input, g.Concat(*parts, axis=0))


@lowers("broadcast_shapes")
def broadcast_shapes(g: CoreAIBuilder, shape_1: Any, shape_2: Any) -> Any:
    lengths = [t.static_size(0) if isinstance(t, Tensor) else len(t) for t in (shape_1, shape_2)]
    whole = max(lengths)
    first, second = (
        s if n == whole else g.Concat(np.ones(whole - n, np.int64), s, axis=0) if isinstance(s, Tensor)
        else np.concatenate([np.ones(whole - n, np.int64), s])
        for s, n in zip((shape_1, shape_2), lengths, strict=True)
    )  # fmt: skip
    if not isinstance(first, Tensor) and not isinstance(second, Tensor):
        return np.array(np.broadcast_shapes(tuple(first.tolist()), tuple(second.tolist())), np.int64)
    # A size of 0 beside a 1 stays 0, so the greater one is not always right.
    return g.Where(g.Equal(first, np.int64(1)), second, first)


@lowers("tile")
def tile(g: CoreAIBuilder, input: Any, dims: Any) -> Any:
    rank = g.tensor(input).rank
    if isinstance(dims, Tensor):
        missing = rank - dims.static_size(0)
        counts: Any = g.Concat(np.ones(missing, np.int64), dims, axis=0) if missing else dims
    else:
        counts = np.concatenate([np.ones(rank - len(dims), np.int64), dims.astype(np.int64)])
    return tensor_operation.tile(g, g.tensor(input), counts)


@lowers("reverse")
def reverse(g: CoreAIBuilder, input: Tensor, dims: Any) -> Tensor:
    return tensor_transformation.reverse(g, input, g.known(dims, "dims").tolist())


@lowers("concat")
def concat(g: CoreAIBuilder, dimension: Any, inputs: Variadic) -> Any:
    axis = int(g.known(dimension, "dimension"))
    if not any(isinstance(value, Tensor) for value in inputs):
        return np.concatenate([np.atleast_1d(value) for value in inputs], axis=axis)
    return tensor_operation.concat(g, inputs, axis)


@lowers("split")
def split(g: CoreAIBuilder, input: Any, split_size_or_sections: Any, dim: Any) -> Any:
    x, axis, count = g.tensor(input), int(g.known(dim, "dim")), len(g.op.outputs)
    given = g.known(split_size_or_sections, "split_size_or_sections").astype(np.int64)
    if count == 1:
        return (x,)
    if given.ndim == 0:
        size = x.static_size(axis)
        given = np.full(count, int(given))
        given[-1] = size - given[:-1].sum()
    if len(given) != count or given.min() < 0:
        raise ProgramError(f"it splits into {len(given)} parts of {given.tolist()}, but names {count} outputs")
    return g.Split(x, given, axis=axis, outputs=count)


@lowers("range")
def range_(g: CoreAIBuilder, start: Any, stop: Any, step: Any) -> Any:
    return tensor_operation.range_1d(g, stop, start, step)


@lowers("non_zero")
def non_zero(g: CoreAIBuilder, input: Tensor) -> Tensor:
    return tensor_operation.non_zero(g, g.tensor(input))


@lowers("pad")
def pad(g: CoreAIBuilder, input: Any, padding: Any, padding_value: Any = 0, padding_mode: str = "constant") -> Any:
    if padding_mode in ("constant", "replicate", "reflect"):
        amounts = padding if isinstance(padding, Tensor) else padding.astype(np.int64)
        return tensor_operation.pad(g, input, amounts, padding_mode, padding_value)
    x = g.tensor(input)
    for axis, (before, behind) in enumerate(g.known(padding, "padding").astype(np.int64).reshape(-1, 2)):
        x = _bordered(g, x, axis, int(before), int(behind), padding_mode)
    return x


def _bordered(g: CoreAIBuilder, x: Tensor, axis: int, before: int, behind: int, mode: str) -> Tensor:
    """x with a mirrored border, which repeats the first and last element, or with that of the other end."""
    if mode not in ("symmetric", "circular"):
        raise UnsupportedOperationError(f"unknown padding_mode '{mode}'")
    if not before and not behind:
        return x
    size = (x.shape or ())[axis]
    if size is not None and max(before, behind) > size:
        raise ProgramError(f"axis {axis} of size {size} cannot be padded by {max(before, behind)} of its own elements")
    last = np.iinfo(np.int64).max
    parts: list[Tensor] = []
    if before:
        parts.append(g.Slice(x, [-before], [last], [axis]) if mode == "circular" else _mirrored(g, x, axis, 0, before))
    parts.append(x)
    if behind:
        parts.append(g.Slice(x, [0], [behind], [axis]) if mode == "circular" else _mirrored(g, x, axis, -behind, last))
    return g.Concat(*parts, axis=axis)


def _mirrored(g: CoreAIBuilder, x: Tensor, axis: int, start: int, end: int) -> Tensor:
    part = g.Slice(x, [start], [end], [axis])
    return g.Slice(part, [-1], [np.iinfo(np.int64).min], [axis], [-1])
