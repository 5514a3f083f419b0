"""One or more rows for each operation of Core AI: the inputs, and how it is written with Apple's authoring interface.

Imported by `record.py`, which runs beside Apple's package, and by the tests, which know nothing of it: `c` is
`coreai.authoring`.
"""

from typing import Any

import numpy as np

from core_ai.elementwise_cases import Case, at, bools, call, elementwise, floats, i32, ints, u32


def _reductions() -> list[Case]:
    rows = []
    for name in ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_product"]:
        rows += [
            Case(name, lambda c, x, n=name, a=a: getattr(c, n)(x, a), (floats(2, 3, 4),), note=str(a).replace(" ", ""))
            for a in (i32(1), i32(0, -1), i32(0, 1, 2))
        ]
        rows.append(Case(name, lambda c, x, n=name: getattr(c, n)(x, i32(1)), (floats(2, 3),), dynamic=True))
        if name != "reduce_mean":
            rows.append(Case(name, lambda c, x, n=name: getattr(c, n)(x, i32(1)), (ints(2, 5, low=1, high=5),)))
    rows += [Case(n, lambda c, x, n=n: getattr(c, n)(x, i32(1)), (bools(4, 3),)) for n in ("all_", "any_")]
    rows.append(Case("argmax", lambda c, x: c.argmax(x, at(1)), (np.array([[1, 3, 3, 0], [5, 5, 2, 1]], np.float32),)))
    rows.append(Case("argmax", lambda c, x: c.argmax(x, at(-2)), (ints(4, 3),)))
    for down in (False, True):
        rows.append(
            Case(
                "argsort",
                lambda c, x, d=down: c.argsort(x, at(-1), np.array(d), np.array(True)),
                (ints(3, 7, high=-3),),
                note=f"{down}",
            )
        )
        rows.append(
            Case(
                "sort",
                lambda c, x, d=down: c.sort(x, at(0), np.array(d), np.array(True)),
                (floats(6, 2),),
                note=f"{down}",
            )
        )
    for combiner in ("sum", "product", "min", "max"):
        for reverse in (False, True):
            rows.append(
                Case(
                    "scan",
                    lambda c, x, k=combiner, r=reverse: c.scan(x, np.array(1, np.uint32), np.array(r), combiner=k),
                    (floats(2, 5),),
                    note=f"{combiner}-{reverse}",
                )
            )
    rows.append(
        Case(
            "scan",
            lambda c, x: c.scan(x, np.array(0, np.uint32), np.array(False), combiner="product"),
            (ints(4, 2, low=1, high=4),),
            note="product",
        )
    )
    rows.append(Case("softmax", lambda c, x: c.softmax(x, at(-1)), (floats(2, 5),)))
    rows.append(Case("softmax", lambda c, x: c.softmax(x, at(1)), (floats(2, 5, 3),), dynamic=True))
    rows.append(
        Case(
            "symmetric_quant_stats",
            lambda c, x: c.symmetric_quant_stats(x, np.array([-128, 127], np.float32), at(1)),
            (floats(2, 3, 4),),
        )
    )
    rows.append(
        Case(
            "asymmetric_quant_stats",
            lambda c, x: c.asymmetric_quant_stats(x, np.array([0, 255], np.float32), at(1)),
            (floats(2, 3),),
        )
    )
    return rows


