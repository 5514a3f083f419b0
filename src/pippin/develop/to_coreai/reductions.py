"""Reductions: sums, extremes, softmax, order, and the normalizations that are made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .emitter import INDICES, Emitter, Value
from .registry import TRANSLATIONS, Node, translates

_REDUCED = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "product"}


def _axes(node: Node, x: Value, axes: Any) -> list[int]:
    given = node.get("axes") if axes is None else node.constant(axes, "axes").tolist()
    if not given:
        return [] if node.get("noop_with_empty_axes") else list(range(x.rank))
    return [int(axis) % x.rank for axis in given]


def _reduced(name: str, before: str | None = None, after: str | None = None) -> Any:
    def translate(e: Emitter, node: Node, x: Value, axes: Any = None) -> Value:
        if x.dtype == np.bool_:
            x = e.cast(x, INDICES)
        if before is not None:
            x = e.mul(x, x) if before == "square" else e.op(before, x)
        found = e.reduce(name, x, _axes(node, x, axes))
        found = found if after is None else e.op(after, found)
        return e.cast(e.reshape(found, node.shape), node.dtype)

    return translate


TRANSLATIONS.update({kind: _reduced(name) for kind, name in _REDUCED.items()})
TRANSLATIONS.update({
    "ReduceL1": _reduced("sum", "abs_"),
    "ReduceL2": _reduced("sum", "square", "sqrt"),
    "ReduceSumSquare": _reduced("sum", "square"),
    "ReduceLogSum": _reduced("sum", None, "log"),
})  # fmt: skip


@translates("ReduceLogSumExp")
def log_sum_exp(e: Emitter, node: Node, x: Value, axes: Any = None) -> Value:
    places = _axes(node, x, axes)
    top = e.reduce("max", x, places)
    total = e.reduce("sum", e.op("exp", e.sub(x, top)), places)
    return e.reshape(e.add(e.op("log", total), top), node.shape)


@translates("GlobalAveragePool")
def global_average(e: Emitter, node: Node, x: Value) -> Value:
    return e.reduce("mean", x, range(2, x.rank))


@translates("GlobalMaxPool")
def global_maximum(e: Emitter, node: Node, x: Value) -> Value:
    return e.reduce("max", x, range(2, x.rank))


@translates("ArgMax", "ArgMin")
def arg_max(e: Emitter, node: Node, x: Value) -> Value:
    if node.get("select_last_index"):
        raise node.refused("the last of equal elements cannot be selected in Core AI")
    if node.kind == "ArgMin":
        x = e.mul(x, -1)
    axis = node.get("axis", 0) % x.rank
    shape = [1 if place == axis else size for place, size in enumerate(x.shape)]
    found = e.op("argmax", x, np.array(axis, INDICES), shape=shape, dtype=INDICES)
    return e.op("cast", e.reshape(found, node.shape), node.dtype, shape=node.shape, dtype=node.dtype)


@translates("TopK")
def top_k(e: Emitter, node: Node, x: Value, k: Any) -> tuple[Value, Value]:
    axis, count = node.get("axis", -1) % x.rank, int(node.constant(k, "k").reshape(-1)[0])
    down = np.array(bool(node.get("largest", 1)))
    order = e.op("argsort", x, np.array(axis, INDICES), down, np.array(True), dtype=INDICES)
    order = e.op("cast", order, np.dtype(INDICES), shape=x.shape, dtype=INDICES)
    ends = [count if place == axis else size for place, size in enumerate(x.shape)]
    order = e.slice(order, [0] * x.rank, ends)
    values = e.op("gather_along_axis", x, order, np.array(axis, INDICES), shape=order.shape)
    return values, e.cast(order, np.int64)


@translates("CumSum")
def cumulative_sum(e: Emitter, node: Node, x: Value, axis: Any) -> Value:
    place = int(node.constant(axis, "axis").reshape(-1)[0]) % x.rank
    total = e.op(
        "scan", x, np.array(place, np.uint32), np.array(bool(node.get("reverse", 0))), combiner="sum", shape=x.shape
    )
    return e.sub(total, x) if node.get("exclusive", 0) else total


@translates("Softmax")
def softmax(e: Emitter, node: Node, x: Value) -> Value:
    return e.op("softmax", x, np.array(node.get("axis", -1) % x.rank, INDICES), shape=x.shape)


@translates("LogSoftmax")
def log_softmax(e: Emitter, node: Node, x: Value) -> Value:
    axis = [node.get("axis", -1)]
    shifted = e.sub(x, e.reduce("max", x, axis))
    return e.sub(shifted, e.op("log", e.reduce("sum", e.op("exp", shifted), axis)))


# Normalizations. Those of float16 are computed in float32, as the squares would not fit.


def normalized(e: Emitter, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    wide = e.cast(x, np.float32)
    centred = e.sub(wide, e.reduce("mean", wide, axes))
    variance = e.reduce("mean", e.mul(centred, centred), axes)
    return e.mul(centred, e.op("rsqrt", e.add(variance, epsilon)))


def _scaled(e: Emitter, x: Value, scale: Any, shift: Any, shape: Sequence[int], dtype: Any) -> Value:
    for name, one in (("mul", scale), ("add", shift)):
        if one is not None:
            x = e.binary(name, x, e.cast(e.reshape(one, shape), x.dtype))
    return e.cast(x, dtype)


@translates("LayerNormalization")
def layer_normalization(e: Emitter, node: Node, x: Value, scale: Any = None, shift: Any = None) -> Value:
    axes = range(node.get("axis", -1) % x.rank, x.rank)
    found = normalized(e, x, axes, node.get("epsilon", 1e-5))
    for name, one in (("mul", scale), ("add", shift)):
        found = found if one is None else e.binary(name, found, e.cast(one, found.dtype))
    return e.cast(found, x.dtype)


@translates("RMSNormalization")
def rms_normalization(e: Emitter, node: Node, x: Value, scale: Any) -> Value:
    wide = e.cast(x, np.float32)
    squares = e.reduce("mean", e.mul(wide, wide), range(node.get("axis", -1) % x.rank, x.rank))
    found = e.mul(wide, e.op("rsqrt", e.add(squares, node.get("epsilon", 1e-5))))
    return e.cast(e.mul(found, e.cast(scale, np.float32)), x.dtype)


@translates("InstanceNormalization")
def instance_normalization(e: Emitter, node: Node, x: Value, scale: Any, shift: Any) -> Value:
    found = normalized(e, x, range(2, x.rank), node.get("epsilon", 1e-5))
    return _scaled(e, found, scale, shift, [1, -1, *[1] * (x.rank - 2)], x.dtype)


@translates("GroupNormalization")
def group_normalization(e: Emitter, node: Node, x: Value, scale: Any, shift: Any) -> Value:
    groups = e.reshape(x, [x.shape[0], node.get("num_groups"), -(-math.prod(x.shape[1:]) // node.get("num_groups"))])
    found = e.reshape(normalized(e, groups, [2], node.get("epsilon", 1e-5)), x.shape)
    return _scaled(e, found, scale, shift, [1, -1, *[1] * (x.rank - 2)], x.dtype)


@translates("BatchNormalization")
def batch_normalization(e: Emitter, node: Node, x: Value, scale: Any, shift: Any, mean: Any, variance: Any) -> Value:
    known = [node.constant(one, "statistics").astype(np.float64) for one in (scale, shift, mean, variance)]
    factor = known[0] / np.sqrt(known[3] + node.get("epsilon", 1e-5))
    shape = [1, -1, *[1] * (x.rank - 2)]
    moved = (known[1] - known[2] * factor).reshape(shape)
    return e.add(e.mul(x, factor.reshape(shape).astype(x.dtype)), moved.astype(x.dtype))


@translates("LpNormalization")
def lp_normalization(e: Emitter, node: Node, x: Value) -> Value:
    axis = [node.get("axis", -1)]
    if node.get("p", 2) == 1:
        return e.divide(x, e.reduce("sum", e.op("abs_", x), axis))
    return e.divide(x, e.op("sqrt", e.reduce("sum", e.mul(x, x), axis)))


@translates("LRN")
def local_response(e: Emitter, node: Node, x: Value) -> Value:
    size = node.get("size")
    before, after = (size - 1) // 2, size // 2
    squares = e.mul(x, x)
    rest = [0] * (x.rank - 2)
    padded, total = e.pad(squares, [0, before, *rest], [0, after, *rest]), None
    for shift in range(size):
        part = e.slice(padded, [0, shift, *[0] * (x.rank - 2)], [x.shape[0], shift + x.shape[1], *x.shape[2:]])
        total = part if total is None else e.add(total, part)
    base = e.add(e.mul(total, node.get("alpha", 1e-4) / size), node.get("bias", 1.0))
    return e.divide(x, e.binary("pow", base, float(node.get("beta", 0.75))))
