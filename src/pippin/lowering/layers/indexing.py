"""Indexing: lowers layers that gather, scatter, rank or locate elements by position."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from .. import limits
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor


@layer("gather")
def gather(n: Network, p: Any, x: Any, indices: Any) -> Any:
    return n.mil("gather", x=n.tensor(x), indices=n.integers(indices), axis=int(p.axis))


@layer("gatherND")
def gather_nd(n: Network, p: Any, x: Any, indices: Any) -> Any:
    return n.mil("gather_nd", x=n.tensor(x), indices=n.integers(indices))


@layer("gatherAlongAxis")
def gather_along_axis(n: Network, p: Any, x: Any, indices: Any) -> Any:
    return n.mil("gather_along_axis", x=n.tensor(x), indices=n.integers(indices), axis=int(p.axis))


@layer("scatter")
def scatter(n: Network, p: Any, data: Any, indices: Any, updates: Any) -> Any:
    return _scattered(n, "scatter", p, data, indices, updates, axis=int(p.axis))


@layer("scatterND")
def scatter_nd(n: Network, p: Any, data: Any, indices: Any, updates: Any) -> Any:
    return _scattered(n, "scatter_nd", p, data, indices, updates)


@layer("scatterAlongAxis")
def scatter_along_axis(n: Network, p: Any, data: Any, indices: Any, updates: Any) -> Any:
    return _scattered(n, "scatter_along_axis", p, data, indices, updates, axis=int(p.axis))


def _scattered(n: Network, kind: str, p: Any, data: Any, indices: Any, updates: Any, **axis: int) -> Any:
    mode = p.DESCRIPTOR.fields_by_name["mode"].enum_type.values_by_number[p.mode].name
    where = n.integers(indices)
    rank = where.rank if isinstance(where, Tensor) else np.ndim(where)
    if kind == "scatter" and rank > 1:
        updates, where = _flattened(n, n.tensor(data), where, n.tensor(updates), axis["axis"])
    mil_mode = mode.removeprefix("SCATTER_").lower()
    return n.mil(kind, data=n.tensor(data), indices=where, updates=n.tensor(updates), mode=mil_mode, **axis)


def _flattened(n: Network, data: Tensor, where: Any, updates: Tensor, axis: int) -> tuple[Tensor, Any]:
    """Updates and indices with the axes of the indices merged into one."""
    axis = limits.axis(axis, data.rank)
    sizes = n.sizes(data)
    rows = n.Reshape(updates, n.shape(*sizes[:axis], -1, *sizes[axis + 1 :]))
    return rows, n.Reshape(where, [-1]) if isinstance(where, Tensor) else np.reshape(where, -1)


@layer("topK")
def top_k(n: Network, p: Any, x: Any, count: Any = None) -> Any:
    k = int(p.K) if count is None else n.integers(count)
    if isinstance(k, np.ndarray):
        k = int(k.reshape(-1)[0])
    return n.mil("topk", x=n.tensor(x), k=k, axis=int(p.axis), ascending=bool(p.useBottomK))


@layer("argMax")
def arg_max(n: Network, p: Any, x: Any) -> Any:
    return n.ArgMax(x, axis=int(p.axis), keepdims=int(not p.removeDim))


@layer("argMin")
def arg_min(n: Network, p: Any, x: Any) -> Any:
    return n.ArgMin(x, axis=int(p.axis), keepdims=int(not p.removeDim))


@layer("argSort")
def arg_sort(n: Network, p: Any, x: Any) -> Any:
    return n.mil("argsort", x=n.tensor(x), axis=int(p.axis), ascending=not p.descending)


@layer("whereNonZero")
def where_non_zero(n: Network, p: Any, x: Any) -> Any:
    return n.mil("non_zero", x=n.tensor(x))


@layer("matrixBandPart")
def matrix_band_part(n: Network, p: Any, x: Any) -> Any:
    return n.mil("band_part", x=n.tensor(x), lower=int(p.numLower), upper=int(p.numUpper))


@layer("lowerTriangular")
def lower_triangular(n: Network, p: Any, x: Any) -> Any:
    return n.Trilu(x, np.int64(p.k), upper=0)


@layer("upperTriangular")
def upper_triangular(n: Network, p: Any, x: Any) -> Any:
    return n.Trilu(x, np.int64(p.k), upper=1)


@layer("oneHot")
def one_hot(n: Network, p: Any, indices: Any, size: Any = None) -> Any:
    depth = int(p.oneHotVectorSize) if size is None else n.integers(size)
    if isinstance(depth, np.ndarray):
        depth = int(depth.reshape(-1)[0])
    values = {"on_value": np.float32(p.onValue), "off_value": np.float32(p.offValue)}
    where = n.tensor(n.integers(indices))
    return n.mil("one_hot", indices=where, one_hot_vector_size=depth, axis=int(p.axis), **values)


@layer("cumSum")
def cumulative_sum(n: Network, p: Any, x: Any, axis: Any = None) -> Any:
    along = int(p.axis) if axis is None else n.integers(axis)
    if isinstance(along, Tensor):
        raise UnsupportedOperationError("the axis must be constant, but is computed at run time")
    if isinstance(along, np.ndarray):
        along = int(along.reshape(-1)[0])
    return n.mil("cumsum", x=n.tensor(x), axis=along, exclusive=bool(p.excludeFinalSum), reverse=bool(p.reverse))


@layer("NonMaximumSuppression")
def non_maximum_suppression(
    n: Network, p: Any, boxes: Any, scores: Any, overlap: Any = None, threshold: Any = None, count: Any = None
) -> Any:
    """Thresholds and the number of boxes shape the graph, so inputs that provide them must be constant."""
    numbers = []
    for given, default in ((overlap, p.iouThreshold), (threshold, p.scoreThreshold), (count, p.maxBoxes)):
        if isinstance(given, Tensor):
            raise UnsupportedOperationError(
                "the thresholds and the number of boxes must be constant, but are computed at run time"
            )
        numbers.append(default if given is None else float(np.reshape(given, -1)[0]))
    return n.mil(
        "non_maximum_suppression",
        boxes=n.tensor(boxes),
        scores=n.tensor(scores),
        iou_threshold=np.float32(numbers[0]),
        score_threshold=np.float32(numbers[1]),
        max_boxes=int(numbers[2]),
        per_class_suppression=bool(p.perClassSuppression),
    )
