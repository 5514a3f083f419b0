"""Edges of what depends on order: equal elements keep theirs, the first of them wins, and NaN comes last.

coremltools evaluates `topk` and `argsort` by numpy's stable argsort of x or -x; argmax of numpy gives the first NaN.
"""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb

from edges.catalogue import check, edge, edges
from edges.values import HIGH, INF, LOW, NAN, filled, integers, mixed

# Ties: few values on long and short axes, all equal, zeros of both signs; and what is not finite.
TIES = [
    filled((4, 40), [1, 0, 2, 1, -1, 2]),
    filled((4, 40), [0.0, -0.0, 1]),
    *(np.full((4, 40), v, np.float32) for v in (0, 1, -1, 1e6)),
    *mixed(4, 40),
    filled((4, 40), [NAN, INF, -INF, 1]),
    *(np.full((4, 40), v, np.float32) for v in (INF, -INF, NAN)),
]
WHOLE = [filled((4, 40), [3, 0, -3, 3, HIGH, LOW, HIGH - 1], np.int32), *integers(4, 40)]
SHORT = {"floats": [x[:, :5].copy() for x in TIES], "integers": [x[:, :5].copy() for x in WHOLE]}
LONG = {
    "floats": TIES,
    "integers": WHOLE,
    "equal floats": [np.ones((1, 3000), np.float32), filled((1, 3000), [1, 2, 3])],
}


def places(x, ascending, axis):
    if x.dtype.kind == "f":
        return np.argsort(x if ascending else -x, axis=axis, kind="stable")
    return np.argsort(x.astype(np.int64) * (1 if ascending else -1), axis=axis, kind="stable")


def highest(x, k, ascending, axis):
    order = places(x, ascending, axis)
    order = order[:, :k] if axis == 1 else order[:k]
    return np.take_along_axis(x, order, axis), order


def up(ascending):
    return "up" if ascending else "down"


def named(lists):
    return lists.items()


SORTS = [
    *(
        edge("argsort", lambda x, a=a, ascending=ascending: mb.argsort(x=x, axis=a, ascending=ascending),
             lambda x, a=a, ascending=ascending: places(x, ascending, a), label=f"{name} {up(ascending)} along {a}", x=x)
        for name, x in named(LONG) for ascending in (True, False) for a in (1, 0) if not (name.startswith("equal") and a == 0)
    ),
    *(
        edge("topk", lambda x, a=a, ascending=ascending: mb.topk(x=x, k=3, axis=a, ascending=ascending),
             lambda x, a=a, ascending=ascending: highest(x, 3, ascending, a), label=f"{name} {up(ascending)} along {a}", x=x)
        for name, x in named(LONG) for ascending in (True, False) for a in (1, 0) if not (name.startswith("equal") and a == 0)
    ),
    *(
        edge("topk", lambda x, ascending=ascending: mb.topk(x=x, k=5, axis=1, ascending=ascending),
             lambda x, ascending=ascending: highest(x, 5, ascending, 1), label=f"all of {name} {up(ascending)}", x=x)
        for name, x in named(SHORT) for ascending in (True, False)
    ),
    edge("topk", lambda x: mb.topk(x=x, k=1, axis=1), lambda x: highest(x, 1, False, 1), label="the first", x=TIES),
    edge("topk", lambda x: mb.topk(x=x, k=4, axis=1, sort=False)[0], lambda x: highest(x, 4, False, 1)[0], label="unsorted", x=TIES),
    edge("topk", lambda x: mb.topk(x=x, k=500, axis=1), lambda x: highest(x, 500, False, 1), label="half of many",
         x=[np.ones((2, 1000), np.float32), filled((2, 1000), [1, 2, 3]), *mixed(2, 1000), filled((2, 1000), [INF, -INF, 0])]),
    edge("topk", lambda x: mb.topk(x=x, k=500, axis=1, ascending=True), lambda x: highest(x, 500, True, 1), label="half of many integers",
         x=[filled((2, 1000), [LOW, LOW + 1, HIGH, HIGH - 1], np.int32), *integers(2, 1000)]),
    edge("topk", lambda x: mb.topk(x=x, k=2, axis=0), lambda x: highest(x, 2, False, 0), label="flexible", x=TIES, flexible=(0,)),
]  # fmt: skip


ARGUMENTS = [
    *(
        edge(op, lambda x, op=op: getattr(mb, op)(x=x, axis=1), lambda x, compute=compute: compute(x, 1), label=name, x=x)
        for op, compute in {"reduce_argmax": np.argmax, "reduce_argmin": np.argmin}.items()
        for name, x in {"floats": TIES, "integers": WHOLE, "short": SHORT["floats"]}.items()
    ),
]  # fmt: skip

NOTHING, ONE, ALL = (np.array(v, np.float32) for v in ([0, -0.0, 0, 0], [0, 0, NAN, 0], [1, -1, INF, 1e-38]))


