"""Edges of indices: -1 is the last element, and outside the axis there is none, in whatever way an index is made."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb

from edges.catalogue import check, edge, edges
from edges.values import HIGH, INF, LOW, NAN, floats

X = np.arange(15, dtype=np.float32).reshape(5, 3)
DATA = {"floats": [X, floats(5, 3)[2], floats(5, 3)[3]], "integers": np.arange(15, dtype=np.int32).reshape(5, 3) + HIGH - 14,
        "int8": np.arange(15).reshape(5, 3).astype(np.int8), "uint16": np.arange(15).reshape(5, 3).astype(np.uint16) + 65520}  # fmt: skip
INSIDE = np.array([4, -5, 0, -1], np.int32)
OUTSIDE = [np.array([0, i, 1, 2], np.int32) for i in (5, -6, HIGH, LOW, 2**24 + 1)]
NEGATIVE = np.array([0, -1, 1, 2], np.int32)


def pairs(indices):
    """Each index before one of another axis that is inside."""
    return np.stack([indices, np.array([2, 0, -3, 1], indices.dtype)], -1)


def rows_of(indices):
    return np.repeat(indices[:, None], 3, 1)


ZEROS = np.zeros((5, 3), np.float32)
UPDATES = np.arange(12, dtype=np.float32).reshape(4, 3) + 1


def scattered(data, indices, updates, mode):
    """One update after another."""
    data = data.copy()
    for i, update in zip(indices, updates, strict=True):
        data[i] = {"update": update, "add": data[i] + update, "sub": data[i] - update, "mul": data[i] * update,
                   "div": data[i] / update, "max": np.maximum(data[i], update), "min": np.minimum(data[i], update)}[mode]  # fmt: skip
    return data


# What takes the indices (as they are, as pairs, as rows), and what numpy does.
READS = {
    "gather": (lambda x, i: mb.gather(x=x, indices=i, axis=0), lambda i: i, lambda x, i: x[i]),
    "gather_nd": (lambda x, i: mb.gather_nd(x=x, indices=i), pairs, lambda x, i: x[i[:, 0], i[:, 1]]),
    "gather_along_axis": (
        lambda x, i: mb.gather_along_axis(x=x, indices=i, axis=0),
        rows_of,
        lambda x, i: np.take_along_axis(x, i, 0),
    ),
}
WRITES = {
    "scatter": (lambda x, i: mb.scatter(data=x, indices=i, updates=UPDATES, axis=0, mode="update"), lambda i: i,
                lambda x, i: scattered(x, i, UPDATES, "update")),
    "scatter_nd": (lambda x, i: mb.scatter_nd(data=x, indices=i, updates=UPDATES[:, 0], mode="update"), pairs,
                   lambda x, i: scattered(x, list(map(tuple, i)), UPDATES[:, 0], "update")),
    "scatter_along_axis": (lambda x, i: mb.scatter_along_axis(data=x, indices=i, updates=UPDATES, axis=0, mode="update"), rows_of,
                           lambda x, i: scattered(x.T, i[:, 0], UPDATES.T, "update") if x.shape == (3, 5) else _along(x, i)),
}  # fmt: skip


def _along(x, i):
    x = x.copy()
    np.put_along_axis(x, i, UPDATES, 0)
    return x


def cut(f):
    return mb.cast(x=f, dtype="int32")


USES = READS | WRITES
INDICES = [
    *(
        edge(op, build, compute, label=f"inside {name}", arises=False, x=x, i=made(INSIDE))
        for op, (build, made, compute) in USES.items() for name, x in DATA.items() if op in READS or name == "floats"
    ),
    *(
        edge(op, build, label="outside", raises=rf"\[{op}\] '.*': the index -?\d+ is outside the axis of size 5", arises=False,
             x=X, i=[made(i) for i in OUTSIDE])
        for op, (build, made, _) in USES.items()
    ),
    *(
        edge(op, lambda x, i, j, build=build: build(x, mb.add(x=i, y=j)), label="outside, computed", arises=False,
             raises=rf"\[{op}\] '.*': the index -?\d+ is outside the axis of size 5", x=X, i=[made(i) for i in OUTSIDE[:4]],
             j=np.zeros_like(made(INSIDE)))
        for op, (build, made, _) in USES.items()
    ),
    *(
        edge(op, lambda x, i, build=build: build(x, cut(i)), lambda x, i, compute=compute: compute(x, i.astype(np.int32)),
             label="cut from floats", arises=False, x=X, i=made(np.array([4.9, -0.9, -5.9, 0.0], np.float32)))
        for op, (build, made, compute) in USES.items()
    ),
    *(
        edge(op, lambda x, i, build=build: build(x, cut(i)), label="NaN and beyond", arises=False, x=X,
             raises=rf"\[{op}\] '.*': the index (nan|-?inf|-?\d+) is outside the axis of size 5",
             i=[made(np.array([0, v, 1, 2], np.float32)) for v in (NAN, INF, -INF, 1e10, -1e10, 2.0**31, 5, -6)])
        for op, (build, made, _) in USES.items()
    ),
    *(
        edge(op, lambda x, i, by, build=build: build(x, cut(mb.real_div(x=i, y=by))), label="NaN that arises", arises=False,
             raises=rf"\[{op}\] '.*': the index (nan|-?inf|-?\d+) is outside the axis of size 5", x=X,
             i=made(np.zeros(4, np.float32)), by=made(np.array([1, 0, 1, 1], np.float32)))
        for op, (build, made, _) in USES.items() if op in ("gather", "scatter")
    ),
    edge("gather", lambda x, i: mb.gather(x=x, indices=i, axis=0, validate_indices=True), label="validated",
         raises=r"\[gather\] '.*': the index -1 is outside the axis of size 5", arises=False, x=X, i=NEGATIVE),
    edge("gather", lambda x, i: mb.gather(x=x, indices=i, axis=0), lambda x, i: x[i], label="no indices", arises=False, flexible=None,
         x=X, i=np.array([0], np.int32)),
    *(
        edge("scatter", lambda x, i, mode=mode: mb.scatter(data=x, indices=i, updates=UPDATES, axis=0, mode=mode),
             lambda x, i, mode=mode: scattered(x, i, UPDATES, mode), label=f"twice {mode}", arises=False, rtol=1e-6,
             x=[X, floats(5, 3)[2], floats(5, 3)[3]], i=np.array([1, -4, 1, 0], np.int32))
        for mode in ("add", "sub", "mul", "div", "max", "min")
    ),
]  # fmt: skip


# In a branch, the index is one only if the branch runs.
def _branch(x, i):
    return mb.cond(
        pred=mb.less(x=mb.reduce_sum(x=x), y=np.float32(1000)),
        _true_fn=lambda: mb.gather(x=x, indices=cut(i), axis=0),
        _false_fn=lambda: mb.slice_by_size(x=x, begin=[0, 0], size=[4, 3]),
    )


BRANCHES = [
    edge("cond", _branch, lambda x, i: x[i.astype(np.int32)], label="an index inside", arises=False, x=X,
         i=np.array([4.5, 0, -1, 0], np.float32)),
    edge("cond", _branch, label="an index outside", arises=False, x=X, raises=r"\[gather\] '.*': the index (-?\d+|nan|-?inf) is outside",
         i=[np.array([0, v, 0, 0], np.float32) for v in (NAN, 1e10, 5, -INF)]),
    edge("cond", _branch, lambda x, i: x[:4], label="not taken", arises=False, x=X + 1000, i=np.array([0, NAN, 9, INF], np.float32)),
]  # fmt: skip


# Slices


def slices(label, expect, **how):
    return edge("slice_by_index", lambda x: mb.slice_by_index(x=x, **how), expect, label=label, signs=True,
                x=[X, floats(5, 3)[0], floats(5, 3)[3]], arises=False)  # fmt: skip


def cut_out(x, b, n):
    return x[b[0] : b[0] + n[0], b[1] : b[1] + n[1]]


SLICES = [
    slices("beyond the end", lambda x: x[2:99], begin=[2, 0], end=[99, 3]),
    slices("backwards", lambda x: x[::-2], begin=[0, 0], end=[0, 0], stride=[-2, 1], begin_mask=[True, True], end_mask=[True, True]),
    slices("the last", lambda x: x[-1, 1:], begin=[-1, 1], end=[0, 3], squeeze_mask=[True, False]),
    slices("from the end", lambda x: x[-3:-1], begin=[-3, 0], end=[-1, 3]),
    edge("slice_by_index", lambda x, b, e: mb.slice_by_index(x=x, begin=b, end=e), lambda x, b, e: x[b[0] : e[0], b[1] : e[1]],
         label="computed", x=X, arises=False,
         b=[np.array(b, np.int32) for b in ([0, 0], [4, 0], [3, 1], [-2, 0], [2, 2])],
         e=[np.array(e, np.int32) for e in ([5, 3], [99, 99], [1, 3], [-1, 3], [2, 3])]),
    slices("before the first, backwards", lambda x: x[-9:-99:-1, 2:0:-1], begin=[-9, 2], end=[-99, 0], stride=[-1, -1]),
    edge("slice_by_index", lambda x, b, e: mb.slice_by_index(x=x, begin=b, end=e, stride=[-1, -2]),
         lambda x, b, e: x[b[0] : e[0] : -1, b[1] : e[1] : -2], label="computed, backwards", x=X, arises=False,
         b=[np.array(b, np.int32) for b in ([4, 2], [-6, 2], [99, 1], [LOW, -1], [2, 2], [5, HIGH])],
         e=[np.array(e, np.int32) for e in ([0, -4], [-9, -9], [1, LOW], [-99, LOW], [HIGH, 0], [1, HIGH])]),
    edge("slice_by_size", lambda x, b, n: mb.slice_by_size(x=x, begin=b, size=n), cut_out, x=X, arises=False,
         b=[np.array(b, np.int32) for b in ([0, 0], [4, 2], [1, 1], [5, 3])],
         n=[np.array(n, np.int32) for n in ([5, 3], [1, 1], [0, 2], [0, 0])]),
]  # fmt: skip


@edges([*INDICES, *BRANCHES])
def test_indices(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges(SLICES)
def test_slices(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)
