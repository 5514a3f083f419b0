"""Reductions against numpy and scipy."""

import numpy as np
from scipy import special

from lowering.harness import case, check, const, dynamic, f32, i32, rows

REDUCTIONS = {
    "reduce_l1_norm": lambda x, **how: np.abs(x).sum(**how),
    "reduce_l2_norm": lambda x, **how: np.sqrt(np.square(x).sum(**how)),
    "reduce_log_sum": lambda x, **how: np.log(x.sum(**how)),
    "reduce_log_sum_exp": lambda x, **how: special.logsumexp(x, **how),
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": lambda x, **how: np.square(x).sum(**how),
}
AXES = [
    ((2, 3), [0], False),
    ((2, 3), [-1], True),
    ((2, 3, 4), [0, 2], False),
    ((2, 3, 4), [1], True),
    ((1, 2, 3, 2), [-1, -2], True),
]


def _expected(f):
    def expect(x, axes=None, keep_dims=False):
        return f(x, axis=None if axes is None else tuple(axes), keepdims=keep_dims)

    return expect


CASES = [
    case(name, x=f32(*shape, low=0.2, high=2), axes=axes, keep_dims=keep, expect=_expected(f))
    for name, f in REDUCTIONS.items()
    for shape, axes, keep in AXES
]
CASES += [
    case(name, x=dynamic(f32(2, 3, 2, low=0.2)), axes=[1], keep_dims=False, expect=_expected(f))
    for name, f in REDUCTIONS.items()
]
CASES += [case(name, x=f32(2, 3, low=0.2), keep_dims=True, expect=_expected(f)) for name, f in REDUCTIONS.items()]
CASES += [case(name, x=f32(2, 3, low=0.2), expect=_expected(f)) for name, f in REDUCTIONS.items()]
CASES += [
    case(name, x=i32(2, 3, low=1, high=5), axes=[1], expect=_expected(REDUCTIONS[name]))
    for name in ("reduce_max", "reduce_min", "reduce_sum", "reduce_prod", "reduce_sum_square", "reduce_l1_norm")
]
CASES += [
    case("reduce_mean", x=np.array([[2, 4, 6], [1, 3, 5]], np.int32), axes=[1], expect=np.array([4, 3])),
    case("reduce_sum", x=const(f32(2, 3)), axes=[0], expect=_expected(np.sum)),
    case("reduce_max", x=np.array([[-np.inf, 1.0]], np.float32), axes=[1], expect=np.array([1.0])),
    case("reduce_log_sum_exp", x=np.array([[100.0, 100.0]], np.float32), axes=[1], expect=np.array([100 + np.log(2)])),
]

# Distinct values, also in float16.
SHUFFLED = np.random.default_rng(3).permutation(24).reshape(2, 3, 4).astype(np.float32)
CASES += [
    case(
        name,
        x=SHUFFLED,
        axis=axis,
        keep_dims=keep,
        opset=opset,
        expect=lambda x, axis, keep_dims, f=f: f(x, axis=int(axis), keepdims=keep_dims),
    )
    for name, f in {"reduce_argmax": np.argmax, "reduce_argmin": np.argmin}.items()
    for axis in (-1, 0, 1)
    for keep in (False, True)
    for opset in (15, 17)
]
CASES += [
    case(name, x=SHUFFLED, axis=1, opset=17, output_dtype=dtype, expect=lambda x, f=f, **_: f(x, axis=1))
    for name, f in {"reduce_argmax": np.argmax, "reduce_argmin": np.argmin}.items()
    for dtype in ("int32", "uint16")
]
CASES += [
    case("reduce_argmax", x=SHUFFLED.astype(np.int32), axis=2, expect=SHUFFLED.argmax(2)),
    case("reduce_argmin", x=dynamic(SHUFFLED), axis=2, expect=SHUFFLED.argmin(2)),
    case("reduce_argmax", x=np.array([[1.0, 3.0, 3.0]], np.float32), axis=1, expect=np.array([1])),
]


@rows(CASES)
def test_reduction(row, engine, dtype):
    check(row, engine, dtype)
