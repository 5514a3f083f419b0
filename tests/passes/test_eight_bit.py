"""Eight bits: both forms compute what the graph computes, by `onnx.reference`, and leave nothing that can saturate."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.eight_bit import in_float32, quantizes_activations, unsigned

RANDOM = np.random.default_rng(0)
SCALE = np.float32(1 / 127)
SCALES = RANDOM.uniform(0.5, 1, 4).astype(np.float32) / 127
KERNEL = RANDOM.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
MATRIX = RANDOM.integers(-128, 128, (8, 4)).astype(np.int8)
IMAGE, ROWS = (1, 3, 8, 8), (3, 8)


def graph(build, shape):
    g = Graph()
    results = build(g, Tensor("x", np.dtype(np.float32), shape))
    results = results if isinstance(results, tuple) else (results,)
    outputs = [g.named(result, f"y{number}") for number, result in enumerate(results)]
    return g.model("main", [Tensor("x", np.dtype(np.float32), shape)], outputs)


def coded(g, x, zero, scale=np.float32(1 / 60), axis=None):
    """The nearest of the values that codes can have."""
    return g.DequantizeLinear(g.QuantizeLinear(x, scale, zero, axis=axis), scale, zero, axis=axis)


def weights(g, data, axis, zero=None, scales=SCALES):
    return g.DequantizeLinear(data, scales, zero, axis=axis)


def shared(g, x):
    """Two layers with the same weights and input, and a third reader of the input."""
    x, w = coded(g, x, np.int8(-7)), weights(g, KERNEL, 0, np.zeros(4, np.int8))
    return g.Conv(x, w), g.Conv(x, w, strides=[2, 2]), g.Relu(x)


def returned(g, x):
    """Codes that are an output too."""
    codes = g.QuantizeLinear(x, SCALE, np.int8(3))
    return g.DequantizeLinear(codes, SCALE, np.int8(3)), codes


def branch(g, x):
    """A layer in a branch."""
    w = weights(g, MATRIX, 1)
    there = g.subgraph(lambda: [g.MatMul(coded(g, x, np.int8(0)), w)])
    other = g.subgraph(lambda: [g.MatMul(coded(g, x, np.uint8(9)), w)])
    positive = g.Greater(g.ReduceSum(x, keepdims=0), np.float32(0))
    return g.emit("If", positive, types=[(np.dtype(np.float32), (3, 4))], then_branch=there, else_branch=other)


ROWS_OF_CASES = {
    "channels": (lambda g, x: g.Conv(coded(g, x, np.uint8(100)), weights(g, KERNEL, 0, np.zeros(4, np.int8))), IMAGE),
    "no zero points": (lambda g, x: g.Conv(coded(g, x, np.uint8(100)), weights(g, KERNEL, 0)), IMAGE),
    "one scale": (lambda g, x: g.MatMul(coded(g, x, np.int8(0)), weights(g, MATRIX, None, np.int8(2), SCALE)), ROWS),
    "both computed": (lambda g, x: g.MatMul(coded(g, x, np.uint8(0)), coded(g, g.Transpose(x, perm=[1, 0]), np.int8(5))), ROWS),
    "activations by axis": (lambda g, x: coded(g, x, np.int8([1, 2, 3]), SCALES[:3], axis=0), ROWS),
    "activations by the last axis": (lambda g, x: coded(g, x, np.int8([1] * 8), np.tile(SCALES, 2), axis=-1), ROWS),
    "ties": (lambda g, x: coded(g, g.Mul(g.Round(g.Mul(x, np.float32(9))), np.float32(0.25)), np.int8(0), np.float32(0.5)), ROWS),
    "shared": (shared, IMAGE),
    "returned": (returned, ROWS),
    "branch": (branch, ROWS),
}  # fmt: skip


@pytest.mark.parametrize("form", [unsigned, in_float32])
@pytest.mark.parametrize("name", ROWS_OF_CASES)
def test_both_forms_compute_the_same(name, form):
    build, shape = ROWS_OF_CASES[name]
    model = graph(build, shape)
    made = form(model)
    onnx.checker.check_model(made, full_check=True)
    for factor in (1, -1, 50):
        x = RANDOM.standard_normal(shape).astype(np.float32) * np.float32(factor)
        expected = ReferenceEvaluator(model).run(None, {"x": x})
        for right, found in zip(expected, ReferenceEvaluator(made).run(None, {"x": x}), strict=True):
            assert right.dtype == found.dtype
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5 * np.abs(right.astype(np.float64)).max())


@pytest.mark.parametrize("name", ROWS_OF_CASES)
def test_nothing_is_left_that_saturates(name):
    build, shape = ROWS_OF_CASES[name]
    model = graph(build, shape)
    assert quantizes_activations(model) and not quantizes_activations(in_float32(model))
    signed = [t.name for t in unsigned(model).graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert bool(signed) == (name == "returned"), "codes that are an output keep their type"


def test_weights_alone_are_left_as_they_are():
    model = graph(lambda g, x: g.Conv(x, weights(g, KERNEL, 0)), IMAGE)
    assert unsigned(model) is model and in_float32(model) is model


def test_scales_by_axis_of_an_unknown_rank_stay():
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], axis=0)
    model = graph(lambda g, x: g.Relu(x), ROWS)
    del model.graph.node[:], model.graph.input[:], model.graph.output[:]
    model.graph.node.append(node)
    model.graph.initializer.append(onnx.numpy_helper.from_array(SCALES, "s"))
    assert [node.op_type for node in in_float32(model).graph.node] == ["QuantizeLinear"]
