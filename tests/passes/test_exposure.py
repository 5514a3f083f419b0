"""Non-finite: where NaN and infinity can arise, and which of these places an engine must be told of."""

import numpy as np
import pytest

from pippin.engines import Settings, all_engines
from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.exact_forms import exact
from pippin.passes.nonfinite import PROBE, exposure, find, probed, with_moderate_quotients

NAN, INF = np.float32(np.nan), np.float32(np.inf)


def graph(build, *shape):
    g = Graph()
    x = Tensor("x", np.dtype(np.float32), shape)
    return g.model("main", [x], [g.named(build(g, x), "y")])


def mean(g, x):
    return g.ReduceMean(x, [1], keepdims=1)


def maximum(g, x):
    return g.ReduceMax(x, [1], keepdims=1)


def total(g, x):
    return g.ReduceSum(x, [1], keepdims=1)


def recurrent(g, x, weight):
    rows = np.full((1, 2, 8), weight), np.ones((1, 2, 2), np.float32)
    return g.RNN(g.Unsqueeze(x, [1]), *rows, hidden_size=2, outputs=2)[0]


def shifted_exp(g, x):
    return g.Exp(g.Sub(x, maximum(g, x)))


def minimum(g, x):
    return g.ReduceMin(x, [1], keepdims=1)


