"""The operation that makes the first NaN or infinity of an output: known from the definitions of the operations."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
import pippin
from pippin.reporting.first_nonfinite import first_nonfinite
from support.small_models import saved_program

NAN_WEIGHT = np.array([1, np.nan, 2], np.float32)


def infinite_twice(x):
    """exp overflows in two ways; their difference is NaN."""
    return mb.sub(x=mb.exp(x=x, name="small"), y=mb.exp(x=mb.mul(x=x, y=2.0, name="twice"), name="large"), name="y")


def in_a_branch(x):
    positive = mb.greater(x=mb.reduce_sum(x=x, name="total"), y=0.0, name="sign")
    made = mb.cond(pred=positive, _true_fn=lambda: mb.abs(x=x), _false_fn=lambda: mb.log(x=x), name="branch")
    return mb.add(x=made, y=1.0, name="y")


# The program, the input, and (value, operation, kind, weight, cause); None if all values of the outputs are finite.
CASES = {
    "log": (lambda x: mb.relu(x=mb.log(x=x, name="lg"), name="y"), -1.0, ("NaN", "lg", "log", False, None)),
    "sqrt": (lambda x: mb.add(x=mb.sqrt(x=x, name="sq"), y=1.0, name="y"), -4.0, ("NaN", "sq", "sqrt", False, None)),
    "0 / 0": (lambda x: mb.real_div(x=x, y=mb.mul(x=x, y=3.0, name="z"), name="y"), 0.0, ("NaN", "y", "real_div", False, None)),
    "1 / 0": (lambda x: mb.mul(x=mb.inverse(x=x, epsilon=0.0, name="i"), y=2.0, name="y"), 0.0, ("infinity", "i", "inverse", False, None)),
    "overflow": (lambda x: mb.add(x=mb.exp(x=x, name="e"), y=1.0, name="y"), 1000.0, ("infinity", "e", "exp", False, None)),
    "infinity - infinity": (infinite_twice, 1000.0, ("NaN", "y", "sub", False, "small")),
    "a weight": (lambda x: mb.add(x=mb.relu(x=x, name="r"), y=NAN_WEIGHT, name="y"), 1.0, ("NaN", "y", "add", True, None)),
    "an input": (lambda x: mb.add(x=x, y=1.0, name="y"), np.nan, ("NaN", "x", "input", False, None)),
    "a branch": (in_a_branch, -1.0, ("NaN", "branch", "cond", False, None)),
    "an infinity that ends": (lambda x: mb.exp(x=mb.log(x=x, name="lg"), name="y"), 0.0, None),
    "finite": (lambda x: mb.exp(x=x, name="y"), 1.0, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_origins(name, tmp_path):
    body, value, expected = CASES[name]
    package = saved_program(tmp_path, body, x=(1, 3))
    found = first_nonfinite(package, {"x": np.full((1, 3), value, np.float32)})
    if expected is None:
        assert found is None
    else:
        cause = found.cause and found.cause.name
        assert (found.value, found.name, found.kind, found.weight, cause) == expected
        assert f"'{found.name}'" in str(found) and found.value in str(found)


def test_the_first_of_several(tmp_path):
    """Two operations make NaN; the one that the other reads is named, also if another path is shorter."""
    package = saved_program(
        tmp_path, lambda x: mb.add(x=mb.log(x=mb.sqrt(x=x, name="sq"), name="lg"), y=mb.log(x=x, name="l2"), name="y"), x=(1, 3)
    )  # fmt: skip
    assert first_nonfinite(package, {"x": np.full((1, 3), -1, np.float32)}).name == "sq"


def test_a_layer_of_a_network(tmp_path):
    builder = ct.models.neural_network.NeuralNetworkBuilder(
        [("x", ct.models.datatypes.Array(3))], [("y", None)], disable_rank5_shape_mapping=True
    )
    builder.add_unary("root", "x", "r", mode="log")
    builder.add_activation("last", "RELU", "r", "y")
    path = tmp_path / "network.mlmodel"
    ct.models.utils.save_spec(builder.spec, str(path))
    found = first_nonfinite(path, {"x": np.full(3, -1, np.float32)})
    assert (found.value, found.name, found.kind) == ("NaN", "root", "unary")


def test_the_state_before_the_prediction(tmp_path):
    @mb.program(
        input_specs=[mb.TensorSpec((1, 3), types.fp16), mb.StateTensorSpec((1, 3), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x, memory):
        read = mb.read_state(input=memory, name="read")
        kept = mb.coreml_update_state(state=memory, value=mb.add(x=read, y=x, name="kept"))
        return mb.log(x=kept, name="y")

    model = ct.convert(program, minimum_deployment_target=ct.target.iOS18)
    model.save(str(tmp_path / "m.mlpackage"))
    x = {"x": np.ones((1, 3), np.float16)}
    assert first_nonfinite(tmp_path / "m.mlpackage", x) is None
    found = first_nonfinite(tmp_path / "m.mlpackage", x, state={"memory": np.full((1, 3), -2, np.float16)})
    assert (found.name, found.kind) == ("y", "log")


def test_float16_rounds_as_configured(tmp_path):
    """60,000 * 2 is infinite in float16 alone."""
    body = lambda x: mb.cast(x=mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(2), name="m"), dtype="fp32", name="y")  # noqa: E731
    package = saved_program(tmp_path, body, x=(1, 3))
    x = {"x": np.full((1, 3), 60_000, np.float32)}
    assert first_nonfinite(package, x) is None
    found = first_nonfinite(package, x, pippin.Configuration(precision="float16"))
    assert (found.value, found.kind) == ("infinity", "mul")
