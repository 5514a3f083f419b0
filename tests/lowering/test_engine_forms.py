"""Engine forms: what converters spell out becomes one operator, with numpy's numbers; a near miss does not."""

import numpy as np
import pytest

from lowering.harness import Dynamic, case, check, const, dynamic, f32, float_of, program_of, rows
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program

SCALE = (np.arange(8, dtype=np.float32) / 4 + 0.5).reshape(1, 8, 1, 1)
GAMMA = np.linspace(0.5, 2, 6, dtype=np.float32)
THIRDS = np.linspace(-5, 5, 24, dtype=np.float32).reshape(2, 3, 4)
HALF, EPSILON = 0.5, 1e-3


def group_norm(mb, x, shape, axes, squares=None):
    """As coremltools converts it."""
    y = mb.reshape(x=x, shape=shape)
    centred = mb.sub(x=y, y=mb.reduce_mean(x=y, axes=axes, keep_dims=True))
    squared = mb.square(x=centred) if squares is None else squares(mb, centred)
    variance = mb.reduce_mean(x=squared, axes=axes, keep_dims=True)
    root = mb.sqrt(x=mb.add(x=variance, y=float_of(x)(EPSILON)))
    return mb.reshape(x=mb.real_div(x=centred, y=root), shape=x.shape)


def grouped(x, shape, axes, squares=np.square):
    y = x.reshape(shape).astype(np.float64)
    centred = y - y.mean(tuple(axes), keepdims=True)
    variance = squares(centred).mean(tuple(axes), keepdims=True)
    return (centred / np.sqrt(variance + EPSILON)).reshape(x.shape)


def rms_norm(mb, x, axis, keep=lambda x: x):
    number = float_of(x)
    mean = mb.reduce_mean(x=mb.mul(x=x, y=x), axes=[axis], keep_dims=True)
    inverse = mb.rsqrt(x=mb.add(x=mean, y=number(EPSILON)), epsilon=number(EPSILON))
    return mb.mul(x=mb.mul(x=keep(x), y=inverse), y=GAMMA.astype(number))


def root_mean_square(x, axis, factor=1):
    x = x.astype(np.float64)
    return factor * x / np.sqrt(np.square(x).mean(axis, keepdims=True) + 2 * EPSILON) * GAMMA


def in_place(mb, x):
    number = float_of(x)
    cut = mb.thresholded_relu(x=x, alpha=number(-3))
    return mb.mul(x=cut, y=mb.sigmoid_hard(x=cut, alpha=number(1 / 6), beta=number(HALF)))


def tiled(mb, x, y, reps, operation="real_div"):
    return getattr(mb, operation)(x=x, y=mb.tile(x=y, reps=reps))


