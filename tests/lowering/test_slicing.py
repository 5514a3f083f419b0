"""Slices against numpy's."""

import numpy as np

from lowering.harness import booleans, case, check, const, dynamic, f32, float_of, i32, rows


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


def _written_often(mb, x):
    """x[0, 1, 0] = 1, x[0, 1, 2] = 6 as converters write it, by flat places, and two strided slices."""
    one = float_of(x)(1)
    x = mb.slice_update(x=x, update=[[one]], begin=[0, 1, 0], end=[1, 0, 1], squeeze_mask=[False, True, False])
    shape = mb.shape(x=x)
    places = mb.reshape(x=mb.range_1d(start=0, end=mb.reduce_prod(x=shape, keep_dims=False), step=1), shape=shape)
    place = mb.slice_by_index(x=places, begin=[0, 1, 2], end=[0, 0, 0], squeeze_mask=[True] * 3)
    flat = mb.scatter(data=mb.reshape(x=x, shape=[-1]), indices=mb.reshape(x=place, shape=[-1]), updates=[6 * one])
    x = mb.reshape(x=flat, shape=shape)
    update = np.arange(6).reshape(2, 3, 1).astype(float_of(x))
    x = mb.slice_update(x=x, update=update, begin=[0, 2, 1], end=[2, 8, 2], stride=[1, 2, 1])
    update = np.arange(8).reshape(2, 2, 2).astype(float_of(x))
    return mb.slice_update(x=x, update=update, begin=[0, 1, 1], end=[2, 10, 3], stride=[1, 8, 1])


def _written(x):
    x = x.copy()
    x[0, 1, 0], x[0, 1, 2] = 1, 6
    x[:, 2:8:2, 1:2] = np.arange(6).reshape(2, 3, 1)
    x[:, 1:10:8, 1:3] = np.arange(8).reshape(2, 2, 2)
    return x


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

# Integers that float32 does not hold, and every other element type that moves.
LARGE = np.array([[2**31 - 1, -(2**31), 16777217, 5], [33554433, -16777219, 1, 2], [0, 3, 4, 8]], np.int32)
TYPED = [f32(3, 4, low=0, high=99).astype(d) for d in (np.int8, np.uint8, np.int16, np.uint16)] + [
    LARGE,
    booleans(3, 4),
]
EXACT = {"rtol": 0, "atol": 0}
for typed in TYPED:
    CASES += [
        case("slice_by_index", x=typed, begin=[2, 1], end=[0, 3], stride=[-1, 1], opset=17, expect=_slice, **EXACT),
        case("slice_by_size", x=typed, begin=[1, 0], size=[2, -1], opset=17, expect=_by_size, **EXACT),
    ]
    CASES += [
        case("slice_update", x=typed, update=typed[:2, 1:3].copy(), **how, opset=18, expect=_update, **EXACT)
        for how in (
            {"begin": [1, 0], "end": [3, 2]},
            {"begin": [0, 0], "end": [3, 4], "stride": [2, 2]},
            {"begin": np.array([1, 2], np.int32), "end": np.array([3, 4], np.int32)},
        )
    ]


def _typed(name, value, dtype):
    """begin and end as values of the prediction; the stride must be of their type."""
    if name == "stride":
        return const(np.array(value, dtype))
    return value if name.endswith("mask") else np.array(value, dtype)


