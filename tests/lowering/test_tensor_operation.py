"""Tensor operations against numpy."""

import numpy as np
import pytest

from lowering.harness import booleans, case, check, compiled_on, const, dynamic, f32, float_of, i32, program_of, rows
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program

# Distinct values, also in float16.
DISTINCT = np.random.default_rng(3).permutation(24).reshape(2, 3, 4).astype(np.float32)

CASES = [
    case(
        "argsort",
        x=x,
        axis=axis,
        ascending=ascending,
        expect=lambda x, axis, ascending: np.argsort(x if ascending else -x, int(axis)),
    )
    for x in (DISTINCT, dynamic(DISTINCT), DISTINCT.astype(np.int32))
    for axis in (-1, 1)
    for ascending in (False, True)
]


def _band(x, lower=-1, upper=-1):
    m, n = np.indices(x.shape[-2:])
    keep = ((lower < 0) | (m - n <= lower)) & ((upper < 0) | (n - m <= upper))
    return x * keep if x.dtype != bool else x & keep


CASES += [
    case("band_part", x=x, lower=lower, upper=upper, expect=_band)
    for x in (f32(4, 5), f32(2, 3, 3), dynamic(f32(5, 4)), i32(4, 4))
    for lower, upper in [(0, -1), (-1, 0), (1, 2), (0, 0), (-1, -1)]
]
CASES += [case("band_part", x=booleans(4, 4), lower=1, upper=0, expect=_band)]


def _concat(*arrays, axis, interleave=False, dtypes=("fp32", "fp16"), wrap=lambda a: a):
    names = [f"x{i}" for i in range(len(arrays))]
    return case(
        "concat",
        **{n: wrap(a) for n, a in zip(names, arrays, strict=True)},
        dtypes=dtypes,
        label=f"{[a.shape for a in arrays]}-{axis}-{interleave}",
        build=lambda mb, **v: mb.concat(values=[v[n] for n in names], axis=axis, interleave=interleave),
        expect=lambda **v: _joined([v[n] for n in names], axis, interleave),
    )


def _joined(arrays, axis, interleave):
    if not interleave:
        return np.concatenate(arrays, axis)
    axis %= arrays[0].ndim
    shape = [d * len(arrays) if i == axis else d for i, d in enumerate(arrays[0].shape)]
    return np.stack(arrays, axis + 1).reshape(shape)


CASES += [
    _concat(f32(2, 3), f32(2, 1, seed=1), axis=1),
    _concat(f32(2, 3), f32(4, 3, seed=1), f32(1, 3, seed=2), axis=0),
    _concat(f32(2, 3, 4), f32(2, 3, 4, seed=1), axis=-1),
    _concat(f32(3), f32(2, seed=1), axis=0),
    _concat(f32(2, 3), axis=0),
    _concat(i32(2, 3), i32(2, 3, seed=1), axis=1),
    _concat(booleans(2, 3), booleans(2, 3, seed=1), axis=1),
    _concat(f32(2, 4), f32(2, 4, seed=1), axis=1, interleave=True),
    _concat(f32(1, 3, 2, 2), f32(1, 3, 2, 2, seed=1), f32(1, 3, 2, 2, seed=2), axis=1, interleave=True),
    _concat(f32(2, 3), f32(2, 3, seed=1), axis=0, interleave=True),
    _concat(f32(2, 3), f32(2, 2, seed=1), axis=1, wrap=lambda a: dynamic(a, 0)),
    _concat(f32(2, 3), f32(2, 2, seed=1), axis=1, wrap=dynamic),
    _concat(f32(2, 4), f32(2, 4, seed=1), axis=1, interleave=True, wrap=lambda a: dynamic(a, 0)),
    _concat(f32(2, 3), np.zeros((2, 0), np.float32), axis=1),
]


def _cumsum(x, axis=0, exclusive=False, reverse=False):
    axis = int(axis)
    y = np.flip(x, axis) if reverse else x
    total = np.cumsum(y, axis)
    total = total - y if exclusive else total
    return np.flip(total, axis) if reverse else total


