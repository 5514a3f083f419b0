"""Intervals: what is known of the numbers that a value can hold, and that no engine's result is outside."""

import math

import numpy as np
import pytest

from pippin.engines import Settings, all_engines
from pippin.lowering.index_checks import CheckedGraph
from pippin.lowering.interval_rules import RULES
from pippin.lowering.intervals import Intervals, of_graph
from pippin.lowering.onnx_builder import Tensor

INF, LOW, HIGH = math.inf, -(2**31), 2**31 - 1
I32, I64, F32 = np.int32, np.int64, np.float32
ANYTHING = (-INF, INF, True)


def clipped(g, i, low=-3, high=7):
    return g.Min(g.Max(i, low), high)


def unit(g, x):
    """Between 0 and 1, or NaN."""
    return g.Clip(x, np.float32(0), np.float32(1))


def number(g, x):
    """Between 0 and 1, and never NaN."""
    return unit(g, g.Where(g.IsNaN(x), np.float32(0), x))


def remainder(g, i, by):
    return g.Sub(i, g.Mul(g.Div(i, by), by))


def floored(g, i, by):
    rest = remainder(g, i, by)
    return g.Add(rest, g.Mul(g.cast(g.Less(rest, 0), I32), by))


# What is computed of floats x (4, 3) and integers i (4), and the interval: (least, greatest, whether NaN).
KNOWN = {
    "an input": (lambda g, x, i: i, (LOW, HIGH, False)),
    "a float input": (lambda g, x, i: x, ANYTHING),
    "a clamp": (lambda g, x, i: clipped(g, i), (-3, 7, False)),
    "a clip": (lambda g, x, i: g.Clip(i, np.int32(-3), np.int32(7)), (-3, 7, False)),
    "a sum": (lambda g, x, i: g.Add(clipped(g, i), 10), (7, 17, False)),
    "a difference": (lambda g, x, i: g.Sub(5, clipped(g, i)), (-2, 8, False)),
    "a product": (lambda g, x, i: g.Mul(clipped(g, i), -2), (-14, 6, False)),
    "a square": (lambda g, x, i: (lambda c: g.Mul(c, c))(clipped(g, i)), (0, 49, False)),
    "a sum that wraps": (lambda g, x, i: g.Add(i, 1), (LOW, HIGH, False)),
    "an opposite": (lambda g, x, i: g.Neg(clipped(g, i)), (-7, 3, False)),
    "a size of a number": (lambda g, x, i: g.Abs(clipped(g, i, -9)), (0, 9, False)),
    "a quotient": (lambda g, x, i: g.Div(clipped(g, i, 4, 21), 2), (2, 10, False)),
    "a remainder": (lambda g, x, i: remainder(g, i, 5), (-4, 4, False)),
    "a remainder of what counts": (lambda g, x, i: remainder(g, g.Max(i, 0), 5), (0, 4, False)),
    "a floored remainder": (lambda g, x, i: floored(g, i, 5), (0, 4, False)),
    "Mod": (lambda g, x, i: g.Mod(i, 5), (0, 4, False)),
    "Mod of few": (lambda g, x, i: g.Mod(clipped(g, i, 1, 3), 5), (0, 3, False)),
    "low bits": (lambda g, x, i: g.BitwiseAnd(i, 15), (0, 15, False)),
    "a choice": (lambda g, x, i: g.Where(g.Less(i, 0), 3, clipped(g, i, 5, 9)), (3, 9, False)),
    "a choice that is known": (lambda g, x, i: g.Where(g.Less(clipped(g, i), 8), 3, i), (3, 3, False)),
    "a truth": (lambda g, x, i: g.cast(g.Equal(i, 0), I32), (0, 1, False)),
    "a truth that is known": (lambda g, x, i: g.cast(g.GreaterOrEqual(clipped(g, i), 8), I32), (0, 0, False)),
    "a place": (lambda g, x, i: g.ArgMax(x, axis=0), (0, 3, False)),
    "places in order": (lambda g, x, i: g.TopK(x, [2], axis=1)[1], (0, 2, False)),
    "places of what is not 0": (lambda g, x, i: g.NonZero(x), (0, 3, False)),
    "what counts": (lambda g, x, i: g.Range(np.int32(2), np.int32(9), np.int32(3)), (2, 8, False)),
    "sizes": (lambda g, x, i: g.Shape(x), (3, 4, False)),
    "a part of the sizes": (lambda g, x, i: g.Shape(x, start=1), (3, 3, False)),
    "parts together": (lambda g, x, i: g.Concat(clipped(g, i), np.int32([99]), axis=0), (-3, 99, False)),
    "padding": (lambda g, x, i: g.Pad(clipped(g, i, 1, 2), np.int64([1, 1])), (0, 2, False)),
    "the lowest byte": (lambda g, x, i: g.cast(i, np.uint8), (0, 255, False)),
    "elements": (lambda g, x, i: g.Gather(np.int32([5, 8, 6]), floored(g, i, 3)), (5, 8, False)),
    "written elements": (lambda g, x, i: g.ScatterND(np.zeros(9, I32), np.int64([[1], [2], [3], [5]]), clipped(g, i)), (-3, 7, False)),
    "a branch": (lambda g, x, i: g.If(g.Less(g.ReduceMax(i, keepdims=0), 0), then_branch=g.subgraph(lambda: [clipped(g, i)]),
                 else_branch=g.subgraph(lambda: [clipped(g, i, 5, 20)]), types=[(np.dtype(I32), (4,))]), (-3, 20, False)),
    "floats of integers": (lambda g, x, i: g.Add(g.cast(clipped(g, i), F32), 2.0), (-1, 9, False)),
    "a float that rounds": (lambda g, x, i: g.cast(i, F32), (LOW * (1 + 2**-7), HIGH * (1 + 2**-7), False)),
    "a clipped float": (lambda g, x, i: unit(g, x), (0, 1, True)),
    "a number": (lambda g, x, i: number(g, x), (0, 1, False)),
    "a number times 9": (lambda g, x, i: g.Floor(g.Mul(number(g, x), 9.0)), (0, 9, False)),
    "the cast of a number": (lambda g, x, i: g.cast(g.Mul(number(g, x), 9.0), I32), (0, 9, False)),
    "the cast of NaN": (lambda g, x, i: g.cast(unit(g, x), I32), (LOW, HIGH, False)),
    "a sigmoid": (lambda g, x, i: g.Sigmoid(x), (0, 1, True)),
    "a product of matrices": (lambda g, x, i: g.MatMul(number(g, x), np.ones((3, 2), F32)), ANYTHING),
    "0 / 0": (lambda g, x, i: g.Div(number(g, x), number(g, x)), (0, INF, True)),
}  # fmt: skip
INPUTS = [
    (np.array([LOW, HIGH, -1, 0], I32), np.float32([[np.nan, INF, -INF], [0, -0.0, 1], [0.999, 1e30, 1], [-1, 2, 3]])),
    (np.array([1, -6, 7, 12], I32), np.float32([[0, 0.5, 1], [0.2, 0.9, 0.1], [1, 1, 1], [-3, 0.3, 5]])),
]


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known(name):
    build, expected = KNOWN[name]
    g = CheckedGraph()
    x, i = Tensor("x", np.dtype(F32), (4, 3)), Tensor("i", np.dtype(I32), (4,))
    result = build(g, x, i)
    found = g.interval(result)
    assert (found.lo, found.hi, found.nan) == expected
    assert found.dtype == result.dtype
    outputs = [g.named(g.Identity(result), "y"), g.named(g.Identity(x), "x0"), g.named(g.Identity(i), "i0")]
    compiled = all_engines()["onnxruntime"].compile(g.model("main", [x, i], outputs).SerializeToString(), Settings())
    for integers, floats in INPUTS:
        y = np.asarray(compiled.run({"i": integers, "x": floats})["y"])
        numbers = y[~np.isnan(y)] if y.dtype.kind == "f" else y
        assert ((found.lo <= numbers) & (numbers <= found.hi)).all()
        assert found.nan or len(numbers.reshape(-1)) == y.size


def test_a_long_chain_is_followed():
    g = CheckedGraph()
    value = g.Min(Tensor("i", np.dtype(I64), (4,)), 3)
    for _ in range(3000):
        value = g.Max(value, 0)
    assert g.interval(value)[:2] == (0, 3)


def test_moderate_inputs_stay_finite():
    """As the search for NaN assumes; what is not known of sizes there is at least 1."""
    g = CheckedGraph()
    x = Tensor("x", np.dtype(F32), (None, 3))
    model = g.model("main", [x], [g.named(g.MatMul(x, np.ones((3, 2), F32)), "y"), g.named(g.Shape(x), "s")])
    found = of_graph(model.graph)
    assert (found.of("y").infinite, found.of("y").nan, found.of("s").lo, found.sources) == (False, False, 1, [])
    free = Intervals({name: n for n in model.graph.node for name in n.output}.get, {})
    assert free.of("y").nan


def test_every_rule_is_of_an_operator():
    from onnx import defs

    assert not [kind for kind in RULES if not defs.has(kind, 23, "")]
