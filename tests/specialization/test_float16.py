"""float16 itself: every result that is declared float16 is a float16 number, with its rounding and its overflow."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from onnx.reference import ReferenceEvaluator

import coremltools as ct
import pippin
from pippin import Configuration, Hints
from pippin.engines import all_engines
from pippin.errors import ConfigurationError
from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.round_float16 import rounded_by_arithmetic
from support.small_models import saved_program

RANDOM = np.random.default_rng(0)
HALF = np.float16


def edges():
    """Every finite float16 number, what lies between two, and what is next to that."""
    halves = np.arange(65536, dtype=np.uint16).view(HALF)
    halves = np.sort(halves[np.isfinite(halves)]).astype(np.float32)
    between = ((halves[1:].astype(np.float64) + halves[:-1]) / 2).astype(np.float32)
    near = [np.nextafter(between, np.float32(end)) for end in (-np.inf, np.inf)]
    more = np.float32([65519.996, 65520, 65536, 1e38, -1e38, np.inf, -np.inf, np.nan, 1e-40])
    return np.concatenate([halves, between, *near, more])


def rounding(x):
    g = Graph()
    tensor = Tensor("x", np.dtype(np.float32), x.shape)
    return g.model("main", [tensor], [g.named(g.cast(g.cast(tensor, HALF), np.float32), "y")])


def test_by_arithmetic():
    x = edges()
    made = rounded_by_arithmetic(rounding(x))
    assert "Cast" not in {node.op_type for node in made.graph.node}
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(ReferenceEvaluator(made).run(None, {"x": x})[0], x.astype(HALF))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_by_an_engine(engine):
    x, found = edges(), all_engines()[engine]
    compiled = found.compile(found.prepared(rounding(x)).SerializeToString())
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(compiled.run({"x": x})["y"], x.astype(HALF))


def half(*values):
    return np.array(values, HALF)


def sums(x):
    """2048 + 1 is 2048 in float16, twice."""
    return mb.sub(x=mb.add(x=mb.add(x=x, y=half(1)), y=half(1)), y=half(2048), name="y")


def cast_first(x):
    return mb.mul(x=mb.cast(x=x, dtype="fp16"), y=half(3), name="y")


def in_a_branch(x):
    flag = mb.greater(x=mb.reduce_sum(x=x, axes=[0]), y=HALF(0))
    return mb.cond(
        pred=flag,
        _true_fn=lambda: mb.mul(x=mb.mul(x=x, y=x), y=half(0.001)),
        _false_fn=lambda: mb.add(x=x, y=half(1)),
        name="y",
    )


MATRIX = RANDOM.standard_normal((3, 3)).astype(HALF)

# The operations, the input, and what numpy computes in float16.
ROWS = {
    "overflow": (lambda x: mb.mul(x=mb.mul(x=x, y=x), y=half(0.001), name="y"), half(1, 300, -300), lambda x: x * x * HALF(0.001)),
    "rounding": (sums, half(2048, 2047, 1), lambda x: x + HALF(1) + HALF(1) - HALF(2048)),
    "subnormal": (lambda x: mb.mul(x=mb.mul(x=x, y=half(1e-4)), y=half(1e4), name="y"), half(1e-3, 0.1, 3), lambda x: x * HALF(1e-4) * HALF(1e4)),
    "underflow": (lambda x: mb.mul(x=mb.mul(x=x, y=half(1e-4)), y=half(1e4), name="y"), half(1e-4, 2e-4, 9e-4), lambda x: x * HALF(1e-4) * HALF(1e4)),
    "exponent": (lambda x: mb.mul(x=mb.exp(x=x), y=half(0), name="y"), half(1, 11, 12), lambda x: np.exp(x) * HALF(0)),
    "moves": (lambda x: mb.mul(x=mb.concat(values=[mb.relu(x=x), mb.mul(x=x, y=x)], axis=0), y=half(0.5), name="y"), half(1.5, -300, 9), lambda x: np.concatenate([np.maximum(x, 0), x * x]) * HALF(0.5)),
    "branch": (in_a_branch, half(1, 300, 2), lambda x: x * x * HALF(0.001)),
    "other branch": (in_a_branch, half(-1, -2048, 2), lambda x: x + HALF(1)),
    "product": (lambda x: mb.add(x=mb.linear(x=mb.expand_dims(x=x, axes=[0]), weight=MATRIX), y=half(1), name="y"), half(1.5, 2.5, -1), lambda x: (x.astype(np.float32) @ MATRIX.T.astype(np.float32)).astype(HALF)[None] + HALF(1)),
}  # fmt: skip


# OpenVINO rounds by other means (`test_by_an_engine`).
ON_OPENVINO = ("overflow", "rounding", "branch", "product")


@pytest.mark.parametrize(
    ("name", "engine"), [*((name, "onnxruntime") for name in ROWS), *((name, "openvino") for name in ON_OPENVINO)]
)
def test_an_operation(name, engine, tmp_path):
    body, x, expected = ROWS[name]
    package = saved_program(tmp_path, body, dtype=HALF, target=ct.target.iOS17, x=x.shape)
    how = Configuration(precision="float16", engine=engine, hints=Hints("fast_load"))
    model = pippin.load(package, how, cache=False)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        right = expected(x)
    found = model.predict({"x": x})["y"]
    assert right.dtype == found.dtype == HALF
    np.testing.assert_array_equal(found, right)
    assert model.compute_plan.precision.startswith("float16 itself")


def test_values_that_are_cast(tmp_path):
    """The input is float32."""
    package = saved_program(tmp_path, cast_first, target=ct.target.iOS17, x=(3,))
    x = np.float32([1 / 3, 1e5, 2049])
    with np.errstate(over="ignore"):
        right = x.astype(HALF) * HALF(3)
    for engine in ("onnxruntime", "openvino"):
        model = pippin.load(package, Configuration(precision="float16", engine=engine), cache=False)
        np.testing.assert_array_equal(model.predict({"x": x})["y"], right)


def test_float32_stays_float32(tmp_path):
    package = saved_program(tmp_path, lambda x: mb.mul(x=x, y=np.float32(3), name="y"), x=(2,))
    model = pippin.load(package, Configuration(precision="float16"), cache=False)
    x = np.float32([1 / 3, 1e5])
    np.testing.assert_array_equal(model.predict({"x": x})["y"], x * np.float32(3))
    assert model.compute_plan.precision.startswith("float32, as declared")


def test_mnn_refuses(tmp_path):
    if not all_engines()["mnn"].installed:
        pytest.skip("MNN is not installed")
    package = saved_program(tmp_path, cast_first, target=ct.target.iOS17, x=(3,))
    with pytest.raises(ConfigurationError, match="MNN does not round to float16; choose engine 'onnxruntime'"):
        pippin.load(package, Configuration(precision="float16", engine="mnn"), cache=False)
