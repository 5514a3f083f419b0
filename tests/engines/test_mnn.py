"""MNN: what it reads and computes wrong by itself is given to it in another form, or compared, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from coremltools.converters.mil.mil import Builder as mb
from onnx import TensorProto, helper, numpy_helper

import coremltools as ct
import pippin
from engines.test_engines import lowered_of
from pippin import Configuration, Hints
from pippin.engines import all_engines
from pippin.errors import CompilationError, UnsupportedOperationError
from pippin.lowering.external_data import readable
from pippin.specialization.reference import prepared
from support.small_models import saved_program

RANDOM = np.random.default_rng(0)
ENGINE = all_engines()["mnn"]
SHAPE = (2, 5, 40)
WEIGHT = RANDOM.standard_normal((40, 40)).astype(np.float16)
ROOT = np.float32(np.sqrt(0.5))

pytestmark = pytest.mark.skipif(not ENGINE.installed, reason="MNN is not installed")


def chained_gelu(x):
    """What converters write for gelu if they do not know it."""
    inner = mb.add(x=mb.erf(x=mb.mul(x=x, y=ROOT)), y=np.float32(1))
    return mb.mul(x=mb.mul(x=x, y=np.float32(0.5)), y=inner, name="y")


def tangent(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def exact_gelu(x):
    return x * scipy.special.ndtr(x)


RIGHT = {
    "gelu": (lambda x: mb.gelu(x=x, name="y"), exact_gelu),
    "gelu, tangent": (lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION", name="y"), tangent),
    "gelu, chained": (chained_gelu, exact_gelu),
    "erf": (lambda x: mb.erf(x=x, name="y"), scipy.special.erf),
    "softmax of another axis": (lambda x: mb.softmax(x=x, axis=1, name="y"), lambda x: scipy.special.softmax(x, 1)),
    "float16": (
        lambda x: mb.linear(x=mb.cast(x=x, dtype="fp16"), weight=WEIGHT, name="y"),
        lambda x: x @ WEIGHT.T.astype(np.float64),
    ),
}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("name", RIGHT)
def test_it_gets_a_form_that_it_computes_right(name, monkeypatch):
    """With weights outside of the file, as those of 1 MiB and more are."""
    monkeypatch.setattr("pippin.lowering.external_data._WORTH_A_FILE", 0)
    monkeypatch.setattr("pippin.lowering.external_data._SMALL", 8)
    body, expected = RIGHT[name]
    lowered = lowered_of(body, target=ct.target.iOS17, x=SHAPE)
    with readable(prepared(ENGINE, lowered.model)) as source:
        compiled = ENGINE.compile(source)
    for scale in (1, 30):
        x = RANDOM.standard_normal(SHAPE).astype(np.float32) * np.float32(scale)
        right = expected(x.astype(np.float64))
        np.testing.assert_allclose(compiled.run({"x": x})["y"], right, rtol=1e-5, atol=4e-6 * np.abs(right).max())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda x: mb.reduce_l2_norm(x=x, axes=[1], name="y"), "reduces over all axes"),
        (lambda x: mb.reduce_log_sum_exp(x=x, axes=[1], name="y"), "reduces over all axes"),
        (lambda x: mb.reduce_sum_square(x=x, axes=[1], name="y"), "reduces over all axes"),
        (lambda x: mb.cast(x=mb.equal(x=x, y=np.float32(0)), dtype="fp32", name="y"), "-0.0 is not 0.0"),
        (lambda x: mb.softplus(x=x, name="y"), "cuts it to 0 below -17"),
        (lambda x: mb.round(x=x, name="y"), "rounds halves away from 0"),
        (lambda x: mb.topk(x=x, k=2, axis=1)[0], "equal elements in any order"),
        (lambda x: mb.reverse(x=mb.reshape(x=x, shape=[2, 5, 2, 4, 5]), axes=[0], name="y"), "a slice backwards"),
        (
            lambda x: mb.conv(x=mb.reshape(x=x, shape=[1, 2, 5, 8, 5]), weight=np.ones((3, 2, 2, 2, 2), np.float32)),
            "a three-dimensional convolution",
        ),
    ],
)
def test_what_it_computes_wrong_is_declined(body, reason):
    assert any(reason in why for why in ENGINE.declined(lowered_of(body, x=SHAPE)).values())


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("strategy", ["default", "fast_load"])
def test_the_only_engine_is_compared_too(strategy, monkeypatch, tmp_path):
    package = saved_program(tmp_path, lambda x: mb.relu(x=x, name="y"), x=SHAPE)
    how = Configuration(engine="mnn", hints=Hints(strategy))
    assert "mnn approximates" in pippin.load(package, how, cache=False).compute_plan.precision
    compiled = type(ENGINE).compile

    def wrong(self, *given):
        made = compiled(self, *given)
        run = made.run
        made.run = lambda *given: {name: value * np.float32(1.001) for name, value in run(*given).items()}
        return made

    monkeypatch.setattr(type(ENGINE), "compile", wrong)
    with pytest.raises(
        UnsupportedOperationError,
        match=r"mnn cannot run this model: 'y' has .* against onnxruntime .* 70 dB is required",
    ):
        pippin.load(package, how, cache=False)


def test_shapes_that_do_not_fit_are_an_error():
    """It prints "Can't run session because not resized" otherwise, and its outputs are what was in memory."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"])],
            "three channels for two",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.ones((4, 2, 3, 3), np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    with pytest.raises(CompilationError, match="shapes do not fit"):
        ENGINE.compile(model.SerializeToString())
