"""Shape rules: operands whose sizes do not agree are refused at load, where an engine would read outside of them."""

from __future__ import annotations

import numpy as np
import pytest

import pippin
from lowering.harness import ENGINES, Dynamic, case, const, dynamic, f32, i32, program_of
from lowering.layers.layer_harness import f32 as layer_f32
from lowering.layers.layer_harness import row, specification
from pippin.engines import all_engines
from pippin.errors import PippinError, PredictionError, ProgramError
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.infer_description import describe
from pippin.program.protobuf_reader import read_program

STATE = {"initial_h": f32(2, 5), "initial_c": f32(2, 5)}
LSTM = {"weight_ih": const(f32(20, 3)), "weight_hh": const(f32(20, 5))}

# The input of the row as it should be, what is given in its place, and what the error says.
ROWS = [
    ("channels", case("conv", x=f32(1, 4, 8, 8), weight=const(f32(6, 4, 3, 3)), expect=None), {"x": (1, 3, 8, 8)}, "channels"),
    ("kernel", case("conv", x=f32(1, 4, 8, 8), weight=const(f32(6, 4, 3, 3)), expect=None), {"x": (1, 4, 2, 8)}, "does not fit"),
    ("transposed", case("conv_transpose", x=f32(1, 4, 8, 8), weight=const(f32(4, 6, 3, 3)), expect=None), {"x": (1, 3, 8, 8)}, "channels"),
    ("initial_c", case("lstm", x=f32(4, 2, 3), **STATE, **LSTM, expect=None), {"initial_c": (10,)}, "two axes"),
    ("features", case("lstm", x=f32(4, 2, 3), **STATE, **LSTM, expect=None), {"x": (4, 2, 2)}, "the weight must"),
    ("along", case("gather_along_axis", x=f32(3, 4), indices=0 * i32(3, 2), axis=1, expect=None), {"x": (1, 4)}, "axis 0"),
    ("scatter", case("scatter", data=f32(4, 3), indices=const(np.int32([0, 1])), updates=f32(2, 3), axis=0, mode="update", expect=None),
     {"updates": (2, 7)}, ""),
    ("scatter_nd", case("scatter_nd", data=f32(4, 3), indices=0 * i32(2, 1), updates=f32(2, 3), mode="add", expect=None),
     {"updates": (2, 2)}, ""),
    ("slice_update", case("slice_update", x=f32(4, 3), update=f32(2, 3), begin=[1, 0], end=[3, 3], opset=18, expect=None),
     {"update": (3, 3)}, "the slice"),
    ("batch", case("gather", x=f32(2, 4), indices=0 * i32(2, 3), axis=1, batch_dims=1, opset=17, expect=None), {"indices": (1, 3)}, "a batch"),
    ("batch of places", case("gather_nd", x=f32(2, 4), indices=0 * i32(2, 1), batch_dims=1, opset=16, expect=None), {"x": (3, 4)}, "a batch"),
    ("lengths", case("reverse_sequence", x=f32(3, 4), lengths=i32(3), seq_axis=1, batch_axis=0, expect=None), {"x": (4, 4)}, "lengths"),
    ("blocks", case("pixel_shuffle", x=f32(1, 8, 2, 3), upscale_factor=2, expect=None), {"x": (1, 6, 2, 3)}, "a multiple of 4"),
    ("elements", case("reshape", x=f32(2, 6), shape=[3, 4], expect=None), {"x": (2, 8)}, "cannot be reshaped"),
    ("numbers of a size", case("slice_by_size", x=f32(4, 3), begin=i32(2), size=[1, 1], expect=None), {"begin": (1,)}, "2 numbers"),
    ("numbers of an end", case("slice_by_index", x=f32(4, 3), begin=[0, 0], end=i32(2), expect=None), {"end": (3,)}, "2 numbers"),
    ("a region", case("crop_resize", x=f32(2, 3, 5, 6), roi=f32(2, 1, 4, 1, 1), target_height=2, target_width=3, expect=None),
     {"roi": (2, 1, 2, 4, 1, 1)}, "'roi' must have the shape"),
    ("a region of nothing", case("crop_resize", x=f32(2, 3, 5, 6), roi=f32(2, 1, 4, 1, 1), target_height=2, target_width=3, expect=None),
     {"roi": (2, 1, 0, 1, 1)}, "'roi' must have the shape"),
    ("classes", case("random_categorical", x=f32(1, 4), mode="logits", size=2, seed=7, expect=None), {"x": (1, 0)}, "no classes"),
    ("a choice", case("reduce_argmax", x=f32(2, 4), axis=1, expect=None), {"x": (2, 0)}, "no element to choose"),
    ("an image", case("resize_bilinear", x=f32(1, 2, 3, 4), target_size_height=2, target_size_width=2, expect=None), {"x": (1, 2, 0, 4)}, "no elements"),
]  # fmt: skip


