"""Tensor transformation: the same elements in another order or shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..graph import Tensor
from ..registry import Variadic, lowers


@lowers("batch_to_space")
def batch_to_space(g: Builder, x: Tensor, block_shape: np.ndarray, crops: np.ndarray) -> Tensor:
    height, width = (int(b) for b in block_shape)
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
    if axes is None:
        axes = [i for i, size in enumerate(x.shape or ()) if size == 1]
    return g.Squeeze(x, np.atleast_1d(np.asarray(axes, np.int64)))


@lowers("reshape")
def reshape(g: Builder, x: Tensor, shape: Any) -> Tensor:
    # A 0 keeps the input's size, except in the shape of an empty tensor, where it is meant.
    empty = (
        not isinstance(shape, Tensor)
        and 0 in shape
        and 0 in (np.shape(x) if not isinstance(x, Tensor) else x.shape or ())
    )
    return g.Reshape(x, shape, allowzero=1 if empty and -1 not in shape else None)


@lowers("reshape_like", since=16)
def reshape_like(
    g: Builder, x: Tensor, ref_tensors: Variadic, begins: Variadic, ends: Variadic, end_masks: Variadic
) -> Tensor:
    sizes = []
    for reference, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        last = np.iinfo(np.int64).max if to_the_end else int(end)
        sizes.append(g.Slice(g.shape_of(reference), [int(begin)], [last]))
    return g.Reshape(x, g.Concat(*sizes, axis=0))


@lowers("reverse")
def reverse(g: Builder, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    which = np.arange(x.rank) if axes is None else np.atleast_1d(np.asarray(axes, np.int64))
    if not which.size:
        return x
    backwards = np.full(which.shape, -1)
    return g.Slice(x, backwards, np.full(which.shape, np.iinfo(np.int64).min), which, backwards)


@lowers("reverse_sequence")
def reverse_sequence(g: Builder, x: Tensor, lengths: Tensor, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    rank = x.rank
    sequence, batch = int(seq_axis) % rank, int(batch_axis) % rank
    # ONNX takes the batch and the sequence as the first two axes only.
    order = [batch, sequence, *(i for i in range(rank) if i not in (batch, sequence))]
    reversed_ = g.ReverseSequence(g.Transpose(x, perm=order), lengths, batch_axis=0, time_axis=1)
    return g.Transpose(reversed_, perm=np.argsort(order))


@lowers("sliding_windows")
def sliding_windows(g: Builder, x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    axis = int(axis) % x.rank
    length = (x.shape or ())[axis]
    if length is not None:
        starts: Any = np.arange(0, length - size + 1, stride)
    else:
        known = g.Squeeze(g.Gather(g.Shape(x), [axis]), [0])
        starts = g.Range(0, g.Sub(known, int(size) - 1), np.int64(stride))
    windows = g.Add(g.Unsqueeze(starts, [1]), np.arange(size)[None])
    return g.Gather(x, windows, axis=axis)


@lowers("transpose")
def transpose(g: Builder, x: Tensor, perm: Sequence[int]) -> Tensor:
    return g.Transpose(x, perm=np.asarray(perm) % max(len(perm), 1))


def _sizes(g: Builder, x: Tensor) -> list[Any]:
    """Each size of x: an int where it is known, else a tensor of shape (1)."""
    return [g.Gather(g.Shape(x), [i]) if d is None else d for i, d in enumerate(x.shape or ())]


def _times(g: Builder, size: Any, factor: int, divisor: int = 1) -> Any:
    if not isinstance(size, Tensor):
        return size * factor // divisor
    return g.Div(g.Mul(size, factor), divisor)


def _shape(g: Builder, sizes: Sequence[Any]) -> Any:
    """A shape of ints and tensors of shape (1)."""
    if not any(isinstance(size, Tensor) for size in sizes):
        return np.array(sizes, np.int64)
    return g.Concat(*(s if isinstance(s, Tensor) else np.array([s], np.int64) for s in sizes), axis=0)
