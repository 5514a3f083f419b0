"""Indexing: lowers slices, and reads and writes of elements by index; an index outside is an error."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from .. import limits
from ..held_states import Held
from ..onnx_builder import Tensor
from ..ops import scatter_gather, slicing
from .builder import CoreAIBuilder
from .registry import lowers

_FIRST = -(1 << 30)  # before any element


@lowers("slice")
def slice_(g: CoreAIBuilder, input: Any, start_indices: Any, end_indices: Any, strides: Any) -> Any:
    steps = g.known(strides, "strides").astype(np.int64)
    ends = _ends(g, end_indices, steps)
    if not isinstance(input, Tensor | Held | np.ndarray):
        input = np.asarray(input)
    if isinstance(input, np.ndarray) and not isinstance(start_indices, Tensor) and not isinstance(ends, Tensor):
        places = zip(start_indices.tolist(), ends.tolist(), steps.tolist(), strict=True)
        return input[
            tuple(slice(first, None if step < 0 and last == _FIRST else last, step) for first, last, step in places)
        ]
    return slicing.slice_by_index(g, input, start_indices, ends, steps)


@lowers("slice_update")
def slice_update(g: CoreAIBuilder, input: Any, start_indices: Any, end_indices: Any, strides: Any, update: Any) -> Any:
    steps = g.known(strides, "strides").astype(np.int64)
    if not isinstance(input, Tensor | Held):
        input = g.tensor(input)
    return slicing.slice_update(g, input, update, start_indices, _ends(g, end_indices, steps), steps)


def _ends(g: CoreAIBuilder, ends: Any, steps: np.ndarray) -> Any:
    """Backwards, an end of -1 is the place before the first element; in ONNX, it is the last element."""
    before = steps < 0
    if not before.any():
        return ends
    if not isinstance(ends, Tensor):
        return np.where(before & (ends == -1), _FIRST, ends)
    return g.Where(g.And(g.Equal(ends, -1), before), g.cast(_FIRST, ends.dtype), ends)


@lowers("gather_along_axis")
def gather_along_axis(g: CoreAIBuilder, input: Any, indices: Any, axis: Any) -> Any:
    x = g.tensor(input)
    return scatter_gather.gather_along_axis(g, x, indices, limits.axis(g.known(axis, "axis"), x.rank))


@lowers("gather_nd")
def gather_nd(g: CoreAIBuilder, input: Any, indices: Any) -> Any:
    if not isinstance(input, Tensor) and not isinstance(indices, Tensor) and input.size <= 1 << 12:
        g.inside(indices, np.array(input.shape[: indices.shape[-1]], np.int64))
        return input[tuple(np.moveaxis(indices.astype(np.int64), -1, 0))]
    taken = _rows(g, input, indices)
    return scatter_gather.gather_nd(g, g.tensor(input), indices) if taken is None else taken


def _rows(g: CoreAIBuilder, input: Any, indices: Any) -> Any:
    """Indices of one number select rows, for which engines have a kernel: torch's embeddings and `index_select`."""
    shape = indices.shape
    if not shape or shape[-1] != 1:
        return None
    flat = g.Squeeze(indices, [-1]) if isinstance(indices, Tensor) else indices[..., 0]
    return scatter_gather.gather(g, g.tensor(input), flat, 0)


@lowers("scatter_nd")
def scatter_nd(g: CoreAIBuilder, input: Any, indices: Any, updates: Any) -> Any:
    block = g.op.blocks[0] if g.op.blocks else None
    if block is not None and (block.operations or block.outputs != block.inputs[1:2]):
        raise UnsupportedOperationError("its body computes; only one that returns the update is known")
    return scatter_gather.scatter_nd(g, input, indices, updates, "update")


@lowers("scatter_along_axis")
def scatter_along_axis(
    g: CoreAIBuilder, input: Any, indices: Any, updates: Any, axis: Any, scatter_mode: str = "update"
) -> Any:
    x = g.tensor(input)
    along = limits.axis(g.known(axis, "axis"), x.rank)
    return g.wrapped(scatter_gather.scatter_along_axis(g, x, indices, updates, along, scatter_mode), g.result_type)