# What is computed of finite x, and the operators in which a NaN arises.
SOURCES = {
    "a product": (lambda g, x: g.MatMul(x, np.ones((8, 3), np.float32)), []),
    "x / x": (lambda g, x: g.Div(x, x), ["Div"]),
    "x / 2": (lambda g, x: g.Div(x, 2.0), []),
    "1 / x": (lambda g, x: g.Div(1.0, x), []),
    "1 / x - 1 / x": (lambda g, x: g.Sub(g.Reciprocal(x), g.Reciprocal(x)), ["Sub"]),
    "0 * 1 / x": (lambda g, x: g.Mul(g.Reciprocal(x), 0.0), ["Mul"]),
    "scaled to 0..1": (lambda g, x: g.Div(g.Sub(x, minimum(g, x)), g.Sub(maximum(g, x), minimum(g, x))), ["Div"]),
    "a variance": (lambda g, x: g.Div(x, g.Sqrt(g.Add(mean(g, g.Mul(x, x)), 1e-5))), []),
    "a variance without epsilon": (lambda g, x: g.Div(x, g.Sqrt(mean(g, g.Mul(x, x)))), ["Div"]),
    "a norm of at least": (lambda g, x: g.Div(x, g.Max(g.ReduceL2(x, [1]), 1e-12)), []),
    "a denormal epsilon": (lambda g, x: g.Div(x, g.Add(g.Abs(x), np.float32(1e-42))), ["Div"]),
    "a root": (lambda g, x: g.Sqrt(x), ["Sqrt"]),
    "a root of a square": (lambda g, x: g.Sqrt(g.Mul(x, x)), []),
    "a logarithm": (lambda g, x: g.Log(x), ["Log"]),
    "a logarithm of a square": (lambda g, x: g.Log(g.Add(g.Mul(x, x), 1e-10)), []),
    "a sigmoid by hand": (lambda g, x: g.Reciprocal(g.Add(g.Exp(g.Neg(x)), 1.0)), []),
    "silu": (lambda g, x: g.Mul(x, g.Sigmoid(x)), []),
    "softmax": (lambda g, x: g.Softmax(x, axis=1), []),
    "softmax by hand": (lambda g, x: g.Div(shifted_exp(g, x), total(g, shifted_exp(g, x))), []),
    "softmax without a shift": (lambda g, x: g.Div(g.Exp(x), total(g, g.Exp(x))), ["Div"]),
    "softmax with a mask": (lambda g, x: g.Softmax(g.Where(g.Less(x, 0.0), x, -INF), axis=1), ["Softmax"]),
    "an arc sine": (lambda g, x: g.Asin(x), ["Asin"]),
    "an arc sine of a sine": (lambda g, x: g.Asin(g.Sin(x)), []),
    "a power": (lambda g, x: g.Pow(x, 1.5), ["Pow"]),
    "an even power": (lambda g, x: g.Pow(x, 4.0), []),
    "a product with a large weight": (lambda g, x: g.MatMul(x, np.full((8, 3), 1e30, np.float32)), ["MatMul"]),
    "a product with an infinite weight": (lambda g, x: g.MatMul(x, np.full((8, 3), INF)), ["MatMul"]),
    "a large slope": (lambda g, x: g.LeakyRelu(x, alpha=1e20), ["LeakyRelu"]),
    "a mask of the lowest number": (lambda g, x: g.Mul(x, np.float32(-3.4e38)), []),
    "a recurrent layer without a number": (lambda g, x: recurrent(g, x, NAN), ["RNN"]),
    "a recurrent layer": (lambda g, x: recurrent(g, x, np.float32(1)), []),
    "integers": (lambda g, x: g.Div(g.Shape(x), g.Shape(x)), []),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_sources(name):
    build, expected = SOURCES[name]
    model = graph(build, 4, 8)
    assert [node.op_type for node in find(model).sources] == expected


def exposed(build, engine, bounded=()):
    model = graph(build, 4, 8)
    found = exposure(model.graph, find(model, bounded), all_engines()[engine].misjudges, bounded)
    return found.inputs, len(found.nan), len(found.infinite), len(found.hidden)


def branch(g, x):
    return g.Relu(g.Div(x, x))


# Inputs, results and operands that must be checked.
EXPOSURES = {
    "relu": (lambda g, x: g.Relu(x), "openvino", (("x",), 0, 0, 0)),
    "relu on ONNX Runtime": (lambda g, x: g.Relu(x), "onnxruntime", ((), 0, 0, 0)),
    "maximum on ONNX Runtime": (maximum, "onnxruntime", (("x",), 0, 0, 0)),
    "relu of the shape": (lambda g, x: g.Relu(g.cast(g.Shape(x), np.float32)), "openvino", ((), 0, 0, 0)),
    "a division before relu": (branch, "openvino", (("x",), 1, 0, 0)),
    "a division at the end": (lambda g, x: g.Div(x, x), "openvino", ((), 0, 0, 0)),
    "infinity at a maximum": (lambda g, x: maximum(g, g.Reciprocal(x)), "openvino", (("x",), 0, 1, 0)),
    "infinity at relu": (lambda g, x: g.Relu(g.Reciprocal(x)), "openvino", (("x",), 0, 0, 0)),
}


@pytest.mark.parametrize("name", EXPOSURES)
def test_exposure(name):
    build, engine, expected = EXPOSURES[name]
    assert exposed(build, engine) == expected


def test_pixels_are_not_nan():
    assert exposed(lambda g, x: g.Relu(x), "openvino", ["x"]) == ((), 0, 0, 0)
    assert exposed(lambda g, x: g.Log(g.Add(x, 1.0)), "openvino", ["x"]) == ((), 0, 0, 0)


def layers(g, x):
    for _ in range(3):
        x = g.Relu(g.MatMul(x, np.ones((8, 8), np.float32)))
    return x


# Quotients whose size is checked, so that one probe does for all layers.
MODERATE = {
    "layers after a quotient": (lambda g, x: layers(g, g.Div(x, total(g, x))), 4, 1),
    "one layer": (lambda g, x: g.Relu(g.Div(x, total(g, x))), 1, 1),
    "layers after a logarithm": (lambda g, x: layers(g, g.Log(x)), 4, 4),
}


@pytest.mark.parametrize("name", MODERATE)
def test_moderate_quotients(name):
    build, before, after = MODERATE[name]
    model, wrong = graph(build, 4, 8), all_engines()["openvino"].misjudges
    known = find(model)
    found = exposure(model.graph, known, wrong)
    assert found.probes == before
    assert with_moderate_quotients(model.graph, found, known, wrong, set()).probes == after


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name, x, nan", [("finite", 2, False), ("0 / 0", 0, True)])
def test_the_probe_tells(name, x, nan, engine):
    model = graph(branch, 4, 8)
    found = exposure(model.graph, find(model), all_engines()["openvino"].misjudges)
    made = probed(model, found)
    assert made is not model
    compiled = all_engines()[engine].compile(made.SerializeToString(), Settings())
    arrays = np.ones((4, 8), np.float32)
    arrays[1, 1] = x
    assert np.isnan(compiled.run({"x": arrays})[PROBE]) == nan


def test_an_infinity_that_is_meant_is_not_told():
    """The logarithm of 0 before a relu, which is right for it."""
    model = graph(lambda g, x: g.Relu(g.Log(g.Mul(x, x))), 4, 8)
    assert not exposure(model.graph, find(model), all_engines()["openvino"].misjudges).infinite


VALUES = {
    "finite": [1, 4, 2, 3, 0, 5, -1, 7],
    "a NaN": [1, NAN, 3, 2, 0, 5, -1, 7],
    "two NaN": [1, 2, NAN, 9, 0, NAN, -1, 7],
    "NaN and infinity": [-INF, INF, NAN, 9, 0, 4, 6, 7],
    "all NaN": [NAN] * 8,
    "all -inf": [-INF] * 8,
    "all inf": [INF] * 8,
}
FORMS = {
    "ReduceMax": (maximum, lambda x: x.max(1, keepdims=True)),
    "ReduceMin": (minimum, lambda x: x.min(1, keepdims=True)),
    "ArgMax": (lambda g, x: g.ArgMax(x, axis=1, keepdims=0), lambda x: x.argmax(1)),
    "ArgMin": (lambda g, x: g.ArgMin(x, axis=1, keepdims=1), lambda x: x.argmin(1)[:, None]),
    "TopK": (lambda g, x: g.TopK(x, [3], axis=1)[0], lambda x: -np.sort(-x, 1)[:, :3]),
    "TopK, places": (lambda g, x: g.TopK(x, [8], axis=1)[1], lambda x: np.argsort(-x, 1, kind="stable")),
    "TopK, smallest": (lambda g, x: g.TopK(x, [8], axis=1, largest=0)[1], lambda x: np.argsort(x, 1, kind="stable")),
    "MaxPool": (
        lambda g, x: g.MaxPool(g.Reshape(x, [1, 4, 8]), kernel_shape=[2], strides=[2]),
        lambda x: x.reshape(1, 4, 4, 2).max(-1),
    ),
    "GlobalMaxPool": (lambda g, x: g.GlobalMaxPool(g.Reshape(x, [1, 4, 8])), lambda x: x.max(1).reshape(1, 4, 1)),
}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("form", FORMS)
def test_exact_forms(form, values):
    build, right = FORMS[form]
    x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    x[2] = VALUES[values]
    compiled = all_engines()["onnxruntime"].compile_plainly(exact(graph(build, 4, 8)).SerializeToString())
    np.testing.assert_array_equal(compiled.run({"x": x})["y"], right(x))


def test_what_is_exact_stays():
    model = graph(lambda g, x: g.Relu(x), 4, 8)
    assert exact(model) is model
