"""Predict: values cross as Apple's extension passes them, and errors arrive as its RuntimeError."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

import coremltools as ct
from support.small_models import converted

NUMBERS = np.array([[1.5, -2.5, 3.0]], np.float32)


@pytest.fixture(scope="module")
def doubling(installed):
    return converted(lambda x: mb.add(x=x, y=x, name="y"), x=(1, 3))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64"])
def test_arrays_of_every_dtype_go_in(doubling, dtype):
    given = NUMBERS.astype(dtype)
    found = doubling.predict({"x": given})["y"]
    np.testing.assert_array_equal(found, given.astype(np.float32) * 2)


def test_a_list_and_a_torch_tensor_go_in(doubling):
    for given in (NUMBERS.tolist(), torch.from_numpy(NUMBERS)):
        np.testing.assert_array_equal(doubling.predict({"x": given})["y"], NUMBERS * 2)


def test_a_batch_comes_back_in_order(doubling):
    rows = [{"x": NUMBERS * i} for i in range(5)]
    for i, found in enumerate(doubling.predict(rows)):
        np.testing.assert_array_equal(found["y"], NUMBERS * (2 * i))


def test_float16_outputs_come_back_as_float32(installed):
    outputs = [ct.TensorType(name="y", dtype=np.float16)]
    model = converted(lambda x: mb.cast(x=mb.mul(x=x, y=0.1), dtype="fp16", name="y"), outputs=outputs, x=(1, 3))
    found = model.predict({"x": NUMBERS})["y"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (NUMBERS * np.float32(0.1)).astype(np.float16).astype(np.float32))


def test_fractions_are_cut_off_for_an_integer_input(installed):
    model = converted(lambda x: mb.add(x=x, y=np.int32(1), name="y"), dtype=np.int32, x=(3,))
    found = model.predict({"x": np.array([1.9, -1.9, 2.0])})["y"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, [2, 0, 3])


class Negative(torch.nn.Module):
    def forward(self, x):
        return 255 - x


@pytest.mark.parametrize(
    ("layout", "mode", "channels", "comes_back"),
    [("RGB", "RGB", 3, "RGBA"), ("BGR", "RGB", 3, "RGBA"), ("G", "L", 1, "L")],
)
def test_images_in_and_out(installed, layout, mode, channels, comes_back):
    color = {"RGB": ct.colorlayout.RGB, "BGR": ct.colorlayout.BGR, "G": ct.colorlayout.GRAYSCALE}[layout]
    shape = (1, channels, 4, 5)
    model = ct.convert(
        torch.jit.trace(Negative().eval(), torch.zeros(shape)),
        inputs=[ct.ImageType(name="x", shape=shape, color_layout=color)],
        outputs=[ct.ImageType(name="y", color_layout=color)],
    )
    size = (4, 5, 3) if channels == 3 else (4, 5)
    pixels = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    found = model.predict({"x": PIL.Image.fromarray(pixels)})["y"]
    assert found.mode == comes_back
    np.testing.assert_array_equal(np.asarray(found.convert(mode)), 255 - pixels)
    with pytest.raises(RuntimeError, match="must be 5 x 4 pixels, got 10 x 4"):  # as Core ML, which resizes nothing
        model.predict({"x": PIL.Image.fromarray(pixels).resize((10, 4))})


def test_a_classifier_with_integer_labels(installed):
    model = ct.convert(
        mb.program(input_specs=[mb.TensorSpec((1, 3))])(lambda x: mb.softmax(x=x, axis=-1, name="p")),
        convert_to="mlprogram",
        classifier_config=ct.ClassifierConfig([10, 20, 30]),
    )
    found = model.predict({"x": NUMBERS})
    assert found["classLabel"] == 30
    probabilities = next(value for value in found.values() if isinstance(value, dict))
    powers = np.exp(NUMBERS[0])
    np.testing.assert_allclose([probabilities[k] for k in (10, 20, 30)], powers / powers.sum(), atol=2e-3)


def test_durations_are_there_after_the_work(doubling):
    assert doubling.load_duration_in_nano_seconds > 0
    doubling.predict({"x": NUMBERS})
    assert doubling.last_predict_duration_in_nano_seconds > 0


def test_a_wrong_shape_is_a_runtime_error_that_says_so(doubling):
    with pytest.raises(RuntimeError, match=r"must have the shape 1 x 3, got 1 x 4"):
        doubling.predict({"x": np.zeros((1, 4), np.float32)})


def test_a_missing_input_is_named(doubling):
    with pytest.raises(RuntimeError, match="the input 'x' is missing"):
        doubling.predict({})


def test_a_model_that_cannot_be_compiled_loads_and_fails_at_predict(installed):
    spec = ct.proto.Model_pb2.Model()
    spec.specificationVersion = 1
    spec.imputer.imputedStringValue = "one"  # for a number
    for features in (spec.description.input, spec.description.output):
        features.add(name="x").type.doubleType.SetInParent()
    with pytest.warns(RuntimeWarning, match="imputer"):
        model = ct.models.MLModel(spec)
    with pytest.raises(RuntimeError, match=r'Error compiling model: ".*imputer'):
        model.predict({"x": 1.0})


class TestState:
    @pytest.fixture(scope="class")
    def counter(self, installed):
        @mb.program(
            input_specs=[mb.TensorSpec((2,)), mb.StateTensorSpec((2,), dtype=types.fp16)], opset_version=ct.target.iOS18
        )
        def program(x, s):
            total = mb.add(x=mb.read_state(input=s), y=mb.cast(x=x, dtype="fp16"))
            mb.coreml_update_state(state=s, value=total)
            return mb.identity(x=total, name="y")

        return ct.convert(program, minimum_deployment_target=ct.target.iOS18, convert_to="mlprogram")

    def test_states_are_kept_apart(self, counter):
        first, second = counter.make_state(), counter.make_state()
        x = {"x": np.array([1.0, 2.0], np.float32)}
        counter.predict(x, first)
        np.testing.assert_array_equal(counter.predict(x, first)["y"], [2, 4])
        np.testing.assert_array_equal(counter.predict(x, second)["y"], [1, 2])

    def test_another_model_takes_the_state(self, counter, tmp_path):
        counter.save(str(tmp_path / "again.mlpackage"))
        again = ct.models.MLModel(str(tmp_path / "again.mlpackage"))
        state, x = counter.make_state(), {"x": np.array([1.0, 2.0], np.float32)}
        counter.predict(x, state)
        np.testing.assert_array_equal(again.predict(x, state)["y"], [2, 4])
        np.testing.assert_array_equal(counter.predict(x, state)["y"], [3, 6])

    def test_write_and_read(self, counter):
        state = counter.make_state()
        state.write_state("s", np.array([5.0, 6.0], np.float32))
        found = state.read_state("s")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, [5, 6])
        np.testing.assert_array_equal(counter.predict({"x": np.ones(2, np.float32)}, state)["y"], [6, 7])

    @pytest.mark.parametrize(
        ("name", "value"), [("no", np.zeros(2, np.float32)), ("s", [1, 2]), ("s", np.zeros(3, np.float32))]
    )
    def test_what_cannot_be_written_is_a_runtime_error(self, counter, name, value):
        with pytest.raises(RuntimeError):
            counter.make_state().write_state(name, value)

    def test_an_unknown_state_cannot_be_read(self, counter):
        with pytest.raises(RuntimeError, match="no state 'no'"):
            counter.make_state().read_state("no")

    def test_a_model_without_states_makes_none(self, doubling):
        with pytest.raises(RuntimeError, match="no states"):
            doubling.make_state()


def test_nan_in_a_network_whose_file_is_gone(installed):
    """coremltools removes the file that it wrote for the load; a relu of NaN needs the model once more."""
    builder = NeuralNetworkBuilder([("x", datatypes.Array(3))], [("y", datatypes.Array(3))])
    builder.add_activation("relu", "RELU", "x", "y")
    model = ct.models.MLModel(builder.spec)
    found = model.predict({"x": np.array([np.nan, -1, 2], np.float32)})["y"]
    np.testing.assert_array_equal(found, [np.nan, 0, 2])
