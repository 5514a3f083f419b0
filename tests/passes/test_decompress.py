"""Decompress: what it leaves computes what the graph computed, by `onnx.reference`; what has a kernel stays."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from pippin.engines import all_engines
from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.decompress import decompressed

RANDOM = np.random.default_rng(0)


def integers(dtype, *shape):
    limits = ml_dtypes.iinfo(dtype)
    return RANDOM.integers(limits.min, limits.max + 1, shape).astype(dtype)


def scales(*shape):
    return RANDOM.uniform(0.5, 2, shape).astype(np.float32)


def graph(build, *shape):
    g = Graph()
    x = Tensor("x", np.dtype(np.float32), shape)
    return g.model("main", [x], [g.named(build(g, x), "y")])


def kinds(model):
    return [node.op_type for node in model.graph.node]


def never(dequantize, reader, makers):
    return False


# data, scale, zero point, axis, block size
STORED = {
    "tensor": (integers(np.int8, 6, 4), scales(), None, None, None),
    "tensor, zero point": (integers(np.uint8, 6, 4), scales(), integers(np.uint8), None, None),
    "rows": (integers(np.int8, 6, 4), scales(6), integers(np.int8, 6), 0, None),
    "columns": (integers(np.uint8, 6, 4), scales(4), integers(np.uint8, 4), 1, None),
    "last axis": (integers(np.int8, 6, 4), scales(4), None, -1, None),
    "blocks": (integers(np.int8, 6, 4), scales(3, 4), integers(np.int8, 3, 4), 0, 2),
    "blocks of 4 bits": (integers(ml_dtypes.int4, 6, 4), scales(6, 2), None, 1, 2),
    "4 bits, zero points": (integers(ml_dtypes.uint4, 6, 4), scales(4), integers(ml_dtypes.uint4, 4), 1, None),
    "int32": (integers(np.int32, 6, 4) // 2**12, scales(), None, None, None),
}


@pytest.mark.parametrize("name", STORED)
def test_the_weights_are_those_of_the_reference(name):
    data, scale, zero, axis, block = STORED[name]
    parts = (data, scale) if zero is None else (data, scale, zero)
    model = graph(lambda g, x: g.MatMul(x, g.DequantizeLinear(*parts, axis=axis, block_size=block)), 3, 6)
    made = decompressed(model, never)
    assert kinds(made)[0] == "MatMul"
    assert kinds(model)[0] == "DequantizeLinear"
    x = RANDOM.standard_normal((3, 6)).astype(np.float32)
    expected, found = (ReferenceEvaluator(m).run(None, {"x": x})[0] for m in (model, made))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5 * np.abs(expected).max())
    onnx.checker.check_model(made)
    assert len(made.graph.initializer) == 1


def test_nothing_to_do_is_the_same_model():
    model = graph(lambda g, x: g.Relu(x), 3)
    assert decompressed(model, never) is model


def test_what_is_read_twice_is_kept_only_if_both_have_a_kernel():
    def build(g, x):
        weight = g.DequantizeLinear(integers(np.int8, 4, 4), scales())
        return g.Add(g.MatMul(x, weight), g.Relu(weight))

    def products(dequantize, reader, makers):
        return reader.op_type == "MatMul"

    assert "DequantizeLinear" not in kinds(decompressed(graph(build, 4, 4), products))


def test_a_quantized_activation_and_an_output_stay():
    def activation(g, x):
        return g.DequantizeLinear(g.QuantizeLinear(x, scales(), integers(np.int8)), scales(), integers(np.int8))

    model = graph(activation, 4)
    assert decompressed(model, never) is model
    model = graph(lambda g, x: g.Add(x, 1.0), 4)
    weight = Graph()
    constant = weight.DequantizeLinear(integers(np.int8, 4), scales())
    both = weight.model("main", [], [weight.named(constant, "y")])
    assert "DequantizeLinear" not in kinds(decompressed(both, never))  # read by the Identity that names it
    both.graph.node[0].output[0] = "y"
    del both.graph.node[1:]
    assert decompressed(both, never) is both


def test_what_a_subgraph_reads_from_around_it_stays():
    def build(g, x):
        weight = g.DequantizeLinear(integers(np.int8, 4), scales())
        inside = g.subgraph(lambda: [g.Add(x, weight)])
        return g.emit("If", np.array(True), then_branch=inside, else_branch=g.subgraph(lambda: [g.Sub(x, weight)]),
                      types=[(np.dtype(np.float32), (4,))])  # fmt: skip

    model = graph(build, 4)
    assert decompressed(model, never) is model


CONVOLUTION = integers(np.int8, 4, 3, 3, 3)


@pytest.mark.parametrize(
    "build, shape, stays",
    [
        pytest.param(lambda g, x: g.Conv(x, g.DequantizeLinear(CONVOLUTION, scales(4), axis=0)), (1, 3, 8, 8), 0,
                     id="a convolution of float32"),
        pytest.param(lambda g, x: g.MatMul(x, g.DequantizeLinear(integers(np.int8, 32, 8), scales(8), axis=1)), (4, 32), 0,
                     id="a product, scales by column"),
        pytest.param(lambda g, x: g.MatMul(x, g.DequantizeLinear(integers(ml_dtypes.int4, 32, 8), scales(2, 8), axis=0, block_size=16)),
                     (4, 32), 1, id="a product in blocks"),
        pytest.param(lambda g, x: g.Conv(g.DequantizeLinear(g.QuantizeLinear(x, np.float32(0.1), np.int8(0)), np.float32(0.1), np.int8(0)),
                                         g.DequantizeLinear(CONVOLUTION, scales(4), axis=0)), (1, 3, 8, 8), 2,
                     id="a convolution of quantized activations"),
    ],
)  # fmt: skip
def test_onnx_runtime_keeps_what_it_has_kernels_for(build, shape, stays):
    engine = all_engines()["onnxruntime"]
    model = graph(build, *shape)
    made = engine.prepared(model)
    assert kinds(made).count("DequantizeLinear") == stays
    x = RANDOM.standard_normal(shape).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    found = engine.compile(made.SerializeToString()).run({"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