def _resized(program, sizes):
    """The program's inputs in other shapes, which coremltools would not write."""
    function = program.mlProgram.functions["main"]
    for value in function.inputs:
        if value.name in sizes:
            tensor = value.type.tensorType
            del tensor.dimensions[:]
            tensor.rank = len(sizes[value.name])
            for size in sizes[value.name]:
                tensor.dimensions.add().constant.size = size
    return program


@pytest.mark.parametrize(("label", "one", "sizes", "message"), ROWS, ids=[r[0] for r in ROWS])
def test_sizes_that_do_not_agree(label, one, sizes, message, tmp_path):
    inputs = {name: value for name, value in one.arguments.items() if isinstance(value, np.ndarray)}
    right = program_of(one, one.arguments, inputs, str(tmp_path))
    lower(read_program(open_asset(right, weights=tmp_path)), "main")
    with pytest.raises(PippinError, match=message) as caught:
        lower(read_program(open_asset(_resized(right, sizes), weights=tmp_path)), "main")
    assert str(caught.value).startswith(f"[{one.op}]")


UPDATE = {"x": f32(4, 3), "update": f32(2, 3)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("begin", "end"), [([1, 0], [2, 3]), ([0, 0], [0, 0])], ids=str)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: dynamic(v, 0)], ids=["fixed", "flexible"])
def test_a_slice_of_another_size_than_its_update(begin, end, wrap, engine, tmp_path):
    """With bounds that only the prediction knows."""
    given = {name: wrap(value) for name, value in UPDATE.items()}
    bounds = {"begin": np.int32(begin), "end": np.int32(end)}
    one = case("slice_update", **given, **bounds, opset=18, expect=None)
    message = program_of(one, one.arguments, one.arguments, str(tmp_path))
    describe(read_program(open_asset(message, weights=tmp_path)), message)
    model = pippin.load(message, pippin.Configuration(engine=engine), cache=False)
    with pytest.raises(PredictionError, match=r"^\[slice_update\]"):
        model.predict({**UPDATE, **bounds})
    rows = np.int32([1, 0]), np.int32([3, 3])
    expected = np.concatenate([UPDATE["x"][:1], UPDATE["update"], UPDATE["x"][3:]])
    found = model.predict({**UPDATE, "begin": rows[0], "end": rows[1]})
    np.testing.assert_array_equal(next(iter(found.values())), expected)


def test_a_network_with_other_channels():
    spec = specification(
        row(
            "convolution",
            lambda b: b.add_convolution("l", 2, 6, 3, 3, 1, 1, "valid", 1, layer_f32(3, 3, 2, 6), None, False, input_name="x", output_name="y"),
            {"x": layer_f32(1, 3, 8, 8)},
            None,
        )
    )  # fmt: skip
    with pytest.raises(ProgramError, match=r"\[convolution\] 'l': the number of input channels .* must be"):
        pippin.load(spec, cache=False)


