"""Scatter and gather against numpy."""

import numpy as np
import pytest

from lowering.harness import ENGINES, case, check, const, dynamic, f32, i32, program_of, rows
from pippin.errors import PredictionError, ProgramError, UnsupportedOperationError
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program


def _gather(x, indices, axis=0, batch_dims=0, **_):
    if batch_dims == 0:
        return np.take(x, indices, int(axis))
    return np.stack([_gather(x[b], indices[b], axis - 1, batch_dims - 1) for b in range(x.shape[0])])


def ints(*values):
    return np.array(values, np.int32)


CASES = [
    case("gather", x=x, indices=indices, axis=axis, opset=opset, expect=_gather)
    for x in (f32(4, 3, 5), dynamic(f32(4, 3, 5)), i32(4, 3, 5))
    for indices, axis in [
        (ints(0, 2, 1), 0),
        (const(ints(1)), 1),
        (np.array([[0, 2], [1, 1]], np.int32), 1),
        (ints(4, 0), -1),
    ]
    for opset in (15, 16, 17)
]
CASES += [
    case("gather", x=f32(4, 3), indices=2, axis=0, expect=_gather),
    case("gather", x=f32(4, 3), indices=ints(-1, 0), axis=0, expect=_gather),
    case("gather", x=f32(4, 3), indices=const(np.array([1, 2], np.uint16)), axis=0, opset=17, expect=_gather),
    case("gather", x=f32(4, 3), indices=ints(3, 1), axis=0, validate_indices=True, opset=17, expect=_gather),
    case("gather", x=const(f32(4, 3)), indices=ints(3, 1), axis=0, expect=_gather),
]
CASES += [
    case(
        "gather",
        x=x,
        indices=indices,
        axis=axis,
        batch_dims=b,
        opset=opset,
        expect=lambda x, indices, axis, batch_dims: _gather(x, indices, int(axis), int(batch_dims)),
    )
    for x, indices, axis, b in [
        (f32(2, 4, 3), np.array([[0, 2], [1, 3]], np.int32), 1, 1),
        (f32(2, 3, 4), np.array([[0, 2], [1, 3]], np.int32), 2, 1),
        (f32(2, 3, 4, 2), i32(2, 3, 2, low=0, high=4), 2, 2),
        (f32(2, 3, 4, 5), i32(2, 2, low=0, high=5), 3, 1),
    ]
    for opset in (16, 17)
]


def _along(x, indices, axis=0, **_):
    return np.take_along_axis(x, indices, int(axis))


CASES += [
    case("gather_along_axis", x=x, indices=i32(*shape, low=0, high=3), axis=axis, opset=opset, expect=_along)
    for x, shape, axis in [
        (f32(3, 4), (2, 4), 0),
        (f32(3, 3), (3, 5), 1),
        (f32(2, 3, 3), (2, 3, 2), -1),
        (i32(3, 4), (3, 4), 0),
        (dynamic(f32(3, 4)), (2, 4), 0),
    ]
    for opset in (15, 16, 17)
]
CASES += [case("gather_along_axis", x=f32(3, 4), indices=np.array([[-1, 0, 1, -2]], np.int32), axis=0, expect=_along)]


def _gather_nd(x, indices, batch_dims=0, **_):
    if batch_dims:
        return np.stack([_gather_nd(x[b], indices[b], batch_dims - 1) for b in range(x.shape[0])])
    return x[tuple(np.moveaxis(indices, -1, 0))]


CASES += [
    case("gather_nd", x=x, indices=indices, opset=opset, expect=_gather_nd)
    for x in (f32(3, 4, 2), dynamic(f32(3, 4, 2)), i32(3, 4, 2))
    for indices in (
        np.array([[0, 1], [2, 3]], np.int32),
        np.array([[[1]], [[2]]], np.int32),
        np.array([[0, 1, 1]], np.int32),
    )
    for opset in (15, 16, 17)
]
CASES += [
    case("gather_nd", x=f32(2, 3, 4), indices=i32(2, 5, 1, low=0, high=3), batch_dims=1, opset=opset, expect=_gather_nd)
    for opset in (16, 17)
]

