"""Check: what 16 bits cannot hold, and what devices are reported to refuse, is found and named."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
import pippin
from pippin.errors import ConfigurationError
from support.small_models import converted, saved_program

WEIGHT = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)


def half(x):
    return mb.cast(x=x, dtype="fp16")


def masked(x):
    """Attention with a mask of the smallest float32, cast to float16."""
    mask = np.where(np.tri(4, 8) > 0, 0, np.finfo(np.float32).min).astype(np.float32)
    scores = mb.add(x=half(x), y=mask.astype(np.float16), name="scores")
    return mb.cast(x=mb.softmax(x=scores, axis=-1), dtype="fp32", name="y")


def small_epsilon(x):
    """An epsilon of 1e-8 is 0 in float16."""
    squares = mb.reduce_sum(x=mb.mul(x=half(x), y=half(x)), axes=[1], keep_dims=True)
    root = mb.sqrt(x=mb.maximum(x=squares, y=np.float16(1e-8), name="guarded"))
    return mb.cast(x=mb.real_div(x=half(x), y=root), dtype="fp32", name="y")


def normalized(x):
    squares = mb.reduce_sum(x=mb.mul(x=x, y=x), axes=[1], keep_dims=True)
    return mb.mul(x=x, y=mb.rsqrt(x=mb.add(x=squares, y=np.float32(1e-8), name="guarded"), epsilon=1e-4), name="y")


def small_epsilon_of_a_norm(x):
    return mb.cast(x=mb.layer_norm(x=half(x), axes=[1], epsilon=np.float16(1e-8), name="norm"), dtype="fp32", name="y")


def overflowing_norm(x):
    large = mb.mul(x=half(x), y=np.float16(200), name="large")
    squares = mb.reduce_sum(x=mb.mul(x=large, y=large, name="squared"), axes=[1], keep_dims=True, name="total")
    return mb.cast(x=mb.real_div(x=large, y=mb.sqrt(x=squares)), dtype="fp32", name="y")


def overflowing_inside(x):
    large = mb.mul(x=half(x), y=np.float16(200), name="large")
    return mb.cast(x=mb.reduce_l2_norm(x=large, axes=[1], name="norm"), dtype="fp32", name="y")


def harmless(x):
    return mb.relu(x=mb.linear(x=x, weight=WEIGHT), name="y")


def large_mask(x):
    return mb.softmax(x=mb.add(x=x, y=np.float32(-1e9), name="scores"), axis=-1, name="y")


def logarithm(x):
    return mb.cast(
        x=mb.log(x=mb.relu(x=half(x), name="positive"), epsilon=np.float16(0), name="log"), dtype="fp32", name="y"
    )


# (program, how it is checked, [(rule, operation, first)])
FOUND = {
    "a mask of the smallest float32": (masked, {}, [("infinite constant", "scores", False)]),
    "an epsilon of 1e-8": (small_epsilon, {}, [("epsilon of 0", "guarded", False)]),
    "an epsilon of 1e-8 before a conversion": (normalized, {"precision": "float16"}, [("epsilon of 0", "guarded", False)]),
    "an epsilon of 1e-8 in float32": (normalized, {}, []),
    "an epsilon of a norm": (small_epsilon_of_a_norm, {}, [("epsilon of 0", "norm", False)]),
    "an overflowing norm": (overflowing_norm, {}, [("overflow", "squared", True), ("overflow", "total", False)]),
    "an overflow inside": (overflowing_inside, {}, [("overflow inside", "norm", False)]),
    "nothing": (harmless, {}, []),
    "nothing in float16": (harmless, {"precision": "float16"}, []),
    "a mask in float32": (large_mask, {}, []),
    "a mask before a conversion": (large_mask, {"precision": "float16"}, [("mask beyond float16", "scores", False)]),
    "a logarithm of 0": (logarithm, {}, [("epsilon of 0", "log", False), ("first infinity", "log", True)]),
}  # fmt: skip
X = np.random.default_rng(1).normal(2, 1, (4, 8)).astype(np.float32)
X[1, 2] = -1


def test_an_epsilon_as_coremltools_converts_it(tmp_path):
    program = converted(normalized, x=(4, 8))._mil_program
    model = ct.convert(program, minimum_deployment_target=ct.target.iOS17, compute_precision=ct.precision.FLOAT16)
    model.save(str(tmp_path / "m.mlpackage"))
    (found,) = pippin.check(tmp_path / "m.mlpackage", {"x": X})
    assert found.rule == "subnormal epsilon" and "5.96e-08" in found.found


@pytest.mark.parametrize("name", FOUND)
def test_check(name, tmp_path):
    body, how, expected = FOUND[name]
    found = pippin.check(saved_program(tmp_path, body, x=(4, 8)), {"x": X}, **how)
    assert [(f.rule, f.operation, f.first) for f in found] == expected
    assert all(f.cure and f.found for f in found)


def test_a_word_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigurationError, match="precision must be declared or float16, got 'half'"):
        pippin.check(saved_program(tmp_path, harmless, x=(4, 8)), precision="half")


def rules(path):
    return [(f.rule, f.operation) for f in pippin.check(path, portable=True) if f.source]


def edited(path, edit):
    model = ct.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    edit(spec)
    other = path.with_name("edited.mlpackage")
    ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True).save(str(other))
    return other


def two(x, z):
    return mb.add(x=mb.relu(x=x), y=mb.relu(x=z), name="y")


def enumerate_shapes(feature):
    for rows in (4, 8):
        feature.type.multiArrayType.enumeratedShapes.shapes.add().shape.extend([rows, 8])


def test_flexible_inputs(tmp_path):
    path = saved_program(tmp_path, two, x=(4, 8), z=(4, 8))

    def enumerated(spec):
        for feature in spec.description.input:
            enumerate_shapes(feature)

    def mixed(spec):
        enumerate_shapes(spec.description.input[0])
        for size in (4, 8):
            spec.description.input[1].type.multiArrayType.shapeRange.sizeRanges.add(lowerBound=size, upperBound=8)

    assert rules(edited(path, enumerated)) == [("several enumerated inputs", "z")]
    assert rules(edited(path, mixed)) == [("mixed flexibility", "x")]
    assert rules(path) == []


def test_float16_features(tmp_path):
    path = saved_program(tmp_path, harmless, x=(4, 8))

    def older(spec):
        spec.description.output[0].type.multiArrayType.dataType = 65552
        spec.specificationVersion = 6

    assert rules(edited(path, older)) == [("float16 feature", "y")]


class Counter(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("total", torch.zeros(1, width))

    def forward(self, x):
        self.total.add_(x)
        return self.total * 1.0


@pytest.mark.parametrize("width, expected", [(270, [("state width", "total")]), (64, [])])
def test_states(width, expected, tmp_path):
    traced = torch.jit.trace(Counter(width), torch.ones(1, width))
    model = ct.convert(
        traced,
        inputs=[ct.TensorType("x", (1, width), dtype=np.float16)],
        outputs=[ct.TensorType("y", dtype=np.float16)],
        states=[ct.StateType(ct.TensorType(shape=(1, width), dtype=np.float16), name="total")],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    model.save(str(tmp_path / "m.mlpackage"))
    assert rules(tmp_path / "m.mlpackage") == expected


def test_weights_that_were_changed(tmp_path):
    """As coremltools leaves them if the group size does not divide the channels: its pull request 2777."""
    scaled = WEIGHT / np.abs(WEIGHT).max(1, keepdims=True)
    path = saved_program(tmp_path, lambda x: mb.linear(x=x, weight=scaled, name="y"), x=(4, 8))
    (rule,) = rules(path)
    assert rule[0] == "weight changed, not compressed"