def one_hot(i, n):
    return np.where(i[..., None] == np.arange(n), np.float32(1), np.float32(0))


def _end(mb, n):
    return mb.squeeze(x=n)


COUNTS = [
    edge("non_zero", lambda x: mb.non_zero(x=x), lambda x: np.argwhere(x), x=[NOTHING, ONE, ALL]),
    edge("non_zero", lambda x: mb.non_zero(x=x), lambda x: np.argwhere(x), label="integers", x=integers(2, 9)),
    edge("one_hot", lambda i: mb.one_hot(indices=i, one_hot_vector_size=4, on_value=1.0, off_value=0.0), lambda i: one_hot(i, 4),
         i=[np.array([0, 3, 1], np.int32), np.array([-1, 4, -4], np.int32), np.array([HIGH, LOW, 2], np.int32)]),
    edge("one_hot", lambda i, n: mb.one_hot(indices=i, one_hot_vector_size=_end(mb, n), on_value=1.0, off_value=0.0),
         lambda i, n: one_hot(i, n[0]), label="computed", i=np.array([0, 3, -1], np.int32),
         n=[np.array([4], np.int32), np.array([0], np.int32)]),
    edge("range_1d", lambda n: mb.range_1d(start=0, end=_end(mb, n), step=1), lambda n: np.arange(0, n[0]).astype(np.int32),
         n=[np.array([v], np.int32) for v in (3, 0, -3)]),
    edge("range_1d", lambda n: mb.range_1d(start=0, end=_end(mb, n), step=-2), lambda n: np.arange(0, n[0], -2).astype(np.int32),
         label="down", n=[np.array([v], np.int32) for v in (3, 0, -3, -4)]),
    edge("range_1d", lambda n: mb.range_1d(start=0.0, end=_end(mb, n), step=0.5), lambda n: np.arange(0, n[0], 0.5).astype(np.float32),
         label="floats", n=[np.array([v], np.float32) for v in (3, 0, -3, 1.25)], arises=False),
]  # fmt: skip


# Of equal scores, the first box is kept; a box is suppressed by an overlap above the threshold, not at it.
BOXES = np.array([[[0, 0, 2, 2], [0, 0, 2, 2], [5, 5, 2, 2], [6, 5, 2, 2], [5, 5, 0, 0], [9, 9, 2, 2]]], np.float32)
SCORES = [np.array([s], np.float32)[..., None] for s in (
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.1, 0.9, 0.9, 0.1, 0.5, 0.9], [0, 0, 0, 0, 0, 0], [-1, -1, -2, -1, -3, -1],
)]  # fmt: skip


def _overlap(a, b):
    low, high = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2), np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    both = np.prod(np.maximum(high - low, 0))
    return both / max(a[2] * a[3] + b[2] * b[3] - both, 1e-30)


def suppressed(boxes, scores, limit, most, least=-10):
    """Greedy suppression, by stable order: boxes, scores, indices, count. At least one box is kept."""
    kept = []
    order = [i for i in np.argsort(-scores[0, :, 0], kind="stable") if scores[0, i, 0] >= least]
    for i in order or [int(scores[0, :, 0].argmax())]:
        if len(kept) < most and all(_overlap(boxes[0, i], boxes[0, j]) <= limit for j in kept):
            kept.append(int(i))
    found = np.zeros((1, most, 4), np.float32), np.zeros((1, most, 1), np.float32), np.full((1, most), -1, np.int32)
    found[0][0, : len(kept)], found[1][0, : len(kept)], found[2][0, : len(kept)] = boxes[0, kept], scores[0, kept], kept
    return (*found, np.array([len(kept)], np.int32))


BOXED = [
    edge("non_maximum_suppression", lambda boxes, scores, limit=limit, most=most: mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=limit, score_threshold=-10.0, max_boxes=most, per_class_suppression=False),
         lambda boxes, scores, limit=limit, most=most: suppressed(boxes, scores, limit, most),
         label=f"{limit} {most}", opset=15, boxes=BOXES, scores=SCORES, arises=False)
    for limit, most in ((0.5, 4), (1 / 3, 8), (0.0, 3), (1.0, 6))
] + [
    edge("non_maximum_suppression", lambda boxes, scores, least=least: mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=0.5, score_threshold=least, max_boxes=6, per_class_suppression=False),
         lambda boxes, scores, least=least: suppressed(boxes, scores, 0.5, 6, least),
         label=f"scores from {least}", opset=15, boxes=BOXES, scores=SCORES, arises=False)
    for least in (0.5, 0.0, -1.0)
]  # fmt: skip


@edges(SORTS)
def test_sorts(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges([*ARGUMENTS, *COUNTS])
def test_arguments_and_counts(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges(BOXED)
def test_suppression(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)