MODES = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "max": max,
    "min": min,
}


def _scatter(data, indices, updates, axis=0, mode="add", **_):
    y = np.moveaxis(data.copy(), int(axis), 0)
    new = np.moveaxis(updates, int(axis), 0)
    for i, index in enumerate(indices):
        y[index] = np.vectorize(MODES[mode])(y[index], new[i])
    return np.moveaxis(y, 0, int(axis))


def _scatter_along(data, indices, updates, axis=0, mode="add", **_):
    y = data.copy()
    for position in np.ndindex(*indices.shape):
        target = list(position)
        target[int(axis)] = indices[position]
        y[tuple(target)] = MODES[mode](y[tuple(target)], updates[position])
    return y


def _whole(function):
    """The same of integers: a quotient without its fraction."""
    return lambda data, updates, **how: np.trunc(
        function(data.astype(np.float64), updates=updates.astype(np.float64), **how)
    )


def _scatter_nd(data, indices, updates, mode="add", **_):
    y = data.copy()
    for position in np.ndindex(*indices.shape[:-1]):
        target = tuple(indices[position])
        y[target] = np.vectorize(MODES[mode])(y[target], updates[position])
    return y


DATA, UPDATES = f32(4, 3, low=0.5, high=2), f32(2, 3, seed=1, low=0.5, high=2)
CASES += [
    case("scatter", data=data, indices=ints(3, 1), updates=UPDATES, axis=0, mode=mode, opset=opset, expect=_scatter)
    for mode in MODES
    for data in (DATA, dynamic(DATA))
    for opset in (15, 17)
]
CASES += [
    case(
        "scatter",
        data=f32(3, 4),
        indices=ints(2, 0),
        updates=f32(3, 2, seed=2),
        axis=axis,
        mode="update",
        expect=_scatter,
    )
    for axis in (1, -1)
]
CASES += [
    case("scatter", data=i32(4, 3), indices=ints(2, 2), updates=i32(2, 3, seed=2), axis=0, mode="add", expect=_scatter)
]
CASES += [
    case(
        "scatter_along_axis",
        data=DATA,
        indices=np.array([[0, 1, 3], [2, 3, 0]], np.int32),
        updates=UPDATES,
        axis=0,
        mode=mode,
        opset=opset,
        expect=_scatter_along,
    )
    for mode in MODES
    for opset in (15, 17)
]
CASES += [
    case(
        "scatter_along_axis",
        data=f32(3, 4),
        indices=np.array([[0, 3], [1, 2], [2, 0]], np.int32),
        updates=f32(3, 2, seed=2),
        axis=1,
        mode="add",
        expect=_scatter_along,
    ),
]
CASES += [
    case(
        "scatter_nd",
        data=DATA,
        indices=np.array([[3], [1]], np.int32),
        updates=UPDATES,
        mode=mode,
        opset=opset,
        expect=_scatter_nd,
    )
    for mode in MODES
    for opset in (15, 17)
]
CASES += [
    case(
        "scatter_nd",
        data=f32(3, 4),
        indices=np.array([[0, 1], [2, 3], [1, 0]], np.int32),
        updates=f32(3, seed=4),
        mode="update",
        expect=_scatter_nd,
    ),
    case(
        "scatter_nd",
        data=dynamic(f32(3, 4)),
        indices=np.array([[0, 1], [2, 3]], np.int32),
        updates=f32(2, seed=4),
        mode="add",
        expect=_scatter_nd,
    ),
    case(
        "scatter_nd",
        data=i32(3, 4),
        indices=np.array([[0, 1], [0, 1]], np.int32),
        updates=ints(5, 7),
        mode="add",
        expect=_scatter_nd,
    ),
]