def _shapes() -> list[Case]:
    rows = [
        Case("reshape", lambda c, x: c.reshape(x, i32(3, -1)), (floats(2, 6),)),
        Case("reshape", lambda c, x: c.reshape(x, u32(4, 3)), (floats(2, 6),), note="unsigned"),
        Case("reshape", lambda c, x: c.reshape(x, i32(-1, 2)), (floats(2, 6),), dynamic=True),
        Case("transpose", lambda c, x: c.transpose(x, u32(2, 0, 1)), (floats(2, 3, 4),)),
        Case("transpose", lambda c, x: c.transpose(x, u32(1, 0)), (ints(2, 3),), dynamic=True),
        Case("expand_dims", lambda c, x: c.expand_dims(x, i32(3, -4)), (floats(2, 3, 4),)),
        Case("shrink_dims", lambda c, x: c.shrink_dims(x, i32(0, -1)), (floats(1, 3, 1),)),
        Case("broadcast_to", lambda c, x: c.broadcast_to(x, u32(4, 2, 3)), (floats(2, 1),)),
        Case("broadcast_in_dims", lambda c, x: c.broadcast_in_dims(x, u32(4), i32(-2)), (floats(2, 1, 3),)),
        Case("get_shape", call("get_shape"), (floats(2, 3),), dynamic=True),
        Case(
            "broadcast_shapes",
            lambda c, x, y: c.broadcast_shapes(c.get_shape(x), c.get_shape(y)),
            (floats(2, 1), floats(4, 1, 3)),
            dynamic=True,
        ),
        Case("tile", lambda c, x: c.tile(x, u32(2, 3)), (floats(2, 2),)),
        Case("tile", lambda c, x: c.tile(x, u32(2)), (ints(2, 3),), note="last"),
        Case("reverse", lambda c, x: c.reverse(x, i32(-1, 0)), (floats(2, 3, 4),)),
        Case("concat", lambda c, x, y: c.concat(at(1), [x, y]), (floats(2, 3), floats(2, 4, seed=3))),
        Case("concat", lambda c, x, y: c.concat(at(-2), [x, y, x]), (ints(2, 3), ints(1, 3, seed=3))),
        Case("split", lambda c, x: c.split(x, np.array(3, np.uint32), at(0)), (floats(10, 2),), note="size"),
        Case("split", lambda c, x: c.split(x, u32(2, 3, 3), at(1)), (floats(3, 8),), note="sections"),
        Case("range_", lambda c, x: c.range_(np.int32(2), np.int32(11), np.int32(3)), (floats(1),)),
        Case(
            "range_",
            lambda c, x: c.range_(c.reshape(x, np.zeros(0, np.int32)), np.array(5, np.int32), np.array(1, np.int32)),
            (np.array([-2], np.int32),),
            note="computed",
        ),
        Case("non_zero", call("non_zero"), (np.array([[0, 1, np.nan], [-0.0, 0, -2]], np.float32),)),
        Case("non_zero", call("non_zero"), (bools(3, 4),)),
    ]
    rows += [
        Case("pad", lambda c, x, m=mode: c.pad(x, u32(1, 2, 2, 1), np.float32(7), m), (floats(3, 4),), note=mode)
        for mode in ("constant", "replicate", "reflect", "symmetric", "circular")
    ]
    return rows


def _indexing() -> list[Case]:
    slices = [
        ((1, 0), (3, 4), (1, 1)),
        ((-2, -3), (5, -1), (1, 1)),
        ((0, 3), (5, 0), (2, -1)),
        ((0, 100), (5, -100), (1, -1)),
    ]
    rows = [
        Case(
            "slice_",
            lambda c, x, s=s: c.slice_(x, *(i32(*v) for v in s)),
            (floats(5, 4),),
            note=str(s).replace(" ", ""),
        )
        for s in slices
    ]
    rows.append(
        Case("slice_", lambda c, x, b: c.slice_(x, b, i32(5, 4), i32(1, 1)), (floats(5, 4), i32(2, 1)), note="computed")
    )
    rows.append(
        Case(
            "slice_update",
            lambda c, x, u: c.slice_update(x, i32(1, 0), i32(3, 4), i32(1, 2), u),
            (floats(5, 4), floats(2, 2, seed=3)),
        )
    )
    rows.append(
        Case(
            "slice_update",
            lambda c, x, u: c.slice_update(x, i32(-2, 0), i32(5, 4), i32(1, 1), u),
            (ints(5, 4), ints(2, 4, seed=3)),
            note="negative",
        )
    )
    rows.append(
        Case(
            "gather_along_axis",
            lambda c, x, i: c.gather_along_axis(x, i, at(1)),
            (floats(3, 4), ints(3, 2, low=-4, high=4)),
        )
    )
    rows.append(Case("gather_nd", call("gather_nd"), (floats(3, 4, 2), np.array([[0, 1], [-1, 3]], np.int32))))
    rows.append(
        Case("gather_nd", call("gather_nd"), (floats(3, 4), np.array([[0], [2]], np.int32)), dynamic=False, note="rows")
    )
    rows.append(
        Case("scatter_nd", call("scatter_nd"), (floats(5, 2), np.array([[0], [-1]], np.int32), floats(2, 2, seed=3)))
    )
    rows.append(
        Case("scatter_nd", call("scatter_nd"), (ints(4, 4), np.array([[0, 1], [3, 3]], np.int32), ints(2, seed=3)))
    )
    for mode in ("update", "add", "sub", "mul", "div", "max", "min"):
        index = np.array([[0, 2, 1], [3, 0, 2]], np.int32)
        if mode not in ("update",):
            index = np.array([[0, 2, 1], [0, 0, 2]], np.int32)
        rows.append(
            Case(
                "scatter_along_axis",
                lambda c, x, i, u, m=mode: c.scatter_along_axis(
                    c.TensorType((4, 3), np.float32), x, i, u, at(0), scatter_mode=m
                ),
                (floats(4, 3), index, floats(2, 3, seed=3)),
                note=mode,
            )
        )
    return rows


