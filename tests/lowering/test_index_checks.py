"""Index checks: which indices are checked, and when; an index outside is one error on every engine."""

import numpy as np
import onnx
import pytest

import pippin
from lowering.harness import ENGINES, case, check, const, dynamic, f32, program_of, rows
from pippin.errors import PredictionError, ProgramError
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.lowering.unbounded_loops import unbounded_loops
from pippin.program.protobuf_reader import read_program

X = f32(4, 3)
FIRST, SECOND = (np.array(values, np.int32) for values in ([0, 2], [1, -3]))


def gathered(mb, x, i, axis=0):
    return mb.gather(x=x, indices=i, axis=axis)


def lowered_of(row, tmp_path):
    inputs = {name: v for name, v in row.arguments.items() if not hasattr(v, "value") or hasattr(v, "axes")}
    return lower(read_program(open_asset(program_of(row, row.arguments, inputs, str(tmp_path)))), "main")


def _computed(mb, x, i, j):
    return gathered(mb, x, mb.add(x=i, y=j))


def _branch(mb, x, i, j):
    """The sum is used only if its first number is even."""
    total = mb.add(x=i, y=j)
    first = mb.slice_by_index(x=total, begin=[0], end=[1], squeeze_mask=[True])
    even = mb.equal(x=mb.mod(x=first, y=2), y=0)
    return mb.cond(
        pred=even,
        _true_fn=lambda: gathered(mb, x, total),
        _false_fn=lambda: gathered(mb, x, mb.mul(x=i, y=j)),
    )


def _loop(mb, x, i, j):
    """Sums the rows i[0], i[0] + 1, ... j[0] - 1."""
    start, end = (mb.slice_by_index(x=v, begin=[0], end=[1], squeeze_mask=[True]) for v in (i, j))
    row = gathered(mb, mb.mul(x=x, y=0.0), 0)
    return mb.while_loop(
        _cond=lambda n, total: mb.less(x=n, y=end),
        _body=lambda n, total: (mb.add(x=n, y=1), mb.add(x=total, y=gathered(mb, x, n))),
        loop_vars=(start, row),
    )[1]


def _branch_in_loop(mb, x, i, j):
    """The same, but only every second row, each gathered as a pair."""
    start, end = (mb.slice_by_index(x=v, begin=[0], end=[1], squeeze_mask=[True]) for v in (i, j))
    pair = mb.mul(x=mb.slice_by_size(x=x, begin=[0, 0], size=[2, 3]), y=0.0)

    def body(n, total):
        both = mb.stack(values=[n, n], axis=0)
        even = mb.equal(x=mb.mod(x=n, y=2), y=0)
        more = mb.cond(pred=even, _true_fn=lambda: gathered(mb, x, both), _false_fn=lambda: mb.mul(x=pair, y=1.0))
        return mb.add(x=n, y=1), mb.add(x=total, y=more)

    return mb.while_loop(_cond=lambda n, _: mb.less(x=n, y=end), _body=body, loop_vars=(start, pair))[1]


def ints(*values):
    return np.array(values, np.int32)


# (what is built, indices inside, the result, indices outside, the index that the error names)
COMPUTED = {
    "sum": (_computed, (FIRST, SECOND), lambda x, i, j: x[i + j], (FIRST, SECOND + 3), 4),
    "negative": (_computed, (FIRST, ints(-1, -6)), lambda x, i, j: x[i + j], (FIRST, ints(-5, 0)), -5),
    "branch": (_branch, (FIRST, ints(2, 1)), lambda x, i, j: x[i + j], (FIRST, ints(4, 1)), 4),
    "branch not taken": (_branch, (ints(1, 1), ints(2, 3)), lambda x, i, j: x[i * j], (ints(1, 1), ints(2, -9)), -9),
    "loop": (_loop, (ints(1, 0), ints(4, 0)), lambda x, i, j: x[1:4].sum(0), (ints(2, 0), ints(7, 0)), 4),
    "loop without turns": (_loop, (ints(9, 0), ints(9, 0)), lambda x, i, j: 0 * x[0], (ints(9, 0), ints(10, 0)), 9),
    "branch in loop": (
        _branch_in_loop,
        (ints(1, 0), ints(4, 0)),
        lambda x, i, j: np.stack([x[2], x[2]]),
        (ints(-8, 0), ints(3, 0)),
        -8,
    ),
}
CASES = [
    case("gather", x=wrap(X), i=i, j=j, build=build, expect=expect, label=name, dtypes=["fp32"])
    for name, (build, (i, j), expect, _, _) in COMPUTED.items()
    for wrap in (lambda v: v, lambda v: dynamic(v, 0))
]


