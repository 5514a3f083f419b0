"""Lists: lowers a MIL list of tensors to one tensor [length, *element], which grows when written past its end.

Both engines run this, and it passes through a loop like any other variable. An element size that the program does not
know (make_list with a symbol) is 0 until the first write.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...types import DataType
from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Variadic, lowers


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
    return g.Expand(g.cast(0, g.dtype(DataType(dtype))), shape)


@lowers("list_length")
def list_length(g: Builder, ls: Tensor) -> Tensor:
    return g.Squeeze(g.Shape(ls, start=0, end=1), [0])


@lowers("list_read")
def list_read(g: Builder, ls: Tensor, index: Any) -> Tensor:
    return g.Gather(ls, g.Reshape(index, []), axis=0)


@lowers("list_gather")
def list_gather(g: Builder, ls: Tensor, indices: Any) -> Tensor:
    return g.Gather(ls, indices, axis=0)


@lowers("list_write")
def list_write(g: Builder, ls: Tensor, index: Any, value: Any) -> Tensor:
    return list_scatter(g, ls, g.Reshape(index, [1]), g.Unsqueeze(value, [0]))


@lowers("list_scatter")
def list_scatter(g: Builder, ls: Tensor, indices: Any, value: Any) -> Tensor:
    value = g.cast(g.tensor(value), ls.dtype)
    indices = g.cast(g.tensor(indices), np.int64)
    last = g.Reshape(g.Add(g.ReduceMax(indices, keepdims=0), 1), [1])
    length = g.Max(g.Shape(ls, start=0, end=1), last)
    growth = g.Sub(g.Concat(length, g.Shape(value, start=1), axis=0), g.Shape(ls))
    ls = g.Pad(ls, g.Concat(np.zeros(value.rank, np.int64), growth, axis=0), g.cast(0, ls.dtype))
    return g.ScatterND(ls, g.Unsqueeze(indices, [1]), value)
