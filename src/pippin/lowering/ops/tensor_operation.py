"""Tensor operation: lowers creating, joining, splitting, sorting and padding tensors."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from .. import held_rows, limits
from ..held_states import Held
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Variadic, lowers
from ..run_time_sizes import allowed

# Elements; a larger filled tensor is not stored in the model.
_FILLED = 1 << 16
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


@lowers("argsort")
def argsort(g: Builder, x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    return g.TopK(_sortable(g, x), _size(g, x, axis), axis=axis, largest=not ascending)[1]


@lowers("band_part")
def band_part(g: Builder, x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    rows = _arange(g, x, -2)
    columns = _arange(g, x, -1)
    below = g.Sub(g.Unsqueeze(rows, [1]), g.Unsqueeze(columns, [0]))
    keep = g.LessOrEqual(below, np.int64(lower)) if lower >= 0 else None
    if upper >= 0:
        above = g.GreaterOrEqual(below, np.int64(-upper))
        keep = above if keep is None else g.And(keep, above)
    if keep is None:
        return x
    if x.dtype == np.bool_:
        return g.And(x, keep)
    # OpenVINO computes a comparison and the Where after it in float32, which cannot hold every int32.
    return g.Where(keep, x, 0) if x.dtype.kind == "f" else g.Mul(x, g.cast(keep, x.dtype))


@lowers("concat")
def concat(g: Builder, values: Variadic, axis: int, interleave: bool = False) -> Tensor:
    if not interleave:
        # Scalars are joined into a vector.
        return g.Concat(*map(partial(_vector, g), values), axis=axis)
    rank = g.tensor(values[0]).rank
    axis = limits.axis(axis, rank)
    stacked = g.Concat(*(g.Unsqueeze(v, [axis + 1]) for v in values), axis=axis + 1)
    factors = np.where(np.arange(rank) == axis, len(values), 1)
    sizes = g.shape_of(values[0])
    return g.Reshape(stacked, g.Mul(sizes, factors) if isinstance(sizes, Tensor) else sizes * factors)


def _vector(g: Builder, x: Any) -> Any:
    """x, a scalar as a vector of one element."""
    if x.shape != ():
        return x
    return g.Reshape(x, [1]) if isinstance(x, Tensor) else np.reshape(x, [1])


@lowers("cumsum")
def cumsum(g: Builder, x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    return g.CumSum(x, np.int64(limits.axis(axis, g.tensor(x).rank)), exclusive=exclusive, reverse=reverse)


@lowers("fill")
def fill(g: Builder, shape: Any, value: Any = np.float32(0)) -> Any:
    if isinstance(shape, Tensor):
        sizes = g.cast(shape, np.int64)
        return g.Expand(value, allowed(g, sizes, sizes))
    if math.prod(np.asarray(shape).tolist()) > _FILLED:
        return g.Expand(value, shape)
    return limits.full(shape, value)


@lowers("fill_like", since=16)
def fill_like(g: Builder, ref_tensor: Tensor, value: Any = np.float32(0)) -> Any:
    return fill(g, g.shape_of(ref_tensor), value)


@lowers("flatten2d")
def flatten2d(g: Builder, x: Tensor, axis: int = 1) -> Tensor:
    return g.Flatten(x, axis=axis)


@lowers("identity")
def identity(g: Builder, x: Any) -> Any:
    return x


@lowers("non_zero")
def non_zero(g: Builder, x: Tensor) -> Tensor:
    return g.Transpose(g.NonZero(x), perm=[1, 0])


@lowers("one_hot")
def one_hot(
    g: Builder,
    indices: Tensor,
    one_hot_vector_size: Any,
    axis: int = -1,
    on_value: Any = np.int32(1),
    off_value: Any = np.int32(0),
) -> Tensor:
    rank = len(indices.shape or ()) + 1
    axis = limits.axis(axis, rank)
    column = [-1 if i == axis else 1 for i in range(rank)]
    if isinstance(one_hot_vector_size, Tensor):
        size = g.Max(g.cast(one_hot_vector_size, np.int64), np.int64(0))
        others = math.prod(d or 1 for d in indices.shape or ())
        classes = g.Reshape(g.Range(0, allowed(g, size, size, others), 1), column)
    else:
        classes = limits.arange(0, one_hot_vector_size, dtype=np.int64).reshape(column)
    # An out-of-range index, even a negative one, is off everywhere; ONNX's OneHot would wrap it.
    hot = g.Equal(g.Unsqueeze(g.cast(indices, np.int64), [axis]), classes)
    if np.asarray(on_value).dtype.kind == "f":
        return g.Where(hot, on_value, off_value)
    # ONNX Runtime has no boolean Where, and OpenVINO computes an integer Where in float32.
    return g.Gather(np.array([off_value, on_value]), g.cast(hot, np.int32))


@lowers("pad")
def pad(g: Builder, x: Tensor, pad: Any, mode: str = "constant", constant_val: Any = None) -> Tensor:
    x = g.tensor(x)
    if isinstance(pad, Tensor):
        pairs = g.Transpose(g.Reshape(g.cast(pad, np.int64), [-1, 2]), perm=[1, 0])
        amounts = g.Reshape(pairs, [-1])
        if amounts.static_shape == (2 * x.rank,):
            wanted = g.Add(g.shape_of(x), g.ReduceSum(pairs, [0], keepdims=0))
            amounts = allowed(g, amounts, wanted)
            if mode == "reflect":
                last = g.Sub(g.Concat(g.shape_of(x), g.shape_of(x), axis=0), 1)
                most = "reflected padding must be less than the size of its axis, got"
                g.refuse(g.Greater(amounts, last), amounts, most)
                amounts = g.Min(amounts, last)
    else:
        pairs = np.asarray(pad, np.int64).reshape(-1, 2)
        whole = np.zeros((x.rank, 2), np.int64)
        whole[x.rank - len(pairs) :] = pairs
        amounts = whole.T.reshape(-1)
        if mode == "reflect" and _reflects_twice(x, whole):
            return _reflected(g, x, whole)
    value = None if mode != "constant" else g.cast(0 if constant_val is None else constant_val, x.dtype)
    return g.Pad(x, amounts, value, mode=_PAD_MODES[mode])


def _reflects_twice(x: Tensor, pairs: np.ndarray) -> bool:
    """Whether the padding is wider than what it reflects, which ONNX rejects."""
    return any(
        size is not None and int(pair.max()) >= max(size, 1) for size, pair in zip(x.shape or (), pairs, strict=True)
    )


def _reflected(g: Builder, x: Tensor, pairs: np.ndarray) -> Tensor:
    """Reflect back and forth by position, one axis at a time."""
    for axis, pair in enumerate(pairs):
        if pair.any():
            limits.constant(x.static_size(axis) + int(pair[0]) + int(pair[1]))
            positions = np.pad(np.arange(x.static_size(axis)), tuple(pair), mode="reflect")
            x = g.Gather(x, positions, axis=axis)
    return x


@lowers("range_1d")
def range_1d(g: Builder, end: Any, start: Any, step: Any) -> Any:
    if not any(isinstance(v, Tensor) for v in (end, start, step)):
        return limits.arange(start, end, step)
    if isinstance(step, Tensor):
        if g.interval(step).holds(0):
            none = g.Equal(step, 0)
            g.refuse(none, step, "the step must not be 0, got")
            step = g.Add(step, g.cast(none, step.dtype))  # OpenVINO would end the process
    elif not step:
        raise UnsupportedOperationError("the step must not be 0")
    first, last, by = (g.cast(v, np.float32) for v in (start, end, step))
    towards = g.Mul(g.Sub(last, first), g.Sign(by))
    beyond = g.Not(g.LessOrEqual(towards, g.Mul(g.Abs(by), float(limits.TENSOR))))  # NaN as well
    g.refuse(beyond, g.tensor(end), f"a range has at most {limits.TENSOR} elements, but its end is")
    return g.Range(start, g.Where(beyond, start, end), step)


@lowers("shape")
def shape(g: Builder, x: Tensor) -> Any:
    return g.shape_of(x)


@lowers("split")
def split(g: Builder, x: Tensor | Held, axis: int, num_splits: int | None = None, split_sizes: Any = None) -> Any:
    count = len(g.op.outputs)
    if num_splits is not None and int(num_splits) != count:
        raise ProgramError(f"it splits into {int(num_splits)} parts, but names {count} outputs")
    sizes = split_sizes
    if isinstance(x, Held):
        return _split_held(g, x, int(axis), count, sizes)
    if sizes is None:
        known = (x.shape or ())[int(axis)]
        sizes = None if known is None else [known // count] * count
    if count == 1:
        return (x,)
    return g.Split(x, sizes, axis=axis, outputs=count, num_outputs=count if sizes is None else None)


def _split_held(g: Builder, x: Held, axis: int, count: int, sizes: Any) -> Any:
    shape = x.known_shape
    if sizes is None and shape is not None and -len(shape) <= axis < len(shape) and shape[axis] % count == 0:
        sizes = [shape[axis] // count] * count
    known = None if sizes is None or isinstance(sizes, Tensor) else np.asarray(sizes).reshape(-1).tolist()
    found = held_rows.parts(x, axis, known) if known is not None and len(known) == count else None
    return found or split(g, g.whole(x), axis, None, None if sizes is None else sizes)


@lowers("stack")
def stack(g: Builder, values: Variadic, axis: int) -> Tensor:
    axis = limits.axis(axis, g.tensor(values[0]).rank + 1)
    return g.Concat(*(g.Unsqueeze(value, [axis]) for value in values), axis=axis)


@lowers("tile")
def tile(g: Builder, x: Tensor, reps: Any) -> Tensor:
    """Computed repeats expand an axis of size 1, which axes of other sizes get before them: OpenVINO's Tile leaves
    the result of three or more computed repeats unwritten."""
    if not isinstance(reps, Tensor) and (np.asarray(reps) == 1).all() and np.size(reps) == g.tensor(x).rank:
        return g.tensor(x)
    if not isinstance(reps, Tensor) or x.shape is None:
        return g.Tile(x, reps)
    repeats, sizes = g.cast(reps, np.int64), g.shape_of(x)
    repeats = allowed(g, repeats, g.Mul(repeats, sizes))
    made: list[int] = []  # the axes that are added
    order: list[int] = []  # places in (repeats, sizes)
    for axis, size in enumerate(x.shape):
        order.append(axis)
        if size != 1:
            made.append(len(order) - 1)
            order.append(x.rank + axis)
    if not made:
        return g.Expand(x, repeats)
    expanded = g.Expand(g.Unsqueeze(x, made), g.Gather(g.Concat(repeats, sizes, axis=0), order))
    return g.Reshape(expanded, g.Mul(repeats, sizes), allowzero=1)


@lowers("topk")
def topk(
    g: Builder,
    x: Tensor,
    k: Any = np.int32(1),
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> Any:
    """`k` = -1 returns all elements. Without `sort`, any order is right; engines would return different ones."""
    if isinstance(k, Tensor):
        count: Any = g.Reshape(g.cast(k, np.int64), [1])
    else:
        count = _size(g, x, axis) if k == -1 else np.array([k], np.int64)
    values, indices = g.TopK(_sortable(g, x), count, axis=axis, largest=not ascending)
    return (values, indices) if return_indices else (values,)


def _sortable(g: Builder, x: Tensor) -> Tensor:
    """ONNX cannot sort 16-bit integers, and ONNX Runtime cannot sort 8-bit ones."""
    return g.with_sizes(g.cast(x, np.int32) if x.dtype.itemsize < 4 and x.dtype.kind in "iu" else x)


def _size(g: Builder, x: Tensor, axis: int) -> Any:
    """The size of an axis: an int64 array or Tensor of shape (1)."""
    size = (x.shape or ())[int(axis)]
    return g.Gather(g.Shape(x), [int(axis)]) if size is None else np.array([size], np.int64)


def _arange(g: Builder, x: Tensor, axis: int) -> Any:
    size = _size(g, x, axis)
    return (
        g.Range(0, g.Squeeze(size, [0]), 1) if isinstance(size, Tensor) else limits.arange(0, size[0], dtype=np.int64)
    )