CASES += [
    case("cumsum", x=x, axis=axis, exclusive=exclusive, reverse=reverse, expect=_cumsum)
    for x in (f32(2, 3, 4), i32(2, 3, 4), dynamic(f32(2, 3, 4)))
    for axis in (0, -1)
    for exclusive in (False, True)
    for reverse in (False, True)
]
CASES += [case("fill", shape=[2, 3], value=value, expect=np.full((2, 3), value)) for value in (0.0, 1.5, 7, True)]
CASES += [
    case("fill", shape=np.array([2, 3], np.int32), value=1.5, expect=np.full((2, 3), 1.5)),
    case("fill", shape=np.array([2, 3], np.int32), value=4, expect=np.full((2, 3), 4)),
    case("fill_like", ref_tensor=f32(2, 3), value=2.0, opset=16, expect=np.full((2, 3), 2.0)),
    case("fill_like", ref_tensor=dynamic(f32(2, 3)), value=2.0, opset=16, expect=np.full((2, 3), 2.0)),
    case("fill_like", ref_tensor=i32(4), value=3, opset=17, expect=np.full(4, 3)),
]
CASES += [
    case(
        "flatten2d",
        x=x,
        axis=axis,
        expect=lambda x, axis: x.reshape(int(np.prod(x.shape[: axis if axis >= 0 else x.ndim + axis])), -1),
    )
    for x in (f32(2, 3, 4), dynamic(f32(2, 3, 4)), i32(2, 3, 4))
    for axis in (0, 1, 2, -1)
]
CASES += [case("identity", x=x, expect=lambda x: x) for x in (f32(2, 3), i32(3), booleans(2), dynamic(f32(2, 3)))]
CASES += [
    case("non_zero", x=x, expect=lambda x: np.argwhere(x))
    for x in (
        np.array([[0, 3, 0], [1, 0, 2]], np.int32),
        np.array([0, 1.5, 0, -2], np.float32),
        dynamic(np.array([[0, 1.0]], np.float32)),
        np.zeros((2, 2), np.float32),
    )
]
CASES += [case("non_zero", x=booleans(2, 3, 2), expect=np.argwhere(booleans(2, 3, 2)))]


def _one_hot(indices, one_hot_vector_size, axis=-1, on_value=1, off_value=0):
    hot = np.where(indices[..., None] == np.arange(one_hot_vector_size), on_value, off_value)
    return np.moveaxis(hot, -1, int(axis))


CASES += [
    case("one_hot", indices=indices, one_hot_vector_size=4, axis=axis, expect=_one_hot)
    for indices in (np.array([0, 3, 1], np.int32), dynamic(np.array([[0, 3], [2, 1]], np.int32)))
    for axis in (-1, 0)
]
CASES += [
    case(
        "one_hot",
        indices=np.array([0, 2], np.int32),
        one_hot_vector_size=3,
        on_value=2.5,
        off_value=-1.0,
        expect=_one_hot,
    ),
    case(
        "one_hot",
        indices=np.array([0, 2], np.int32),
        one_hot_vector_size=3,
        on_value=True,
        off_value=False,
        expect=_one_hot,
    ),
    case(
        "one_hot",
        indices=np.array([1, 5, -1], np.int32),
        one_hot_vector_size=3,
        expect=np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
    ),
    case(
        "one_hot",
        indices=np.array([0, 2], np.int32),
        one_hot_vector_size=np.int32(3),
        expect=lambda indices, one_hot_vector_size: _one_hot(indices, 3),
    ),
]

_NUMPY_PAD = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def _pad(x, pad, mode="constant", constant_val=0.0):
    pairs = np.reshape(pad, (-1, 2))
    whole = [(0, 0)] * (x.ndim - len(pairs)) + [tuple(p) for p in pairs]
    extra = {"constant_values": constant_val} if mode == "constant" else {}
    return np.pad(x, whole, mode=_NUMPY_PAD[mode], **extra)


