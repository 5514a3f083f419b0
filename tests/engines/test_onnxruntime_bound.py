"""ONNX Runtime, bound: what stays the same when inputs and outputs lie in memory that is named once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import helper

from pippin.engines import all_engines
from pippin.errors import PredictionCancelled, PredictionError
from pippin.support.cancellation import Stop

NUMPY = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.DOUBLE: np.float64,
    onnx.TensorProto.INT32: np.int32,
    onnx.TensorProto.INT64: np.int64,
    onnx.TensorProto.UINT8: np.uint8,
    onnx.TensorProto.BOOL: np.bool_,
}


def compiled(kind=onnx.TensorProto.FLOAT, shape=(2, 3), op="Identity", declared=None, inputs=("x",)):
    """One operation of the inputs, as the engine runs it."""
    node = helper.make_node(op, list(inputs), ["y"])
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info("y", kind, shape if declared is None else declared)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return all_engines()["onnxruntime"].compile(model.SerializeToString())


@pytest.mark.parametrize("kind", NUMPY)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_every_dtype_comes_back(kind, shape):
    made = compiled(kind, shape)
    assert made._bound is not None
    x = np.random.default_rng(0).integers(0, 2, shape).astype(NUMPY[kind])
    y = made.run({"x": x})["y"]
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (onnx.TensorProto.FLOAT, (None, 3)),
        (onnx.TensorProto.FLOAT, (0, 3)),
        (onnx.TensorProto.FLOAT, (128, 128)),
        (onnx.TensorProto.STRING, (2,)),
    ],
    ids=["flexible", "empty", "large", "strings"],
)
def test_what_is_not_bound(kind, shape):
    assert compiled(kind, shape)._bound is None


def test_outputs_belong_to_the_caller():
    made = compiled()
    first = made.run({"x": np.zeros((2, 3), np.float32)})["y"]
    made.run({"x": np.ones((2, 3), np.float32)})
    assert not first.any()


def test_inputs_of_any_layout():
    x = np.arange(6, dtype=np.float32).reshape(3, 2).T
    np.testing.assert_array_equal(compiled().run({"x": x})["y"], x)


def test_many_threads_get_their_own():
    made = compiled(op="Mul", inputs=("x", "z"))
    values = np.random.default_rng(0).standard_normal((400, 2, 3)).astype(np.float32)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: made.run({"x": x, "z": x})["y"], values))
    np.testing.assert_array_equal(found, values * values)


def test_inputs_that_are_not_as_declared_are_refused():
    made = compiled()
    for wrong in (np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float64), np.zeros(3, np.float32)):
        with pytest.raises(PredictionError):
            made.run({"x": wrong})
    assert made._bound is not None


def test_an_output_of_another_shape_than_declared_comes_all_the_same():
    """The library only warns of it."""
    made = compiled(op="Transpose", declared=(2, 3))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for _ in range(2):
        np.testing.assert_array_equal(made.run({"x": x})["y"], x.T)


def test_an_input_that_fails_leaves_the_next_one_alone():
    """A row that is not there: the operation itself refuses it."""
    node = helper.make_node("Gather", ["x", "at"], ["y"])
    takes = [("x", onnx.TensorProto.FLOAT, (3, 2)), ("at", onnx.TensorProto.INT64, (1,))]
    gives = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 2))
    graph = helper.make_graph([node], "graph", [helper.make_tensor_value_info(*each) for each in takes], [gives])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made = all_engines()["onnxruntime"].compile(model.SerializeToString())
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for _ in range(2):
        np.testing.assert_array_equal(made.run({"x": x, "at": np.array([2])})["y"], x[2:])
        with pytest.raises(PredictionError, match="out of data bounds"):
            made.run({"x": x, "at": np.array([7])})
    assert made._bound is not None


def test_one_that_was_asked_to_stop_is_not_begun():
    made, stop = compiled(), Stop()
    stop.ask()
    with pytest.raises(PredictionCancelled):
        made.run({"x": np.zeros((2, 3), np.float32)}, stop)
    assert made._bound is not None


@pytest.mark.parametrize("backed", [False, True], ids=["new arrays", "memory of the caller"])
def test_an_output_that_is_an_input(backed):
    """The library leaves it where the input is."""
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (2, 3))
    node = helper.make_node("Neg", ["x"], ["y"])
    other = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (2, 3))
    graph = helper.make_graph([node], "graph", [value], [value, other])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made = all_engines()["onnxruntime"].compile(model.SerializeToString())
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((2, 3)).astype(np.float32)
        into = {name: np.zeros((2, 3), np.float32) for name in "xy"} if backed else None
        found = made.run({"x": x}, None, into)
        np.testing.assert_array_equal(found["x"], x)
        np.testing.assert_array_equal(found["y"], -x)
        if into:
            assert all(found[name] is into[name] for name in into)
