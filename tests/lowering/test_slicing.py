"""Slices against numpy's."""

import numpy as np

from lowering.harness import booleans, case, check, const, dynamic, f32, i32, rows


def _index(x, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    rank = x.ndim
    none = [False] * rank
    masks = [none if m is None else list(m) for m in (begin_mask, end_mask, squeeze_mask)]
    steps = [1] * rank if stride is None else list(stride)
    index = []
    for i in range(rank):
        if masks[2][i]:
            index.append(int(begin[i]))
            continue
        start = None if masks[0][i] else int(begin[i])
        stop = None if masks[1][i] else int(end[i])
        index.append(slice(start, stop, int(steps[i])))
    return tuple(index)


def _slice(x, **how):
    return x[_index(x, **how)]


SLICES = [
    {"begin": [0, 1], "end": [2, 3]},
    {"begin": [1, -2], "end": [3, -1]},
    {"begin": [0, 0], "end": [3, 4], "stride": [2, 3]},
    {"begin": [2, 3], "end": [0, 0], "stride": [-1, -2]},
    {"begin": [5, 1], "end": [9, 3], "begin_mask": [True, False], "end_mask": [True, False]},
    {"begin": [2, 3], "end": [0, 0], "stride": [-1, -1], "begin_mask": [True, True], "end_mask": [True, True]},
    {"begin": [1, 1], "end": [2, 3], "squeeze_mask": [True, False]},
    {"begin": [-1, 1], "end": [0, 3], "squeeze_mask": [True, False]},
    {"begin": [0, -1], "end": [3, 0], "squeeze_mask": [False, True]},
    {"begin": [0, 0], "end": [0, 0], "end_mask": [True, True]},
    {"begin": [1, 0], "end": [100, 100]},
]
X = f32(3, 4)
CASES = [
    case("slice_by_index", x=x, **how, opset=opset, label=str(how), expect=_slice)
    for how in SLICES
    for x, opset in ((X, 15), (X, 17), (dynamic(X), 15), (i32(3, 4), 15))
]
CASES += [
    case(
        "slice_by_index",
        x=x,
        label=f"runtime-{how}",
        **{k: np.array(v, np.int32) if k in ("begin", "end") else v for k, v in how.items()},
        expect=_slice,
    )
    for how in SLICES
    for x in (X, dynamic(X))
]
CASES += [
    case("slice_by_index", x=f32(2, 3, 4, 5), begin=[0, 1, 0, 2], end=[2, 3, 4, 5], stride=[1, 1, 2, 1], expect=_slice),
    case("slice_by_index", x=f32(5), begin=[1], end=[4], expect=_slice),
    case("slice_by_index", x=f32(5), begin=[-2], end=[0], squeeze_mask=[True], expect=_slice),
    case("slice_by_index", x=booleans(4), begin=[1], end=[3], expect=_slice),
    case("slice_by_index", x=f32(2, 3), begin=[1, 1], end=[2, 2], squeeze_mask=[True, True], expect=_slice),
]


def _by_size(x, begin, size):
    return x[tuple(slice(int(b), None if s == -1 else int(b) + int(s)) for b, s in zip(begin, size, strict=True))]


CASES += [
    case("slice_by_size", x=x, begin=begin, size=size, opset=opset, expect=_by_size)
    for begin, size in [([0, 1], [2, 2]), ([1, 0], [-1, 3]), ([2, 3], [1, 1]), ([0, 0], [-1, -1])]
    for x in (X, dynamic(X), i32(3, 4))
    for opset in (15, 17)
]
CASES += [
    case("slice_by_size", x=X, begin=np.array([1, 0], np.int32), size=[2, 3], expect=_by_size),
    case("slice_by_size", x=X, begin=np.array([1, 2], np.int32), size=[-1, 2], expect=_by_size),
]


def _update(x, update, **how):
    y = x.copy()
    y[_index(x, **how)] = update
    return y


UPDATES = [
    ({"begin": [0, 1], "end": [2, 3]}, (2, 2)),
    ({"begin": [1, 0], "end": [3, 4]}, (2, 4)),
    ({"begin": [0, 0], "end": [3, 4]}, (3, 4)),
    ({"begin": [0, 0], "end": [3, 4], "stride": [2, 3]}, (2, 2)),
    ({"begin": [2, 0], "end": [0, 4], "stride": [-1, 1]}, (2, 4)),
    ({"begin": [-2, -3], "end": [-1, -1]}, (1, 2)),
    ({"begin": [1, 1], "end": [2, 3], "squeeze_mask": [True, False]}, (2,)),
    ({"begin": [9, 1], "end": [9, 3], "begin_mask": [True, False], "end_mask": [True, False]}, (3, 2)),
]
CASES += [
    case("slice_update", x=x, update=f32(*shape, seed=5), **how, opset=18, label=f"{how}", expect=_update)
    for how, shape in UPDATES
    for x in (X, dynamic(X))
]
CASES += [
    case(
        "slice_update",
        x=X,
        update=f32(*shape, seed=5),
        opset=18,
        label=f"runtime-{how}",
        **{k: np.array(v, np.int32) if k in ("begin", "end") else v for k, v in how.items()},
        expect=_update,
    )
    for how, shape in UPDATES
]
CASES += [
    case(
        "slice_update",
        x=f32(1, 2, 6, 4),
        update=f32(1, 2, 2, 4, seed=1),
        begin=const(np.array([0, 0, 3, 0], np.int32)),
        end=[1, 2, 5, 4],
        opset=18,
        expect=_update,
    ),
    case("slice_update", x=i32(3, 4), update=i32(3, 1, seed=1), begin=[0, 2], end=[3, 3], opset=18, expect=_update),
]


@rows(CASES)
def test_slicing(row, engine, dtype):
    check(row, engine, dtype)