CASES += [
    case("pad", x=x, pad=const(np.array(pad, np.int32)), mode=mode, expect=_pad)
    for mode in ("constant", "reflect", "replicate")
    for x, pad in [
        (f32(1, 2, 4, 5), [1, 2, 3, 1]),
        (f32(2, 4), [1, 1]),
        (dynamic(f32(1, 2, 4, 5)), [0, 1, 2, 0]),
        (f32(1, 2, 4), [2, 2]),
    ]
]
CASES += [  # to and fro
    case("pad", x=f32(2, 3), pad=const(np.array([1, 2, 5, 4], np.int32)), mode="reflect", expect=_pad)
]
CASES += [
    case(
        "pad", x=f32(2, 3), pad=const(np.array([1, 1, 0, 2], np.int32)), mode="constant", constant_val=3.5, expect=_pad
    ),
    case("pad", x=f32(2, 3), pad=np.array([1, 0, 0, 2], np.int32), mode="constant", constant_val=0.5, expect=_pad),
    case("pad", x=f32(2, 3, 4), pad=const(np.array([1, 1, 0, 0, 2, 0], np.int32)), expect=_pad),
    case("range_1d", end=10, start=0, step=2, expect=np.arange(0, 10, 2)),
    case("range_1d", end=10.0, start=0.0, step=2.5, dtypes=["fp32"], expect=np.arange(0, 10, 2.5)),
    case("range_1d", end=5, start=9, step=-2, expect=np.array([9, 7])),
    case(
        "range_1d",
        n=np.array([4], np.int32),
        label="runtime",
        expect=np.arange(1, 4),
        build=lambda mb, n: mb.range_1d(end=mb.squeeze(x=n), start=1, step=1),
    ),
    case("shape", x=f32(2, 3, 4), expect=np.array([2, 3, 4])),
    case("shape", x=dynamic(f32(2, 3, 4)), expect=np.array([2, 3, 4])),
    case("shape", x=dynamic(f32(2, 3, 4), 1), expect=np.array([2, 3, 4])),
    case("shape", x=i32(5), expect=np.array([5])),
]


def _split(x, **how):
    axis = int(how["axis"])
    if how.get("split_sizes") is not None:
        return tuple(np.split(x, np.cumsum(how["split_sizes"])[:-1], axis))
    return tuple(np.split(x, int(how["num_splits"]), axis))


CASES += [
    case("split", x=x, num_splits=n, axis=axis, expect=_split)
    for x, n, axis in [
        (f32(4, 6), 2, 0),
        (f32(4, 6), 3, 1),
        (i32(4, 6), 2, -1),
        (f32(2, 6, 2, 2), 6, 1),
        (dynamic(f32(4, 6), 0), 3, 1),
        (dynamic(f32(4, 6)), 2, 1),
        (f32(4, 6), 1, 0),
    ]
]
CASES += [
    case("split", x=x, split_sizes=sizes, axis=axis, expect=_split)
    for x, sizes, axis in [(f32(4, 6), [1, 3], 0), (f32(4, 6), [1, 2, 3], 1), (dynamic(f32(4, 6), 0), [2, 4], 1)]
]


def _stack(*arrays, axis, wrap=lambda a: a):
    names = [f"x{i}" for i in range(len(arrays))]
    return case(
        "stack",
        **{n: wrap(a) for n, a in zip(names, arrays, strict=True)},
        label=f"{arrays[0].shape}-{axis}",
        build=lambda mb, **v: mb.stack(values=[v[n] for n in names], axis=axis),
        expect=lambda **v: np.stack([v[n] for n in names], axis),
    )


CASES += [_stack(f32(2, 3), f32(2, 3, seed=1), axis=axis) for axis in (0, 1, 2, -1, -2)]
CASES += [
    _stack(i32(2), i32(2, seed=1), i32(2, seed=2), axis=0),
    _stack(f32(2, 3), f32(2, 3, seed=1), axis=1, wrap=dynamic),
]
CASES += [
    case("tile", x=x, reps=reps, expect=lambda x, reps: np.tile(x, reps))
    for x, reps in [
        (f32(2, 3), [2, 1]),
        (f32(3), [4]),
        (i32(1, 2, 3), [2, 3, 1]),
        (booleans(2, 2), [1, 2]),
        (dynamic(f32(2, 3)), [1, 3]),
    ]
]
CASES += [case("tile", x=f32(2, 3), reps=np.array([2, 2], np.int32), expect=lambda x, reps: np.tile(x, reps))]