CASES += [
    case("slice_by_index", x=x, **how, opset=17, label=f"{how}", expect=_slice)
    for x in (X, dynamic(X), const(X))
    for how in [
        # Beyond the ends, from either side.
        {"begin": [-9, 1], "end": [2, 99]},
        {"begin": [-9, -99], "end": [99, -1]},
        {"begin": [99, -1], "end": [0, 0], "stride": [-1, -2]},
        {"begin": [-1, 2], "end": [-3, 0], "stride": [-1, -1]},
        # Every mask alone, with each direction.
        {"begin": [1, 2], "end": [3, 4], "begin_mask": [False, True]},
        {"begin": [1, 2], "end": [2, 3], "end_mask": [True, False]},
        {"begin": [1, 2], "end": [0, 0], "stride": [-1, -1], "begin_mask": [True, False]},
        {"begin": [1, 2], "end": [0, 0], "stride": [-1, -1], "end_mask": [True, False]},
        {"begin": [1, 2], "end": [0, 0], "stride": [-1, -2], "begin_mask": [False, True], "end_mask": [False, True]},
        {"begin": [0, 0], "end": [0, 0], "stride": [2, 3], "begin_mask": [True, True], "end_mask": [True, True]},
        # What is squeezed has no end, no stride and no masks.
        {"begin": [-1, 1], "end": [0, 0], "end_mask": [False, True], "squeeze_mask": [True, False]},
        {"begin": [2, 3], "end": [0, 1], "stride": [-1, -1], "squeeze_mask": [True, False]},
    ]
]
CASES += [
    case("slice_by_index", x=x, begin=[1, -4], end=[2, 0], squeeze_mask=[True, True], opset=17, expect=_slice)
    for x in (X, dynamic(X), i32(3, 4))
]
CASES += [
    case(
        "slice_by_index",
        x=x,
        label=f"runtime-{d.__name__}-{how}",
        **{k: _typed(k, v, d) for k, v in how.items()},
        opset=17,
        expect=_slice,
    )
    for x in (X, dynamic(X))
    for d in (np.int8, np.int16, np.int32)
    for how in [
        {"begin": [-2, 1], "end": [3, -1]},
        {"begin": [2, 3], "end": [-9, 0], "stride": [-1, -2]},
        {"begin": [2, 3], "end": [0, 0], "stride": [-1, -2], "begin_mask": [True, False], "end_mask": [False, True]},
        {"begin": [-1, -3], "end": [0, 0], "squeeze_mask": [True, False], "end_mask": [False, True]},
    ]
]
CASES += [
    case("slice_by_index", x=X, begin=np.array([1, 0], np.int32), end=[3, 2], label="begin", expect=_slice),
    case("slice_by_index", x=X, begin=[0, 1], end=np.array([2, -1], np.int32), label="end", expect=_slice),
    case(
        "slice_by_index",
        x=f32(1, 2, 3, 2, 4),
        begin=[0, -1, 2, 0, 1],
        end=[0, 0, 0, 2, -1],
        stride=[1, 1, -1, 1, 2],
        squeeze_mask=[True, True, False, False, False],
        end_mask=[False, False, True, False, False],
        expect=_slice,
    ),
    # A size of one, out of the shape: the commonest use.
    case(
        "slice_by_index",
        x=dynamic(f32(3, 5)),
        label="shape",
        expect=np.array(5),
        build=lambda mb, x: mb.slice_by_index(x=mb.shape(x=x), begin=[1], end=[0], squeeze_mask=[True]),
    ),
]


def _int32(values):
    return np.array(values, np.int32)


def _int8(values):
    return np.array(values, np.int8)


def _by_size_from_either_end(x, begin, size):
    starts = [int(b) % n for b, n in zip(begin, x.shape, strict=True)]
    return x[tuple(slice(b, None if s == -1 else b + int(s)) for b, s in zip(starts, size, strict=True))]