# Every other element type, integers that float32 does not hold, and every type of index.
LARGE = np.array([[2**31 - 1, -(2**31), 16777217, 5], [33554433, -16777219, 1, 2], [0, 3, 4, 8]], np.int32)
TYPED = [f32(3, 4, low=0, high=99).astype(d) for d in (np.int8, np.uint8, np.int16, np.uint16)] + [LARGE]
EXACT = {"rtol": 0, "atol": 0}
INDEX_TYPES = [np.int8, np.uint8, np.int16, np.uint16, np.int32]
for typed in TYPED:
    CASES += [
        case("gather", x=typed, indices=ints(2, 0), opset=17, expect=_gather, **EXACT),
        case("gather_along_axis", x=typed, indices=ints(2, 0, 1, 2)[None], opset=17, expect=_along, **EXACT),
        case("gather_nd", x=typed, indices=np.array([[2, 0], [1, 3]], np.int32), opset=17, expect=_gather_nd, **EXACT),
        case("gather_nd", x=typed, indices=ints(2, 0)[:, None], opset=17, expect=_gather_nd, **EXACT),
        case(
            "gather",
            x=typed,
            indices=np.array([[3, 0], [1, 1], [2, 0]], np.int32),
            axis=1,
            batch_dims=1,
            opset=17,
            expect=_gather,
            **EXACT,
        ),
    ]
for d in INDEX_TYPES:
    for wrap in (lambda v: v, const):
        CASES += [
            case("gather", x=f32(4, 3), indices=wrap(np.array([3, 1], d)), opset=17, expect=_gather),
            case("gather_along_axis", x=f32(4, 3), indices=wrap(np.array([[3, 1, 0]], d)), opset=17, expect=_along),
            case("gather_nd", x=f32(4, 3), indices=wrap(np.array([[3, 1], [0, 2]], d)), opset=17, expect=_gather_nd),
        ]
for d in (np.int16, np.uint16):
    CASES += [
        case("gather", x=f32(4, 3), indices=np.array([3, 1], d), axis=0, batch_dims=0, opset=16, expect=_gather),
        case("gather_along_axis", x=f32(4, 3), indices=np.array([[3, 1, 0]], d), opset=16, expect=_along),
        case("gather_nd", x=f32(4, 3), indices=np.array([[3, 1]], d), batch_dims=0, opset=16, expect=_gather_nd),
    ]
