"""Control flow and lists against plain Python."""

import numpy as np

from lowering.harness import booleans, case, check, const, dynamic, f32, i32, rows


def ints(*values):
    return np.array(values, np.int32)


def _select(cond, a, b):
    return np.where(cond, a, b)


CASES = [
    case("select", cond=booleans(2, 3), a=a, b=b, expect=_select)
    for a, b in [(f32(2, 3), f32(2, 3, seed=1)), (i32(2, 3), i32(2, 3, seed=1)), (f32(2, 3), const(f32(2, 3, seed=1)))]
]
CASES += [
    case("select", cond=booleans(2, 3), a=booleans(2, 3, seed=1), b=booleans(2, 3, seed=2), expect=_select),
    case("select", cond=dynamic(booleans(2, 3)), a=dynamic(f32(2, 3)), b=dynamic(f32(2, 3, seed=1)), expect=_select),
    case("select", cond=const(booleans(2, 3)), a=f32(2, 3), b=f32(2, 3, seed=1), expect=_select),
    case("select", cond=booleans(2, 1), a=f32(1, 3), b=f32(2, 3, seed=1), expect=_select),
    case(
        "const",
        x=f32(2, 3),
        expect=lambda x: x + np.arange(6).reshape(2, 3),
        build=lambda mb, x: mb.add(x=x, y=_typed(mb, x)),
    ),
]


def _typed(mb, x):
    dtype = "fp16" if x.dtype.__name__ == "fp16" else "fp32"
    return mb.cast(x=np.arange(6, dtype=np.float32).reshape(2, 3), dtype=dtype)


def _cond(mb, x, flag):
    return mb.cond(pred=mb.squeeze(x=flag), _true_fn=lambda: mb.add(x=x, y=x), _false_fn=lambda: mb.mul(x=x, y=x))


def _two_results(mb, x, flag):
    return mb.cond(
        pred=mb.squeeze(x=flag),
        _true_fn=lambda: (mb.relu(x=x), mb.reduce_sum(x=x, axes=[0])),
        _false_fn=lambda: (mb.abs(x=x), mb.reduce_max(x=x, axes=[0])),
    )


def _nested(mb, x, a, b):
    def inner():
        return mb.cond(pred=mb.squeeze(x=b), _true_fn=lambda: mb.exp(x=x), _false_fn=lambda: mb.sin(x=x))

    return mb.cond(pred=mb.squeeze(x=a), _true_fn=inner, _false_fn=lambda: mb.cos(x=x))


for flag in (True, False):
    f = np.array([flag])
    CASES += [
        case(
            "cond",
            x=f32(2, 3),
            flag=f,
            label=f"one-{flag}",
            build=_cond,
            expect=lambda x, flag: x + x if flag[0] else x * x,
        ),
        case(
            "cond",
            x=dynamic(f32(2, 3)),
            flag=f,
            label=f"dynamic-{flag}",
            build=_cond,
            expect=lambda x, flag: x + x if flag[0] else x * x,
        ),
        case(
            "cond",
            x=f32(2, 3),
            flag=f,
            label=f"two-{flag}",
            build=_two_results,
            expect=lambda x, flag: (np.maximum(x, 0), x.sum(0)) if flag[0] else (np.abs(x), x.max(0)),
        ),
        case(
            "cond",
            x=f32(2, 3),
            a=f,
            b=np.array([True]),
            label=f"nested-{flag}-1",
            build=_nested,
            expect=lambda x, a, b: np.exp(x) if a[0] else np.cos(x),
        ),
        case(
            "cond",
            x=f32(2, 3),
            a=f,
            b=np.array([False]),
            label=f"nested-{flag}-0",
            build=_nested,
            expect=lambda x, a, b: np.sin(x) if a[0] else np.cos(x),
        ),
    ]


def _doubling(mb, x, limit):
    """Doubles x until its counter reaches the limit."""
    start = mb.squeeze(x=mb.mul(x=limit, y=ints(0)))
    return mb.while_loop(
        _cond=lambda i, y: mb.less(x=i, y=mb.squeeze(x=limit)),
        _body=lambda i, y: (mb.add(x=i, y=1), mb.add(x=y, y=y)),
        loop_vars=(start, x),
    )


def _growing(mb, x, limit):
    """Concatenates x to itself: the loop variable changes its size."""
    zero = mb.squeeze(x=mb.mul(x=limit, y=ints(0)))
    return mb.while_loop(
        _cond=lambda i, y: mb.less(x=i, y=mb.squeeze(x=limit)),
        _body=lambda i, y: (mb.add(x=i, y=1), mb.concat(values=[y, x], axis=0)),
        loop_vars=(zero, x),
    )[1]


def _nested_loops(mb, x, limit):
    def body(i, y):
        inner = mb.while_loop(
            _cond=lambda j, z: mb.less(x=j, y=2),
            _body=lambda j, z: (mb.add(x=j, y=1), mb.add(x=z, y=x)),
            loop_vars=(mb.mul(x=i, y=0), y),
        )
        return mb.add(x=i, y=1), inner[1]

    zero = mb.squeeze(x=mb.mul(x=limit, y=ints(0)))
    return mb.while_loop(_cond=lambda i, y: mb.less(x=i, y=mb.squeeze(x=limit)), _body=body, loop_vars=(zero, x))[1]


