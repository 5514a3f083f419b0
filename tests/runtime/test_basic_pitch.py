"""Basic Pitch: a published Core ML model against the same network as ONNX, on sound."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

import pippin
from melody import RATE, synthesize
from notes import WINDOW, windows

# The Core ML model's names of the outputs, and the ONNX model's.
OUTPUTS = {
    "Identity": "StatefulPartitionedCall:0",
    "Identity_1": "StatefulPartitionedCall:1",
    "Identity_2": "StatefulPartitionedCall:2",
}


def _chirp():
    t = np.arange(WINDOW) / RATE
    noise = np.random.default_rng(0).normal(0, 0.02, WINDOW)
    return (0.5 * np.sin(2 * np.pi * (110 * t + 300 * t**2)) + noise).astype(np.float32).reshape(1, WINDOW, 1)


SOUNDS = {f"melody-{i}": window for i, (_, window) in enumerate(windows(synthesize()))} | {"chirp": _chirp()}


@pytest.fixture(scope="module")
def reference(basic_pitch):
    return onnxruntime.InferenceSession(basic_pitch / "nmp.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("sound", SOUNDS)
def test_outputs_agree(sound, engine, reference, basic_pitch):
    model = pippin.load(basic_pitch / "nmp.mlpackage", pippin.Configuration(engine=engine))
    found = model.predict({"input_2": SOUNDS[sound]})
    (name,) = (i.name for i in reference.get_inputs())
    expected = dict(zip(OUTPUTS, reference.run(list(OUTPUTS.values()), {name: SOUNDS[sound]}), strict=True))
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        assert np.abs(found[output] - value).max() < 1e-3
