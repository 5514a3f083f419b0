"""Edges of layers of neural networks whose meaning or lowering differs from that of MIL's operations."""

from __future__ import annotations

import numpy as np
import pytest

import pippin
from edges.catalogue import ENGINES, QUOTIENT, Edge, difference, edge
from edges.values import INF, LARGEST, NAN, filled, floats, mixed
from lowering.layers.layer_harness import row as network_row
from lowering.layers.layer_harness import specification
from pippin.engines import all_engines
from pippin.errors import UnsupportedOperationError

X = floats(1, 3, 2, 4)
PAIR = {"x": X, "y": [x[..., ::-1].copy() for x in X]}
TIES = [
    filled((3, 40), [1, 0, 2, 1]),
    np.ones((3, 40), np.float32),
    *mixed(3, 40),
    filled((3, 40), [NAN, INF, -INF, 1]),
]
SLOPE = np.array([0.5, -1, 2], np.float32)


def layer(kind: str, build, expect, label: str = "", x=X, rtol=1e-5, atol=1e-7, **inputs) -> Edge:
    def wide(**arrays):
        with np.errstate(all="ignore"):
            return np.asarray(expect(*(array.astype(np.float64) for array in arrays.values())), np.float32)

    return edge(kind, build, wide, label=label, rtol=rtol, atol=atol, x=x, **inputs)


def unary(mode, compute, **how):
    return layer(
        "unary", lambda b: b.add_unary("l", "x", "y", mode=mode, **how), compute, f"{mode} {how or ''}".strip()
    )


def activation(kind, compute, parameters=None, **how):
    return layer("activation", lambda b: b.add_activation("l", kind, "x", "y", parameters), compute, kind, **how)


def highest(x, k, ascending):
    return np.take_along_axis(x, np.argsort(x if ascending else -x, axis=1, kind="stable")[:, :k], 1)


