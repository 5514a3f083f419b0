"""Calibrate: the measured units are plausible, measured once, and kept."""

import json

import pytest

from pippin.engines import all_engines
from pippin.specialization.segment import calibrate
from pippin.specialization.segment.calibrate import machine
from pippin.specialization.segment.cost_model import Unit


def test_the_units_of_this_machine():
    engines = {name: engine.version for name, engine in all_engines().items() if engine.installed}
    units = machine({"cpu": engines}).units
    assert [unit.engine for unit in units] == list(engines)
    for unit in units:
        assert unit.device == "cpu"
        assert 1e8 < unit.arithmetic < 1e14
        assert 1e8 < unit.bandwidth < 1e13
        assert 1e-9 < unit.launch < 1e-2
        assert 0 < unit.latency < 1
    assert machine({"cpu": engines}).units == units


@pytest.fixture
def counted(monkeypatch):
    """Units that are not measured, but counted."""
    made = []

    def unit(name, device):
        made.append(name)
        return Unit(name, device, 1e11, 1e10, 1e-6, 1e10, float(len(made)))

    monkeypatch.setattr(calibrate, "_unit", unit)
    return made


def test_what_was_measured_is_kept(counted, tmp_path):
    kept = tmp_path / "calibration.json"
    first = machine({"cpu": {"openvino": "1", "onnxruntime": "1"}}, kept, "a processor")
    assert machine({"cpu": {"openvino": "1", "onnxruntime": "1"}}, kept, "a processor") == first
    assert counted == ["openvino", "onnxruntime"]
    machine({"cpu": {"openvino": "2", "onnxruntime": "1"}}, kept, "a processor")
    assert counted == ["openvino", "onnxruntime", "openvino"]
    machine({"cpu": {"onnxruntime": "1"}}, kept, "another processor")
    assert counted[3:] == ["onnxruntime"]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [kept.name]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": {}}', '{"x": {"engine": "e", "speed": 1}}',
                                  '{"x": {"engine": "e", "arithmetic": NaN}}', '{"x": {"engine": "e", "launch": "1"}}',
                                  '{"x": {"engine": "e", "launch": -1.0}}'])  # fmt: skip
def test_an_unsound_file_is_measured_again(counted, tmp_path, text):
    kept = tmp_path / "calibration.json"
    kept.write_text(text)
    machine({"cpu": {"onnxruntime": "1"}}, kept, "p")
    assert counted == ["onnxruntime"]
    assert list(json.loads(kept.read_text())) == ["p, cpu, onnxruntime 1"]


def test_a_file_that_cannot_be_written(counted, tmp_path):
    assert machine({"cpu": {"onnxruntime": "1"}}, tmp_path / "nowhere" / "calibration.json").units