# (program, the inputs, what its error says): numbers that only the prediction knows, in front of an engine that takes any.
COMPUTED = [
    (
        case("range_1d", end=np.int32(5), start=0, step=1, expect=None),
        {"end": np.int32(2**31 - 1)},
        "a range has at most",
    ),
    (
        case("slice_by_size", x=f32(4, 3), begin=[0, 0], size=np.int32([2, 3]), expect=None),
        {"size": np.int32([-2, 3])},
        "a size must be",
    ),
    (
        case("slice_by_index", x=dynamic(f32(4, 3)), begin=[1, 0], end=[2, 3], squeeze_mask=[True, False], expect=None),
        {"x": f32(1, 3)},
        r"^\[slice_by_index\]",
    ),
    (
        case(
            "gather",
            x=dynamic(f32(2, 4), 0),
            indices=dynamic(0 * i32(2, 3), 0),
            axis=1,
            batch_dims=1,
            opset=17,
            expect=None,
        ),
        {"indices": np.zeros((1, 3), np.int32)},
        "",
    ),
    *(
        (case("reshape", x=f32(2, 6), shape=np.int32([12]), expect=None), {"shape": np.int32([n])}, r"^\[reshape\]")
        for n in (5, 24, 1)
    ),
    *(
        (
            case("pad", x=f32(2, 6), pad=np.int32([0, 1, 1, 0]), mode=mode, expect=None),
            {"pad": np.int32(pad)},
            r"^\[pad\]",
        )
        for mode in ("constant", "reflect", "replicate")
        for pad in ([0, 0, -1, 0], [2**31 - 1] * 4, [0, 0, 1, 2**31 - 1], [99, 99, 99, 10**9])
    ),
    (
        case("pad", x=f32(2, 6), pad=np.int32([0, 1, 1, 0]), mode="reflect", expect=None),
        {"pad": np.int32([2, 0, 0, 0])},
        "reflected",
    ),
    *(
        (one, {name: np.int32(given)}, "at most 268435456 elements, got")
        for given in ([2**31 - 1, 2**31 - 1], [0, 2**31 - 1], [10**5, 10**5], [-1, 3])
        for name, one in (
            ("reps", case("tile", x=f32(2, 6), reps=np.int32([1, 2]), expect=None)),
            ("shape", case("fill", shape=np.int32([1, 2]), value=1.0, expect=None)),
        )
    ),
    (
        case(
            "scatter",
            data=dynamic(f32(4, 3)),
            indices=np.int32([0, 1]),
            updates=dynamic(f32(2, 3)),
            mode="update",
            expect=None,
        ),
        {"updates": f32(1, 2)},
        "",
    ),
    (
        case("linear", x=dynamic(f32(2, 3)), weight=const(f32(4, 3)), bias=const(f32(4)), expect=None),
        {"x": f32(2, 1)},
        r"^\[linear\]",
    ),
    (case("matmul", x=dynamic(f32(5, 2, 3)), y=const(f32(3, 4)), expect=None), {"x": f32(5, 2, 1)}, r"^\[matmul\]"),
    (case("matmul", x=f32(2, 3), y=dynamic(f32(3, 4)), expect=None), {"y": f32(1, 4)}, r"^\[matmul\]"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("one", "given", "message"), COMPUTED, ids=[f"{n}-{row[0].op}" for n, row in enumerate(COMPUTED)]
)
def test_numbers_of_a_prediction(one, given, message, engine, tmp_path):
    inputs = {name: v for name, v in one.arguments.items() if isinstance(v, np.ndarray | np.generic | Dynamic)}
    inputs = {name: np.atleast_1d(v) if isinstance(v, np.generic) else v for name, v in inputs.items()}
    program = (
        program_of(one, {**one.arguments, **inputs}, inputs, str(tmp_path))
        if one.op != "range_1d"
        else _range(tmp_path)
    )
    describe(read_program(open_asset(program, weights=tmp_path)), program)
    model = pippin.load(program, pippin.Configuration(engine=engine), weights=tmp_path, cache=False)
    values = {name: getattr(v, "value", v) for name, v in inputs.items()}
    model.predict(values)
    with pytest.raises(PredictionError, match=message):
        model.predict({**values, **{name: np.atleast_1d(v) for name, v in given.items()}})


def _range(folder):
    """Its end is the only element of an input."""
    row = case("range_1d", end=np.int32([5]), expect=None,
               build=lambda mb, end: mb.range_1d(end=mb.squeeze(x=end, axes=[0]), start=0, step=1))  # fmt: skip
    return program_of(row, row.arguments, row.arguments, str(folder))


def test_integers_where_floats_are_due(tmp_path):
    one = case("relu", x=f32(2, 3), expect=None)
    program = program_of(one, one.arguments, one.arguments, str(tmp_path))
    program.mlProgram.functions["main"].inputs[0].type.tensorType.dataType = 23  # int32
    with pytest.raises(ProgramError, match=r"\[relu\].*'x' must be a tensor of floats, got int32"):
        lower(read_program(open_asset(program, weights=tmp_path)), "main")


def test_two_inputs_of_one_name(tmp_path):
    one = case("relu", x=f32(2, 3), expect=None)
    program = program_of(one, one.arguments, one.arguments, str(tmp_path))
    program.mlProgram.functions["main"].inputs.add().CopyFrom(program.mlProgram.functions["main"].inputs[0])
    with pytest.raises(ProgramError, match="two inputs are named 'x'"):
        lower(read_program(open_asset(program, weights=tmp_path)), "main")


def test_suppression_that_keeps_nothing(tmp_path):
    one = case("non_maximum_suppression", boxes=f32(1, 5, 4), scores=f32(1, 5, 2), iou_threshold=0.2, score_threshold=0.1,
               max_boxes=0, expect=None, label="none")  # fmt: skip
    with pytest.raises(ProgramError, match="max_boxes must be at least 1"):
        lower(
            read_program(open_asset(program_of(one, one.arguments, _arrays(one), str(tmp_path)), weights=tmp_path)),
            "main",
        )


def _arrays(one):
    return {name: value for name, value in one.arguments.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize(
    ("divisor", "declined"), [(f32(2, 3), True), (const(np.float32(3)), False)], ids=["computed", "constant"]
)
def test_openvino_is_not_given_floors_of_quotients(divisor, declined, tmp_path):
    """It multiplies by the reciprocal, in which x / x is below 1 for one number in six."""
    one = case("floor_div", x=f32(2, 3), y=divisor, expect=None)
    lowered = lower(
        read_program(open_asset(program_of(one, one.arguments, _arrays(one), str(tmp_path)), weights=tmp_path)), "main"
    )
    assert bool(all_engines()["openvino"].declined(lowered)) is declined