for limit in (0, 1, 3):
    n = ints(limit)
    CASES += [
        case(
            "while_loop",
            x=f32(2, 3),
            limit=n,
            label=f"doubling-{limit}",
            build=_doubling,
            expect=lambda x, limit: (limit[0], x * 2.0 ** limit[0]),
        ),
        case(
            "while_loop",
            x=dynamic(f32(2, 3)),
            limit=n,
            label=f"dynamic-{limit}",
            build=_doubling,
            expect=lambda x, limit: (limit[0], x * 2.0 ** limit[0]),
        ),
        case(
            "while_loop",
            x=dynamic(f32(2, 3), 0),
            limit=n,
            label=f"growing-{limit}",
            build=_growing,
            expect=lambda x, limit: np.concatenate([x] * (1 + limit[0])),
        ),
        case(
            "while_loop",
            x=f32(2, 3),
            limit=n,
            label=f"nested-{limit}",
            build=_nested_loops,
            expect=lambda x, limit: x * (1 + 2 * limit[0]),
        ),
    ]


def _never(mb, x):
    """Constants keep the loop from its first turn, so that OpenVINO would lose its results."""
    return mb.while_loop(
        _cond=lambda i, y: mb.less(x=i, y=np.int32(-9)),
        _body=lambda i, y: (mb.add(x=i, y=1), mb.add(x=y, y=y)),
        loop_vars=(np.int32(0), x),
    )


CASES += [
    case("while_loop", x=x, label="never", build=_never, expect=lambda x: (0, x))
    for x in (f32(2, 3), dynamic(f32(2, 3)))
]


def _names(x):
    return "fp16" if x.dtype.__name__ == "fp16" else "fp32"


def _write_and_gather(mb, x, i):
    ls = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(3,), dtype=_names(x))
    ls = mb.list_write(
        ls=ls, index=mb.squeeze(x=i), value=mb.squeeze(x=mb.slice_by_size(x=x, begin=[0, 0], size=[1, 3]), axes=[0])
    )
    ls = mb.list_write(ls=ls, index=3, value=mb.squeeze(x=mb.slice_by_size(x=x, begin=[1, 0], size=[1, 3]), axes=[0]))
    return mb.list_gather(ls=ls, indices=[0, 3, 1]), mb.list_length(ls=ls), mb.list_read(ls=ls, index=mb.squeeze(x=i))


def _scattered(mb, x, i):
    ls = mb.make_list(init_length=4, dynamic_length=False, elem_shape=(3,), dtype=_names(x))
    ls = mb.list_scatter(ls=ls, indices=i, value=x)
    return mb.list_gather(ls=ls, indices=[0, 1, 2, 3]), mb.list_length(ls=ls)


def _scatter_grow(mb, x, i):
    ls = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(3,), dtype=_names(x))
    ls = mb.list_scatter(ls=ls, indices=i, value=x)
    return mb.list_length(ls=ls), mb.list_gather(ls=ls, indices=[3, 1])


def _in_loop(mb, x, n):
    """Writes the cumulative sums of x into a list, as a recurrent network written with TensorArray does."""
    ls = mb.make_list(init_length=mb.squeeze(x=n), dynamic_length=True, elem_shape=(3,), dtype=_names(x))
    zero = mb.squeeze(x=mb.mul(x=n, y=ints(0)))
    first = mb.squeeze(x=mb.slice_by_size(x=x, begin=[0, 0], size=[1, 3]), axes=[0])

    def body(i, total, ls):
        total = mb.add(x=total, y=mb.gather(x=x, indices=i, axis=0))
        return mb.add(x=i, y=1), total, mb.list_write(ls=ls, index=i, value=total)

    _, _, ls = mb.while_loop(
        _cond=lambda i, total, ls: mb.less(x=i, y=mb.squeeze(x=n)),
        _body=body,
        loop_vars=(zero, mb.sub(x=first, y=first), ls),
    )
    return mb.list_gather(ls=ls, indices=mb.range_1d(end=mb.squeeze(x=n), start=0, step=1))


def _placed(x, i, length):
    y = np.zeros((length, 3), np.float32)
    y[i] = x
    return y


CASES += [
    case(
        "list_write",
        x=f32(2, 3),
        i=ints(1),
        label="grow",
        build=_write_and_gather,
        expect=lambda x, i: (np.stack([0 * x[0], x[1], x[0]]), 4, x[0]),
    ),
    case(
        "list_scatter",
        x=f32(2, 3),
        i=ints(2, 0),
        label="fixed",
        build=_scattered,
        expect=lambda x, i: (_placed(x, i, 4), 4),
    ),
    case("list_scatter", x=f32(2, 3), i=ints(3, 1), label="grow", build=_scatter_grow, expect=lambda x, i: (4, x)),
    case("list_gather", x=f32(4, 3), n=ints(4), label="loop", build=_in_loop, expect=lambda x, n: np.cumsum(x, 0)),
    case(
        "make_list",
        n=ints(2),
        label="length",
        build=lambda mb, n: mb.list_length(
            ls=mb.make_list(init_length=mb.squeeze(x=n), dynamic_length=True, elem_shape=(2,), dtype="int32")
        ),
        expect=2,
    ),
    case(
        "list_length",
        n=ints(0),
        label="static",
        build=lambda mb, n: mb.add(
            x=n, y=mb.list_length(ls=mb.make_list(init_length=5, dynamic_length=True, elem_shape=(2,), dtype="fp32"))
        ),
        expect=np.array([5]),
    ),
    case(
        "list_read",
        x=i32(2, 3),
        i=ints(1),
        label="int32",
        build=lambda mb, x, i: mb.list_read(
            ls=mb.list_scatter(ls=mb.make_list(init_length=2, elem_shape=(3,), dtype="int32"), indices=[0, 1], value=x),
            index=mb.squeeze(x=i),
        ),
        expect=lambda x, i: x[1],
    ),
]


@rows(CASES)
def test_control_flow(row, engine, dtype):
    check(row, engine, dtype)
