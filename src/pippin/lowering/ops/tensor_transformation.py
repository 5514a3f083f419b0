"""Tensor transformation: lowers operations that reorder or reshape elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from .. import limits
from ..engine_forms import before_reshape
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Variadic, lowers
from .scatter_gather import bounded

# More axes than any tensor has.
_RANKS = 16


@lowers("batch_to_space")
def batch_to_space(g: Builder, x: Tensor, block_shape: np.ndarray, crops: np.ndarray) -> Tensor:
    height, width = (int(b) for b in block_shape)
    x = g.tensor(x)
    _, channels, rows, columns = _sizes(g, x)
    split = g.Reshape(x, _shape(g, [height, width, -1, channels, rows, columns]))
    moved = g.Transpose(split, perm=[2, 3, 4, 0, 5, 1])
    joined = g.Reshape(moved, _shape(g, [-1, channels, _times(g, rows, height), _times(g, columns, width)]))
    begin, behind = np.asarray(crops, np.int64).T
    ends = np.where(behind == 0, np.iinfo(np.int64).max, -behind)
    return g.Slice(joined, begin, ends, [2, 3])


@lowers("space_to_batch")
def space_to_batch(g: Builder, x: Tensor, block_shape: np.ndarray, paddings: np.ndarray) -> Tensor:
    height, width = (int(b) for b in block_shape)
    begin, behind = np.asarray(paddings, np.int64).T
    padded = g.Pad(x, np.concatenate([[0, 0], begin, [0, 0], behind]), g.cast(0, x.dtype))
    batch, channels, rows, columns = _sizes(g, padded)
    rows, columns = _times(g, rows, 1, height), _times(g, columns, 1, width)
    split = g.Reshape(padded, _shape(g, [batch, channels, rows, height, columns, width]))
    moved = g.Transpose(split, perm=[3, 5, 0, 1, 2, 4])
    return g.Reshape(moved, _shape(g, [-1, channels, rows, columns]))


@lowers("depth_to_space")
def depth_to_space(g: Builder, x: Tensor, block_size: int) -> Tensor:
    return g.DepthToSpace(x, blocksize=block_size, mode="DCR")


@lowers("space_to_depth")
def space_to_depth(g: Builder, x: Tensor, block_size: int) -> Tensor:
    return g.SpaceToDepth(x, blocksize=block_size)


@lowers("pixel_shuffle")
def pixel_shuffle(g: Builder, x: Tensor, upscale_factor: int) -> Tensor:
    return g.DepthToSpace(x, blocksize=upscale_factor, mode="CRD")


@lowers("pixel_unshuffle", since=16)
def pixel_unshuffle(g: Builder, x: Tensor, downscale_factor: int) -> Tensor:
    x = g.tensor(x)
    factor = int(downscale_factor)
    batch, channels, rows, columns = _sizes(g, x)
    rows, columns = _times(g, rows, 1, factor), _times(g, columns, 1, factor)
    split = g.Reshape(x, _shape(g, [batch, channels, rows, factor, columns, factor]))
    moved = g.Transpose(split, perm=[0, 1, 3, 5, 2, 4])
    return g.Reshape(moved, _shape(g, [batch, _times(g, channels, factor * factor), rows, columns]))


@lowers("expand_dims")
def expand_dims(g: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    return g.Unsqueeze(x, np.atleast_1d(axes))


@lowers("squeeze")
def squeeze(g: Builder, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    x = g.tensor(x)
    given = range(x.rank) if axes is None else limits.axes(np.atleast_1d(axes), x.rank)
    # An axis of another size stays; an unknown size counts as longer than 1.
    single = [a for a in given if (x.shape or ())[a] == 1]
    return g.Squeeze(x, single) if single else x


@lowers("reshape")
def reshape(g: Builder, x: Tensor, shape: Any) -> Tensor:
    x = g.tensor(x)
    if not isinstance(shape, Tensor) and 0 in shape and 0 in (x.shape or ()) and -1 not in shape:
        return g.Reshape(x, shape, allowzero=1)  # an empty tensor: the 0 is a size
    sizes = _zeros_from_the_right(g, x, shape)
    direct = not isinstance(sizes, Tensor) and 0 not in sizes
    before = before_reshape(g, x) if direct else x
    # One reshape for two, unless the first one may fail.
    if before is not x and before.static_shape is not None and x.static_shape is not None:
        return g.Reshape(before, sizes)
    return g.reshaped(x, sizes)


def _zeros_from_the_right(g: Builder, x: Tensor, shape: Any) -> Any:
    """Replace each 0 by the size of the axis of x at the same distance from the right, or by 1 if x has none.

    ONNX counts from the left. So do iOS 15 and 16, but they allow a 0 only if the shape has the rank of x.
    """
    if not isinstance(shape, Tensor):
        if len(shape) == x.rank or 0 not in shape:
            return shape
        sizes = [*[1] * len(shape), *_sizes(g, x)][-len(shape) :]
        return _shape(g, [aligned if d == 0 else int(d) for d, aligned in zip(shape, sizes, strict=True)])
    shape = g.cast(shape, np.int64)
    if shape.static_shape == (x.rank,):
        return shape
    ones = np.ones(_RANKS, np.int64)
    aligned = g.Slice(g.Concat(ones, g.shape_of(x), axis=0), g.Neg(g.Shape(shape)), [_RANKS + x.rank])
    found: Tensor = g.Where(g.Equal(shape, 0), aligned, shape)
    return Tensor(found.name, found.dtype, shape.shape)


@lowers("reshape_like", since=16)
def reshape_like(
    g: Builder, x: Tensor, ref_tensors: Variadic, begins: Variadic, ends: Variadic, end_masks: Variadic
) -> Tensor:
    sizes: list[Any] = []
    for reference, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        sizes += _sizes(g, g.tensor(reference))[int(begin) : None if to_the_end else int(end)]
    return g.reshaped(x, _shape(g, sizes))


@lowers("reverse")
def reverse(g: Builder, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    x = g.tensor(x)
    which = np.arange(x.rank) if axes is None else np.atleast_1d(np.asarray(axes, np.int64))
    if not which.size:
        return x
    backwards = np.full(which.shape, -1)
    return g.Slice(x, backwards, np.full(which.shape, np.iinfo(np.int64).min), which, backwards)


@lowers("reverse_sequence")
def reverse_sequence(g: Builder, x: Tensor, lengths: Tensor, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    x = g.tensor(x)
    rank = x.rank
    sequence, batch = limits.axes((seq_axis, batch_axis), rank)
    if sequence == batch:
        raise UnsupportedOperationError(f"seq_axis and batch_axis must be different axes, both are {batch}")
    sizes = _shape(g, _sizes(g, x)[sequence : sequence + 1])
    lengths = g.inside(lengths, g.Add(sizes, 1) if isinstance(sizes, Tensor) else sizes + 1, False, lengths=True)
    as_integers = x.dtype == np.int32
    if {sequence, batch} == {0, 1} and not as_integers:
        return g.ReverseSequence(x, lengths, batch_axis=batch, time_axis=sequence)
    # ONNX requires the batch and the sequence to be the first two axes.
    order = [batch, sequence, *(i for i in range(rank) if i not in (batch, sequence))]
    first = g.Transpose(x, perm=order)
    if as_integers:
        reversed_ = _reversed_integers(g, first, lengths)
    else:
        reversed_ = g.ReverseSequence(first, lengths, batch_axis=0, time_axis=1)
    return g.Transpose(reversed_, perm=np.argsort(order))


def _reversed_integers(g: Builder, x: Tensor, lengths: Any) -> Tensor:
    """ReverseSequence of x (batch, sequence, ...) by position; OpenVINO's converts integers to float32."""
    positions = _positions(g, x, 1)
    count = g.Unsqueeze(g.cast(lengths, np.int64), [1])
    source = g.Where(g.Less(positions, count), g.Sub(g.Sub(count, 1), positions), positions)
    size = _shape(g, _sizes(g, x)[1:2])
    return g.GatherND(x, g.Unsqueeze(bounded(g, source, size), [2]), batch_dims=1)


