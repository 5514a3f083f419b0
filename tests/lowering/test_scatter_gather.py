"""Scatter and gather against numpy."""

import numpy as np

from lowering.harness import case, check, const, dynamic, f32, i32, rows


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


@rows(CASES)
def test_scatter_gather(row, engine, dtype):
    check(row, engine, dtype)
