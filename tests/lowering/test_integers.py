"""Integers: overflow wraps and nothing is rounded, on each engine as in numpy; a divisor of 0 is an error."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from lowering.harness import case, check, const, dynamic, rows
from pippin.engines import all_engines
from pippin.errors import PredictionError, UnsupportedOperationError
from support.small_models import saved_program

LOW, HIGH = -(2**31), 2**31 - 1
# Around what float32 rounds, the ends of int32, and small ones.
EDGES = [0, 1, -1, 2, -3, 7, 2**16, 2**24, 2**24 + 1, -(2**24) - 1, HIGH, HIGH - 1, LOW, LOW + 1, -987654321]
NUMBERS = np.array(EDGES, np.int32)
X, Y = np.repeat(NUMBERS, len(NUMBERS)), np.tile(NUMBERS, len(NUMBERS))
DIVISORS = np.where(Y == 0, 3, Y).astype(np.int32)
EXPONENTS = np.array([0, 1, 2, 3, 7, 15, 30, 31, 64, 1001, 2**20 + 1, HIGH, 5, 6, 9], np.int32)
TABLE = NUMBERS.reshape(3, 5)
INT32 = np.int32


def truncated(x, y):
    """x / y without its fraction, which real_div of integers is."""
    quotient = np.abs(x.astype(np.int64)) // np.abs(y.astype(np.int64))
    return np.where((x < 0) != (y < 0), -quotient, quotient).astype(np.int32)


def integer(b):
    return mb.cast(x=b, dtype="int32")


def power(x, y):
    return np.array([(pow(int(a), int(b), 2**32) + 2**31) % 2**32 - 2**31 for a, b in zip(x, y, strict=True)])


# Operations on x, y, and d, which is y without 0. numpy computes in int32 and wraps.
OPERATIONS = {
    "add": (lambda x, y, d: mb.add(x=x, y=y), lambda x, y, d: x + y),
    "sub": (lambda x, y, d: mb.sub(x=x, y=y), lambda x, y, d: x - y),
    "mul": (lambda x, y, d: mb.mul(x=x, y=y), lambda x, y, d: x * y),
    "floor_div": (lambda x, y, d: mb.floor_div(x=x, y=d), lambda x, y, d: np.floor_divide(x, d)),
    "mod": (lambda x, y, d: mb.mod(x=x, y=d), lambda x, y, d: np.mod(x, d)),
    "real_div": (lambda x, y, d: mb.real_div(x=x, y=d), lambda x, y, d: truncated(x, d)),
    "maximum": (lambda x, y, d: mb.maximum(x=x, y=y), lambda x, y, d: np.maximum(x, y)),
    "minimum": (lambda x, y, d: mb.minimum(x=x, y=y), lambda x, y, d: np.minimum(x, y)),
    "equal": (lambda x, y, d: integer(mb.equal(x=x, y=y)), lambda x, y, d: x == y),
    "not_equal": (lambda x, y, d: integer(mb.not_equal(x=x, y=y)), lambda x, y, d: x != y),
    "less": (lambda x, y, d: integer(mb.less(x=x, y=y)), lambda x, y, d: x < y),
    "less_equal": (lambda x, y, d: integer(mb.less_equal(x=x, y=y)), lambda x, y, d: x <= y),
    "greater": (lambda x, y, d: integer(mb.greater(x=x, y=y)), lambda x, y, d: x > y),
    "greater_equal": (lambda x, y, d: integer(mb.greater_equal(x=x, y=y)), lambda x, y, d: x >= y),
    "select": (lambda x, y, d: mb.select(cond=mb.less(x=x, y=y), a=x, b=y), lambda x, y, d: np.minimum(x, y)),
    "abs": (lambda x, y, d: mb.abs(x=x), lambda x, y, d: np.abs(x)),
    "sign": (lambda x, y, d: mb.sign(x=x), lambda x, y, d: np.sign(x)),
    "square": (lambda x, y, d: mb.square(x=x), lambda x, y, d: x * x),
    "pow 3": (lambda x, y, d: mb.pow(x=x, y=INT32(3)), lambda x, y, d: x * x * x),
    "equal to a constant": (lambda x, y, d: integer(mb.equal(x=x, y=INT32(2**24 + 1))), lambda x, y, d: x == 2**24 + 1),
    "by 7": (lambda x, y, d: mb.floor_div(x=x, y=INT32(7)), lambda x, y, d: np.floor_divide(x, INT32(7))),
    "by -1": (lambda x, y, d: mb.floor_div(x=x, y=INT32(-1)), lambda x, y, d: np.floor_divide(x, INT32(-1))),
    "modulo -3": (lambda x, y, d: mb.mod(x=x, y=INT32(-3)), lambda x, y, d: np.mod(x, INT32(-3))),
    "a quotient compared": (
        lambda x, y, d: integer(mb.less(x=mb.floor_div(x=x, y=d), y=y)), lambda x, y, d: np.floor_divide(x, d) < y,
    ),
    "a maximum compared": (
        lambda x, y, d: integer(mb.less(x=mb.maximum(x=x, y=y), y=d)), lambda x, y, d: np.maximum(x, y) < d,
    ),
    "a maximum of an absolute value": (
        lambda x, y, d: mb.maximum(x=mb.abs(x=x), y=y), lambda x, y, d: np.maximum(np.abs(x), y),
    ),
    "a sum of a choice": (
        lambda x, y, d: mb.add(x=mb.select(cond=mb.equal(x=x, y=y), a=x, b=d), y=y),
        lambda x, y, d: np.where(x == y, x, d) + y,
    ),
    "bool": (lambda x, y, d: integer(mb.cast(x=x, dtype="bool")), lambda x, y, d: x != 0),
    **{
        t: (lambda x, y, d, t=t: integer(mb.cast(x=x, dtype=t)), lambda x, y, d, t=t: x.astype(t))
        for t in ("int8", "uint8", "int16", "uint16")
    },
}  # fmt: skip

# Reductions of a table, with numpy's in int32.
REDUCTIONS = {
    "reduce_sum": lambda x, **how: x.sum(dtype=np.int32, **how),
    "reduce_prod": lambda x, **how: (x | 1).prod(dtype=np.int32, **how),
    "reduce_max": lambda x, **how: x.max(**how),
    "reduce_min": lambda x, **how: x.min(**how),
    "reduce_l1_norm": lambda x, **how: np.abs(x).sum(dtype=np.int32, **how),
    "reduce_sum_square": lambda x, **how: (x * x).sum(dtype=np.int32, **how),
}


def all_operations(mb, x, y, d):
    return tuple(build(x, y, d) for build, _ in OPERATIONS.values())


def all_reductions(mb, x, odd):
    results = []
    for name in REDUCTIONS:
        of = odd if name == "reduce_prod" else x
        results += [getattr(mb, name)(x=of, axes=axes, keep_dims=keep) for axes, keep in WAYS]
    return tuple(results)


WAYS = (([0], False), ([1], True), ([0, 1], True))
REDUCED = [f(TABLE, axis=tuple(axes), keepdims=keep) for f in REDUCTIONS.values() for axes, keep in WAYS]
with np.errstate(over="ignore"):
    COMPUTED = [np.asarray(expect(X, Y, DIVISORS)) for _, expect in OPERATIONS.values()]


def exact(op, expect, label, **arguments):
    return case(op, expect=expect, label=label, opset=17, rtol=0, atol=0, **arguments)


CASES = [
    exact("floor_div", COMPUTED, label, build=all_operations, **arguments)
    for label, arguments in {
        "static": {"x": X, "y": Y, "d": DIVISORS},
        "dynamic": {"x": dynamic(X), "y": dynamic(Y), "d": dynamic(DIVISORS)},
        "constant x": {"x": const(X), "y": Y, "d": DIVISORS},
        "constant divisors": {"x": X, "y": const(Y), "d": const(DIVISORS)},
    }.items()
]
CASES += [
    exact("reduce_sum", REDUCED, label, build=all_reductions, x=wrap(TABLE), odd=wrap(TABLE | 1))
    for label, wrap in {"static": np.array, "dynamic": dynamic}.items()
]
CASES += [
    exact("reduce_sum", np.zeros(3), "nothing", x=dynamic(np.zeros((3, 0), np.int32)), axes=[1], keep_dims=False),
    exact("pow", power(NUMBERS, EXPONENTS), "computed exponents", x=NUMBERS, y=EXPONENTS),
    exact("pow", power(NUMBERS, EXPONENTS), "constant exponents", x=NUMBERS, y=const(EXPONENTS)),
    exact("pow", np.ones(15), "exponent 0", x=NUMBERS, y=const(INT32(0))),
    exact("exp2", power(np.full(15, 2), EXPONENTS), "wraps", x=EXPONENTS),
    exact("cumsum", TABLE.cumsum(1, dtype=np.int32), "wraps", x=TABLE, axis=1),
    exact("matmul", TABLE @ TABLE.T, "wraps", x=TABLE, y=TABLE.T.copy()),
    exact("clip", np.clip(NUMBERS, -(2**24) - 5, 2**24 + 1), "large ends", x=NUMBERS,
          build=lambda mb, x: mb.minimum(x=mb.maximum(x=x, y=INT32(-(2**24) - 5)), y=INT32(2**24 + 1))),
    exact("reduce_mean", np.array([[2**24 + 1], [-2], [-715827883]]), "truncated", axes=[1], keep_dims=True,
          x=np.array([[2**24 + 1, 2**24 + 1, 2**24 + 1], [-3, -2, -1], [LOW, 0, -1]], np.int32)),
    exact("scatter", np.array([LOW, HIGH - 1, -7]), "adds and wraps", data=np.array([HIGH, HIGH, 0], np.int32),
          indices=const(np.array([0, 1, 2], np.int32)), updates=np.array([1, -1, -7], np.int32), axis=0, mode="add"),
    exact("scatter", np.array([LOW, 3, -2]), "divides", data=np.array([LOW, 7, 7], np.int32), axis=0, mode="div",
          indices=const(np.array([0, 1, 2], np.int32)), updates=np.array([-1, 2, -3], np.int32)),
]  # fmt: skip

# Nearest end, and 0 for NaN; smaller integers are the lowest bits of that.
FLOATS = np.array([2.9, -2.9, 3e5, -7e4, 2147483520, 2147483648, -2147483648, 1e10, -1e10, 3e38], np.float32)
FLOATS = np.append(FLOATS, np.array([np.inf, -np.inf, np.nan], np.float32))
AS_INT32 = np.array([2, -2, 300000, -70000, 2147483520, HIGH, LOW, HIGH, LOW, HIGH, HIGH, LOW, 0], np.int32)
CASES += [
    case("cast", x=wrap(FLOATS), opset=17, dtypes=["fp32"], rtol=0, atol=0, label=f"{t} {wrap.__name__}",
         build=lambda mb, x, t=t: integer(mb.cast(x=x, dtype=t)), expect=AS_INT32.astype(t))
    for t in ("int32", "int8", "uint8", "int16", "uint16")
    for wrap in (np.array, dynamic)
]  # fmt: skip


def counted(mb, start, end, step):
    values = (mb.squeeze(x=v) for v in (start, end, step))
    return mb.range_1d(**dict(zip(("start", "end", "step"), values, strict=True)))


CASES += [
    exact("range_1d", np.arange(*numbers), f"{numbers}", build=counted,
          **{n: np.array([v], np.int32) for n, v in zip(("start", "end", "step"), numbers, strict=True)})
    for numbers in [(0, -3, 1), (0, 3, -1), (3, 0, -2), (5, 0, 2), (2**24 - 1, 2**24 + 4, 2), (0, 0, 1)]
]  # fmt: skip
CASES += [
    exact("range_1d", np.zeros(0), "upwards to -3", end=np.array([-3], np.int32),
          build=lambda mb, end: mb.range_1d(start=0, end=mb.squeeze(x=end), step=1)),
    exact("one_hot", np.zeros((2, 0)), "no classes", indices=np.array([0, 1], np.int32), n=np.array([-2], np.int32),
          build=lambda mb, indices, n: mb.one_hot(indices=indices, one_hot_vector_size=mb.squeeze(x=n))),
    exact("sliding_windows", np.zeros((0, 7)), "wider than the axis", x=dynamic(np.ones(3, np.float32)), axis=0, size=7),
]  # fmt: skip


@rows(CASES)
@pytest.mark.filterwarnings("ignore")
def test_integers(row, engine, dtype):
    check(row, engine, dtype)


ENGINES = ["onnxruntime", "openvino"]
DIVIDES = {
    "floor_div": 'tensor<int32, [2]> y = floor_div(x = x, y = d)[name = string("y")];',
    "mod": 'tensor<int32, [2]> y = mod(x = x, y = d)[name = string("y")];',
    "real_div": 'tensor<int32, [2]> y = real_div(x = x, y = d)[name = string("y")];',
}
FAST = pippin.Hints(specialization_strategy="fast_load")


def loaded(folder, inputs, body, engine):
    """A model of one function in MIL text."""
    path = folder / "model.mil"
    path.write_text(f"program(1.0)\n{{\n func main<ios17>({inputs}) {{\n{body}\n }} -> (y);\n}}\n")
    return pippin.load(path, pippin.Configuration(engine=engine, hints=FAST))


def array(name, *values):
    kind = f"tensor<int32, [{len(values)}]>"
    return f'{kind} {name} = const()[name = string("{name}"), val = {kind}({list(values)})];'


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("op", DIVIDES)
def test_a_divisor_of_0(op, engine, tmp_path):
    model = loaded(tmp_path, "tensor<int32, [2]> x, tensor<int32, [2]> d", DIVIDES[op], engine)
    x = np.array([LOW, 7], np.int32)
    with pytest.raises(PredictionError, match=rf"\[{op}\] 'y': division by 0"):
        model.predict({"x": x, "d": np.array([-1, 0], np.int32)})
    assert model.predict({"x": x, "d": np.array([-1, 7], np.int32)})["y"].tolist()[1] == (0 if op == "mod" else 1)


@pytest.mark.parametrize("op", DIVIDES)
@pytest.mark.parametrize("x", ["", array("x", 5, 5)], ids=["computed", "constant"])
def test_a_constant_divisor_of_0(op, x, tmp_path):
    taken = "tensor<int32, [2]> z" if x else "tensor<int32, [2]> x"
    with pytest.raises(UnsupportedOperationError, match=rf"\[{op}\] 'y': division by 0"):
        loaded(tmp_path, taken, x + array("d", 1, 0) + DIVIDES[op], None)


@pytest.mark.parametrize("engine", ENGINES)
def test_constants_that_end_a_process(engine, tmp_path):
    """-2**31 by -1, folded at load."""
    constants = array("a", LOW, LOW) + array("b", -1, 3)
    body = (
        constants
        + """tensor<int32, [2]> q = floor_div(x = a, y = b)[name = string("q")];
        tensor<int32, [2]> y = add(x = x, y = q)[name = string("y")];"""
    )
    model = loaded(tmp_path, "tensor<int32, [2]> x", body, engine)
    assert model.predict({"x": np.zeros(2, np.int32)})["y"].tolist() == [LOW, -715827883]


WRONG = {
    "a step of 0": (
        '''tensor<int32, [0]> h = const()[name = string("h"), val = tensor<int32, [0]>([])];
        int32 s = reshape(x = x, shape = h)[name = string("s")];
        int32 a = const()[name = string("a"), val = int32(0)]; int32 e = const()[name = string("e"), val = int32(3)];
        tensor<int32, [?]> y = range_1d(start = a, end = e, step = s)[name = string("y")];''', 0,
        r"\[range_1d\] 'y': the step must not be 0, got 0",
    ),
    "a negative exponent": (
        'tensor<int32, [1]> y = pow(x = x, y = x)[name = string("y")];', -2,
        r"\[pow\] 'y': an integer to the power of -2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_numbers(name, engine, tmp_path):
    body, number, message = WRONG[name]
    model = loaded(tmp_path, "tensor<int32, [1]> x", body, engine)
    with pytest.raises(PredictionError, match=message):
        model.predict({"x": np.array([number], np.int32)})
    assert model.predict({"x": np.array([1], np.int32)})["y"][0] in (0, 1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_divisor_of_0_in_a_branch(engine, tmp_path):
    """Only where the branch runs. The error names the operation inside."""

    def body(x, d):
        small = mb.less(x=mb.reduce_sum(x=x), y=INT32(10))
        return mb.cond(
            pred=small, _true_fn=lambda: mb.add(x=x, y=d), _false_fn=lambda: mb.floor_div(x=x, y=d, name="q")
        )

    path = saved_program(tmp_path, body, dtype=np.int32, x=(2,), d=(2,))
    model = pippin.load(path, pippin.Configuration(engine=engine, hints=FAST))
    (output,) = model.predict({"x": np.ones(2, np.int32), "d": np.ones(2, np.int32)})
    zero = np.array([0, 2], np.int32)
    assert model.predict({"x": np.array([1, 2], np.int32), "d": zero})[output].tolist() == [1, 4]
    with pytest.raises(PredictionError, match=r"^\[floor_div\] 'q': division by 0$"):
        model.predict({"x": np.array([90, 2], np.int32), "d": zero})
    found = model.predict({"x": np.array([HIGH, LOW], np.int32), "d": np.array([1, -1], np.int32)})[output]
    assert found.tolist() == [LOW, HIGH]  # a sum of -1, so x + d, which wraps
    found = model.predict({"x": np.array([90, 7], np.int32), "d": np.array([-1, -2], np.int32)})[output]
    assert found.tolist() == [-90, -4]


def _in_turns(one):
    """The sum of `one(x, d)` in three turns."""
    return lambda x, d: mb.while_loop(
        _cond=lambda n, _: mb.less(x=n, y=INT32(3)),
        _body=lambda n, total: (mb.add(x=n, y=INT32(1)), mb.add(x=total, y=one(x, d))),
        loop_vars=(INT32(0), mb.mul(x=x, y=INT32(0))),
    )[1]


def _in_branch(one):
    return lambda x, d: mb.cond(
        pred=mb.less(x=mb.reduce_sum(x=x), y=INT32(10)), _true_fn=lambda: one(x, d), _false_fn=lambda: mb.add(x=x, y=d)
    )


def _counted(x, d):
    """As many as 0, d, 2 d ... below 4, added to x."""
    step = mb.slice_by_index(x=d, begin=[0], end=[1], squeeze_mask=[True])
    return mb.add(x=x, y=mb.reduce_sum(x=mb.range_1d(start=INT32(0), end=INT32(4), step=step, name="q")))


# (in a body, d that is wrong, the message, x = (3, 4) and d = (2, 1): the result)
INSIDE = {
    "floor_div": (lambda x, d: mb.floor_div(x=x, y=d, name="q"), [1, 0], "division by 0", [1, 4]),
    "mod": (lambda x, d: mb.mod(x=x, y=d, name="q"), [0, 1], "division by 0", [1, 0]),
    "pow": (lambda x, d: mb.pow(x=x, y=d, name="q"), [1, -3], "an integer to the power of -3", [9, 4]),
    "range_1d": (_counted, [0, 1], "the step must not be 0, got 0", [5, 6]),
}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("place", [_in_turns, _in_branch, lambda one: _in_turns(_in_branch(one))])
@pytest.mark.parametrize("name", INSIDE)
def test_wrong_numbers_inside(name, place, engine, tmp_path):
    one, wrong, message, right = INSIDE[name]
    path = saved_program(tmp_path, place(one), dtype=np.int32, x=(2,), d=(2,))
    model = pippin.load(path, pippin.Configuration(engine=engine, hints=FAST))
    x = np.array([3, 4], np.int32)
    with pytest.raises(PredictionError, match=rf"^\[{name}\] 'q': {message}$"):
        model.predict({"x": x, "d": np.array(wrong, np.int32)})
    (found,) = model.predict({"x": x, "d": np.array([2, 1], np.int32)}).values()
    assert found.tolist() == [(1 if place is _in_branch else 3) * v for v in right]


ROUNDED = {
    "maximum": 'tensor<int32, [2]> y = maximum(x = x, y = d)[name = string("y")];',
    "mul": 'tensor<int32, [2]> y = mul(x = x, y = d)[name = string("y")];',
}


@pytest.mark.parametrize("op", ROUNDED)
def test_mnn_is_not_given_what_it_rounds(op, tmp_path):
    if not all_engines()["mnn"].installed:
        pytest.skip("MNN is not installed")
    with pytest.raises(UnsupportedOperationError, match="of integers from 2\\*\\*24 on: MNN computes them in float32"):
        loaded(tmp_path, "tensor<int32, [2]> x, tensor<int32, [2]> d", ROUNDED[op], "mnn")