@lowers("sliding_windows")
def sliding_windows(g: Builder, x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    x = g.tensor(x)
    axis, size = limits.axis(axis, x.rank), int(size)
    limits.at_least(1, size=size, stride=stride)
    length = (x.shape or ())[axis]
    if length is not None:
        starts: Any = limits.arange(0, length - size + 1, stride, np.int64)
    else:
        known = g.Squeeze(g.Gather(g.Shape(x), [axis]), [0])
        starts = g.Range(0, g.Sub(known, int(size) - 1), np.int64(stride))
    windows = g.Add(g.Unsqueeze(starts, [1]), limits.arange(0, size, dtype=np.int64)[None])
    return g.Gather(x, windows, axis=axis)


@lowers("transpose")
def transpose(g: Builder, x: Tensor, perm: Sequence[int]) -> Tensor:
    return g.Transpose(x, perm=limits.axes(perm, len(perm))) if len(perm) else x


def _sizes(g: Builder, x: Tensor) -> list[Any]:
    """Each size of x: an int if known, else a tensor of shape (1)."""
    return [g.Gather(g.Shape(x), [i]) if d is None else d for i, d in enumerate(x.shape or ())]


def _positions(g: Builder, x: Tensor, axis: int) -> Any:
    """0, 1, 2 ... along an axis of x, int64."""
    size = (x.shape or ())[axis]
    return (
        g.Range(0, g.Squeeze(g.Gather(g.Shape(x), [axis]), [0]), 1)
        if size is None
        else limits.arange(0, size, dtype=np.int64)
    )


def _times(g: Builder, size: Any, factor: int, divisor: int = 1) -> Any:
    if not isinstance(size, Tensor):
        return size * factor // divisor
    return g.Div(g.Mul(size, factor), divisor)


def _shape(g: Builder, sizes: Sequence[Any]) -> Any:
    """Join ints and tensors of shape (1) into one shape."""
    if not any(isinstance(size, Tensor) for size in sizes):
        return np.array(sizes, np.int64)
    return g.Concat(*(s if isinstance(s, Tensor) else np.array([s], np.int64) for s in sizes), axis=0)
