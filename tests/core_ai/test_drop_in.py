"""The drop-in: `coreai.runtime` predicts with Pippin, where Apple's package is not installed."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

import pippin.coreai
from pippin.coreai import install, uninstall

MODELS = Path(__file__).parent / "models"


@pytest.fixture(autouse=True)
def runtime():
    hints = pippin.Hints(specialization_strategy="fast_load")
    install(pippin.Configuration(engine="onnxruntime", hints=hints))
    yield sys.modules["coreai.runtime"]
    uninstall()
    pippin.coreai.runtime.configuration = pippin.Configuration()


async def loaded(runtime, name):
    model = await runtime.AIModel.load(MODELS / f"{name}.aimodel")
    return model, model.load_function("main")


def test_a_function_predicts(runtime):
    async def predict():
        _, function = await loaded(runtime, "while-5")
        inputs = {"n": runtime.NDArray(np.array(5, np.int32)), "x": runtime.NDArray([1.0, 2, 3, 4])}
        return await function(inputs=inputs)

    np.testing.assert_array_equal(asyncio.run(predict())["y"].numpy(), [32, 64, 96, 128])


def test_a_state_is_written_into_its_array(runtime):
    state = runtime.NDArray(np.zeros((8, 3), np.float32))

    async def predict():
        _, function = await loaded(runtime, "state-rows")
        for row in (2, 5):
            inputs = {
                "x": runtime.NDArray(np.full((1, 3), row, np.float32)),
                "p": runtime.NDArray(np.array([row], np.int32)),
            }
            outputs = await function(inputs=inputs, state={"h": state})
        return outputs

    np.testing.assert_array_equal(asyncio.run(predict())["y"].numpy(), [[7, 7, 7]])
    np.testing.assert_array_equal(state.numpy()[:, 0], [0, 0, 2, 0, 0, 5, 0, 0])


def test_a_function_describes_itself(runtime):
    model, function = asyncio.run(loaded(runtime, "state-rows"))
    assert model.function_names == ["main"]
    assert (function.desc.input_names, function.desc.state_names, function.desc.output_names) == (
        ["x", "p"],
        ["h"],
        ["y"],
    )
    described = function.desc.state_descriptor("h")
    assert (described.shape, described.dtype) == ([8, 3], "float32")
    assert runtime.NDArray.from_descriptor(described).shape == (8, 3)
    with pytest.raises(KeyError, match="no tensor 'z'"):
        function.desc.input_descriptor("z")
    with pytest.raises(KeyError, match="No function named 'other'"):
        model.load_function("other")


def test_what_is_no_array_is_refused(runtime):
    _, function = asyncio.run(loaded(runtime, "while-5"))
    with pytest.raises(TypeError, match='Value for "x" in input is not an NDArray'):
        asyncio.run(function(inputs={"x": [1.0]}))


def test_it_can_be_undone(runtime):
    uninstall()
    assert "coreai" not in sys.modules
    install()
    install()
    assert sys.modules["coreai.runtime"].AIModel is runtime.AIModel
