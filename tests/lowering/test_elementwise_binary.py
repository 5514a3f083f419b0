"""Elementwise binary operations against numpy."""

import numpy as np
import pytest

from lowering.harness import booleans, case, check, const, dynamic, f32, float_of, i32, program_of, rows
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program

FLOATS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}
DIVISIONS = {"real_div": np.true_divide, "floor_div": np.floor_divide, "mod": np.mod}
LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}
# Equal, broadcast from either side, different ranks.
SHAPES = [((2, 3), (2, 3)), ((2, 3, 4), (4,)), ((1, 3), (2, 1)), ((2, 1, 4), (3, 1)), ((1,), (2, 2, 2, 2))]
# Far from where rounding to float16 would change a comparison or a quotient.
GRID = np.array([[-3.5, -2.0, -0.5, 0.5], [1.0, 2.0, 3.5, 4.0]], np.float32)
DIVISORS = np.array([[2.0, -1.5, 0.75, -0.5], [3.0, -2.0, 1.5, 4.0]], np.float32)
NEGATIVE = np.array([-7, -6, -1, 0, 1, 6, 7], np.int32)

CASES = [
    case(name, x=f32(*a), y=f32(*b, seed=1), expect=lambda x, y, f=f: f(x, y))
    for name, f in FLOATS.items()
    for a, b in SHAPES
]
CASES += [
    case(name, x=dynamic(GRID), y=const(DIVISORS), expect=lambda x, y, f=f: f(x, y)) for name, f in FLOATS.items()
]
CASES += [case(name, x=i32(2, 3), y=i32(3, seed=1), expect=lambda x, y, f=f: f(x, y)) for name, f in FLOATS.items()]
CASES += [
    case(name, x=const(i32(2, 3)), y=dynamic(i32(3)), expect=lambda x, y, f=f: f(x, y)) for name, f in FLOATS.items()
]
CASES += [
    case(name, x=GRID, y=y, expect=lambda x, y, f=f: f(x, np.float32(y)))
    for name, f in FLOATS.items()
    for y in (1.0, 2.0)
]
CASES += [case(name, x=GRID, y=DIVISORS, expect=lambda x, y, f=f: f(x, y)) for name, f in DIVISIONS.items()]
CASES += [
    case(name, x=dynamic(GRID), y=dynamic(DIVISORS), expect=lambda x, y, f=f: f(x, y)) for name, f in DIVISIONS.items()
]
CASES += [case(name, x=GRID, y=const(DIVISORS), expect=lambda x, y, f=f: f(x, y)) for name, f in DIVISIONS.items()]
CASES += [
    case(name, x=NEGATIVE, y=const(np.int32(divisor)), expect=lambda x, y, f=f: f(x, y))
    for name, f in {"floor_div": np.floor_divide, "mod": np.mod}.items()
    for divisor in (2, 3, -2, -3)
]
CASES += [
    case(name, x=i32(3, 4), y=dynamic(i32(3, 4, seed=2, low=1, high=6)), expect=lambda x, y, f=f: f(x, y))
    for name, f in {"floor_div": np.floor_divide, "mod": np.mod}.items()
]
# numpy's: infinity has no remainder, and a finite number by an infinity is 0 or -1.
ENDS = np.array([np.inf, -np.inf, np.nan, 0.0, 5.0, -5.0], np.float32)
CASES += [
    case(name, x=np.repeat(ENDS, 6), y=np.tile(ENDS, 6), expect=lambda x, y, f=f: f(x, y))
    for name, f in DIVISIONS.items()
]
CASES += [
    case(name, x=ENDS, y=const(np.float32(divisor)), expect=lambda x, y, f=f: f(x, y))
    for name, f in DIVISIONS.items()
    for divisor in (1, -2, 0, np.inf)
]
CASES += [
    case("real_div", x=np.array([8, -9, 12], np.int32), y=np.array([2, 3, -4], np.int32), expect=np.array([4, -3, -3])),
    case("pow", x=f32(2, 3, low=0.2, high=3), y=f32(3, seed=1), expect=lambda x, y: np.power(x, y)),
    case("pow", x=f32(2, 3), y=2.0, expect=lambda x, y: np.square(x)),
    case("pow", x=f32(2, 3), y=3.0, expect=lambda x, y: x**3, atol=1e-4),
    case("pow", x=f32(2, 3, low=0.2, high=3), y=0.5, expect=lambda x, y: np.sqrt(x)),
    case("pow", x=2.0, y=f32(2, 3), expect=lambda x, y: np.power(2.0, y)),
    case("pow", x=dynamic(f32(2, 3)), y=const(np.float32(2)), expect=lambda x, y: np.square(x)),
    case("pow", x=i32(2, 3, low=0, high=5), y=const(np.int32(3)), expect=lambda x, y: x**3),
    case("add", x=np.zeros((0, 3), np.float32), y=f32(3), expect=np.zeros((0, 3))),
    case("maximum", x=np.array([np.inf, -np.inf], np.float32), y=0.0, expect=np.array([np.inf, 0])),
    case("add", x=np.array([np.nan, np.inf], np.float32), y=1.0, expect=np.array([np.nan, np.inf])),
    case("add", x=const(f32(2, 3)), y=const(f32(2, 3, seed=1)), expect=lambda x, y: x + y),
    case(
        "add",
        x=f32(2, 3),
        y=f32(2, 3, seed=1),
        expect=lambda x, y: 2 * (x + y),
        build=lambda mb, x, y: _twice(mb, x, y),
    ),
]
CASES += [
    case(name, x=booleans(*a), y=booleans(*b, seed=1), expect=lambda x, y, f=f: f(x, y))
    for name, f in LOGICAL.items()
    for a, b in SHAPES
]


CASES += [
    case(
        "mul",
        x=np.linspace(-5, 5, 24, dtype=np.float32).reshape(2, 3, 4),
        label=f"hard_swish_{order}_{threshold}_{slope:.2f}",
        atol=2e-3,
        expect=lambda x, f=(threshold, slope): np.where(x >= f[0], x, 0) * np.clip(f[1] * x + 0.5, 0, 1),
        build=lambda mb, x, f=(threshold, slope, order): _gated(mb, x, *f),
    )
    for threshold, slope, order in [(-3, 1 / 6, 1), (-3, 1 / 6, -1), (-2, 1 / 6, 1), (-3, 0.2, 1)]
]


def _gated(mb, x, threshold, slope, order):
    number = float_of(x)
    parts = (
        mb.thresholded_relu(x=x, alpha=number(threshold)),
        mb.sigmoid_hard(x=x, alpha=number(slope), beta=number(0.5)),
    )
    return mb.mul(**dict(zip("xy", parts[::order], strict=True)))


def _twice(mb, x, y):
    total = mb.add(x=x, y=y)
    return mb.add(x=total, y=total)


@rows(CASES)
@pytest.mark.filterwarnings("ignore")
def test_elementwise_binary(row, engine, dtype):
    check(row, engine, dtype)


@pytest.mark.parametrize("order", [1, -1])
def test_a_hard_swish_is_one_node(order, tmp_path):
    """Nothing that nobody reads is left beside it."""
    x = np.zeros((2, 3), np.float32)
    row = case("mul", x=x, expect=x, build=lambda mb, x: _gated(mb, x, -3, 1 / 6, order))
    model = program_of(row, row.arguments, {"x": x}, str(tmp_path))
    nodes = lower(read_program(open_asset(model, weights=str(tmp_path))), "main").model.graph.node
    assert [node.op_type for node in nodes if node.op_type != "Identity"] == ["HardSwish"]