LAYERS = [
    unary("sqrt", np.sqrt),
    unary("rsqrt", lambda x: 1 / np.sqrt(x + 1e-6), epsilon=1e-6),
    unary("inverse", lambda x: 1 / (x + 1e-6), epsilon=1e-6),
    unary("power", np.square, alpha=2),
    unary("power", np.sqrt, alpha=0.5),
    unary("power", lambda x: np.power(x, 3.0), alpha=3),
    unary("exp", lambda x: np.exp(2 * x - 1), scale=2, shift=-1),
    unary("log", lambda x: np.log(x + 1e-6), epsilon=1e-6),
    unary("abs", np.abs),
    unary("threshold", lambda x: np.maximum(x, 0.5), alpha=0.5),
    activation("RELU", lambda x: np.maximum(x, 0)),
    activation("LEAKYRELU", lambda x: np.where(x < 0, 0.25 * x, x), [0.25]),
    activation("THRESHOLDEDRELU", lambda x: np.where(x >= 0.5, x, 0), 0.5),
    activation("PRELU", lambda x: np.where(x < 0, x * SLOPE[:, None, None], x), SLOPE),
    activation("ELU", lambda x: np.where(x < 0, np.expm1(x), x), 1.0, atol=3e-7),
    activation("SOFTSIGN", lambda x: x / (1 + np.abs(x))),
    activation("SOFTPLUS", lambda x: np.logaddexp(x, 0), rtol=1e-4, atol=1e-37),
    activation("SIGMOID", lambda x: 1 / (1 + np.exp(-x)), rtol=1e-4, atol=1e-37),
    activation("SIGMOID_HARD", lambda x: np.clip(0.25 * x + 0.5, 0, 1), [0.25, 0.5]),
    activation("SCALED_TANH", lambda x: 2 * np.tanh(0.5 * x), [2, 0.5]),
    activation("LINEAR", lambda x: 2 * x + 1, [2, 1]),
    layer("clip", lambda b: b.add_clip("l", "x", "y", -1, 2), lambda x: np.clip(x, -1, 2)),
    *(
        layer(mode.lower(), lambda b, mode=mode: b.add_elementwise("l", ["x", "y"], "z", mode), compute, **PAIR)
        for mode, compute in {
            "MAX": lambda x, y: np.maximum(x, y), "MIN": lambda x, y: np.minimum(x, y), "ADD": lambda x, y: x + y,
            "MULTIPLY": lambda x, y: x * y, "AVE": lambda x, y: np.asarray((x + y), np.float32) / 2,
        }.items()
    ),
    layer("maxBroadcastable", lambda b: b.add_max_broadcastable("l", ["x", "y"], "z"), lambda x, y: np.maximum(x, y), **PAIR),
    layer("divideBroadcastable", lambda b: b.add_divide_broadcastable("l", ["x", "y"], "z"), lambda x, y: x / y, **PAIR),
    layer("logicalNot", lambda b: b.add_logical("l", ["x"], "y", "NOT"), lambda x: x == 0),
    layer("logicalAnd", lambda b: b.add_logical("l", ["x", "y"], "z", "AND"), lambda x, y: (x != 0) & (y != 0), **PAIR),
    layer("logicalXor", lambda b: b.add_logical("l", ["x", "y"], "z", "XOR"), lambda x, y: (x != 0) ^ (y != 0), **PAIR),
    layer("whereBroadcastable", lambda b: b.add_where_broadcastable("l", ["x", "y", "x"], "z"), lambda x, y: np.where(x != 0, y, x), **PAIR),
    layer("equal", lambda b: b.add_equal("l", ["x", "y"], "z"), lambda x, y: x == y, **PAIR),
    layer("notEqual", lambda b: b.add_not_equal("l", ["x"], "y", alpha=1), lambda x: x != 1, "a number"),
    layer("lessThan", lambda b: b.add_less_than("l", ["x"], "y", alpha=1), lambda x: x < 1, "a number"),
    layer("greaterThan", lambda b: b.add_greater_than("l", ["x", "y"], "z", use_greater_than_equal=True), lambda x, y: x >= y, **PAIR),
    layer("argMax", lambda b: b.add_argmax("l", "x", "y", axis=1, keepdims=False), lambda x: x.argmax(1), x=TIES),
    layer("argMin", lambda b: b.add_argmin("l", "x", "y", axis=1, keepdims=False), lambda x: x.argmin(1), x=TIES),
    layer("argSort", lambda b: b.add_argsort("l", "x", "y", axis=1, descending=True), lambda x: np.argsort(-x, 1, kind="stable"), x=TIES),
    layer("topK", lambda b: b.add_topk("l", ["x"], ["y", "at"], k=7, axis=1), lambda x: highest(x, 7, False), x=TIES),
    layer("reduce", lambda b: b.add_reduce("l", "x", "y", axis="W", mode="max"), lambda x: x.max(-1, keepdims=True), "max"),
    layer("reduceMin", lambda b: b.add_reduce_min("l", "x", "y", axes=[-1]), lambda x: x.min(-1, keepdims=True)),
    layer("reduceProd", lambda b: b.add_reduce_prod("l", "x", "y", axes=[-1]), lambda x: x.prod(-1, keepdims=True), x=mixed(1, 3, 2, 4)),
    layer("softmaxND", lambda b: b.add_softmax_nd("l", "x", "y", axis=-1), lambda x: _softmax(x), x=mixed(1, 3, 2, 4)),
    layer("cumSum", lambda b: b.add_cumsum("l", ["x"], "y", axis=1), lambda x: x.cumsum(1), x=mixed(3, 8), atol=1e-6),
    layer("ceil", lambda b: b.add_ceil("l", "x", "y"), np.ceil),
    layer("round", lambda b: b.add_round("l", "x", "y"), np.round),
    layer("sign", lambda b: b.add_sign("l", "x", "y"), np.sign),
    layer("floorDivBroadcastable", lambda b: b.add_floor_div_broadcastable("l", ["x", "y"], "z"), lambda x, y: np.floor_divide(x, y),
          x=filled((24,), [5, -5, 0.0, INF, -INF, NAN]), y=[filled((24,), [2, -2, 0.0, INF, -0.0, 1], seed=s) for s in range(3)]),
    layer("modBroadcastable", lambda b: b.add_mod_broadcastable("l", ["x", "y"], "z"), lambda x, y: np.mod(x, y),
          x=filled((24,), [5, -5, 0.0, INF, -INF, NAN]), y=[filled((24,), [2, -2, 0.0, INF, -0.0, 1], seed=s) for s in range(3)]),
    layer("powBroadcastable", lambda b: b.add_pow_broadcastable("l", ["x", "y"], "z"), lambda x, y: np.power(x, y),
          x=filled((24,), [2, -2, 0.0, INF, -INF, NAN, 1, LARGEST]), y=[filled((24,), [2, -3, 0.0, 0.5, INF, NAN, -INF], seed=s) for s in range(3)]),
    layer("oneHot", lambda b: b.add_one_hot("l", ["x"], "y", one_hot_vector_size=4), lambda x: x[:, None] == np.arange(4),
          x=[np.array([0, 3, 1], np.float32), np.array([-1, 4, 2], np.float32)]),
]  # fmt: skip


def _softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine or "default")
@pytest.mark.parametrize("row", LAYERS, ids=[row.name for row in LAYERS])
def test_layers(row, engine):
    if engine is not None and not all_engines()[engine].installed:
        pytest.skip(f"{engine} is not installed")
    named = network_row(row.operation, row.build, row.sets[0], None, outputs=("z" if "y" in row.sets[0] else "y",))
    hints = pippin.Hints(specialization_strategy="default" if engine is None else "fast_load")
    try:
        model = pippin.load(specification(named), pippin.Configuration(engine=engine, hints=hints), cache=False)
    except UnsupportedOperationError as error:
        assert engine == "mnn" or QUOTIENT in str(error), str(error)  # an error that says why is right too
        return
    for arrays in row.sets:
        problem = difference(model.predict(arrays)[named.outputs[0]], row.expect(**arrays), row, signs=False)
        assert not problem, f"{problem}\nof {arrays}"