def _topk(x, k=1, axis=-1, ascending=False, **_):
    axis = int(axis)
    wide = x.astype(np.float64)
    order = np.argsort(wide if ascending else -wide, axis, kind="stable")
    indices = np.take(order, np.arange(k), axis)
    return np.take_along_axis(x, indices, axis), indices


CASES += [
    case("topk", x=x, k=k, axis=axis, ascending=ascending, opset=opset, expect=_topk)
    for x in (DISTINCT, dynamic(DISTINCT))
    for k, axis in [(1, -1), (3, 2), (2, 0)]
    for ascending in (False, True)
    for opset in (15, 16, 17)
]
CASES += [
    case("topk", x=DISTINCT, k=2, axis=1, return_indices=False, opset=16, expect=lambda x, **h: _topk(x, 2, 1)[0]),
    case("topk", x=DISTINCT, k=2, axis=1, output_indices_dtype="uint16", opset=17, expect=_topk),
    case("topk", x=DISTINCT.astype(np.int32), k=2, axis=1, expect=_topk),
    case(
        "topk",
        x=DISTINCT,
        k=4,
        axis=2,
        sort=False,
        opset=16,
        expect=lambda x, **h: (np.sort(x, 2), np.arange(4) + 0 * x),
        build=lambda mb, x, **h: (
            lambda v: (
                mb.gather_along_axis(x=v[0], indices=mb.argsort(x=v[0], axis=2, ascending=True), axis=2),
                mb.argsort(
                    x=mb.gather_along_axis(x=v[0], indices=mb.argsort(x=v[0], axis=2, ascending=True), axis=2),
                    axis=2,
                    ascending=True,
                ),
            )
        )(mb.topk(x=x, **h)),
    ),
]

# Integers that float32 does not hold.
LARGE = np.array([[2**31 - 1, -(2**31) + 1, 16777217], [33554433, -16777219, 1]], np.int32)
EXACT = {"rtol": 0, "atol": 0}
NARROW = [np.int8, np.uint8, np.int16, np.uint16]
INF, NAN = np.float32(np.inf), np.float32(np.nan)