def _linear() -> list[Case]:
    two, three = u32(1, 1), u32(1, 1, 1)
    rows = [
        Case("batch_matmul", call("batch_matmul"), (floats(3, 4), floats(4, 5, seed=3))),
        Case("batch_matmul", call("batch_matmul"), (floats(2, 3, 4), floats(2, 4, 5, seed=3)), dynamic=True),
        Case(
            "broadcasting_batch_matmul",
            call("broadcasting_batch_matmul"),
            (floats(2, 1, 3, 4), floats(5, 4, 2, seed=3)),
        ),
        Case(
            "conv2d",
            lambda c, x: c.conv2d(x, floats(6, 2, 3, 2, seed=4), u32(2, 1), u32(1, 2), np.array(2, np.uint32)),
            (floats(2, 4, 9, 8),),
        ),
        Case(
            "conv2d",
            lambda c, x, w: c.conv2d(x, w, two, two, np.array(1, np.uint32)),
            (floats(1, 3, 5, 5), floats(4, 3, 3, 3, seed=4)),
            note="computed",
        ),
        Case(
            "conv3d",
            lambda c, x: c.conv3d(x, floats(3, 2, 2, 2, 2, seed=4), u32(1, 2, 1), three, np.array(1, np.uint32)),
            (floats(1, 2, 4, 5, 4),),
        ),
        Case(
            "maxpool2d",
            lambda c, x: c.maxpool2d(
                c.TensorType((1, 2, 3, 3), np.float32), x, u32(2, 3), u32(2, 2), u32(1, 1), np.array(False)
            ),
            (floats(1, 2, 7, 8),),
        ),
        Case(
            "maxpool2d",
            lambda c, x: c.maxpool2d(
                c.TensorType((1, 2, 4, 4), np.float32), x, u32(2, 3), u32(2, 2), u32(1, 1), np.array(True)
            ),
            (floats(1, 2, 7, 8),),
            note="ceil",
        ),
        Case(
            "maxpool3d",
            lambda c, x: c.maxpool3d(
                c.TensorType((1, 2, 2, 2, 3), np.float32), x, u32(2, 2, 2), u32(2, 2, 1), u32(1, 1, 1), np.array(False)
            ),
            (floats(1, 2, 4, 5, 4),),
        ),
        Case("sumpool2d", lambda c, x: c.sumpool2d(x, u32(2, 3), u32(2, 1), made(c, u32(1, 1))), (floats(1, 2, 7, 8),)),
        Case(
            "sumpool2d",
            lambda c, x: c.sumpool2d(x, u32(2, 2), u32(1, 1), made(c, u32(2, 1))),
            (ints(1, 2, 5, 5),),
            note="dilated",
        ),
        Case(
            "sumpool3d",
            lambda c, x: c.sumpool3d(x, u32(2, 2, 2), u32(1, 2, 1), made(c, u32(1, 1, 1))),
            (floats(1, 2, 4, 5, 4),),
        ),
    ]
    rows += [
        Case(
            "conv_transpose2d",
            lambda c, x, g=groups: c.conv_transpose2d(
                x, floats(4, 3, 3, 3, seed=4), u32(2, 2), u32(1, 1), u32(1, 1), u32(1, 0), np.array(g, np.uint32)
            ),
            (floats(1, 4, 4, 5),),
            note=f"groups{groups}",
        )
        for groups in (1, 2)
    ]
    rows.append(
        Case(
            "conv_transpose3d",
            lambda c, x: c.conv_transpose3d(
                x,
                floats(2, 3, 2, 2, 2, seed=4),
                u32(2, 1, 1),
                u32(0, 0, 0),
                u32(1, 1, 1),
                u32(0, 0, 0),
                np.array(1, np.uint32),
            ),
            (floats(1, 2, 3, 4, 3),),
        )
    )
    for mode in ("linear", "nearest_neighbor"):
        for scale, offset in ((2.0, 0.0), (0.5, 0.0), (1.5, 0.25), (7 / 3, 0.5 * (1 - 7 / 3))):
            size = int(4 * scale) if scale != 7 / 3 else 8
            rows.append(
                Case(
                    "interpolate",
                    lambda c, x, m=mode, s=scale, o=offset, n=size: c.interpolate(
                        x, i32(1, 2, n, n), np.array([1, 1, s, s], np.float32), np.array([0, 0, o, o], np.float32), m
                    ),
                    (floats(1, 2, 4, 4),),
                    note=f"{mode}-{scale:.2f}",
                )
            )
        rows.append(
            Case(
                "interpolate_coordinates",
                lambda c, x, p, m=mode: c.interpolate_coordinates(x, p, m),
                (floats(4, 5), np.array([[0, 0], [0.5, 1.25], [3, 4], [-1, 9], [2.5, 1.5]], np.float32)),
                note=mode,
            )
        )
    return rows