def _lists(mb, x, i):
    """A list of a fixed length: writes x[0] at i[0], reads at i[1]."""
    first, second = (mb.slice_by_index(x=i, begin=[k], end=[k + 1], squeeze_mask=[True]) for k in (0, 1))
    ls = mb.make_list(init_length=3, dynamic_length=False, elem_shape=(3,), dtype=_names(x))
    ls = mb.list_write(ls=ls, index=first, value=gathered(mb, x, 0))
    return mb.list_read(ls=ls, index=second)


def _growing(mb, x, i):
    """A list that grows: writes x[0] at i[0], reads at i[1]."""
    first, second = (mb.slice_by_index(x=i, begin=[k], end=[k + 1], squeeze_mask=[True]) for k in (0, 1))
    ls = mb.make_list(init_length=2, dynamic_length=True, elem_shape=(3,), dtype=_names(x))
    ls = mb.list_write(ls=ls, index=first, value=gathered(mb, x, 0))
    return mb.list_read(ls=ls, index=second)


def _names(x):
    return "fp16" if x.dtype.__name__ == "fp16" else "fp32"


CASES += [
    case("list_write", x=X, i=ints(-1, 2), build=_lists, expect=lambda x, i: x[0], label="fixed, last"),
    case("list_write", x=X, i=ints(5, -1), build=_growing, expect=lambda x, i: x[0], label="growing"),
    case("list_write", x=X, i=ints(-2, 0), build=_growing, expect=lambda x, i: x[0], label="growing, from the end"),
]


def _cast(mb, f):
    return mb.cast(x=f, dtype="int32")


def _cast_of_computed(mb, x, f):
    return gathered(mb, x, _cast(mb, mb.mul(x=f, y=1.0)))


def _cast_of_clipped(mb, x, f):
    """Inside, if it is a number."""
    return gathered(mb, x, mb.reshape(x=_cast(mb, mb.clip(x=f, alpha=-4.0, beta=3.0)), shape=[1, -1]))


def _cast_in_branch(mb, x, f):
    first = mb.slice_by_index(x=f, begin=[0], end=[1], squeeze_mask=[True])
    return mb.cond(
        pred=mb.less(x=first, y=1.0),
        _true_fn=lambda: gathered(mb, x, _cast(mb, mb.mul(x=f, y=1.0))),
        _false_fn=lambda: gathered(mb, x, mb.sub(x=0, y=mb.const(val=ints(1, 1)))),
    )


def _cast_in_loop(mb, x, f):
    """Two turns, each of which gathers and counts on."""
    return mb.while_loop(
        _cond=lambda n, _: mb.less(x=n, y=2),
        _body=lambda n, total: (mb.add(x=n, y=1), mb.add(x=total, y=gathered(mb, x, _cast(mb, mb.mul(x=f, y=1.0))))),
        loop_vars=(0, mb.mul(x=mb.slice_by_size(x=x, begin=[0, 0], size=[2, 3]), y=0.0)),
    )[1]


# Floats that a program casts to indices. The cast of NaN is 0, which is not where NaN points to.
CASTS = {
    "given": lambda mb, x, f: gathered(mb, x, _cast(mb, f)),
    "computed": _cast_of_computed,
    "branch": _cast_in_branch,
    "loop": _cast_in_loop,
}


def _floats(*values):
    return np.array(values, np.float32)


