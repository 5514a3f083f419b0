"""Tensor operation: making, joining, splitting, sorting and padding tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProgramError
from ..builder import Builder
from ..graph import Tensor
from ..registry import Variadic, lowers

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


@lowers("argsort")
def argsort(g: Builder, x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    size = g.Gather(g.shape_of(x), [int(axis)])
    return g.TopK(_sortable(g, x), size, axis=axis, largest=not ascending)[1]


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
    return g.And(x, keep) if x.dtype == np.bool_ else g.Where(keep, x, 0)


@lowers("concat")
def concat(g: Builder, values: Variadic, axis: int, interleave: bool = False) -> Tensor:
    if not interleave:
        # Scalars join to a vector.
        return g.Concat(*(g.Reshape(v, [1]) if v.shape == () else v for v in values), axis=axis)
    axis = int(axis) % len(np.shape(values[0]) if not isinstance(values[0], Tensor) else values[0].shape or ())
    stacked = g.Concat(*(g.Unsqueeze(v, [axis + 1]) for v in values), axis=axis + 1)
    sizes = [*range(axis), axis]  # the sizes up to the axis stay, the axis takes the new one in
    kept = g.Gather(g.shape_of(values[0]), sizes)
    merged = g.Mul(kept, [1] * axis + [len(values)])
    rest = list(range(axis + 1, stacked.rank - 1))
    shape = g.Concat(merged, g.Gather(g.shape_of(values[0]), rest), axis=0) if rest else merged
    return g.Reshape(stacked, shape)


@lowers("cumsum")
def cumsum(g: Builder, x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    return g.CumSum(x, np.int64(axis), exclusive=exclusive, reverse=reverse)


@lowers("fill")
def fill(g: Builder, shape: Any, value: Any = np.float32(0)) -> Any:
    return g.Expand(value, shape) if isinstance(shape, Tensor) else np.full(tuple(shape), value)


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
    axis = int(axis) % rank
    classes = g.Range(0, g.cast(one_hot_vector_size, np.int64), 1)
    aligned = g.Reshape(classes, [-1 if i == axis else 1 for i in range(rank)])
    # An index outside, even a negative one, is off everywhere; ONNX's OneHot would wrap it.
    hot = g.Equal(g.Unsqueeze(g.cast(indices, np.int64), [axis]), aligned)
    return g.choose(hot, on_value, off_value)


@lowers("pad")
def pad(g: Builder, x: Tensor, pad: Any, mode: str = "constant", constant_val: Any = None) -> Tensor:
    if isinstance(pad, Tensor):
        amounts = g.Reshape(g.Transpose(g.Reshape(pad, [-1, 2]), perm=[1, 0]), [-1])
    else:
        pairs = np.asarray(pad, np.int64).reshape(-1, 2)
        whole = np.zeros((x.rank, 2), np.int64)
        whole[x.rank - len(pairs) :] = pairs
        amounts = whole.T.reshape(-1)
    value = None if mode != "constant" else g.cast(0 if constant_val is None else constant_val, x.dtype)
    return g.Pad(x, amounts, value, mode=_PAD_MODES[mode])


@lowers("range_1d")
def range_1d(g: Builder, end: Any, start: Any, step: Any) -> Any:
    if not any(isinstance(v, Tensor) for v in (end, start, step)):
        return np.arange(start, end, step)
    return g.Range(start, end, step)


@lowers("shape")
def shape(g: Builder, x: Tensor) -> Any:
    return g.shape_of(x)


@lowers("split")
def split(g: Builder, x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Any = None) -> Any:
    count = len(g.op.outputs)
    sizes = split_sizes
    if sizes is None:
        known = (x.shape or ())[int(axis)]
        sizes = None if known is None else [known // count] * count
    if count == 1:
        return (x,)
    return g.Split(x, sizes, axis=axis, outputs=count, num_outputs=count if sizes is None else None)


@lowers("stack")
def stack(g: Builder, values: Variadic, axis: int) -> Tensor:
    rank = len(np.shape(values[0]) if not isinstance(values[0], Tensor) else values[0].shape or ()) + 1
    axis = int(axis) % rank
    return g.Concat(*(g.Unsqueeze(value, [axis]) for value in values), axis=axis)


@lowers("tile")
def tile(g: Builder, x: Tensor, reps: Any) -> Tensor:
    return g.Tile(x, reps)


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
    count = g.Gather(g.shape_of(x), [int(axis)]) if not isinstance(k, Tensor) and k == -1 else g.Reshape(k, [1])
    values, indices = g.TopK(_sortable(g, x), count, axis=axis, largest=not ascending, sorted=bool(sort))
    expected = len(g.op.outputs)
    if expected not in (1, 2):
        raise ProgramError(f"has 1 or 2 results, not {expected}")
    return (values, indices) if return_indices else (values,)


def _sortable(g: Builder, x: Tensor) -> Tensor:
    """ONNX sorts no integers of 16 bits, and ONNX Runtime none of 8."""
    return g.cast(x, np.int32) if x.dtype.itemsize < 4 and x.dtype.kind in "iu" else x


def _arange(g: Builder, x: Tensor, axis: int) -> Any:
    size = (x.shape or ())[axis]
    if size is not None:
        return np.arange(size)
    return g.Range(0, g.Squeeze(g.Gather(g.Shape(x), [axis]), [0]), 1)
