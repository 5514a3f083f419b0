"""Exact integers: what an engine would round is written otherwise, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.exact_integers import exact_integers, integer_nodes
from pippin.passes.integer_forms import IN_FLOAT32, SATURATING

INT, FLOAT = np.dtype(np.int32), np.dtype(np.float32)
IDS = Tensor("ids", INT, (2, 3))
BIG = np.array([[2**24, 2**24 + 1, -(2**31)], [2**31 - 1, 0, -7]], np.int32)


def model_of(build, *inputs):
    g = Graph()
    return g.model("main", inputs, [g.named(build(g, *inputs), "y")])


UNTOUCHED = {
    "floats": (lambda g, x: g.Where(g.Less(x, 0.0), g.Div(x, 3.0), g.Max(x, 1.0)), Tensor("x", FLOAT, (2,))),
    "an id that is compared": (lambda g, x: g.cast(g.Equal(x, 17), FLOAT), IDS),
    "positions": (lambda g, x: g.LessOrEqual(np.arange(3), g.Reshape(g.ArgMax(x), [-1])), IDS),
    "a clamped index": (lambda g, x: g.Gather(np.ones(9, np.float32), g.Max(g.Min(x, 8), 0)), IDS),
    "a count": (lambda g, x: g.ReduceSum(g.cast(g.Equal(x, 3), np.int32), [1]), IDS),
    "a maximum": (lambda g, x: g.Add(g.Max(x, g.Add(x, 2**30)), 1), IDS),
    "arithmetic": (lambda g, x: g.Mul(g.Sub(g.Add(x, x), 3), x), IDS),
    "a position divided": (lambda g, x: g.Div(g.ArgMax(x, keepdims=0), 2), IDS),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_untouched(name):
    model = model_of(*UNTOUCHED[name])
    assert exact_integers(model, IN_FLOAT32) is model
    assert exact_integers(model, SATURATING) is model


# Each is the identity for numpy: the rewritten graph means the same.
REWRITTEN = {
    "Equal": lambda g, x: g.Equal(x, g.Transpose(g.Transpose(x, perm=[1, 0]), perm=[1, 0])),
    "Less": lambda g, x: g.Less(x, g.Reshape(x, [2, 3])),
    "Where": lambda g, x: g.Where(g.Less(x, 0), x, 5),
    "Div": lambda g, x: g.Div(x, 7),
    "Mod": lambda g, x: g.Mod(x, np.int32(-3)),
    "Abs": lambda g, x: g.Abs(x),
    "Max": lambda g, x: g.Equal(g.Max(x, 2**24 + 1), x),
    "ReduceMax": lambda g, x: g.ReduceMax(x, [1], keepdims=0),
    "ReduceSum": lambda g, x: g.ReduceSum(x, [0], keepdims=1),
    "Cast": lambda g, x: g.cast(x, np.int16),
    "Clip": lambda g, x: g.Clip(x, np.int32(-(2**24) - 1), np.int32(2**24 + 1)),
}  # fmt: skip


@pytest.mark.parametrize("kind", REWRITTEN)
def test_the_meaning_stays(kind):
    model = model_of(REWRITTEN[kind], IDS)
    made = exact_integers(model, IN_FLOAT32)
    assert made is not model
    onnx.checker.check_model(made, full_check=True)
    (before,), (after,) = (ReferenceEvaluator(m).run(None, {"ids": BIG}) for m in (model, made))
    np.testing.assert_array_equal(before, after)
    assert [n.name for n in integer_nodes(model, {kind: None})]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
def test_narrow_integers_wrap(kind, dtype):
    model = model_of(lambda g, x: g.cast(g.emit(kind, g.cast(x, dtype), g.cast(g.Add(x, 77), dtype)), np.int32), IDS)
    made = exact_integers(model, IN_FLOAT32)
    onnx.checker.check_model(made, full_check=True)
    with np.errstate(over="ignore"):
        compute = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[kind]
        expected = compute(BIG.astype(dtype), (BIG + 77).astype(dtype)).astype(np.int32)
    np.testing.assert_array_equal(ReferenceEvaluator(made).run(None, {"ids": BIG})[0], expected)
    assert {n.op_type for n in made.graph.node} >= {"BitwiseAnd", kind}


def test_a_branch():
    def build(g, x, p):
        yes = g.subgraph(lambda: [g.Max(g.Abs(x), g.Neg(x))])
        no = g.subgraph(lambda: [g.Where(g.Less(x, 5), x, 2**30)])
        return g.If(p, then_branch=yes, else_branch=no, types=[(INT, (2, 3))])

    model = model_of(build, IDS, Tensor("p", np.dtype(np.bool_), ()))
    made = exact_integers(model, IN_FLOAT32)
    (node,) = (n for n in made.graph.node if n.op_type == "If")
    kinds = [{n.op_type for n in helper.get_node_attr_value(node, a).node} for a in ("then_branch", "else_branch")]
    assert not kinds[0] & {"Abs", "Max"}
    assert not kinds[1] & {"Where"}
    for flag in (True, False):
        given = {"ids": BIG, "p": np.array(flag)}
        (before,), (after,) = (ReferenceEvaluator(m).run(None, given) for m in (model, made))
        np.testing.assert_array_equal(before, after)


def test_names_tell_the_operation():
    """Measured times of nodes are added up by the start of their names."""
    model = model_of(REWRITTEN["Div"], IDS)
    (name,) = (n.name for n in model.graph.node if n.op_type == "Div")
    made = exact_integers(model, IN_FLOAT32)
    assert sum(n.name.startswith(f"{name}/exact/") for n in made.graph.node) > 5
