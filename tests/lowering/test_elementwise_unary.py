"""Elementwise unary operations against numpy and scipy."""

import numpy as np
import pytest
from scipy import special

from lowering.harness import case, check, const, dynamic, f32, i32, rows

# Operation, its meaning, and the interval in which it is defined.
FUNCTIONS = {
    "abs": (np.abs, -3, 3),
    "acos": (np.arccos, -0.99, 0.99),
    "asin": (np.arcsin, -0.99, 0.99),
    "atan": (np.arctan, -5, 5),
    "atanh": (np.arctanh, -0.95, 0.95),
    "ceil": (np.ceil, -3, 3),
    "cos": (np.cos, -4, 4),
    "cosh": (np.cosh, -3, 3),
    "erf": (special.erf, -3, 3),
    "exp": (np.exp, -3, 3),
    "exp2": (np.exp2, -4, 4),
    "floor": (np.floor, -3, 3),
    "sign": (np.sign, -3, 3),
    "sin": (np.sin, -4, 4),
    "sinh": (np.sinh, -3, 3),
    "sqrt": (np.sqrt, 0.01, 9),
    "square": (np.square, -3, 3),
    "tan": (np.tan, -1.2, 1.2),
    "tanh": (np.tanh, -3, 3),
}
SHAPES = [(5,), (2, 3), (2, 3, 4), (1, 2, 3, 4), (2, 1, 2, 1, 3)]

CASES = [
    case(name, x=f32(*shape, low=low, high=high), expect=lambda x, f=f: f(x))
    for name, (f, low, high) in FUNCTIONS.items()
    for shape in SHAPES
]
CASES += [
    case(name, x=dynamic(f32(2, 3, low=low, high=high)), expect=lambda x, f=f: f(x))
    for name, (f, low, high) in FUNCTIONS.items()
]
CASES += [
    case(name, x=const(f32(2, 3, low=low, high=high)), expect=lambda x, f=f: f(x))
    for name, (f, low, high) in FUNCTIONS.items()
]
CASES += [
    case("abs", x=i32(3, 4), expect=np.abs(i32(3, 4))),
    case("square", x=i32(3, 4), expect=np.square(i32(3, 4))),
    case("sign", x=np.array([-0.0, 0.0, 2, -3], np.float32), expect=np.array([0, 0, 1, -1])),
    case("round", x=np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, -2.6], np.float32), expect=lambda x: np.rint(x)),
    case("round", x=f32(2, 3, 4), expect=lambda x: np.rint(x)),
    case("exp", x=np.array([-100, 0, 88], np.float32), dtypes=["fp32"], expect=lambda x: np.exp(x)),
    case("sqrt", x=np.array([0.0, 4.0, np.inf], np.float32), expect=np.array([0, 2, np.inf])),
    # OpenVINO 2026.4 gives infinity for the exponential of NaN.
    case("exp", x=np.array([np.nan, -np.inf], np.float32), engines=["onnxruntime"], expect=np.array([np.nan, 0])),
    case("exp", x=np.array([np.inf, -np.inf], np.float32), expect=np.array([np.inf, 0])),
    case("tanh", x=np.array([np.inf, -np.inf, np.nan], np.float32), expect=np.array([1, -1, np.nan])),
    case("floor", x=np.array([-0.5, 2.999, -3.0], np.float32), expect=lambda x: np.floor(x)),
    case("erf", x=np.zeros((0, 3), np.float32), expect=np.zeros((0, 3))),
    case("logical_not", x=np.array([[True, False]]), expect=np.array([[False, True]])),
    case("logical_not", x=dynamic(np.array([True, False, True])), expect=np.array([False, True, False])),
]
CASES += [
    case(name, x=f32(2, 3, low=0.5, high=4), expect=expect, epsilon=epsilon)
    for name, expect in {
        "inverse": lambda x, epsilon: 1 / (x + epsilon),
        "log": lambda x, epsilon: np.log(x + epsilon),
        "rsqrt": lambda x, epsilon: 1 / np.sqrt(x + epsilon),
    }.items()
    for epsilon in (1e-3, 0.5)
]
CASES += [
    case("inverse", x=f32(3, 2, low=0.5, high=4), expect=lambda x: 1 / (x + 1e-4)),
    case("log", x=f32(3, 2, low=0.1, high=4), expect=lambda x: np.log(x)),
    case("rsqrt", x=f32(3, 2, low=0.1, high=4), expect=lambda x: 1 / np.sqrt(x)),
    case("log", x=f32(3, 2, low=0.1, high=4), opset=17, expect=lambda x: np.log(x)),
    case("inverse", x=f32(3, 2, low=0.5, high=4), opset=17, expect=lambda x: 1 / (x + 1e-4)),
    case("rsqrt", x=f32(3, 2, low=0.5, high=4), opset=17, expect=lambda x: 1 / np.sqrt(x)),
]
CASES += [
    case(
        "clip", x=f32(*shape), alpha=low, beta=high, opset=opset, expect=lambda x, alpha, beta: np.clip(x, alpha, beta)
    )
    for shape in [(4,), (2, 3, 4), (1, 2, 2, 2)]
    for low, high in [(-1.0, 1.0), (0.0, 6.0), (-0.25, 0.75)]
    for opset in (15, 17)
]
CASES += [
    case("threshold", x=f32(*shape), alpha=alpha, expect=lambda x, alpha: np.maximum(x, alpha))
    for shape in [(4,), (2, 3)]
    for alpha in (-0.5, 0.0, 1.0)
]

NUMBERS = np.array([[-2.7, -1.0, -0.4, 0.0], [0.6, 1.0, 2.5, 100.9]], np.float32)
CASES += [
    case("cast", x=NUMBERS, dtype=dtype, opset=opset, dtypes=["fp32"], rtol=1e-3, expect=expect)
    for opset in (15, 16, 17, 18)
    for dtype, expect in {
        "int32": np.trunc(NUMBERS).astype(np.int32),
        "bool": NUMBERS != 0,
        "fp16": NUMBERS,
        "fp32": NUMBERS,
    }.items()
]
CASES += [
    case("cast", x=np.abs(NUMBERS), dtype=dtype, opset=17, dtypes=["fp32"], expect=np.trunc(np.abs(NUMBERS)))
    for dtype in ("int8", "uint8", "int16", "uint16")
]
CASES += [
    case("cast", x=NUMBERS, dtype=dtype, opset=17, dtypes=["fp32"], expect=np.trunc(NUMBERS))
    for dtype in ("int8", "int16")
]
CASES += [
    case("cast", x=i32(2, 3), dtype="fp32", expect=i32(2, 3).astype(np.float32)),
    case("cast", x=i32(2, 3), dtype="bool", expect=i32(2, 3) != 0),
    case("cast", x=np.array([True, False]), dtype="fp32", expect=np.array([1.0, 0.0])),
    case("cast", x=np.array([True, False]), dtype="int32", expect=np.array([1, 0])),
    case(
        "cast", x=i32(2, 3, low=0, high=100).astype(np.int8), dtype="fp32", opset=17, expect=i32(2, 3, low=0, high=100)
    ),
    case("cast", x=dynamic(f32(2, 3)), dtype="int32", expect=lambda x, dtype: np.trunc(x)),
    case("cast", x=const(f32(2, 3)), dtype="int32", expect=lambda x, dtype: np.trunc(x)),
    case("cast", x=np.array([1 << 24, -(1 << 24)], np.int32), dtype="fp32", expect=np.array([1 << 24, -(1 << 24)])),
]


@rows(CASES)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_elementwise_unary(row, engine, dtype):
    check(row, engine, dtype)
