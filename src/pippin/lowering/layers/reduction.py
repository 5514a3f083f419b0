"""Reduction: lowers sums, extremes and norms over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import limits
from ..layer_registry import layer, layer_table
from ..lower_layers import Network
from ..onnx_builder import Tensor

_REDUCTIONS = {
    "reduceL1": "ReduceL1",
    "reduceL2": "ReduceL2",
    "reduceMax": "ReduceMax",
    "reduceMin": "ReduceMin",
    "reduceSum": "ReduceSum",
    "reduceProd": "ReduceProd",
    "reduceMean": "ReduceMean",
    "reduceLogSum": "ReduceLogSum",
    "reduceSumSquare": "ReduceSumSquare",
    "reduceLogSumExp": "ReduceLogSumExp",
}


def _reduction(kind: str) -> Callable[..., Any]:
    def lowering(n: Network, p: Any, x: Tensor) -> Any:
        x = n.tensor(x)
        axes = range(x.rank) if p.reduceAll or not p.axes else limits.axes(p.axes, x.rank)
        return n.emit(kind, x, np.array(list(axes), np.int64), keepdims=int(p.keepDims))

    return lowering


layer_table(_REDUCTIONS, _reduction)

# The legacy `reduce` layer: ONNX operator by mode, and axes (counted from the end) by name.
_LEGACY = {
    "SUM": "ReduceSum",
    "AVG": "ReduceMean",
    "PROD": "ReduceProd",
    "SUMSQUARE": "ReduceSumSquare",
    "L1": "ReduceL1",
    "L2": "ReduceL2",
    "MAX": "ReduceMax",
    "MIN": "ReduceMin",
}
_AXES = {"CHW": [-3, -2, -1], "HW": [-2, -1], "C": [-3], "H": [-2], "W": [-1]}


@layer("reduce")
def reduce(n: Network, p: Any, x: Tensor) -> Any:
    axes = np.array(_AXES[p.ReduceAxis.Name(p.axis)], np.int64)
    mode = p.ReduceOperation.Name(p.mode)
    if mode == "ARGMAX":
        return n.ArgMax(x, axis=int(axes[0]), keepdims=1)
    if mode == "LOGSUM":
        return n.ReduceSum(n.Log(n.Add(x, np.float32(p.epsilon))), axes, keepdims=1)
    return n.emit(_LEGACY[mode], x, axes, keepdims=1)