CASES += [
    # Before iOS 17 a negative index counts from the end.
    case(
        "gather",
        x=f32(2, 4, 3),
        indices=np.array([[-1, 2], [-4, 0]], np.int32),
        axis=axis,
        batch_dims=1,
        opset=16,
        expect=lambda x, indices, axis, batch_dims: _gather(x, indices, 1, 1),
    )
    for axis in (1, -2)
]
CASES += [
    case("gather", x=x, indices=np.array([[0, 3], [2, 1]], np.int32), axis=1, batch_dims=1, opset=17, expect=_gather)
    for x in (dynamic(f32(2, 4, 3)), dynamic(f32(2, 4, 3), 1), const(f32(2, 4, 3)))
]
CASES += [
    case(
        "gather",
        x=f32(2, 4, 3),
        indices=ints(1, 3),
        axis=1,
        batch_dims=1,
        opset=17,
        expect=lambda x, indices, **h: x[np.arange(2), indices],
    ),
    case(
        "gather",
        x=f32(2, 4),
        indices=const(ints(1, 3)),
        axis=1,
        batch_dims=1,
        opset=17,
        expect=lambda x, indices, **h: x[np.arange(2), indices],
    ),
    case("gather", x=f32(2, 4, 3), indices=i32(2, 2, 3, low=0, high=4), axis=1, batch_dims=1, opset=17, expect=_gather),
    case(
        "gather",
        x=f32(1, 2, 3, 2, 4),
        indices=np.array([[1, 0], [0, 1]], np.int32),
        axis=-2,
        expect=lambda x, indices, axis: np.take(x, indices, 3),
    ),
    case("gather", x=f32(5), indices=const(np.int32(3)), expect=lambda x, indices: x[3]),
    case(
        "gather",
        x=f32(4, 2),
        i=ints(3),
        label="scalar",
        expect=lambda x, i: x[3],
        build=lambda mb, x, i: mb.gather(x=x, indices=mb.squeeze(x=i), axis=0),
    ),
    case("gather", x=dynamic(f32(4, 3)), indices=dynamic(ints(3, 1, 0)), expect=_gather),
    case("gather_along_axis", x=const(f32(3, 4)), indices=i32(3, 2, low=0, high=4), axis=-1, expect=_along),
    case("gather_along_axis", x=dynamic(f32(3, 4)), indices=dynamic(i32(3, 2, low=-4, high=4)), axis=1, expect=_along),
    case("gather_along_axis", x=f32(1, 2, 3, 2, 2), indices=i32(1, 2, 5, 2, 2, low=0, high=3), axis=2, expect=_along),
    case("gather_nd", x=f32(3, 4), indices=np.array([[-1, 0], [-3, -4]], np.int32), expect=_gather_nd),
    case("gather_nd", x=const(f32(3, 4)), indices=np.array([[1], [0]], np.int32), expect=_gather_nd),
    case(
        "gather_nd", x=f32(2, 3, 4), indices=i32(2, 3, 5, 1, low=0, high=4), batch_dims=2, opset=17, expect=_gather_nd
    ),
    case(
        "gather_nd",
        x=dynamic(f32(2, 3, 4, 2)),
        indices=dynamic(i32(2, 5, 2, low=0, high=3), 0, 1),
        batch_dims=1,
        opset=17,
        expect=_gather_nd,
    ),
    case("gather_nd", x=f32(1, 2, 3, 2, 2), indices=i32(4, 3, low=0, high=1), expect=_gather_nd),
]
VALIDATED = {"validate_indices": True, "opset": 17}
CASES += [
    case("gather", x=x, indices=indices, axis=axis, expect=_gather, **VALIDATED)
    for x, indices in [
        (f32(3, 4, 3), ints(2, 0)),
        (f32(3, 4, 3), const(ints(2, 0))),
        (dynamic(f32(3, 4, 3)), ints(2, 0)),
    ]
    for axis in (0, 1, -1)
]
CASES += [
    case(
        "gather", x=f32(2, 4), indices=np.array([[3], [0]], np.int32), axis=1, batch_dims=1, expect=_gather, **VALIDATED
    ),
    case("gather_along_axis", x=f32(3, 4), indices=ints(2, 0, 1, 2)[None], expect=_along, **VALIDATED),
    case("gather_nd", x=f32(3, 4), indices=np.array([[2, 3], [0, 0]], np.int32), expect=_gather_nd, **VALIDATED),
    case("scatter", data=DATA, indices=ints(3, 1), updates=UPDATES, expect=_scatter, **VALIDATED),
    case(
        "scatter_along_axis",
        data=DATA,
        indices=np.array([[0, 1, 3], [2, 3, 0]], np.int32),
        updates=UPDATES,
        expect=_scatter_along,
        **VALIDATED,
    ),
]
CASES += [
    case(
        "scatter_nd",
        data=DATA,
        indices=np.array([[3, 0], [1, 2]], np.int32),
        updates=f32(2, seed=4),
        mode=mode,
        expect=_scatter_nd,
        **VALIDATED,
    )
    for mode in ("update", "add")
]

