"""Matrix products against numpy."""

import numpy as np

from lowering.harness import case, check, const, dynamic, f32, i32, rows


def _linear(x, weight, bias=None):
    y = x @ weight.T
    return y if bias is None else y + bias


def _matmul(x, y, transpose_x=False, transpose_y=False):
    x = np.swapaxes(x, -1, -2) if transpose_x and x.ndim > 1 else x
    y = np.swapaxes(y, -1, -2) if transpose_y and y.ndim > 1 else y
    return x @ y


CASES = [
    case("linear", x=x, weight=const(f32(5, 4, seed=1)), bias=bias, opset=opset, expect=_linear)
    for x in (f32(3, 4), f32(2, 3, 4), dynamic(f32(3, 4)), dynamic(f32(2, 3, 4), 0, 1), f32(4))
    for bias in (const(f32(5, seed=2)),)
    for opset in (15, 17)
]
CASES += [case("linear", x=f32(3, 4), weight=const(f32(5, 4, seed=1)), expect=_linear)]
CASES += [
    case("linear", x=f32(2, 40), weight=const(f32(50, 40, seed=1)), bias=const(f32(50)), expect=_linear, atol=1e-4)
]
CASES += [
    case("matmul", x=f32(*a), y=f32(*b, seed=1), transpose_x=tx, transpose_y=ty, opset=opset, expect=_matmul)
    for a, b, tx, ty in [
        ((3, 4), (4, 5), False, False),
        ((4, 3), (4, 5), True, False),
        ((3, 4), (5, 4), False, True),
        ((4, 3), (5, 4), True, True),
        ((2, 3, 4), (2, 4, 5), False, False),
        ((2, 1, 3, 4), (3, 4, 5), False, False),
        ((2, 3, 4), (4, 5), False, False),
        ((2, 4, 3), (2, 5, 4), True, True),
    ]
    for opset in (15, 17)
]
CASES += [
    case("matmul", x=f32(3, 4), y=const(f32(4, 5, seed=1)), expect=_matmul),
    case("matmul", x=const(f32(3, 4)), y=f32(4, 5, seed=1), expect=_matmul),
    case("matmul", x=dynamic(f32(2, 3, 4)), y=dynamic(f32(2, 5, 4)), transpose_y=True, expect=_matmul),
    case("matmul", x=i32(3, 4), y=i32(4, 2, seed=1), expect=_matmul),
    case("matmul", x=f32(2, 2000, low=0, high=1), y=const(f32(2000, 2, low=0, high=1)), expect=_matmul, rtol=1e-3),
]


def _einsum(equation, *arrays, wrap=lambda a: a):
    names = [f"x{i}" for i in range(len(arrays))]
    return case(
        "einsum",
        **{n: wrap(a) for n, a in zip(names, arrays, strict=True)},
        label=equation,
        build=lambda mb, **v: mb.einsum(values=tuple(v[n] for n in names), equation=equation),
        expect=lambda **v: np.einsum(equation, *(v[n] for n in names)),
    )


CASES += [
    _einsum("vnm,mno->vno", f32(2, 3, 4), f32(4, 3, 5)),
    _einsum("nchw,nwhu->nchu", f32(1, 2, 3, 4), f32(1, 4, 3, 5)),
    _einsum("chw,whr->chr", f32(2, 3, 4), f32(4, 3, 5)),
    _einsum("abcd,adce->abce", f32(1, 2, 3, 4), f32(1, 4, 3, 5)),
    _einsum("abc,cbd->abd", f32(2, 3, 4), f32(4, 3, 5)),
]


# One constant in several products, transposed and not: OpenVINO 2026.4 mixes them up where a Transpose does it.
SHARED = np.array([[1.0, -7.0], [-1.0, -8.0]], np.float32)
CASES += [
    case(
        "matmul",
        x=np.array([[-4.0, 13.0], [-3.0, 9.0]], np.float32),
        dtypes=["fp32"],
        label="one constant, turned each way",
        build=lambda mb, x: [
            mb.matmul(x=x, y=SHARED, transpose_x=tx, transpose_y=ty) for tx in (True, False) for ty in (True, False)
        ],
        expect=lambda x: [
            (x.T if tx else x) @ (SHARED.T if ty else SHARED) for tx in (True, False) for ty in (True, False)
        ],
    )
]


@rows(CASES)
def test_linear(row, engine, dtype):
    check(row, engine, dtype)
