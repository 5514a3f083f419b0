"""Rounding to float16 on every engine, bit by bit as numpy does it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pippin.engines import Settings, all_engines
from pippin.passes.float16_rounding import rounded_in_float32


def model(*more):
    """y: x rounded to float16."""
    nodes = [helper.make_node("Cast", ["x"], ["h"], name="h", to=TensorProto.FLOAT16), *more]
    nodes.append(helper.make_node("Cast", ["h"], ["y"], name="y", to=TensorProto.FLOAT))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def numbers():
    """Every float16 number, what lies half way between two of them, and its neighbours; the ends of both types."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    ordered = np.unique(halves[np.isfinite(halves)])
    middles = (ordered[1:] + ordered[:-1]) / 2
    ends = np.float32([65519.996, 65520, 3e38, 1e-40, 0.0])
    both = [
        halves,
        middles,
        np.nextafter(middles, np.float32(np.inf)),
        np.nextafter(middles, -np.float32(np.inf)),
        ends,
    ]
    return np.concatenate([*both, -ends])


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_every_number(engine):
    x = numbers()
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16).astype(np.float32)
    engine = all_engines()[engine]
    found = engine.compile(engine.prepared(model()).SerializeToString(), Settings(threads=1)).run({"x": x})["y"]
    np.testing.assert_array_equal(found, expected)
    numbers_only = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[numbers_only], np.signbit(expected)[numbers_only])


def test_what_does_more_than_round_is_left():
    plain, other = model(), model(helper.make_node("Neg", ["h"], ["n"], name="n"))
    onnx.checker.check_model(rounded_in_float32(plain), full_check=True)
    assert rounded_in_float32(other) is other
    assert not any(i.i == TensorProto.FLOAT16 for n in rounded_in_float32(plain).graph.node for i in n.attribute)