CASES += [
    case("gather", x=wrap(X), f=_floats(-4.9, 3.9), build=build, label=f"cast, {name}", dtypes=["fp32"],
         expect=lambda x, f, turns=1 + (name == "loop"): x[[0, 3]] * turns)
    for name, build in CASTS.items()
    for wrap in (lambda v: v, lambda v: dynamic(v, 0))
] + [
    case("gather", x=X, f=_floats(np.inf, -9), build=_cast_of_clipped, label="cast, clipped", dtypes=["fp32"],
         expect=lambda x, f: x[[[3, 0]]])
]  # fmt: skip


@rows(CASES)
def test_an_index_inside(row, engine, dtype):
    check(row, engine, dtype)


def _roi(index):
    return np.array([index, 0, 0, 1, 1], np.float32).reshape(1, 1, 5, 1, 1)


# What each names: the operation and the index.
OUTSIDE = [
    case("gather", x=wrap(X), i=i, j=j, build=build, expect=None, label=f"gather {index}")
    for build, _, _, (i, j), index in COMPUTED.values()
    for wrap in (lambda v: v, lambda v: dynamic(v, 0))
]
OUTSIDE += [
    case("list_write", x=X, i=ints(3, 0), build=_lists, expect=None, label="list_write 3"),
    case("list_write", x=X, i=ints(0, 3), build=_lists, expect=None, label="list_read 3"),
    case("list_write", x=X, i=ints(0, -4), build=_lists, expect=None, label="list_read -4"),
    case("list_write", x=X, i=ints(2, 3), build=_growing, expect=None, label="list_read 3"),
    case("list_write", x=X, i=ints(2**30, 0), build=_growing, expect=None, label=f"list_write {2**30}"),
    case("list_write", x=X, i=ints(-3, 0), build=_growing, expect=None, label="list_write -3|-1"),
    case(
        "crop_resize",
        x=f32(2, 1, 4, 4),
        boxes=f32(1, 4),
        box_indices=ints(2),
        opset=17,
        expect=None,
        label="crop_resize 2",
    ),
    case("crop_resize", x=f32(2, 1, 4, 4), roi=_roi(-3), opset=16, expect=None, label="crop_resize -3"),
    case("crop_resize", x=f32(2, 1, 4, 4), roi=_roi(1e10), opset=16, expect=None, label=f"crop_resize {10**10}"),
    case("crop_resize", x=f32(2, 1, 4, 4), roi=_roi(np.nan), opset=16, expect=None, label="crop_resize nan"),
    case("gather", x=dynamic(X, 0), i=const(ints(5)), build=gathered, expect=None, label="gather 5"),
]
OUTSIDE += [
    case("gather", x=wrap(X), f=_floats(-1.5, index), build=build, expect=None, label=f"gather {named}")
    for build in CASTS.values()
    for index, named in ((np.nan, "nan"), (np.inf, "inf"), (1e10, 10**10), (-np.inf, "-inf"), (4, 4), (-5, -5))
    for wrap in (lambda v: v, lambda v: dynamic(v, 0))
]
OUTSIDE += [
    case(
        "reverse_sequence",
        x=wrap(X),
        lengths=ints(0, 1, 2, length),
        seq_axis=1,
        expect=None,
        label=f"reverse_sequence {length}",
    )
    for length in (4, -1)
    for wrap in (lambda v: v, lambda v: dynamic(v, 1))
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", OUTSIDE, ids=lambda row: row.label)
def test_an_index_outside_is_named(row, engine):
    op, index = row.label.split(" ")
    with pytest.raises(
        PredictionError, match=rf"^\[{op}\] '.*': the (index ({index}) is outside|length ({index}) does not fit)"
    ):
        check(row, engine, "fp32")


def _from(build):
    return lambda mb, x, **given: gathered(mb, x, build(mb, x, **given))


# Indices whose range is known at load: no check.
PROVEN = [
    (_from(lambda mb, x: mb.reduce_argmax(x=x, axis=0)), {}),
    (_from(lambda mb, x: mb.topk(x=x, k=2, axis=0)[1]), {}),
    (_from(lambda mb, x: mb.argsort(x=x, axis=0)), {}),
    (_from(lambda mb, x: mb.sub(x=mb.reduce_argmax(x=x, axis=0), y=4)), {}),
    (_from(lambda mb, x: mb.range_1d(start=0, end=4, step=1)), {}),
    (_from(lambda mb, x, i: mb.minimum(x=mb.maximum(x=i, y=-4), y=3)), {"i": FIRST}),
    (_from(lambda mb, x, i: mb.cast(x=mb.greater(x=i, y=0), dtype="int32")), {"i": FIRST}),
    (_from(lambda mb, x: mb.squeeze(x=mb.slice_by_index(x=mb.non_zero(x=x), begin=[0, 1], end=[2, 2]), axes=[1])), {}),
    (_from(lambda mb, x: ints(3, -4)), {}),
    (
        lambda mb, x: mb.gather_along_axis(x=x, indices=mb.argsort(x=x, axis=1), axis=1),
        {},
    ),
]


@pytest.mark.parametrize(("build", "given"), PROVEN)
def test_an_index_known_to_be_inside_is_not_checked(build, given, tmp_path):
    row = case("gather", x=X, **given, build=build, expect=None)
    assert lowered_of(row, tmp_path).index_checks == ()


def _counted(mb, x, bound=4, step=1, start=0, compare="less", index=lambda mb, n: n):
    """A loop that gathers the row `index(n)` of 4 in each turn."""
    below = compare in ("less", "less_equal")

    def goes_on(n, _):
        return getattr(mb, compare)(x=n, y=bound)

    def body(n, total):
        return mb.add(x=n, y=step), mb.add(x=total, y=gathered(mb, x, index(mb, n)))

    assert below == (step > 0)
    return mb.while_loop(_cond=goes_on, _body=body, loop_vars=(start, mb.mul(x=gathered(mb, x, 0), y=0.0)))[1]


def _two_counters(mb, x):
    """The condition is on one, the index is the other."""
    return mb.while_loop(
        _cond=lambda n, k, _: mb.logical_and(x=mb.less(x=k, y=8), y=mb.less(x=mb.reduce_sum(x=_), y=1e9)),
        _body=lambda n, k, total: (mb.add(x=1, y=n), mb.add(x=k, y=2), mb.add(x=total, y=gathered(mb, x, n))),
        loop_vars=(0, 0, mb.mul(x=gathered(mb, x, 0), y=0.0)),
    )[2]


# Loops: (how they are built, whether what they index is proven, the turns that bound them).
LOOPS = {
    "to the end": (_counted, True, 4),
    "every second": (lambda mb, x: _counted(mb, x, step=2), True, 2),
    "the last included": (lambda mb, x: _counted(mb, x, 3, compare="less_equal"), True, 4),
    "downwards": (lambda mb, x: _counted(mb, x, 0, -1, 3, "greater_equal"), True, 4),
    "from the end": (lambda mb, x: _counted(mb, x, 0, start=-4), True, 4),
    "a neighbour": (lambda mb, x: _counted(mb, x, index=lambda mb, n: mb.sub(x=n, y=1)), True, 4),
    "modulo": (lambda mb, x: _counted(mb, x, 100, index=lambda mb, n: mb.mod(x=n, y=4)), True, 100),
    "two counters": (_two_counters, True, 4),
    "one too far": (lambda mb, x: _counted(mb, x, 5), False, 5),
    "one too far down": (lambda mb, x: _counted(mb, x, -6, -1, 3, "greater"), False, 9),
    "twice": (lambda mb, x: _counted(mb, x, index=lambda mb, n: mb.mul(x=n, y=2)), False, 4),
    "many turns": (lambda mb, x: _counted(mb, x, 2000, index=lambda mb, n: mb.mod(x=n, y=4)), True, None),
    "to the largest": (lambda mb, x: _counted(mb, x, 2**31 - 1, 3), False, None),
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_counts_to_a_known_bound_is_not_checked(name, tmp_path):
    build, proven, turns = LOOPS[name]
    lowered = lowered_of(case("gather", x=X, build=build, expect=None), tmp_path)
    (loop,) = (node for node in lowered.model.graph.node if node.op_type == "Loop")
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in lowered.model.graph.initializer}
    assert (lowered.index_checks == (), stored[loop.input[0]].item() if loop.input[0] else None) == (proven, turns)
    assert bool(unbounded_loops(lowered.model.graph)) == (turns is None)


def test_one_check_for_the_same_indices(tmp_path):
    def build(mb, x, i, j):
        total = mb.add(x=i, y=j)
        return mb.add(x=gathered(mb, x, total), y=gathered(mb, mb.mul(x=x, y=2.0), total))

    row = case("gather", x=X, i=FIRST, j=SECOND, build=build, expect=None)
    assert len(lowered_of(row, tmp_path).index_checks) == 1


def _positive(mb, x, i):
    """As converters write it where operations count from 0 only."""
    return mb.select(cond=mb.greater_equal(x=i, y=0), a=i, b=mb.add(x=i, y=4))


# Indices that are inputs, or moved ones: checked before the prediction, without a node.
GIVEN = [
    (lambda mb, x, i: gathered(mb, x, i), FIRST, [FIRST, ints(-4, 3)], [ints(0, 4), ints(-5, 0)]),
    (lambda mb, x, i: gathered(mb, x, mb.expand_dims(x=i, axes=[0]), 0), FIRST, [ints(3, 3)], [ints(4, 0)]),
    (lambda mb, x, i: gathered(mb, x, _positive(mb, x, i)), FIRST, [ints(-8, 3)], [ints(4, 0), ints(-9, 0)]),
]


@pytest.mark.parametrize(("build", "given", "inside", "outside"), GIVEN)
def test_an_index_that_is_an_input_is_checked_before_the_prediction(build, given, inside, outside, tmp_path):
    row = case("gather", x=X, i=given, build=build, expect=None)
    lowered = lowered_of(row, tmp_path)
    (found,) = lowered.index_checks
    assert found.before and found.tensor == "i"
    assert not {"Min", "Max"} & {node.op_type for node in lowered.model.graph.node}
    assert [found.error({"i": array}) for array in (*inside, given[:0])] == [None] * (len(inside) + 1)
    assert all(isinstance(found.error({"i": array}), PredictionError) for array in outside)
    least, greatest = found.limits(given.dtype)
    assert all(least <= v <= greatest for array in inside for v in array.flat)
    assert not any(all(least <= v <= greatest for v in array.flat) for array in outside)
    assert all(found.error({"i": found.clipped(array)}) is None for array in outside)


def test_a_constant_index_outside_is_an_error_of_the_load(tmp_path):
    """The second of two numbers."""
    row = case("gather", x=X, build=lambda mb, x: mb.gather_nd(x=x, indices=np.array([[0, 2]], np.int32)), expect=None)
    model = program_of(row, row.arguments, {"x": X}, str(tmp_path))
    main = model.mlProgram.functions["main"]
    for operation in main.block_specializations[main.opset].operations:
        if operation.type == "const" and operation.attributes["val"].immediateValue.HasField("tensor"):
            values = operation.attributes["val"].immediateValue.tensor.ints.values
            if list(values) == [0, 2]:
                values[1] = 3
    with pytest.raises(ProgramError, match=r"\[gather_nd\].*: the index 3 is outside the axis of size 3"):
        lower(read_program(open_asset(model, weights=str(tmp_path))), "main")


# A table of 8-bit rows, which OpenVINO gathers without looking at the index; `{index}` is computed from the input i.
TABLE = """program(1.0)
{{
    func main<ios18>(tensor<int32, [2]> i) {{
        tensor<int8, [4, 3]> w = const()[name = string("w"),
            val = tensor<int8, [4, 3]>([[1, 1, 1], [11, 11, 11], [21, 21, 21], [31, 31, 31]])];
        tensor<fp32, [4, 1]> s = const()[name = string("s"), val = tensor<fp32, [4, 1]>([[1.0], [1.0], [1.0], [1.0]])];
        tensor<fp32, [4, 3]> x = constexpr_blockwise_shift_scale(data = w, scale = s)[name = string("x")];
        tensor<int32, [2]> j = {index}[name = string("j")];
        tensor<fp32, [2, 3]> y = gather(x = x, indices = j, axis = int32(0), batch_dims = int32(0),
            validate_indices = bool({validate}))
            [name = string("y")];
    }} -> (y);
}}"""
FAST = pippin.Hints(specialization_strategy="fast_load")


def load_text(text, tmp_path, **options):
    path = tmp_path / "table.mil"
    path.write_text(text)
    return pippin.load(path, pippin.Configuration(hints=FAST, **options), cache=tmp_path / "cache")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("index", ["identity(x = i)", "add(x = i, y = int32(0))"], ids=["given", "computed"])
@pytest.mark.parametrize("validate", ["true", "false"])
def test_no_row_of_an_8_bit_table_is_left_from_the_prediction_before(engine, index, validate, tmp_path):
    text = TABLE.format(index=index, validate=validate)
    for label in ("prepare and cache", "cached"):
        model = load_text(text, tmp_path, engine=engine)
        assert model.load_label == label
        for wrong in (4, 9, 2**31 - 1, -5, -(2**31)):
            np.testing.assert_array_equal(model.predict({"i": ints(3, 2)})["y"][:, 0], [31, 21])
            with pytest.raises(
                PredictionError, match=rf"^\[gather\] 'y': the index {wrong} is outside the axis of size 4"
            ):
                model.predict({"i": ints(0, wrong)})
        if validate == "false":
            np.testing.assert_array_equal(model.predict({"i": ints(-1, -4)})["y"][:, 0], [31, 1])
        else:
            with pytest.raises(PredictionError, match=r"the index -1 .*\(allowed: 0 to 3\)"):
                model.predict({"i": ints(0, -1)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_clipped_nan_is_no_index(engine, tmp_path):
    """Which is known to be inside otherwise."""
    text = TABLE.format(index='cast(x = c, dtype = string("int32"))', validate="false")
    clipped = 'tensor<fp32, [2]> c = clip(x = i, alpha = fp32(-4), beta = fp32(3))[name = string("c")];\n'
    text = text.replace("tensor<int32, [2]> i)", "tensor<fp32, [2]> i)").replace(
        "tensor<int32, [2]> j", clipped + "tensor<int32, [2]> j"
    )
    model = load_text(text, tmp_path, engine=engine)
    np.testing.assert_array_equal(model.predict({"i": _floats(-9, np.inf)})["y"][:, 0], [1, 31])
    with pytest.raises(PredictionError, match=r"^\[gather\] 'y': the index nan is outside the axis of size 4"):
        model.predict({"i": _floats(1, np.nan)})


@pytest.mark.process
def test_mnn(tmp_path):
    """Given indices; it declines the check of computed ones, whose limits it would round."""
    text = TABLE.format(index="identity(x = i)", validate="false")
    first, last = text.index("tensor<int8"), text.index("tensor<int32, [2]> j")
    rows = ", ".join(f"[{v}.0, {v}.0, {v}.0]" for v in (1, 11, 21, 31))
    table = f'tensor<fp32, [4, 3]> x = const()[name = string("x"), val = tensor<fp32, [4, 3]>([{rows}])];'
    model = load_text(text[:first] + table + text[last:], tmp_path, engine="mnn")
    np.testing.assert_array_equal(model.predict({"i": ints(-1, 1)})["y"][:, 0], [31, 11])
    for wrong in (4, -5, 2**31 - 1):
        with pytest.raises(PredictionError, match=rf"^\[gather\] 'y': the index {wrong} is outside"):
            model.predict({"i": ints(0, wrong)})


def test_a_trace_and_a_batch_see_the_error_too(tmp_path):
    model = load_text(TABLE.format(index="add(x = i, y = int32(0))", validate="false"), tmp_path)
    found = model.predict_batch([{"i": ints(0, 1)}, {"i": ints(0, 4)}, {"i": ints(2, 2)}], return_exceptions=True)
    assert [isinstance(each, PredictionError) for each in found] == [False, True, False]
    with pippin.trace.record(), pytest.raises(PredictionError, match="the index 4 is outside"):
        model.predict({"i": ints(0, 4)})