# One element several times, constant and negative indices, sizes that are not known.
for mode in ("add", "sub", "mul", "div", "max", "min"):
    CASES += [
        case(
            "scatter",
            data=data,
            indices=indices,
            updates=f32(3, 3, seed=6, low=0.5, high=2),
            mode=mode,
            opset=opset,
            expect=_scatter,
        )
        for data in (DATA, dynamic(DATA))
        for indices in (ints(2, 0, 2), const(ints(2, -1, 2)))
        for opset in (15, 17)
    ]
    CASES += [
        case("scatter_nd", data=data, indices=indices, updates=updates, mode=mode, expect=_scatter_nd)
        for data in (DATA, dynamic(DATA), const(DATA))
        for indices, updates in [
            (np.array([[1, 2], [-1, 0], [1, 2]], np.int32), f32(3, seed=6, low=0.5, high=2)),
            (const(np.array([[1, 2], [-1, 0], [1, 2]], np.int32)), f32(3, seed=6, low=0.5, high=2)),
            (np.array([[1], [-1], [1]], np.int32), f32(3, 3, seed=6, low=0.5, high=2)),
        ]
    ]
    CASES += [
        case(
            "scatter_along_axis",
            data=DATA,
            indices=const(np.array([[0, -1, 1], [0, 3, 1]], np.int32)),
            updates=UPDATES,
            mode=mode,
            expect=_scatter_along,
        ),
        case(
            "scatter_along_axis",
            data=i32(3, 2, low=1, high=90),
            indices=np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0]], np.int32),
            updates=i32(3, 3, low=1, high=4),
            axis=1,
            mode=mode,
            expect=_whole(_scatter_along),
        ),
        case(
            "scatter_nd",
            data=i32(3, 2, low=1, high=90),
            indices=np.array([[0, 1], [2, 0]], np.int32),
            updates=ints(3, 2),
            mode=mode,
            expect=_whole(_scatter_nd),
        ),
    ]
