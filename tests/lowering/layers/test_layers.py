"""Layers that compute, shape, index and reduce, against numpy, scipy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from lowering.layers.layer_harness import ENGINES, check, f32, parametrize, row

X = f32(2, 3, 4)
POSITIVE = f32(2, 3, 4, low=0.2, high=3)
UNIT = f32(2, 3, 4, low=-0.9, high=0.9)
COUNTED = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
I2 = np.array([1, 0, 1], np.float32)


def t(function):
    """A torch function of numpy arrays."""
    return lambda **arrays: function(*map(torch.from_numpy, arrays.values())).numpy()


UNARY = [
    *(
        ("add_" + name, name, X, function)
        for name, function in {"ceil": np.ceil, "floor": np.floor, "sign": np.sign}.items()
    ),
    *(("add_" + name, name, X, function) for name, function in {"sin": np.sin, "cos": np.cos, "tanh": np.tanh}.items()),
    *(
        ("add_" + name, name, X, function)
        for name, function in {"sinh": np.sinh, "cosh": np.cosh, "atan": np.arctan}.items()
    ),
    *(("add_" + name, name, X, function) for name, function in {"exp2": np.exp2, "asinh": np.arcsinh}.items()),
    *(("add_" + name, name, UNIT, function) for name, function in {"asin": np.arcsin, "acos": np.arccos}.items()),
    *(("add_" + name, name, UNIT, function) for name, function in {"atanh": np.arctanh, "tan": np.tan}.items()),
    ("add_acosh", "acosh", POSITIVE + 1, np.arccosh),
    ("add_round", "round", X, np.round),
    ("add_erf", "erf", X, scipy.special.erf),
]

ROWS = [
    *(
        row(kind, lambda b, m=method: getattr(b, m)("l", "x", "y"), {"x": x}, lambda x, f=f: f(x), label="unary")
        for method, kind, x, f in UNARY
    ),
    *(
        row("unary", lambda b, m=mode: b.add_unary("l", "x", "y", m, epsilon=1e-3), {"x": POSITIVE}, expect, label=mode)
        for mode, expect in {
            "sqrt": lambda x: np.sqrt(x),
            "rsqrt": lambda x: 1 / np.sqrt(x + 1e-3),
            "inverse": lambda x: 1 / (x + 1e-3),
            "exp": lambda x: np.exp(x),
            "log": lambda x: np.log(x + 1e-3),
            "abs": lambda x: np.abs(x),
        }.items()
    ),
    row("unary", lambda b: b.add_unary("l", "x", "y", "power", alpha=2.5), {"x": POSITIVE}, lambda x: x**2.5, label="power"),
    row("unary", lambda b: b.add_unary("l", "x", "y", "threshold", alpha=0.5), {"x": X}, lambda x: np.maximum(x, 0.5), label="threshold"),
    row("unary", lambda b: b.add_unary("l", "x", "y", "exp", shift=0.5, scale=-2.0), {"x": X}, lambda x: np.exp(-2 * x + 0.5), label="affine"),
    row("gelu", lambda b: b.add_gelu("l", "x", "y"), {"x": X}, t(torch.nn.functional.gelu)),
    row("gelu", lambda b: b.add_gelu("l", "x", "y", mode="TANH_APPROXIMATION"), {"x": X}, t(lambda x: torch.nn.functional.gelu(x, approximate="tanh"))),
    row("clip", lambda b: b.add_clip("l", "x", "y", -0.5, 1.0), {"x": X}, lambda x: np.clip(x, -0.5, 1)),
    row("clampedReLU", lambda b: b.add_clamped_relu("l", "x", "y", alpha=0.1, beta=1.5), {"x": X}, lambda x: np.where(x > 0, np.minimum(x, 1.5), np.minimum(0.1 * x, 1.5))),
    # Two inputs, broadcasting.
    *(
        row(kind, lambda b, m=method: getattr(b, m)("l", ["x", "z"], "y"), {"x": POSITIVE, "z": f32(4, seed=1, low=0.5, high=2)}, lambda x, z, f=f: f(x, z))
        for method, kind, f in [
            ("add_add_broadcastable", "addBroadcastable", np.add),
            ("add_subtract_broadcastable", "subtractBroadcastable", np.subtract),
            ("add_multiply_broadcastable", "multiplyBroadcastable", np.multiply),
            ("add_divide_broadcastable", "divideBroadcastable", np.divide),
            ("add_floor_div_broadcastable", "floorDivBroadcastable", np.floor_divide),
            ("add_mod_broadcastable", "modBroadcastable", np.mod),
            ("add_pow_broadcastable", "powBroadcastable", np.power),
            ("add_max_broadcastable", "maxBroadcastable", np.maximum),
            ("add_min_broadcastable", "minBroadcastable", np.minimum),
        ]
    ),
    row("equal", lambda b: b.add_equal("l", ["x"], "y", alpha=5.0), {"x": COUNTED}, lambda x: x == 5),
    row("notEqual", lambda b: b.add_not_equal("l", ["x"], "y", alpha=5.0), {"x": COUNTED}, lambda x: x != 5),
    row("lessThan", lambda b: b.add_less_than("l", ["x"], "y", alpha=5.0), {"x": COUNTED}, lambda x: x < 5),
    row("lessEqual", lambda b: b.add_less_than("l", ["x"], "y", use_less_than_equal=True, alpha=5.0), {"x": COUNTED}, lambda x: x <= 5),
    row("greaterThan", lambda b: b.add_greater_than("l", ["x", "z"], "y"), {"x": X, "z": f32(4)}, lambda x, z: x > z),
    row("greaterEqual", lambda b: b.add_greater_than("l", ["x", "z"], "y", use_greater_than_equal=True), {"x": X, "z": X[:1]}, lambda x, z: x >= z),
    *(
        row(kind, lambda b, m=mode: b.add_logical("l", ["x", "z"], "y", m), {"x": COUNTED % 2, "z": (COUNTED // 2) % 2}, lambda x, z, f=f: f(x, z))
        for mode, kind, f in [("AND", "logicalAnd", np.logical_and), ("OR", "logicalOr", np.logical_or), ("XOR", "logicalXor", np.logical_xor)]
    ),
    row("logicalNot", lambda b: b.add_logical("l", ["x"], "y", "NOT"), {"x": COUNTED % 3}, lambda x: x == 0),
    row("whereBroadcastable", lambda b: b.add_where_broadcastable("l", ["c", "x", "z"], "y"), {"c": COUNTED % 2, "x": X, "z": f32(4, seed=5)}, lambda c, x, z: np.where(c != 0, x, z)),
    # Legacy arithmetic on [channel, height, width].
    row("add", lambda b: b.add_elementwise("l", ["x", "z"], "y", "ADD"), {"x": X, "z": POSITIVE}, lambda x, z: x + z, exact=False),
    row("add", lambda b: b.add_elementwise("l", "x", "y", "ADD", alpha=1.5), {"x": X}, lambda x: x + 1.5, exact=False),
    row("multiply", lambda b: b.add_elementwise("l", ["x", "z"], "y", "MULTIPLY"), {"x": X, "z": f32(2, 1, 1)}, lambda x, z: x * z, exact=False),
    row("max", lambda b: b.add_elementwise("l", ["x", "z"], "y", "MAX"), {"x": X, "z": POSITIVE}, np.maximum(X, POSITIVE), exact=False),
    row("min", lambda b: b.add_elementwise("l", ["x", "z"], "y", "MIN"), {"x": X, "z": POSITIVE}, np.minimum(X, POSITIVE), exact=False),
    row("average", lambda b: b.add_elementwise("l", ["x", "z"], "y", "AVE"), {"x": X, "z": POSITIVE}, lambda x, z: (x + z) / 2, exact=False),
    row("dot", lambda b: b.add_elementwise("l", ["x", "z"], "y", "DOT"), {"x": f32(5), "z": f32(5, seed=1)}, lambda x, z: [x @ z], exact=False),
    row("dot", lambda b: b.add_elementwise("l", ["x", "z"], "y", "COS"), {"x": f32(5), "z": f32(5, seed=1)}, lambda x, z: [x @ z / np.linalg.norm(x) / np.linalg.norm(z)], exact=False, label="cosine"),
    row("scale", lambda b: b.add_scale("l", np.array([2.0, 3.0]), np.array([0.5, -0.5]), True, "x", "y", [2], [2]), {"x": X}, lambda x: x * np.array([2, 3]).reshape(2, 1, 1) + np.array([0.5, -0.5]).reshape(2, 1, 1), exact=False),
    row("bias", lambda b: b.add_bias("l", np.array([0.5, -0.5]), "x", "y", [2]), {"x": X}, lambda x: x + np.array([0.5, -0.5]).reshape(2, 1, 1), exact=False),
    *(
        row("reduce", lambda b, m=mode, a=axis: b.add_reduce("l", "x", "y", a, m), {"x": POSITIVE}, lambda x, f=f: f(x), exact=False, label=mode)
        for mode, axis, f in [
            ("sum", "CHW", lambda x: x.sum().reshape(1)),
            ("avg", "HW", lambda x: x.mean((1, 2))),
            ("prod", "C", lambda x: x.prod(0, keepdims=True)),
            ("sumsquare", "H", lambda x: (x**2).sum(1, keepdims=True)),
            ("L1", "W", lambda x: np.abs(x).sum(2, keepdims=True)),
            ("L2", "W", lambda x: np.sqrt((x**2).sum(2, keepdims=True))),
            ("max", "C", lambda x: x.max(0, keepdims=True)),
            ("min", "C", lambda x: x.min(0, keepdims=True)),
            ("argmax", "W", lambda x: x.argmax(2)[..., None]),
        ]
    ),
    *(
        row(kind, lambda b, m=method: getattr(b, m)("l", "x", "y", axes=[0, 2], keepdims=False, reduce_all=False), {"x": POSITIVE}, lambda x, f=f: f(x))
        for method, kind, f in [
            ("add_reduce_sum", "reduceSum", lambda x: x.sum((0, 2))),
            ("add_reduce_mean", "reduceMean", lambda x: x.mean((0, 2))),
            ("add_reduce_max", "reduceMax", lambda x: x.max((0, 2))),
            ("add_reduce_min", "reduceMin", lambda x: x.min((0, 2))),
            ("add_reduce_prod", "reduceProd", lambda x: x.prod((0, 2))),
            ("add_reduce_l1", "reduceL1", lambda x: np.abs(x).sum((0, 2))),
            ("add_reduce_l2", "reduceL2", lambda x: np.sqrt((x**2).sum((0, 2)))),
            ("add_reduce_logsum", "reduceLogSum", lambda x: np.log(x.sum((0, 2)))),
            ("add_reduce_sumsquare", "reduceSumSquare", lambda x: (x**2).sum((0, 2))),
            ("add_reduce_logsumexp", "reduceLogSumExp", lambda x: scipy.special.logsumexp(x, (0, 2))),
        ]
    ),
    row("reduceSum", lambda b: b.add_reduce_sum("l", "x", "y", reduce_all=True), {"x": X}, lambda x: x.sum().reshape(1, 1, 1), label="all"),
    # Constants.
    row("loadConstantND", lambda b: (b.add_load_constant_nd("c", "k", X, X.shape), b.add_add_broadcastable("l", ["x", "k"], "y")), {"x": POSITIVE}, POSITIVE + X),
    row("fillStatic", lambda b: (b.add_fill_static("c", "k", [2, 3, 4], 2.5), b.add_add_broadcastable("l", ["x", "k"], "y")), {"x": X}, X + 2.5),
    row("fillLike", lambda b: b.add_fill_like("l", "x", "y", 7.0), {"x": X}, np.full_like(X, 7)),
    row("fillDynamic", lambda b: b.add_fill_dynamic("l", "s", "y", 1.5), {"s": np.array([2, 3], np.float32)}, np.full((2, 3), 1.5)),
    row("broadcastToLike", lambda b: b.add_broadcast_to_like("l", ["x", "z"], "y"), {"x": f32(4), "z": X}, lambda x, z: np.broadcast_to(x, z.shape)),
    row("broadcastToStatic", lambda b: b.add_broadcast_to_static("l", "x", "y", [2, 3, 4]), {"x": f32(3, 1)}, lambda x: np.broadcast_to(x, (2, 3, 4))),
    row("broadcastToDynamic", lambda b: b.add_broadcast_to_dynamic("l", ["x", "s"], "y"), {"x": f32(4), "s": np.array([3, 4], np.float32)}, lambda x, s: np.broadcast_to(x, (3, 4))),
    row("rangeStatic", lambda b: (b.add_range_static("c", "k", end=9, start=1, step=2), b.add_add_broadcastable("l", ["x", "k"], "y")), {"x": f32(4)}, lambda x: x + np.arange(1, 9, 2)),
    row("rangeDynamic", lambda b: b.add_range_dynamic("l", ["e"], "y", start=1, step=2), {"e": np.array([8], np.float32)}, np.arange(1, 8, 2)),
    row("getShape", lambda b: b.add_get_shape("l", "x", "y"), {"x": X}, [2, 3, 4]),
    # The same elements in another shape or order.
    row("transpose", lambda b: b.add_transpose("l", [2, 0, 1], "x", "y"), {"x": X}, X.transpose(2, 0, 1)),
    row("reshapeStatic", lambda b: b.add_reshape_static("l", "x", "y", [4, -1]), {"x": X}, X.reshape(4, -1)),
    row("reshapeDynamic", lambda b: b.add_reshape_dynamic("l", ["x", "s"], "y"), {"x": X, "s": np.array([6, 4], np.float32)}, X.reshape(6, 4)),
    row("reshapeLike", lambda b: b.add_reshape_like("l", ["x", "z"], "y"), {"x": X, "z": f32(6, 4)}, X.reshape(6, 4)),
    row("rankPreservingReshape", lambda b: b.add_rank_preserving_reshape("l", "x", "y", [0, -1, 2]), {"x": X}, X.reshape(2, 6, 2)),
    row("squeeze", lambda b: b.add_squeeze("l", "x", "y", axes=[1]), {"x": X[:, :1]}, X[:, 0]),
    row("squeeze", lambda b: b.add_squeeze("l", "x", "y", squeeze_all=True), {"x": X[:1, :, :1]}, X[0, :, 0], label="all"),
    row("expandDims", lambda b: b.add_expand_dims("l", "x", "y", [0, 2]), {"x": X[0]}, X[0][None, :, None]),
    row("flattenTo2D", lambda b: b.add_flatten_to_2d("l", "x", "y", axis=2), {"x": X}, X.reshape(6, 4)),
    row("stack", lambda b: b.add_stack("l", ["x", "z"], "y", axis=1), {"x": X, "z": POSITIVE}, np.stack([X, POSITIVE], 1)),
    row("concatND", lambda b: b.add_concat_nd("l", ["x", "z"], "y", axis=2), {"x": X, "z": POSITIVE}, np.concatenate([X, POSITIVE], 2)),
    row("concatND", lambda b: (b.add_squeeze("s", "x", "s", squeeze_all=True), b.add_expand_dims("e", "s", "e", [0]), b.add_concat_nd("l", ["z", "e"], "y", axis=0)), {"x": f32(1, 1), "z": f32(3)}, lambda x, z: np.concatenate([z, x[0]]), label="an expanded scalar"),
    row("tile", lambda b: b.add_tile("l", "x", "y", [1, 2, 3]), {"x": X}, np.tile(X, (1, 2, 3))),
    row("tile", lambda b: b.add_tile("l", "x", "y", [3, 2]), {"x": X}, np.tile(X, (3, 2)), label="the last axes"),
    *(
        row("tile", lambda b: b.add_tile("l", ["x", "r"], "y"), {"x": f32(*shape), "r": np.array(r, np.float32)}, np.tile(f32(*shape), r), label=f"computed {r}")
        for shape, r in [((2, 3, 4), (2, 3)), ((2, 3, 2, 4), (4, 3, 2)), ((2, 3, 2, 2, 2), (2, 3, 2, 3, 2))]
    ),
    row("reverse", lambda b: b.add_reverse("l", "x", "y", [True, False, True]), {"x": X}, X[::-1, :, ::-1]),
    row("reverseSeq", lambda b: b.add_reverse_sequence("l", ["x", "n"], "y", batch_axis=0, seq_axis=2), {"x": X, "n": np.array([2, 4], np.float32)}, lambda x, n: np.stack([np.concatenate([x[0][:, 1::-1], x[0][:, 2:]], 1), x[1][:, ::-1]])),
    row("constantPad", lambda b: b.add_constant_pad("l", ["x"], "y", 1.5, pad_amounts=[0, 1, 2, 0, 0, 0]), {"x": X}, np.pad(X, [(0, 1), (2, 0), (0, 0)], constant_values=1.5)),
    row("constantPad", lambda b: b.add_constant_pad("l", ["x"], "y", 0.0, True, [0, 0, 0, 5, 6, 0]), {"x": X}, np.pad(X, [(0, 0), (0, 2), (2, 0)]), label="to a size"),
    row("permute", lambda b: b.add_permute("l", (0, 3, 1, 2), "x", "y"), {"x": X}, X.transpose(2, 0, 1), exact=False),
    row("flatten", lambda b: b.add_flatten("l", 0, "x", "y"), {"x": X}, X.reshape(24), exact=False),
    row("flatten", lambda b: b.add_flatten("l", 1, "x", "y"), {"x": X}, X.transpose(1, 2, 0).reshape(24), exact=False, label="channel last"),
    row("reshape", lambda b: b.add_reshape("l", "x", "y", (4, 3, 2), 0), {"x": X}, X.reshape(4, 3, 2), exact=False),
    row("reshape", lambda b: b.add_reshape("l", "x", "y", (4, 3, 2), 1), {"x": X}, X.transpose(1, 2, 0).reshape(3, 2, 4).transpose(2, 0, 1), exact=False, label="channel last"),
    row("concat", lambda b: b.add_elementwise("l", ["x", "z"], "y", "CONCAT"), {"x": X, "z": POSITIVE}, np.concatenate([X, POSITIVE], 0), exact=False),
    row("split", lambda b: b.add_split("l", "x", ["y", "z"]), {"x": X}, (X[:1], X[1:]), exact=False, outputs=("y", "z")),
    row("reorganizeData", lambda b: b.add_reorganize_data("l", "x", "y", "SPACE_TO_DEPTH", 2), {"x": f32(1, 4, 6)}, lambda x: x.reshape(1, 2, 2, 3, 2).transpose(2, 4, 0, 1, 3).reshape(4, 2, 3), exact=False),
    row("reorganizeData", lambda b: b.add_reorganize_data("l", "x", "y", "PIXEL_SHUFFLE", 2), {"x": f32(4, 2, 3)}, t(lambda x: torch.nn.functional.pixel_shuffle(x, 2)), exact=False, label="pixel shuffle"),
    # Parts.
    row("sliceStatic", lambda b: b.add_slice_static("l", "x", "y", [0, 1, 0], [2, 3, 4], [1, 1, 2], [True, False, True], [True, False, True]), {"x": X}, X[:, 1:3, ::2]),
    row("sliceStatic", lambda b: b.add_slice_static("l", "x", "y", [1, 0, 0], [2, 3, 4], [1, 1, 1], [False] * 3, [False] * 3, [True, False, False]), {"x": X}, X[1], label="squeezed"),
    row("sliceDynamic", lambda b: b.add_slice_dynamic("l", ["x", "s"], "y", end_ids=[2, 3, 4], strides=[1, 1, 1], begin_masks=[False] * 3, end_masks=[False] * 3), {"x": X, "s": np.array([1, 0, 2], np.float32)}, X[1:2, 0:3, 2:4]),
    row("splitND", lambda b: b.add_split_nd("l", "x", ["y", "z"], axis=2, num_splits=2, split_sizes=[1, 3]), {"x": X}, (X[..., :1], X[..., 1:]), outputs=("y", "z")),
    row("slidingWindows", lambda b: b.add_sliding_windows("l", "x", "y", axis=1, window_size=3, step=2), {"x": f32(2, 7)}, lambda x: np.stack([x[:, i : i + 3] for i in (0, 2, 4)], 1)),
    row("slice", lambda b: b.add_slice("l", "x", "y", "width", 1, -1, 1), {"x": X}, X[..., 1:-1], exact=False),
    row("slice", lambda b: b.add_slice("l", "x", "y", "channel", 1, 2, 1), {"x": X}, X[1:2], exact=False, label="channel"),
    # By position.
    row("gather", lambda b: b.add_gather("l", ["x", "i"], "y", axis=1), {"x": X, "i": I2}, X[:, [1, 0, 1]]),
    row("gatherAlongAxis", lambda b: b.add_gather_along_axis("l", ["x", "i"], "y", axis=0), {"x": X[0], "i": np.array([[0, 1, 2, 0]], np.float32)}, lambda x, i: np.take_along_axis(x, i.astype(int), 0)),
    row("gatherND", lambda b: b.add_gather_nd("l", ["x", "i"], "y"), {"x": X, "i": np.array([[0, 1], [1, 2]], np.float32)}, X[[0, 1], [1, 2]]),
    row("scatter", lambda b: b.add_scatter("l", ["x", "i", "u"], "y", axis=0, mode="ADD"), {"x": X[0], "i": np.array([2, 0], np.float32), "u": f32(2, 4, seed=9)}, lambda x, i, u: x + np.stack([u[1], 0 * u[0], u[0]])),
    row("scatterAlongAxis", lambda b: b.add_scatter_along_axis("l", ["x", "i", "u"], "y", axis=0, mode="UPDATE"), {"x": X[0], "i": np.array([[0, 1, 2, 0]], np.float32), "u": f32(1, 4, seed=9)}, t(lambda x, i, u: x.scatter(0, i.long(), u))),
    row("scatterND", lambda b: b.add_scatter_nd("l", ["x", "i", "u"], "y", mode="UPDATE"), {"x": X[0], "i": np.array([[0, 1], [2, 3]], np.float32), "u": np.array([7, 8], np.float32)}, lambda x, i, u: np.where(np.arange(12).reshape(3, 4) == 1, 7, np.where(np.arange(12).reshape(3, 4) == 11, 8, x))),
    row("topK", lambda b: b.add_topk("l", ["x", "k"], ["y", "i"], axis=2), {"x": X, "k": np.array([3], np.float32)}, lambda x, k: (-np.sort(-x, 2)[..., :3], np.argsort(-x, 2)[..., :3]), outputs=("y", "i"), label="computed"),
    row("scatter", lambda b: b.add_scatter("l", ["x", "i", "u"], "y", axis=1, mode="UPDATE"), {"x": X, "i": np.array([[2], [-3]], np.float32), "u": f32(2, 2, 1, 4, seed=9)}, lambda x, i, u: np.stack([u[:, 1, 0], x[:, 1], u[:, 0, 0]], 1), label="indices of rank 2"),
    row("splitND", lambda b: b.add_split_nd("l", "x", ["y", "z"], axis=1, num_splits=2), {"x": X}, tuple(np.array_split(X, 2, 1)), outputs=("y", "z"), label="unequal parts"),
    row("topK", lambda b: b.add_topk("l", ["x"], ["y", "i"], k=2, axis=2), {"x": X}, lambda x: (-np.sort(-x, 2)[..., :2], np.argsort(-x, 2)[..., :2]), outputs=("y", "i")),
    row("topK", lambda b: b.add_topk("l", ["x"], ["y", "i"], k=2, axis=1, use_bottom_k=True), {"x": X}, lambda x: (np.sort(x, 1)[:, :2], np.argsort(x, 1)[:, :2]), outputs=("y", "i"), label="bottom"),
    row("argMax", lambda b: b.add_argmax("l", "x", "y", axis=1), {"x": X}, lambda x: x.argmax(1)[:, None]),
    row("argMin", lambda b: b.add_argmin("l", "x", "y", axis=1, keepdims=False), {"x": X}, lambda x: x.argmin(1)),
    row("argSort", lambda b: b.add_argsort("l", "x", "y", axis=2), {"x": X}, lambda x: x.argsort(2)),
    row("argSort", lambda b: b.add_argsort("l", "x", "y", axis=2, descending=True), {"x": X}, lambda x: (-x).argsort(2), label="descending"),
    row("whereNonZero", lambda b: b.add_where_nonzero("l", "x", "y"), {"x": COUNTED[0] % 3}, lambda x: np.argwhere(x)),
    row("matrixBandPart", lambda b: b.add_matrix_band_part("l", "x", "y", num_lower=1, num_upper=0), {"x": f32(4, 4)}, lambda x: np.tril(np.triu(x, -1))),
    row("lowerTriangular", lambda b: b.add_lower_triangular("l", "x", "y", k=1), {"x": f32(4, 4)}, lambda x: np.tril(x, 1)),
    row("upperTriangular", lambda b: b.add_upper_triangular("l", "x", "y", k=-1), {"x": f32(4, 4)}, lambda x: np.triu(x, -1)),
    row("oneHot", lambda b: b.add_one_hot("l", ["x"], "y", one_hot_vector_size=3, axis=-1, on_value=2.0, off_value=-1.0), {"x": I2}, lambda x: np.where(np.eye(3)[x.astype(int)] == 1, 2, -1)),
    row("cumSum", lambda b: b.add_cumsum("l", ["x"], "y", axis=2), {"x": X}, lambda x: x.cumsum(2)),
    row("cumSum", lambda b: b.add_cumsum("l", ["x"], "y", axis=2, reverse=True, exclusive=True), {"x": X}, lambda x: x[..., ::-1].cumsum(2)[..., ::-1] - x, label="exclusive, reversed"),
    row("activation", lambda b: b.add_activation("l", "LINEAR", "x", "y", [2, 1]), {"x": X}, lambda x: (x, 2 * x + 1), outputs=("x", "y"), label="an output that is an input"),
    row("activation", lambda b: b.add_activation("l", "LINEAR", "x", "x", [2, 1]), {"x": X}, lambda x: 2 * x + 1, outputs=("x",), label="an output with the name of an input"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@parametrize(ROWS)
def test_layer(r, engine):
    check(r, engine)
