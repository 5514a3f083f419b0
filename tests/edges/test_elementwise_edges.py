"""Edges of functions of each element: numpy computes them in float64 and rounds."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from coremltools.converters.mil.mil import Builder as mb

from edges.catalogue import check, edge, edges
from edges.values import INF, LARGEST, NAN, booleans, filled, floats, integers

X = floats(24)


def rounded(compute):
    """The function in float64, rounded to float32."""

    def wide(array):
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    return lambda **arrays: np.asarray(compute(**{n: wide(a) for n, a in arrays.items()}), np.float32)


def unary(operation, compute, *, x=X, rtol=2e-6, atol=1e-7, halves=True, **how):
    build = how.pop("build", None) or (lambda x: getattr(mb, operation)(x=x))
    return edge(operation, build, rounded(lambda x: compute(x)), x=x, rtol=rtol, atol=atol, halves=halves, **how)


exact = partial(unary, rtol=0, atol=0, signs=True)
_erf = np.vectorize(math.erf)
# The engines reduce large angles in float32.
_ANGLES = [x for x in X if not (np.isfinite(x) & (np.abs(x) > 100)).any()] + [
    filled((24,), [-0.0, 1e-20, 3, -3, 20, 99])
]

UNARY = [
    exact("abs", np.abs),
    exact("ceil", np.ceil),
    exact("floor", np.floor),
    exact("round", np.round),
    exact("sqrt", np.sqrt, rtol=1e-6),
    exact("square", np.square, rtol=1e-6, atol=1e-37),
    unary("sign", np.sign),
    unary("acos", np.arccos),
    unary("asin", np.arcsin, signs=True),
    unary("atan", np.arctan, signs=True),
    unary("atanh", np.arctanh, signs=True),
    unary("cos", np.cos, x=_ANGLES),
    unary("cosh", np.cosh, rtol=2e-5),
    unary("erf", _erf, signs=True),
    unary("exp", np.exp, rtol=2e-5),
    unary("exp2", np.exp2, rtol=2e-5),
    unary("inverse", lambda x: 1 / (x + 1e-4), rtol=1e-5, halves=False),
    unary("log", np.log),
    unary("rsqrt", lambda x: 1 / np.sqrt(x + 1e-12), halves=False),
    unary("sin", np.sin, x=_ANGLES, signs=True),
    unary("sinh", np.sinh, rtol=2e-5, signs=True),
    unary("tan", np.tan, x=_ANGLES, rtol=1e-4, signs=True),
    unary("tanh", np.tanh, signs=True),
    unary("threshold", lambda x: np.maximum(x, 0.5), build=lambda x: mb.threshold(x=x, alpha=0.5), halves=False),
    unary("clip", lambda x: np.clip(x, -1, 2), build=lambda x: mb.clip(x=x, alpha=-1.0, beta=2.0), halves=False),
    unary("clip", lambda x: np.minimum(x, INF), label="to infinity", build=lambda x: mb.clip(x=x, alpha=-INF, beta=INF), halves=False),
]  # fmt: skip

_INTEGERS = integers(24)
UNARY_OF_INTEGERS = [
    edge("abs", lambda x: mb.abs(x=x), lambda x: np.abs(x), label="integers", x=_INTEGERS),
    edge("sign", lambda x: mb.sign(x=x), lambda x: np.sign(x), label="integers", x=_INTEGERS),
    edge("square", lambda x: mb.square(x=x), lambda x: x * x, label="integers", x=_INTEGERS),
    edge("logical_not", lambda x: mb.logical_not(x=x), lambda x: ~x, x=booleans(6)),
]


def _pairs(values):
    """Each value with each other."""
    values = np.array(values, np.float32)
    return np.repeat(values, len(values)), np.tile(values, len(values))


_TABLES = [
    _pairs([0.0, -0.0, 1, -1, 0.5, 3, -2.5, 1e6]),
    _pairs([LARGEST, -LARGEST, 1, -1, 0.0, 3e38, -1e20, 2]),
    _pairs([INF, -INF, 1, -1, 0.0, -0.0, 2, 0.5]),
    _pairs([NAN, INF, -INF, 0.0, 1, -1, 7, 2]),
    *[(np.full(64, v, np.float32), np.full(64, w, np.float32)) for v, w in [(0, 0), (-0.0, 0), (1, 1), (INF, INF), (NAN, NAN), (INF, -INF)]],
]  # fmt: skip


def binary(operation, compute, *, tables=_TABLES, rtol=1e-6, atol=0.0, label="", halves=True, **how):
    rows = {"x": [x for x, _ in tables], "y": [y for _, y in tables]}
    build = how.pop("build", None) or (lambda x, y: getattr(mb, operation)(x=x, y=y))
    return edge(operation, build, compute, rtol=rtol, atol=atol, label=label, halves=halves, **rows, **how)


def _floats(compute):
    return rounded(lambda x, y: compute(x, y))


# Infinities and exact quotients: 1 // 0.1 is the floor of the rounded quotient here, unlike in numpy.
_DIVIDED = [_pairs([0.0, -0.0, 1, -1, 0.5, 3, -2.5, 7]), *_TABLES[2:]]

_POWERS = {
    # As torch: the roots of -inf are NaN, and 1 by that of -0.0 is -inf.
    0.5: np.sqrt,
    -0.5: lambda x: 1 / np.sqrt(x),
    3.0: lambda x: np.power(x, 3.0),
    -1.0: lambda x: np.power(x, -1.0),
    1 / 3: lambda x: np.power(x, 1 / 3),
}

BINARY = [
    binary("add", _floats(np.add), signs=True),
    binary("sub", _floats(np.subtract), signs=True),
    binary("mul", _floats(np.multiply), signs=True),
    binary("real_div", _floats(np.divide), signs=True),
    binary("floor_div", _floats(np.floor_divide), tables=_DIVIDED, halves=False),
    binary("mod", _floats(np.mod), tables=_DIVIDED, halves=False),
    binary("pow", _floats(np.power), rtol=1e-5),
    binary("maximum", _floats(np.maximum)),
    binary("minimum", _floats(np.minimum)),
    binary("pow", lambda x, y: x * x, label="2", build=lambda x, y: mb.pow(x=x, y=2.0), halves=False),
    *(
        binary("pow", _floats(lambda x, y, by=by: by(x)), label=f"{exponent:.2g}", halves=False, rtol=1e-5,
               build=lambda x, y, exponent=exponent: mb.pow(x=x, y=exponent))
        for exponent, by in _POWERS.items()
    ),
    binary("pow", lambda x, y: np.ones_like(x), label="0", build=lambda x, y: mb.pow(x=x, y=0.0), halves=False),
    *(
        binary(op, lambda x, y, compare=compare: compare(x, y))
        for op, compare in {
            "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
            "greater": np.greater, "greater_equal": np.greater_equal,
        }.items()
    ),
    binary("select", lambda x, y: np.where(x < y, x, y), build=lambda x, y: mb.select(cond=mb.less(x=x, y=y), a=x, b=y)),
    binary("select", lambda x, y: np.where([True, False] * 32, x, y), label="of a mask",
           build=lambda x, y: mb.select(cond=np.array([True, False] * 32), a=x, b=y)),
    binary("equal", lambda x, y: x == x, label="itself", build=lambda x, y: mb.equal(x=x, y=x),
           without={"openvino": "a test for NaN (x == x): OpenVINO does not detect NaN"}),
]  # fmt: skip

_I, _J = (np.repeat(_INTEGERS[0][:17], 17), np.tile(_INTEGERS[0][:17], 17))
_NOT_0 = np.where(_J == 0, 3, _J).astype(np.int32)


def _truncated(x, y):
    quotient = np.abs(x.astype(np.int64)) // np.abs(y.astype(np.int64))
    return np.where((x < 0) != (y < 0), -quotient, quotient).astype(np.int32)


def of_integers(operation, compute, x=_I, y=_J):
    return edge(operation, lambda x, y: getattr(mb, operation)(x=x, y=y), compute, label="integers", x=x, y=y)


BINARY_OF_INTEGERS = [
    of_integers("add", lambda x, y: x + y),
    of_integers("sub", lambda x, y: x - y),
    of_integers("mul", lambda x, y: x * y),
    of_integers("maximum", lambda x, y: np.maximum(x, y)),
    of_integers("minimum", lambda x, y: np.minimum(x, y)),
    of_integers("floor_div", lambda x, y: np.floor_divide(x, y), y=_NOT_0),
    of_integers("mod", lambda x, y: np.mod(x, y), y=_NOT_0),
    of_integers("real_div", _truncated, y=_NOT_0),
    *(
        of_integers(op, lambda x, y, compare=compare: compare(x, y))
        for op, compare in {"equal": np.equal, "not_equal": np.not_equal, "less": np.less, "greater_equal": np.greater_equal}.items()
    ),
    *(
        edge(op, lambda x, y, op=op: getattr(mb, op)(x=x, y=y), raises=rf"\[{op}\] '.*': division by 0", label="by 0",
             x=np.array([5, 0, -3], np.int32), y=np.array([1, 0, 2], np.int32))
        for op in ("floor_div", "mod", "real_div")
    ),
    edge("pow", lambda x, y: mb.pow(x=x, y=y), raises=r"\[pow\] '.*': an integer to the power of -1", label="a negative exponent",
         x=np.array([5, 1], np.int32), y=np.array([1, -1], np.int32)),
    *(
        edge(f"logical_{op}", lambda x, y, op=op: getattr(mb, f"logical_{op}")(x=x, y=y), lambda x, y, compute=compute: compute(x, y),
             x=np.array([0, 0, 1, 1], bool), y=np.array([0, 1, 0, 1], bool))
        for op, compute in {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.items()
    ),
]  # fmt: skip


@edges([*UNARY, *UNARY_OF_INTEGERS])
def test_unary(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges([*BINARY, *BINARY_OF_INTEGERS])
def test_binary(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)
