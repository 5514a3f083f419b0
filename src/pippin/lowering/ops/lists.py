"""Lists: lowers a MIL list of tensors to one tensor [length, *element], which grows when written past its end.

Both engines run this, and it passes through a loop like any other variable. An element size that the program does not
know (make_list with a symbol) is 0 until the first write. Reading past the end is an error, and so is writing there if
the list has a fixed length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...types import DataType
from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Variadic, lowers

# A list grows up to so many elements and bytes: one index must not take all memory.
_LONGEST = 2**24
_LARGEST = 2**30


@lowers("make_list")
def make_list(
    g: Builder,
    elem_shape: Variadic = (),
    init_length: Any = np.int32(1),
    dynamic_length: bool = True,
    dtype: str = "fp32",
) -> Tensor:
    sizes = [0 if isinstance(d, str) else d for d in elem_shape]
    sizes = [int(s) for size in sizes for s in (np.atleast_1d(size) if not isinstance(size, Tensor) else [0])]
    length = g.Reshape(init_length, [1]) if isinstance(init_length, Tensor) else np.array([init_length])
    limits.tensor([*sizes, *([] if isinstance(length, Tensor) else length.tolist())])
    shape = g.Concat(g.cast(length, np.int64), np.array(sizes, np.int64), axis=0)
    ls: Tensor = g.Expand(g.cast(0, g.dtype(DataType(dtype))), shape)
    if not dynamic_length:
        g.fixed_lists.add(ls.name)
    return ls


@lowers("list_length")
def list_length(g: Builder, ls: Tensor) -> Tensor:
    return g.Squeeze(g.Shape(ls, start=0, end=1), [0])


@lowers("list_read")
def list_read(g: Builder, ls: Tensor, index: Any) -> Tensor:
    return g.Gather(ls, g.inside(_reshaped(g, index, []), _length(g, ls)), axis=0)


@lowers("list_gather")
def list_gather(g: Builder, ls: Tensor, indices: Any) -> Tensor:
    return g.Gather(ls, g.inside(indices, _length(g, ls)), axis=0)


@lowers("list_write")
def list_write(g: Builder, ls: Tensor, index: Any, value: Any) -> Tensor:
    return list_scatter(g, ls, _reshaped(g, index, [1]), g.Unsqueeze(value, [0]))


@lowers("list_scatter")
def list_scatter(g: Builder, ls: Tensor, indices: Any, value: Any) -> Tensor:
    value, known = g.cast(g.tensor(value), ls.dtype), ls
    fixed = ls.name in g.fixed_lists
    if fixed:
        indices = g.inside(indices, _length(g, ls))
        length = _length(g, ls)
    else:
        indices = _growing(g, ls, indices, value)
        last = g.Reshape(g.Add(g.ReduceMax(indices, keepdims=0), 1), [1])
        length = g.Max(g.Shape(ls, start=0, end=1), g.cast(last, np.int64))
    if not fixed or ls.static_shape is None or ls.static_shape[1:] != (value.shape or ())[1:]:
        growth = g.Sub(g.Concat(length, g.Shape(value, start=1), axis=0), g.Shape(ls))
        ls = g.Pad(ls, g.Concat(np.zeros(value.rank, np.int64), growth, axis=0), g.cast(0, ls.dtype))
    written: Tensor = g.ScatterND(ls, g.Unsqueeze(indices, [1]), value)
    if fixed:
        written = Tensor(written.name, written.dtype, (known.shape or (None,))[:1] + (written.shape or (None,))[1:])
        g.fixed_lists.add(written.name)
    return written


def _growing(g: Builder, ls: Tensor, indices: Any, value: Tensor) -> Any:
    """The indices of a write to a list that grows: from its end if negative, and not too far beyond it."""
    size = np.prod([d or 1 for d in (value.shape or ())[1:]], dtype=np.int64) * value.dtype.itemsize
    longest = np.array([min(_LONGEST, max(_LARGEST // max(int(size), 1), 1))], np.int64)
    if not isinstance(indices, Tensor) and (np.asarray(indices) >= 0).all():
        return g.inside(indices, longest)
    indices = g.tensor(indices)
    if g.interval(indices).lo < 0:
        length = g.cast(g.Shape(ls, start=0, end=1), indices.dtype)
        indices = g.Where(g.GreaterOrEqual(indices, 0), indices, g.Add(indices, length))
    found = g.inside(indices, longest, negative=False)
    # An index beyond the longest list is not clamped: the list would grow that far before the error is found.
    return found if found is indices else g.Where(g.Equal(found, indices), found, 0)


def _length(g: Builder, ls: Tensor) -> Any:
    size = ls.shape[0] if ls.shape else None
    return g.Shape(ls, start=0, end=1) if size is None else np.array([size], np.int64)


def _reshaped(g: Builder, index: Any, shape: list[int]) -> Any:
    return g.Reshape(index, shape) if isinstance(index, Tensor) else np.reshape(index, shape)
