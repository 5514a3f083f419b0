"""Edges of sums, means, extrema and norms along axes, of windows, and of products of matrices."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb

from edges.catalogue import check, edge, edges
from edges.values import HIGH, INF, LARGEST, NAN, floats, integers, mixed, tame

X = [*mixed(3, 8), *tame(3, 8)[1:]]


def _log_sum_exp(x):
    highest = np.where(np.isfinite(x), x, 0).max(1, keepdims=True)
    return np.log(np.exp(x - highest).sum(1, keepdims=True)) + highest


REDUCTIONS = {
    "sum": lambda x: x.sum(1, keepdims=True),
    "mean": lambda x: x.mean(1, keepdims=True),
    "prod": lambda x: x.prod(1, keepdims=True),
    "max": lambda x: x.max(1, keepdims=True),
    "min": lambda x: x.min(1, keepdims=True),
    "l1_norm": lambda x: np.abs(x).sum(1, keepdims=True),
    "l2_norm": lambda x: np.sqrt((x * x).sum(1, keepdims=True)),
    "log_sum": lambda x: np.log(x.sum(1, keepdims=True)),
    "log_sum_exp": _log_sum_exp,
    "sum_square": lambda x: (x * x).sum(1, keepdims=True),
}


def wide(compute):
    return lambda x: np.asarray(compute(x.astype(np.float64)), np.float32)


def reduction(name, compute, label="", axes=(1,), **how):
    return edge(
        f"reduce_{name}", lambda x: getattr(mb, f"reduce_{name}")(x=x, axes=axes, keep_dims=True), wide(compute),
        label=label, rtol=2e-5, atol=1e-6, **how,
    )  # fmt: skip


# Where the largest number overflows no sum.
_LARGEST = [np.array([[LARGEST, 0, -1, 1]], np.float32), np.array([[0, -1, 1, -LARGEST]], np.float32)]
_EMPTY = {"sum": 0, "prod": 1, "l1_norm": 0, "l2_norm": 0, "log_sum": -INF, "log_sum_exp": -INF, "sum_square": 0}


def none(x, n):
    """The first n columns."""
    return mb.slice_by_size(x=x, begin=[0, 0], size=mb.concat(values=[np.array([3], np.int32), n], axis=0))


ROWS = [
    *(reduction(name, compute, x=X, halves=name not in ("log_sum", "prod")) for name, compute in REDUCTIONS.items()),
    *(reduction(name, REDUCTIONS[name], "the largest", x=_LARGEST) for name in ("sum", "mean", "max", "min", "prod")),
    *(
        edge(f"reduce_{name}", lambda x, name=name: getattr(mb, f"reduce_{name}")(x=x, axes=[1], keep_dims=True), compute,
             label="integers", x=integers(3, 6))
        for name, compute in {
            "sum": lambda x: x.sum(1, keepdims=True, dtype=np.int32),
            "prod": lambda x: x.prod(1, keepdims=True, dtype=np.int32),
            "max": lambda x: x.max(1, keepdims=True),
            "min": lambda x: x.min(1, keepdims=True),
            "l1_norm": lambda x: np.abs(x).sum(1, keepdims=True, dtype=np.int32),
            "sum_square": lambda x: (x * x).sum(1, keepdims=True, dtype=np.int32),
        }.items()
    ),
    *(
        edge(f"reduce_{name}", lambda x, n, name=name: getattr(mb, f"reduce_{name}")(x=none(x, n), axes=[1]),
             np.full(3, value, np.float32), label="of nothing", x=np.ones((3, 4), np.float32), n=np.array([0], np.int32), arises=False)
        for name, value in _EMPTY.items()
    ),
    edge("cumsum", lambda x: mb.cumsum(x=x, axis=1), wide(lambda x: x.cumsum(1)), x=X, rtol=1e-5, atol=1e-6, halves=True),
    edge("cumsum", lambda x: mb.cumsum(x=x, axis=1, exclusive=True, reverse=True), label="exclusive, backwards", x=X, rtol=1e-5,
         atol=1e-6, expect=wide(lambda x: np.flip(np.pad(np.flip(x, 1), ((0, 0), (1, 0)))[:, :-1].cumsum(1), 1))),
    edge("cumsum", lambda x: mb.cumsum(x=x, axis=1), lambda x: x.cumsum(1, dtype=np.int32), label="integers", x=integers(3, 6)),
]  # fmt: skip


# Windows

IMAGES = [*mixed(1, 2, 4, 4), *tame(1, 2, 4, 4)[1:]]


def _windows(x):
    """Of 2 x 2 elements: (1, 2, 2, 2, 4)."""
    return x.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(1, 2, 2, 2, 4)


def _padded(x, value):
    """Of 3 x 3 elements in steps of 2, the border of which is padded: (1, 2, 2, 2, 9)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=value)
    return np.stack([padded[:, :, i : i + 3 : 2, j : j + 3 : 2] for i in range(3) for j in range(3)], -1)