# The operation, the operators that the graph has, those that it has not, and the row.
FORMS = [
    *(
        (
            ["InstanceNormalization"],
            ["Div", "ReduceMean", "Sub"],
            case(
                "real_div", label=f"group_norm_{len(shape)}", x=f32(*x), atol=5e-3,
                expect=lambda x, s=shape, a=axes: grouped(x, s, a),
                build=lambda mb, x, s=shape, a=axes: group_norm(mb, x, s, a),
            ),
        )
        for x, shape, axes in (
            ((2, 8, 3, 5), [2, 4, 2, 3, 5], [2, 3, 4]), ((2, 8, 15), [2, 2, 60], [-1]),
            ((2, 8, 3, 5), [2, 4, 6, 5], [3, 2]),
        )
    ),
    (
        ["Div", "ReduceMean"],
        ["InstanceNormalization"],
        case(
            "real_div", label="over_other_axes", x=f32(2, 8, 3, 5), atol=5e-3,
            expect=lambda x: grouped(x, [2, 4, 2, 3, 5], [1, 3, 4]),
            build=lambda mb, x: group_norm(mb, x, [2, 4, 2, 3, 5], [1, 3, 4]),
        ),
    ),
    (
        ["Div"],
        ["InstanceNormalization"],
        case(
            "real_div", label="mean_of_absolutes", x=f32(2, 8, 15), atol=5e-3,
            expect=lambda x: grouped(x, [2, 2, 60], [2], np.abs),
            build=lambda mb, x: group_norm(mb, x, [2, 2, 60], [2], lambda mb, y: mb.abs(x=y)),
        ),
    ),
    *(
        (
            ["Pow", "Div"],
            ["Reciprocal"],
            case(
                "mul", label=f"rms_norm_{axis}", x=f32(2, 4, 6), atol=5e-3,
                expect=lambda x: root_mean_square(x, -1), build=lambda mb, x, a=axis: rms_norm(mb, x, a),
            ),
        )
        for axis in (-1, 2)
    ),
    (
        ["Reciprocal"],
        ["Pow"],
        case(
            "mul", label="rms_of_another_axis", x=f32(2, 4, 6), atol=5e-3,
            expect=lambda x: root_mean_square(x, 1), build=lambda mb, x: rms_norm(mb, x, 1),
        ),
    ),
    (
        ["Reciprocal"],
        ["Pow"],
        case(
            "mul", label="rms_of_another_value", x=f32(2, 4, 6), atol=1e-2,
            expect=lambda x: root_mean_square(x, -1, 2),
            build=lambda mb, x: rms_norm(mb, x, -1, lambda x: mb.add(x=x, y=x)),
        ),
    ),
    (
        ["HardSwish"],
        ["HardSigmoid", "Where"],
        case(
            "mul", label="hard_swish_in_place", x=THIRDS, atol=2e-3,
            expect=lambda x: x * np.clip(x / 6 + HALF, 0, 1), build=in_place,
        ),
    ),
    *(
        (
            [],
            ["Tile"],
            case(
                operation, label=f"tiled_{operation}", x=f32(2, 3, 4), y=np.full((2, 1, 4), 0.75, np.float32),
                expect=lambda x, y, f=f: f(x, y), build=lambda mb, x, y, o=operation: tiled(mb, x, y, [1, 3, 1], o),
            ),
        )
        for operation, f in (("real_div", np.divide), ("mul", np.multiply), ("sub", np.subtract))
    ),
    (
        ["Tile"],
        [],
        case(
            "sub", label="tiled_against_one", x=f32(2, 1, 4), y=f32(2, 1, 4, seed=1),
            expect=lambda x, y: np.subtract(x, np.tile(y, (1, 3, 1))),
            build=lambda mb, x, y: tiled(mb, x, y, [1, 3, 1], "sub"),
        ),
    ),
    (
        ["Tile"],
        [],
        case(
            "sub", label="tiled_twice", x=f32(2, 6, 4), y=f32(2, 3, 4, seed=1),
            expect=lambda x, y: np.subtract(x, np.tile(y, (1, 2, 1))),
            build=lambda mb, x, y: tiled(mb, x, y, [1, 2, 1], "sub"),
        ),
    ),
    *(
        (
            ["GlobalAveragePool"],
            ["ReduceMean"],
            case(
                "reduce_mean", x=f32(2, 3, 4, 5), axes=axes, keep_dims=keep,
                expect=lambda x, axes, keep_dims: x.mean((2, 3), keepdims=keep_dims),
            ),
        )
        for axes, keep in (([2, 3], True), ([-1, -2], False))
    ),
    (
        ["ReduceMean"],
        ["GlobalAveragePool"],
        case(
            "reduce_mean", label="unknown_sizes", x=dynamic(f32(2, 3, 4, 5)), axes=[2, 3], keep_dims=True,
            expect=lambda x, axes, keep_dims: x.mean((2, 3), keepdims=True),
        ),
    ),
    (
        ["ReduceMean"],
        ["GlobalAveragePool"],
        case(
            "reduce_mean", x=f32(2, 3, 4, 5), axes=[1, 2], keep_dims=True,
            expect=lambda x, axes, keep_dims: x.mean((1, 2), keepdims=True),
        ),
    ),
    *(
        (
            [],
            ["Add"],
            case(
                "linear", label=f"bias_of_zeros_{rank}", x=f32(*[2] * (rank - 1), 4), weight=const(f32(3, 4, seed=1)),
                bias=const(np.zeros(3, np.float32)), atol=1e-2, expect=lambda x, weight, bias: x @ weight.T,
            ),
        )
        for rank in (2, 3)
    ),
    *(
        (
            [],
            [],
            case(
                "reshape", label=f"twice_{made.__name__}", x=made(f32(2, 3, 4)), expect=lambda x: x.reshape(4, 6),
                build=lambda mb, x: mb.reshape(x=mb.reshape(x=x, shape=[6, 4]), shape=[4, -1]),
            ),
        )
        for made in (np.asarray, dynamic)
    ),
]  # fmt: skip


@rows([row for _, _, row in FORMS])
@pytest.mark.filterwarnings("ignore")
def test_the_numbers(row, engine, dtype):
    check(row, engine, dtype)


@pytest.mark.parametrize(("present", "absent", "row"), FORMS, ids=[f"{row.op}-{row.label}" for *_, row in FORMS])
def test_the_operators(present, absent, row, tmp_path):
    inputs = {name: value for name, value in row.arguments.items() if isinstance(value, np.ndarray | Dynamic)}
    model = program_of(row, row.arguments, inputs, str(tmp_path))
    nodes = lower(read_program(open_asset(model, weights=str(tmp_path))), "main").model.graph.node
    found = {node.op_type for node in nodes}
    assert found >= set(present) and not found & set(absent), found


@pytest.mark.parametrize("known", [True, False])
def test_a_reshape_of_a_reshape(known, tmp_path):
    """It is one node, unless the first one checks how many elements there are."""
    made = np.asarray if known else dynamic
    row = case("reshape", x=made(f32(2, 3, 4)), expect=None,
               build=lambda mb, x: mb.reshape(x=mb.reshape(x=x, shape=[6, 4]), shape=[4, -1]))  # fmt: skip
    model = program_of(row, row.arguments, row.arguments, str(tmp_path))
    nodes = lower(read_program(open_asset(model, weights=str(tmp_path))), "main").model.graph.node
    assert [node.op_type for node in nodes].count("Reshape") == (1 if known else 2)
