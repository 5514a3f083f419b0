"""Exact activations and widened constants: the same values, by `onnx.reference`, without the nodes to avoid."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.exact_activations import exact_activations
from pippin.passes.widen import widened

RANDOM = np.random.default_rng(0)
X = np.float32([-300, -90, -20, -5, -1, -1e-3, 0, 1e-3, 0.5, 1, 5, 20, 90, 300])


def graph(build, shape):
    g = Graph()
    x = Tensor("x", np.dtype(np.float32), shape)
    return g.model("main", [x], [g.named(build(g, x), "y")])


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda g, x: g.Gelu(x), {"Erf"}),
        (lambda g, x: g.Gelu(x, approximate="tanh"), set()),
        (lambda g, x: g.Gelu(g.Gelu(x)), {"Erf"}),
        (lambda g, x: g.Erf(x), {"Erf"}),
    ],
)
def test_activations(build, left):
    model = graph(build, X.shape)
    made = exact_activations(model)
    onnx.checker.check_model(made, full_check=True)
    assert {"Gelu", "Erf"} & {node.op_type for node in made.graph.node} == left
    expected = ReferenceEvaluator(model).run(None, {"x": X})[0]
    np.testing.assert_allclose(ReferenceEvaluator(made).run(None, {"x": X})[0], expected, rtol=1e-5, atol=2e-6)


def test_nothing_to_do():
    model = graph(lambda g, x: g.Relu(x), X.shape)
    assert exact_activations(model) is model and widened(model) is model


@pytest.mark.parametrize("twice", [False, True])
def test_float16_constants(twice):
    weight = RANDOM.standard_normal((40, 40)).astype(np.float16)

    def build(g, x):
        y = g.MatMul(x, weight)
        return g.MatMul(y, weight) if twice else y

    model = graph(build, (3, 40))
    made = widened(model)
    onnx.checker.check_model(made, full_check=True)
    assert {tensor.data_type for tensor in made.graph.initializer} == {onnx.TensorProto.FLOAT}
    x = RANDOM.standard_normal((3, 40)).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_array_equal(ReferenceEvaluator(made).run(None, {"x": x})[0], expected)