def pooled(operation, compute, label="", x=IMAGES, **how):
    how = {"kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "valid"} | how
    return edge(
        operation, lambda x: getattr(mb, operation)(x=x, **how), wide(compute), label=label, rtol=1e-5, atol=1e-6, x=x
    )


_BORDER = {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "custom", "pad": [1, 0, 1, 0]}
# A sum of what is beyond a window may pass through infinity in an engine that slides: sums of windows of their own only.
WINDOWS = [
    pooled("max_pool", lambda x: _windows(x).max(-1)),
    pooled("avg_pool", lambda x: _windows(x).mean(-1)),
    pooled("l2_pool", lambda x: np.sqrt((_windows(x) ** 2).sum(-1))),
    pooled("max_pool", lambda x: _padded(x, -INF).max(-1), "a border", **_BORDER),
    pooled("avg_pool", lambda x: _padded(x, 0).mean(-1), "a border", **_BORDER),
    pooled("avg_pool", lambda x: _padded(x, 0).sum(-1) / [[4, 6], [6, 9]], "a border that does not count",
           exclude_padding_from_average=True, **_BORDER),
    pooled("max_pool", lambda x: _windows(x).max(-1), "the largest", x=floats(1, 2, 4, 4)[1:2]),
]  # fmt: skip


# Norms

GAMMA, BETA = np.array([1, 2], np.float32), np.array([0, -1], np.float32)


def _normal(x, axes, epsilon):
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + epsilon)


def _local(x):
    squares = np.pad(x**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    return x / (1 + 1e-4 / 3 * (squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:])) ** 0.75


def _scaled(y):
    return y * GAMMA.reshape(2, 1, 1) + BETA.reshape(2, 1, 1)


def norm(operation, build, compute, label=""):
    return edge(operation, build, wide(compute), label=label, rtol=2e-5, atol=2e-6, x=IMAGES)


NORMS = [
    norm("batch_norm", lambda x: mb.batch_norm(x=x, mean=BETA, variance=GAMMA, gamma=GAMMA, beta=BETA, epsilon=0.5),
         lambda x: _scaled((x - BETA.reshape(2, 1, 1)) / np.sqrt(GAMMA.reshape(2, 1, 1) + 0.5))),
    norm("instance_norm", lambda x: mb.instance_norm(x=x, gamma=GAMMA, beta=BETA, epsilon=0.5), lambda x: _scaled(_normal(x, (2, 3), 0.5))),
    norm("layer_norm", lambda x: mb.layer_norm(x=x, axes=[-1], epsilon=0.5), lambda x: _normal(x, 3, 0.5)),
    norm("layer_norm", lambda x: mb.layer_norm(x=x, axes=[1], epsilon=0.5), lambda x: _normal(x, 1, 0.5), "of channels"),
    norm("l2_norm", lambda x: mb.l2_norm(x=x, epsilon=0.5), lambda x: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 0.5)),
    norm("local_response_norm", lambda x: mb.local_response_norm(x=x, size=3), _local),
]  # fmt: skip


# Products

WEIGHT = np.random.default_rng(0).uniform(-2, 2, (5, 8)).astype(np.float32)
SPARSE = WEIGHT * (WEIGHT > 0)  # an infinity times 0 is NaN
BIAS = np.array([0, 1, INF, -INF, NAN], np.float32)
LEFT = [*mixed(3, 8), *tame(3, 8)[-6:]]


def product(operation, build, compute, label="", **inputs):
    return edge(operation, build, lambda **a: np.asarray(compute(**{n: v.astype(np.float64) for n, v in a.items()}), np.float32),
                label=label, rtol=2e-5, atol=2e-5, **inputs)  # fmt: skip


PRODUCTS = [
    product("matmul", lambda x, y: mb.matmul(x=x, y=y, transpose_y=True), lambda x, y: x @ y.T, x=LEFT, y=WEIGHT),
    product("matmul", lambda x, y: mb.matmul(x=x, y=y, transpose_y=True), lambda x, y: x @ y.T, "zeros", x=LEFT, y=SPARSE),
    product("matmul", lambda x, y: mb.matmul(x=x, y=y, transpose_y=True), lambda x, y: x @ y.T, "both", x=LEFT, y=mixed(5, 8, seed=1)),
    product("matmul", lambda x: mb.matmul(x=x, y=SPARSE.T.copy()), lambda x: x @ SPARSE.T, "weights", x=LEFT),
    product("linear", lambda x: mb.linear(x=x, weight=SPARSE, bias=np.zeros(5, np.float32)), lambda x: x @ SPARSE.T, x=LEFT),
    product("linear", lambda x: mb.linear(x=x, weight=WEIGHT, bias=BIAS), lambda x: x @ WEIGHT.T + BIAS, "a bias of edges", x=LEFT),
    edge("matmul", lambda x, y: mb.matmul(x=x, y=y), lambda x, y: x @ y, label="integers", x=integers(3, 6), y=integers(6, 2, seed=1)),
    edge("matmul", lambda x, n: mb.matmul(x=none(x, n), y=mb.transpose(x=none(x, n), perm=[1, 0])), np.zeros((3, 3), np.float32),
         label="of nothing", x=np.ones((3, 4), np.float32), n=np.array([0], np.int32), arises=False),
    edge("integers", lambda x: mb.reduce_sum(x=x, axes=[0]), lambda x: x.sum(0, dtype=np.int32), label="wrap",
         x=np.full((3, 2), HIGH, np.int32)),
]  # fmt: skip


@edges(ROWS)
def test_reductions(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges([*WINDOWS, *NORMS])
def test_windows_and_norms(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges(PRODUCTS)
def test_products(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)
