"""Reduction: lowers sums, means, norms and extrema along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..integer_division import floored
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import Lowering, lowers_table

# The ONNX operator, and whether it is right for integers.
_REDUCTIONS = {
    "reduce_l1_norm": ("ReduceL1", False),
    "reduce_l2_norm": ("ReduceL2", False),
    "reduce_log_sum": ("ReduceLogSum", False),
    "reduce_log_sum_exp": ("ReduceLogSumExp", False),
    "reduce_max": ("ReduceMax", True),
    "reduce_mean": ("ReduceMean", False),
    "reduce_min": ("ReduceMin", True),
    "reduce_prod": ("ReduceProd", True),
    "reduce_sum": ("ReduceSum", True),
    "reduce_sum_square": ("ReduceSumSquare", False),
}
_EXTREMA = frozenset({"ReduceMax", "ReduceMin"})
# Up to here, the sum of n remainders of a division by n does not overflow.
_REMAINDERS = 1 << 15
# What to sum of integers, whose sums wrap.
_SUMS: Mapping[str, Callable[[Builder, Tensor], Tensor]] = {
    "ReduceL1": lambda g, x: g.Abs(x),
    "ReduceSumSquare": lambda g, x: g.Mul(x, x),
}
_ARGUMENTS = {"reduce_argmax": "ArgMax", "reduce_argmin": "ArgMin"}


def _reduction(row: tuple[str, bool]) -> Lowering:
    onnx_kind, integers = row

    def lower(g: Builder, x: Tensor, axes: Sequence[int] | None = None, keep_dims: bool = False) -> Any:
        which = None if axes is None else np.asarray(axes, np.int64)
        if x.dtype.kind in "iu" and onnx_kind in _SUMS:
            return g.ReduceSum(_SUMS[onnx_kind](g, g.tensor(x)), which, keepdims=bool(keep_dims))
        if x.dtype.kind in "iu" and onnx_kind == "ReduceMean" and g.tensor(x).static_shape is not None:
            return _integer_mean(g, g.tensor(x), which, bool(keep_dims))
        if x.dtype.kind in "iu" and not integers:
            x = g.cast(x, np.float32)
        if onnx_kind in _EXTREMA:
            x = g.with_sizes(x)
        if onnx_kind == "ReduceMean" and which is not None and _over_positions(g.tensor(x), which):
            # Unlike a mean, it stays in the layout of the convolutions around it.
            mean = g.GlobalAveragePool(x)
            return mean if keep_dims else g.Squeeze(mean, [2, 3])
        return g.emit(onnx_kind, x, which, keepdims=bool(keep_dims))

    return lower


def _over_positions(x: Tensor, axes: np.ndarray) -> bool:
    """Whether these are the axes of the positions of an image, of which there are some: a mean of nothing is NaN."""
    shape = x.shape or ()
    return len(shape) == 4 and x.dtype.kind == "f" and all(shape[2:]) and sorted(axes.reshape(-1) % 4) == [2, 3]


def _integer_mean(g: Builder, x: Tensor, axes: np.ndarray | None, keep_dims: bool) -> Any:
    """The truncated mean of integers, from sums that do not overflow: those of x // n and of the remainders."""
    shape = np.array(x.static_shape)
    count = np.int32(shape.prod() if axes is None else shape[axes].prod())
    if count < 2:
        return g.ReduceSum(x, axes, keepdims=keep_dims)
    if count >= _REMAINDERS:
        return g.ReduceMean(g.cast(x, np.float32), axes, keepdims=keep_dims)
    wholes, rests = (g.ReduceSum(part, axes, keepdims=keep_dims) for part in floored(g, x, count))
    more, rest = floored(g, rests, count)
    mean = g.Add(wholes, more)
    return g.Add(mean, g.cast(g.And(g.Less(mean, 0), g.Not(g.Equal(rest, 0))), x.dtype))


def _argument(onnx_kind: str) -> Lowering:
    def lower(g: Builder, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Any:
        return g.emit(onnx_kind, g.with_sizes(x), axis=axis, keepdims=bool(keep_dims))

    return lower


lowers_table(_REDUCTIONS, _reduction)
lowers_table(_ARGUMENTS, _argument)