def _compression() -> list[Case]:
    data = ints(4, 6, dtype=np.int8, low=-100, high=100)
    wide = np.arange(256, dtype=np.float32).reshape(1, 1, 256, 1) / 4
    every = i32(0, 1)
    return [
        Case(
            "blockwise_shift_scale",
            lambda c, x: c.broadcasting_add(
                x,
                c.blockwise_shift_scale(data, floats(2, 3, seed=5), np.full((2, 3), 3, np.int8), floats(2, 3, seed=6)),
            ),
            (floats(4, 6),),
        ),
        Case(
            "dequantize",
            lambda c, x: c.dequantize(x, np.float32(0.5), np.int8(2), np.float32(0.25), every),
            (data,),
            note="tensor",
        ),
        Case(
            "dequantize",
            lambda c, x: c.dequantize(x, floats(4, low=0.1, high=1), ints(4, dtype=np.int8), floats(4, seed=4), at(0)),
            (data,),
            note="axis",
        ),
        Case(
            "quantize",
            lambda c, x: c.quantize(x, np.float32(0.03), np.int8(2), np.float32(0.21345), every),
            (floats(2, 5, low=-8, high=8),),
            note="tensor",
        ),
        Case(
            "quantize",
            lambda c, x: c.quantize(x, floats(5, low=0.01, high=0.1), np.zeros(5, np.uint8), floats(5, seed=4), at(1)),
            (floats(2, 5),),
            note="axis",
        ),
        Case(
            "lut_to_dense",
            lambda c, x: c.broadcasting_add(
                x, c.lut_to_dense(ints(4, 6, low=0, high=256, dtype=np.uint8), wide, np.int16(0))
            ),
            (floats(4, 6),),
        ),
    ]


def made(c: Any, array: np.ndarray) -> Any:
    """A constant as a value, which some functions of the interface want."""
    return c.reshape(array, np.array(array.shape, np.int32))


def _complex() -> list[Case]:
    rows = []
    for name in ("add", "sub", "mul"):
        for part in ("real_part", "imaginary_part"):

            def build(c: Any, a: Any, b: Any, name: str = name, part: str = part) -> Any:
                first, second = c.create_complex(a, b), c.create_complex(b, a)
                return getattr(c, part)(getattr(c, name)(first, second))

            rows.append(Case(part, build, (floats(2, 3), floats(2, 3, seed=3)), note=name))
    return rows


CASES = [*elementwise(), *_reductions(), *_shapes(), *_indexing(), *_linear(), *_compression(), *_complex()]