CASES += [
    case(
        "slice_by_size",
        x=x,
        begin=wrap(begin),
        size=other(size),
        opset=17,
        label=f"{begin}-{size}-{n}",
        expect=_by_size_from_either_end,
    )
    for x in (X, dynamic(X), const(X))
    for begin, size in [([-2, 1], [2, 3]), ([-3, -3], [2, -1]), ([0, -4], [-1, 4]), ([1, -1], [2, 1])]
    for n, (wrap, other) in enumerate(
        [
            (list, list),
            (_int32, _int32),
            (_int32, list),
            (list, _int32),
            (_int8, _int8),
            (lambda v: const(_int8(v)), _int8),
        ]
    )
]
CASES += [
    case("slice_by_size", x=f32(5), begin=[1], size=[3], expect=_by_size),
    case("slice_by_size", x=f32(1, 2, 3, 2, 4), begin=[0, 1, 0, 0, 2], size=[1, 1, -1, 2, 2], expect=_by_size),
]
CASES += [
    case("slice_update", x=x, update=update, **how, opset=18, label=f"{how}", expect=_update)
    for x, update in [
        (const(X), f32(2, 2, seed=5)),
        (X, const(f32(2, 2, seed=5))),
        (dynamic(X), dynamic(f32(2, 2, seed=5))),
    ]
    for how in (
        {"begin": [-3, -4], "end": [-1, -2]},
        {"begin": [1, 1], "end": [99, 3]},
        {"begin": [-1, 3], "end": [0, 0], "stride": [-1, -2]},
        {"begin": [0, 1], "end": [0, 0], "stride": [2, 2], "end_mask": [True, True]},
        {"begin": np.array([-2, 1], np.int8), "end": np.array([99, -1], np.int8)},
    )
]
CASES += [
    case(
        "slice_update",
        x=f32(2, 3, 2, 4),
        update=f32(2, 4, seed=3),
        begin=begin,
        end=[0, 0, 9, 9],
        squeeze_mask=[True, True, False, False],
        opset=18,
        expect=_update,
    )
    for begin in ([1, -1, 0, 0], np.array([-1, 1, 0, 0], np.int32))
]
CASES += [
    case("slice_update", x=f32(6), update=f32(2, seed=1), begin=[1], end=[5], stride=[3], opset=18, expect=_update),
    # Products of sizes decide the shapes of further tensors.
    case(
        "slice_update",
        x=dynamic(f32(2, 10, 3)),
        opset=18,
        label="written often",
        build=_written_often,
        expect=_written,
    ),
    # A cache that a step writes into, at a position of the prediction.
    case(
        "slice_update",
        x=f32(1, 2, 8, 4),
        update=f32(1, 2, 1, 4, seed=1),
        begin=np.array([0, 0, 5, 0], np.int32),
        end=np.array([0, 0, 6, 0], np.int32),
        begin_mask=[True, True, False, True],
        end_mask=[True, True, False, True],
        opset=18,
        expect=_update,
    ),
]


def _at_position(mb, x, pos, scalar, count):
    """x[pos[0] : pos[0] + count] as coremltools converts it: scalars that are joined to a begin and an end."""
    if scalar == "squeezed":
        first = mb.slice_by_index(x=pos, begin=[0], end=[1], squeeze_mask=[True])
    else:
        first = mb.gather(x=pos, indices=np.int32(0)) if scalar == "gathered" else mb.squeeze(x=pos, axes=[0])
    count = mb.gather(x=mb.shape(x=x), indices=np.int32(1)) if count is None else np.int32(count)
    begin = mb.concat(values=[first, np.int32(0)], axis=0)
    end = mb.concat(values=[mb.add(x=first, y=count), np.int32(0)], axis=0)
    return mb.slice_by_index(x=x, begin=begin, end=end, end_mask=[False, True])


# A position that is an input: OpenVINO compiles it in each form of the scalar.
CASES += [
    case(
        "slice_by_index",
        x=(dynamic if size is None else np.asarray)(f32(9, 4)),
        pos=np.array([2], np.int32),
        opset=17,
        label=f"position_{scalar}_{count}",
        expect=lambda x, pos: x[2:6],
        build=lambda mb, x, pos, s=scalar, c=count: _at_position(mb, x, pos, s, c),
    )
    for scalar in ("squeezed", "gathered", "squeeze")
    for count, size in ((4, 9), (None, 9), (4, None), (None, None))
]


@rows(CASES)
def test_slicing(row, engine, dtype):
    check(row, engine, dtype)
