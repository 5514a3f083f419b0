"""Rates: measured once for a machine, kept in a file, and what they say of products of one row and of convolutions."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pippin.engines import all_engines
from pippin.specialization.segment import estimates, rates
from pippin.specialization.segment.rates import Rates, measured_rates, rates_of

ENGINES = [all_engines()["onnxruntime"], all_engines()["openvino"]]


@pytest.fixture
def measured(monkeypatch):
    """The engines that were measured."""
    found = []
    full = dict.fromkeys(("launch", "start"), 1e-6)
    monkeypatch.setattr(rates, "_measured", {})
    monkeypatch.setattr(rates, "measured_rates", lambda engine: found.append(engine.name) or Rates(**full))
    return found


def test_they_are_measured_once(measured, tmp_path):
    file = tmp_path / "rates.json"
    first = rates_of(ENGINES, file, "a processor", lambda: False)
    assert measured == ["openvino", "onnxruntime"], "the one whose threads spin comes last"
    assert rates_of(ENGINES, file, "a processor", lambda: False) == first
    assert len(measured) == 2
    rates._measured.clear()
    assert rates_of(ENGINES, file, "another processor", lambda: True) == {}


@pytest.mark.parametrize("busy", [[True], [False, True]])
def test_a_busy_machine_is_not_measured(measured, tmp_path, busy):
    answers = iter(busy)
    assert rates_of(ENGINES, tmp_path / "rates.json", "a processor", lambda: next(answers)) == {}
    assert not (tmp_path / "rates.json").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"x": 1}', json.dumps({"x": {"dense": -1.0}}), json.dumps({"x": {"no": 1}})]
)
def test_a_damaged_file_is_measured_again(measured, tmp_path, text):
    file = tmp_path / "rates.json"
    file.write_text(text)
    assert rates_of(ENGINES, file, "a processor", lambda: False).keys() == {"onnxruntime", "openvino"}


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_real_rates(engine):
    found = measured_rates(engine)
    assert all(0 < getattr(found, name) < 1e15 for name in Rates.__dataclass_fields__)


def model(node, shape, weight):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    w = onnx.numpy_helper.from_array(np.zeros(weight, np.float32), "w")
    return helper.make_model(helper.make_graph([node], "g", [x], [y], [w]))


@pytest.mark.parametrize(
    ("kind", "shape", "weight", "depends", "share"),
    [
        ("MatMul", (1, 4096), (4096, 4096), "memory", 0),
        ("MatMul", (512, 1024), (1024, 1024), "product", 1),
        ("Conv", (1, 64, 56, 56), (64, 64, 3, 3), "dense", 1),
        ("Conv", (1, 64, 56, 56), (64, 1, 3, 3), "depthwise", 0),
    ],
)
def test_what_a_kind_is_bound_by(kind, shape, weight, depends, share):
    """Half the rate that it depends on takes longer, half of any other does not."""
    group = {"group": 64} if depends == "depthwise" else {}
    made = model(helper.make_node(kind, ["x", "w"], ["y"], **group), shape, weight)
    usual = Rates(launch=1e-9, start=1e-9)
    for name in ("memory", "product", "dense", "depthwise", "simple"):
        slower = Rates(**{"launch": 1e-9, "start": 1e-9, name: getattr(usual, name) / 4})
        found = estimates(made, {"openvino": usual}), estimates(made, {"openvino": slower})
        times = found[1]["openvino"].seconds / found[0]["openvino"].seconds
        assert (times > 1.5) == (name == depends), (name, times)
    if share:
        assert found[0]["openvino"].products > 0.9 * found[0]["openvino"].seconds
