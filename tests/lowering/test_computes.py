"""Computes: the float types in which a program computes, by which 16-bit precisions are allowed."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
from pippin.lowering.lower_model import lower_model
from pippin.program.opening import open_model
from pippin.types import DataType

HALF, SINGLE = DataType.FLOAT16, DataType.FLOAT32
X = (1, 3, 4, 4)


def scaled(x):
    """What coremltools writes for an image with a scale and a bias."""
    return mb.add(x=mb.mul(x=x, y=np.float32(1 / 255)), y=np.full((1, 3, 1, 1), -0.5, np.float32))


def half(x):
    return mb.relu(x=mb.cast(x=x, dtype="fp16"))


ROWS = {
    "float16": (half, {HALF}),
    "a scaled input": (lambda x: half(scaled(x)), {HALF}),
    "a divided input": (lambda x: half(mb.real_div(x=x, y=np.float32(255))), {HALF}),
    "two inputs": (lambda x: half(mb.mul(x=x, y=mb.mul(x=x, y=np.float32(2)))), {SINGLE, HALF}),
    "a function of the input": (lambda x: half(mb.exp(x=x)), {SINGLE, HALF}),
    "a result that is scaled": (lambda x: mb.mul(x=mb.cast(x=half(x), dtype="fp32"), y=np.float32(2)), {SINGLE, HALF}),
    "float16 alone": (lambda x: mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(2)), {HALF}),
    "float32": (lambda x: mb.relu(x=scaled(x)), {SINGLE}),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.filterwarnings("ignore")
def test_the_types_of_a_program(row):
    build, expected = ROWS[row]

    @mb.program(input_specs=[mb.TensorSpec(X, types.fp32)], opset_version=ct.target.iOS16)
    def program(x):
        return build(x)

    passes = ct.PassPipeline.EMPTY
    model = ct.convert(program, convert_to="mlprogram", skip_model_load=True, pass_pipeline=passes,
                       minimum_deployment_target=ct.target.iOS16)  # fmt: skip
    asset = open_model(model.get_spec(), model.weights_dir)
    assert lower_model(asset, asset.description.function(), np.float32).computes == expected
