"""Accurate tails: values near the ends of functions, against float64; only where they reach an output."""

import math

import numpy as np
import pytest

from pippin.engines import Settings, all_engines
from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.accurate_tails import accurate_tails

X = np.array(
    [-100, -88, -87, -60, -40, -25, -19, -18.5, -18, -17, -12, -9, -5, -4.9, -3, -1, -0.3, -0.2, -0.1, -1e-3, -1e-6, -1e-10,
     0, 1e-10, 1e-6, 1e-3, 0.1, 0.25, 1, 3, 5, 9, 12, 17, 19, 25, 40, 60, 80, 81, 88], np.float32
)  # fmt: skip
RIGHT = {
    "Erf": np.vectorize(math.erf),
    "Exp": np.exp,
    "Sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
    "Softplus": lambda x: np.logaddexp(0, x),
    "Tanh": np.tanh,
}
SMALLEST = float(np.finfo(np.float32).tiny)
ALL = frozenset({"Erf", "Sigmoid", "Softplus"})


def graph(build, *shape):
    g = Graph()
    x = Tensor("x", np.dtype(np.float32), shape)
    return g.model("main", [x], [g.named(build(g, x), "y")])


def kinds(model):
    return [node.op_type for node in model.graph.node]


def values(engine, model, x):
    engine = all_engines()[engine]
    return engine.compile(engine.prepared(model).SerializeToString(), Settings()).run({"x": x})["y"]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("function", RIGHT)
def test_relative_error(function, engine):
    found = values(engine, graph(lambda g, x: g.emit(function, x), len(X)), X).astype(np.float64)
    right = RIGHT[function](X.astype(np.float64))
    np.testing.assert_allclose(found, right, rtol=2e-5, atol=2 * SMALLEST)  # OpenVINO flushes results from exp(-87) on


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("function", ["Softmax", "LogSoftmax"])
def test_probabilities(function, engine):
    x = np.array([[0, -20, -50, -80, -86], [30, 0, 1, -3, 29], [0, 0, 0, 0, 0]], np.float32)
    wide = x.astype(np.float64)
    logs = wide - wide.max(-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    right = logs if function == "LogSoftmax" else np.exp(logs)
    found = values(engine, graph(lambda g, x: g.emit(function, x, axis=-1), *x.shape), x)
    np.testing.assert_allclose(found, right, rtol=2e-5, atol=1e-7 if function == "LogSoftmax" else 0)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_order_of_small_probabilities(engine):
    x = -np.arange(1, 101, dtype=np.float32)
    found = values(engine, graph(lambda g, x: g.Sigmoid(x), len(x)), x)
    assert (np.diff(found[:86]) < 0).all()
    assert (np.diff(found) <= 0).all()


PLACES = {
    "an output": (lambda g, x: g.Sigmoid(x), False),
    "an output, reshaped": (lambda g, x: g.Reshape(g.Sigmoid(x), [8, 1]), False),
    "a product of two": (lambda g, x: g.Mul(g.Sigmoid(x), g.Sigmoid(g.Neg(x))), False),
    "the best of some": (lambda g, x: g.ReduceMax(g.Sigmoid(x)), False),
    "before a product with weights": (lambda g, x: g.MatMul(g.Sigmoid(x), np.ones((8, 2), np.float32)), True),
    "silu": (lambda g, x: g.Mul(x, g.Sigmoid(x)), True),
    "another function": (lambda g, x: g.Tanh(x), True),
}


@pytest.mark.parametrize("place", PLACES)
def test_only_what_reaches_an_output_is_rewritten(place):
    build, same = PLACES[place]
    model = graph(build, 1, 8)
    made = accurate_tails(model, ALL)
    assert (made is model) is same
    assert same or "Sigmoid" not in kinds(made)


@pytest.mark.parametrize("last", [-100, -18, -13, -11, np.nan, -np.inf])
@pytest.mark.parametrize("shape", [(2, 4096), (None, 4096)])
def test_a_large_sigmoid(last, shape):
    """It is computed in the accurate form if one of its numbers needs it."""
    x = np.linspace(-11, 16, 8192, dtype=np.float32).reshape(2, 4096)
    x[1, 9] = last
    model = graph(lambda g, x: g.Sigmoid(x), *shape)
    assert "If" in kinds(accurate_tails(model, ALL))
    found = values("onnxruntime", model, x).astype(np.float64)
    absolute = 2 * SMALLEST if last < -12 else 1.2e-7
    np.testing.assert_allclose(found, RIGHT["Sigmoid"](x.astype(np.float64)), rtol=2e-5, atol=absolute)


@pytest.mark.parametrize("function", sorted(ALL))
def test_nan_and_infinity(function):
    """The forms pass them on."""
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    found = values("onnxruntime", accurate_tails(graph(lambda g, x: g.emit(function, x), 3), ALL), x)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found, RIGHT[function](x.astype(np.float64)))