CASES += [
    case("scatter", data=LARGE, indices=ints(1), updates=LARGE[:1] // 2, axis=0, mode=mode, expect=_scatter, **EXACT)
    for mode in ("update", "max", "min")
]
CASES += [
    case(
        "scatter",
        data=f32(2, 4, 3),
        indices=wrap(ints(3, 0)),
        updates=f32(2, 2, 3, seed=1),
        axis=axis,
        mode=mode,
        expect=_scatter,
    )
    for wrap in (lambda v: v, const)
    for axis in (1, -2)
    for mode in ("update", "add")
]
CASES += [
    case("scatter", data=f32(4, 3), indices=ints(-1, -4), updates=f32(2, 3, seed=1), mode="update", expect=_scatter),
    case("scatter", data=f32(4, 3), indices=ints(1), updates=f32(1, 3, seed=1), expect=_scatter),
    case("scatter", data=f32(5), indices=ints(4, 0), updates=f32(2, seed=1), mode="update", expect=_scatter),
    case("scatter", data=dynamic(f32(4, 3)), indices=dynamic(ints(1, 2)), updates=dynamic(f32(2, 3)), expect=_scatter),
    case("scatter", data=const(f32(4, 3)), indices=ints(1, 2), updates=const(f32(2, 3)), mode="div", expect=_scatter),
    case(
        "scatter_along_axis",
        data=f32(3, 4),
        indices=np.array([[-1], [-2], [0]], np.int32),
        updates=f32(3, 1, seed=2),
        axis=1,
        mode="update",
        expect=_scatter_along,
    ),
    case(
        "scatter_along_axis",
        data=f32(1, 2, 3, 2),
        indices=i32(1, 2, 1, 2, low=0, high=3),
        updates=f32(1, 2, 1, 2, seed=2),
        axis=2,
        mode="update",
        expect=_scatter_along,
    ),
    case(
        "scatter_nd",
        data=f32(2, 3, 2),
        indices=i32(2, 2, 1, low=0, high=2),
        updates=f32(2, 2, 3, 2, seed=3),
        expect=_scatter_nd,
    ),
    case(
        "scatter_nd",
        data=f32(2, 3, 2),
        indices=np.array([[1, 2], [-2, -1]], np.int32),
        updates=f32(2, 2, seed=3),
        mode="update",
        expect=_scatter_nd,
    ),
    case(
        "scatter_nd",
        data=dynamic(f32(4, 3)),
        indices=dynamic(np.array([[3], [0]], np.int32), 0),
        updates=dynamic(f32(2, 3)),
        expect=_scatter_nd,
    ),
]
# So many updates of so few elements that several threads meet.
MANY = np.random.default_rng(8).integers(0, 3, (60_000, 1)).astype(np.int32)
CASES += [
    case(
        "scatter_nd",
        data=np.zeros((3, 2), np.float32),
        indices=MANY,
        updates=np.ones((60_000, 2), np.float32),
        dtypes=["fp32"],
        expect=np.repeat(np.bincount(MANY[:, 0])[:, None], 2, 1),
    ),
]


@rows(CASES)
def test_scatter_gather(row, engine, dtype):
    check(row, engine, dtype)


X4 = f32(4, 3)
OUTSIDE = [
    ("gather", {"x": X4, "indices": ints(0, 4)}),
    ("gather", {"x": X4, "indices": ints(0, -1)}),
    ("gather", {"x": X4, "indices": ints(0, 3), "axis": 1}),
    ("gather", {"x": X4, "indices": np.array([[0], [3], [0], [0]], np.int32), "axis": 1, "batch_dims": 1}),
    ("gather_along_axis", {"x": X4, "indices": ints(0, 4, 0)[None]}),
    ("gather_along_axis", {"x": X4, "indices": ints(0, -1, 0)[None]}),
    ("gather_nd", {"x": X4, "indices": np.array([[0, 3]], np.int32)}),
    ("gather_nd", {"x": dynamic(X4), "indices": np.array([[-1, 0]], np.int32)}),
    ("scatter", {"data": X4, "indices": ints(4), "updates": X4[:1]}),
    ("scatter", {"data": X4, "indices": ints(-1), "updates": X4[:1], "mode": "update"}),
    ("scatter_along_axis", {"data": X4, "indices": ints(0, 9, 0)[None], "updates": X4[:1]}),
    ("scatter_nd", {"data": X4, "indices": np.array([[4]], np.int32), "updates": X4[:1]}),
    ("scatter_nd", {"data": X4, "indices": np.array([[0, 3]], np.int32), "updates": X4[:1, 0]}),
    ("scatter_nd", {"data": dynamic(X4), "indices": np.array([[0, -1]], np.int32), "updates": X4[:1, 0]}),
    ("scatter_nd", {"data": X4, "indices": np.array([[0, 3]], np.int32), "updates": X4[:1, 0], "mode": "update"}),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("op", "arguments"), OUTSIDE)
def test_a_validated_index_outside_is_an_error_of_the_prediction(op, arguments, engine):
    with pytest.raises(PredictionError):
        check(case(op, **arguments, validate_indices=True, opset=17, expect=None), engine, "fp32")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("index", [4, -5, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize(("op", "arguments"), OUTSIDE)
def test_an_index_outside_is_an_error_of_the_prediction(op, arguments, index, engine):
    given = {**arguments, "indices": np.where(np.asarray(arguments["indices"]) == 0, 0, index).astype(np.int32)}
    with pytest.raises(PredictionError, match=rf"^\[{op}\] '.*': the index {index} is outside the axis of size "):
        check(case(op, **given, opset=17, expect=None), engine, "fp32")


def test_a_constant_index_outside_is_an_error_of_the_program(tmp_path):
    row = case("gather", x=X4, indices=const(ints(2, 0)), validate_indices=True, opset=17, expect=None)
    model = program_of(row, row.arguments, {"x": X4}, str(tmp_path))
    main = model.mlProgram.functions["main"]
    operations = main.block_specializations[main.opset].operations
    (indices,) = (
        o for o in operations if o.outputs[0].name.endswith("_indices_0") and "validate" not in o.outputs[0].name
    )
    indices.attributes["val"].immediateValue.tensor.ints.values[0] = 7  # coremltools refuses to write it
    with pytest.raises(ProgramError, match=r"\[gather\].*index 7 is outside the axis of size 4 \(allowed: 0 to 3\)"):
        lower(read_program(open_asset(model, weights=str(tmp_path))), "main")


def test_an_unknown_mode_names_those_there_are():
    with pytest.raises(UnsupportedOperationError, match=r"mode must be one of update, add, sub, .*got 'xor'"):
        check(case("scatter", data=X4, indices=ints(1), updates=X4[:1], mode="xor", expect=None), "onnxruntime", "fp32")