CASES += [
    case("argsort", x=np.array([3, 1, 2], np.float32), expect=np.array([0, 2, 1])),
    case("argsort", x=LARGE, axis=-1, ascending=True, expect=lambda x, **h: np.argsort(x, -1)),
    case("argsort", x=const(DISTINCT), axis=0, expect=lambda x, axis: np.argsort(-x, 0)),
    case("argsort", x=np.array([[INF, 0, -INF]], np.float32), ascending=True, expect=np.array([[2, 1, 0]])),
    # Equal elements keep their order.
    case("argsort", x=np.array([1, 2, 1, 2, 1], np.float32), expect=np.array([1, 3, 0, 2, 4])),
    case("argsort", x=np.array([1, 2, 1, 2, 1], np.float32), ascending=True, expect=np.array([0, 2, 4, 1, 3])),
]
CASES += [
    case("band_part", x=LARGE, lower=0, upper=1, expect=_band, **EXACT),
    case("band_part", x=const(f32(3, 3)), lower=0, upper=0, expect=_band),
    case("band_part", x=f32(1, 2, 3, 4), lower=1, upper=1, expect=_band),
    case("band_part", x=dynamic(booleans(3, 4)), lower=1, upper=0, expect=_band),
    # What lies outside of the band is 0, whatever it was.
    case(
        "band_part",
        x=np.array([[1, INF], [NAN, 2]], np.float32),
        lower=0,
        upper=0,
        expect=np.diag([1.0, 2.0]),
    ),
]
CASES += [_concat(f32(2, 3).astype(d), f32(2, 2).astype(d), axis=1) for d in (np.int8, np.uint8)]
CASES += [
    _concat(LARGE, LARGE[:1], axis=0),
    _concat(i32(2, 3), i32(2, 3, seed=1), axis=-2, interleave=True),
    _concat(f32(1, 2, 1, 2, 2), f32(1, 2, 1, 2, 2, seed=1), axis=-3, interleave=True),
    _concat(f32(2, 3), f32(2, 3, seed=1), axis=1, interleave=True, wrap=dynamic),
    _concat(f32(2, 3, 2), f32(2, 3, 2, seed=1), axis=0, interleave=True, wrap=dynamic),
    case(
        "concat",
        x=f32(2, 3),
        label="constant",
        expect=lambda x: np.concatenate([x, np.ones((2, 1), np.float32), x], 1),
        build=lambda mb, x: mb.concat(values=(x, np.ones((2, 1), float_of(x)), x), axis=1),
    ),
    case(
        "concat",
        x=np.array([3], np.int32),
        y=np.array([4], np.int32),
        label="scalars",
        expect=np.array([3, 7, 4]),
        build=lambda mb, x, y: mb.concat(values=(mb.squeeze(x=x), np.int32(7), mb.squeeze(x=y)), axis=0),
    ),
]
CASES += [
    case("cumsum", x=f32(5), expect=_cumsum),
    case("cumsum", x=const(f32(2, 3)), axis=1, reverse=True, expect=_cumsum),
    case("cumsum", x=np.array([16777217, 2, 3], np.int32), expect=_cumsum, **EXACT),
    case("cumsum", x=f32(1, 2, 1, 2, 3), axis=3, exclusive=True, reverse=True, expect=_cumsum),
]
CASES += [
    case("fill", shape=[2, 1, 3, 1, 2], value=-1.0, expect=np.full((2, 1, 3, 1, 2), -1)),
    case("fill", shape=[3], expect=np.zeros(3)),
    case("fill", shape=[300, 301], value=0.5, expect=np.full((300, 301), 0.5)),
    case("fill", shape=[2], value=16777217, expect=np.full(2, 16777217), **EXACT),
    case("fill", shape=np.array([2, 3], np.int32), value=True, expect=np.ones((2, 3), bool)),
    case("fill", shape=dynamic(np.array([2, 3], np.int32)), value=2.5, expect=np.full((2, 3), 2.5)),
    case("fill_like", ref_tensor=booleans(2, 3), value=True, opset=16, expect=np.ones((2, 3), bool)),
    case("fill_like", ref_tensor=dynamic(booleans(2, 3), 1), value=False, opset=16, expect=np.zeros((2, 3), bool)),
    case("fill_like", ref_tensor=dynamic(i32(2, 3)), opset=16, expect=np.zeros((2, 3))),
    case("flatten2d", x=f32(3), axis=-1, expect=lambda x, axis: x[None]),
    case("flatten2d", x=f32(3), expect=lambda x: x[:, None]),
    case("flatten2d", x=booleans(2, 3, 2), axis=2, expect=lambda x, axis: x.reshape(6, 2)),
    case("flatten2d", x=const(f32(2, 3, 2)), axis=-2, expect=lambda x, axis: x.reshape(2, 6)),
    case("identity", x=const(f32(2, 3)), expect=lambda x: x),
    case("identity", x=LARGE, expect=LARGE, **EXACT),
    case(
        "non_zero", x=np.array([[[0, -0.0], [NAN, 1e-7]]], np.float32), dtypes=["fp32"], expect=[[[0, 1, 0], [0, 1, 1]]]
    ),
    case("non_zero", x=const(np.array([0, 5, 0, 7], np.int32)), expect=np.array([[1], [3]])),
]
CASES += [
    case("one_hot", indices=i32(2, 3, low=0, high=4), one_hot_vector_size=4, axis=axis, expect=_one_hot)
    for axis in (1, -2, -3)
]
CASES += [
    case("one_hot", indices=const(np.array([2, 0], np.int32)), one_hot_vector_size=3, axis=0, expect=_one_hot),
    case(
        "one_hot",
        indices=np.array([2, 0], np.int32),
        one_hot_vector_size=3,
        on_value=16777217,
        off_value=-16777217,
        expect=_one_hot,
        **EXACT,
    ),
    case(
        "one_hot",
        indices=np.array([2, 0], np.int32),
        size=np.array([4], np.int32),
        label="runtime",
        expect=lambda indices, size: _one_hot(indices, 4),
        build=lambda mb, indices, size: mb.one_hot(indices=indices, one_hot_vector_size=mb.squeeze(x=size)),
    ),
    case(
        "one_hot",
        indices=np.array([2], np.int32),
        label="scalar",
        expect=np.array([0, 0, 1, 0]),
        build=lambda mb, indices: mb.one_hot(indices=mb.squeeze(x=indices), one_hot_vector_size=4),
    ),
]
CASES += [
    case("pad", x=x, pad=np.array(pad, np.int32), mode=mode, expect=_pad)
    for mode in ("constant", "reflect", "replicate")
    for x, pad in [(f32(2, 3, 4), [1, 0, 2, 1, 0, 3]), (dynamic(f32(2, 3)), [1, 1, 0, 2])]
]
CASES += [
    case("pad", x=const(f32(2, 3)), pad=const(np.array([1, 2], np.int32)), mode=mode, expect=_pad)
    for mode in ("constant", "reflect", "replicate")
]
CASES += [
    case("pad", x=f32(2, 3), pad=const(np.array([1, 1], np.int32)), constant_val=value, expect=_pad)
    for value in (float("inf"), float("-inf"), float("nan"))
]
CASES += [
    case("pad", x=f32(4), pad=const(np.array([2, 1], np.int32)), expect=_pad),
    case("pad", x=f32(1, 2, 1, 2, 3), pad=const(np.array([1, 0, 0, 1, 1, 1, 2, 0, 0, 2], np.int32)), expect=_pad),
    case("pad", x=f32(2, 3), pad=const(np.zeros(4, np.int32)), expect=_pad),
    case("pad", x=f32(1, 1, 3, 3), pad=const(np.array([2, 2, 2, 2], np.int32)), mode="reflect", expect=_pad),
    case("pad", x=f32(1, 1, 3, 3), pad=const(np.array([3, 3, 3, 3], np.int32)), mode="replicate", expect=_pad),
    case("range_1d", end=0, start=5, step=-1, expect=np.arange(5, 0, -1)),
    case("range_1d", end=5, start=4, step=3, expect=np.array([4])),
    case(
        "range_1d",
        n=np.array([2.5], np.float32),
        label="runtime-float",
        expect=np.array([0, 0.5, 1, 1.5, 2]),
        build=lambda mb, n: mb.range_1d(end=mb.squeeze(x=n), start=float_of(n)(0), step=float_of(n)(0.5)),
    ),
    case(
        "range_1d",
        a=np.array([7], np.int32),
        b=np.array([1], np.int32),
        c=np.array([-2], np.int32),
        label="runtime-all",
        expect=np.array([7, 5, 3]),
        build=lambda mb, a, b, c: mb.range_1d(start=mb.squeeze(x=a), end=mb.squeeze(x=b), step=mb.squeeze(x=c)),
    ),
    case("shape", x=booleans(2, 3), expect=np.array([2, 3])),
    case("shape", x=dynamic(booleans(2, 3), 0), expect=np.array([2, 3])),
    case("shape", x=const(f32(2, 3)), expect=np.array([2, 3])),
    case("split", x=booleans(4, 2), num_splits=2, axis=0, expect=_split),
    case("split", x=dynamic(booleans(4, 2)), split_sizes=[3, 1], axis=0, expect=_split),
    case("split", x=LARGE, num_splits=3, axis=-1, expect=_split, **EXACT),
    case("split", x=const(f32(4, 2)), num_splits=2, axis=0, expect=_split),
    case("split", x=f32(5, 2), num_splits=2, split_sizes=[2, 3], axis=-2, expect=_split),
    case("split", x=dynamic(f32(2, 6, 1)), num_splits=3, axis=-2, expect=_split),
    case("split", x=dynamic(f32(2, 6)), num_splits=1, axis=0, expect=_split),
    case(
        "stack",
        x=np.array([3.0], np.float32),
        y=np.array([4.0], np.float32),
        label="scalars",
        expect=np.array([3, 4]),
        build=lambda mb, x, y: mb.stack(values=(mb.squeeze(x=x), mb.squeeze(x=y)), axis=0),
    ),
    case(
        "stack",
        x=f32(3),
        label="constant",
        expect=lambda x: np.stack([x, np.ones(3)], -1),
        build=lambda mb, x: mb.stack(values=(x, np.ones(3, float_of(x))), axis=-1),
    ),
    _stack(f32(2, 3), axis=-3),
    _stack(booleans(2, 3), booleans(2, 3, seed=1), axis=1),
]
CASES += [
    case("tile", x=x, reps=reps, expect=lambda x, reps: np.tile(x, reps), **EXACT)
    for x, reps in [
        (LARGE, [1, 3]),
        (const(f32(2, 1)), [1, 3]),
        (f32(1, 2, 1, 2, 1), [2, 1, 2, 1, 3]),
        (dynamic(f32(2, 3)), np.array([3, 2], np.int32)),
        (f32(1, 3), np.array([4, 1], np.int32)),
        (f32(1, 1), np.array([2, 5], np.int32)),
        (i32(2, 1, 3), np.array([4, 3, 5], np.int32)),
        (f32(2, 3), np.array([2, 0], np.int32)),
        (dynamic(f32(2, 1, 3), 0), np.array([3, 4, 5], np.int32)),
        (dynamic(booleans(2, 3)), np.array([1, 2], np.int32)),
    ]
]
CASES += [
    case("topk", x=DISTINCT.astype(d), k=2, axis=1, ascending=ascending, opset=17, expect=_topk)
    for d in NARROW
    for ascending in (False, True)
]
CASES += [
    case("topk", x=DISTINCT, k=const(d(3)), opset=17, expect=lambda x, k: _topk(x, 3)) for d in (np.int8, np.int16)
]
CASES += [
    case("topk", x=LARGE, k=2, ascending=ascending, opset=opset, expect=_topk, **EXACT)
    for ascending in (False, True)
    for opset in (15, 17)
]
CASES += [
    case("topk", x=DISTINCT, opset=15, expect=_topk),
    case("topk", x=const(DISTINCT), k=2, expect=_topk),
    case("topk", x=np.array([[INF, 0, -INF]], np.float32), k=2, expect=_topk),
    case("topk", x=np.array([1, 3, 1, 3, 2], np.float32), k=4, expect=([3, 3, 2, 1], [1, 3, 4, 0])),
    case("topk", x=np.array([1, 3, 1, 3, 2], np.float32), k=4, ascending=True, expect=([1, 1, 2, 3], [0, 2, 4, 1])),
    case(
        "topk",
        x=DISTINCT,
        k=3,
        return_indices=False,
        ascending=True,
        opset=17,
        expect=lambda x, **h: np.sort(x)[..., :3],
    ),
]


@rows(CASES)
def test_tensor_operation(row, engine, dtype):
    check(row, engine, dtype)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("x", [DISTINCT, dynamic(DISTINCT)], ids=["static", "dynamic"])
def test_topk_of_minus_one_is_all_elements(x, engine, tmp_path):
    """Since iOS 17; coremltools cannot write the shape that it makes of it, so the constant is put in later."""
    row = case("topk", x=x, k=3, axis=1, opset=17, expect=None)
    model = program_of(row, row.arguments, {"x": x}, str(tmp_path))
    main = model.mlProgram.functions["main"]
    (k,) = (o for o in main.block_specializations[main.opset].operations if o.outputs[0].name.endswith("_k_0"))
    k.attributes["val"].immediateValue.tensor.ints.values[0] = -1
    lowered = lower(read_program(open_asset(model, weights=str(tmp_path))), "main")
    found = compiled_on(engine, lowered).run({"x": DISTINCT})
    for port, expected in zip(lowered.outputs, _topk(DISTINCT, 3, 1), strict=True):
        np.testing.assert_array_equal(found[port.name], expected)
