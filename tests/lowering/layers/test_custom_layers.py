"""Custom layers: registered Python code computes them, between the segments of an engine, from the cache too."""

from __future__ import annotations

import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from coremltools.proto import NeuralNetwork_pb2

import pippin
from lowering.layers.layer_harness import ENGINES, check, f32, parametrize, row, specification
from pippin.errors import PredictionError, ProgramError, UnsupportedOperationError
from pippin.extend import custom_layers

X = f32(2, 3, 4)


@pippin.custom_layer("Test.Affine")
class Affine:
    """x * factor + the weights of the last axis."""

    def __init__(self, parameters, weights):
        assert parameters["name"] == "affine" and parameters["on"] is True and parameters["count"] == 2
        self.factor, (self.shift,) = parameters["factor"], weights

    def evaluate(self, x):
        return x * np.float32(self.factor) + self.shift


@pippin.custom_layer("Test.Parts")
class Parts:
    def __init__(self, parameters, weights):
        pass

    def output_shapes(self, shapes):
        return [(*shapes[0][:-1], 1), (*shapes[0][:-1], shapes[0][-1] - 1)]

    def evaluate(self, x, y):
        return x[..., :1] * y[..., :1], x[..., 1:]


@pippin.custom_layer("Test.Crop", output_shapes=lambda shapes: [(*shapes[0][:3], shapes[0][3] - 2, shapes[0][4])])
def crop(x, *, parameters):
    return x[:, :, :, 1:-1] * parameters.get("scale", 1)


def custom(b, name, inputs, outputs, weights=(), /, **parameters):
    message = NeuralNetwork_pb2.CustomLayerParams(className=name)
    for key, value in parameters.items():
        kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(value)]
        setattr(message.parameters[key], kind, value)
    for array in weights:
        message.weights.add().floatValue.extend(array.reshape(-1).tolist())
    b.add_custom(name, inputs, outputs, message)


def affine(b):
    b.add_activation("before", "LINEAR", "x", "a", [2, 0])
    custom(b, "Test.Affine", ["a"], ["b"], [f32(4)], factor=0.5, name="affine", on=True, count=2)
    b.add_activation("after", "RELU", "b", "y")


def parts(b):
    custom(b, "Test.Parts", ["x", "z"], ["y", "r"])
    b.add_reduce_sum("sum", "r", "s", axes=[-1], keepdims=True)


ROWS = [
    row("custom", affine, {"x": X}, lambda x: np.maximum(x + f32(4), 0)),
    row("custom", parts, {"x": X, "z": f32(2, 3, 4, seed=3)}, lambda x, z: (x[..., :1] * z[..., :1], x[..., 1:].sum(-1, keepdims=True)), outputs=("y", "s"), label="several"),
    row("custom", lambda b: custom(b, "Test.Crop", ["x"], ["y"], scale=3.0), {"x": X}, X[:, 1:-1] * 3, exact=False, label="legacy, the whole network"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@parametrize(ROWS)
def test_layer(r, engine):
    check(r, engine)


def network(class_name="Test.Here", shape=(4,), inputs=1):
    builder = NeuralNetworkBuilder([("x", datatypes.Array(*shape))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_activation("before", "LINEAR", "x", "a", [2, 0])
    custom(builder, class_name, ["a"] * inputs, ["b"])
    builder.add_activation("after", "LINEAR", "b", "y", [1, 1])
    return builder.spec


@contextmanager
def registered(code, **how):
    pippin.custom_layer("Test.Here", **how)(code)
    try:
        yield
    finally:
        custom_layers._registered.pop("Test.Here")


ONE = {"x": np.ones(4, np.float32)}


def test_the_plan_shows_the_segments():
    with registered(lambda x: -x):
        plan = pippin.load(network()).compute_plan
    assert [segment.engine == "python" for segment in plan.segments] == [False, True, False]
    custom_row = next(op for op in plan.operations if op.kind == "custom")
    assert custom_row.engine == "python" and custom_row.device == "cpu"


def test_from_the_cache_the_code_is_looked_up_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PIPPIN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "m.mlmodel"
    path.write_bytes(specification(ROWS[0]).SerializeToString())
    here = tmp_path / "here.mlmodel"
    here.write_bytes(network().SerializeToString())
    for _ in range(2):
        model = pippin.load(path)
        np.testing.assert_allclose(model.predict({"x": X})["y"], np.maximum(X + f32(4), 0), atol=1e-6)
    for sign in (-1, 5):
        with registered(lambda x, sign=sign: sign * x):
            assert pippin.load(here).predict(ONE)["y"].tolist() == [2 * sign + 1] * 4
    with pytest.raises(UnsupportedOperationError, match=r"class 'Test.Here': its code is not in the model file"):
        pippin.load(here)
    # Code that now gives another shape than the segments behind it were compiled for: the model is specialized again.
    with registered(lambda x: x[:2], output_shapes=lambda shapes: [(2,)]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pippin.load(here).predict(ONE)["y"].tolist() == [3, 3]


def test_many_threads_at_once():
    model = pippin.load(specification(ROWS[0]))
    inputs = [f32(2, 3, 4, seed=i) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: model.predict({"x": x})["y"], inputs))
    for x, y in zip(inputs, found, strict=True):
        np.testing.assert_allclose(y, np.maximum(x + f32(4), 0), atol=1e-6)


def test_sizes_that_are_known_at_the_prediction():
    from coremltools.models.neural_network import flexible_shape_utils

    spec = network()
    flexible_shape_utils.set_multiarray_ndshape_range(spec, "x", [1], [9])
    with registered(lambda x: x * x):
        model = pippin.load(spec)
        for size in (1, 4, 9):
            assert model.predict({"x": np.full(size, 3, np.float32)})["y"].tolist() == [37] * size


def test_an_entry_point_is_found(tmp_path, monkeypatch):
    (tmp_path / "their_layers.py").write_text("def negate(x):\n    return -x\n")
    information = tmp_path / "their_layers-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-layers\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        textwrap.dedent("""
        [pippin.custom_layers]
        Test.Theirs = their_layers:negate
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert pippin.load(network("Test.Theirs")).predict(ONE)["y"].tolist() == [-1] * 4
    custom_layers._registered.pop("Test.Theirs")
    sys.modules.pop("their_layers")


class Unmakeable:
    def __init__(self, parameters, weights):
        raise ValueError("no such factor")


@pytest.mark.parametrize(
    ("code", "shapes", "message"),
    [
        (Unmakeable, None, r"\[custom\] 'Test.Here': the custom layer 'Test.Here' could not be created: ValueError: no such factor"),
        (lambda x: x, lambda shapes: shapes * 2, "output_shapes returned 2 shapes, expected 1"),
        (lambda x: x, lambda shapes: 1 / 0, "output_shapes failed: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_fails_at_the_load(code, shapes, message):
    with registered(code, output_shapes=shapes), pytest.raises(ProgramError, match=message):
        pippin.load(network())


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (lambda x: 1 / 0, "the custom layer 'Test.Here' failed: ZeroDivisionError"),
        (lambda x: x[:2], r"returned an output of shape \(2,\), expected \(4,\)"),
        (lambda x: (x, x), "returned 2 outputs, expected 1"),
        (lambda x: np.array(["a"] * 4), "returned an array of <U1, expected numbers"),
    ],
)
def test_what_fails_at_the_prediction(code, message):
    with registered(code):
        model = pippin.load(network())
        with pytest.raises(PredictionError, match=message):
            model.predict(ONE)


def test_inside_a_loop_it_is_refused():
    builder = NeuralNetworkBuilder([("x", datatypes.Array(4))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_copy("start", "x", "y")
    loop = builder.add_loop("loop", max_iterations=2)
    custom(
        NeuralNetworkBuilder(nn_spec=loop.loop.bodyNetwork, disable_rank5_shape_mapping=True), "Test.Here", ["y"], ["y"]
    )
    with registered(lambda x: x), pytest.raises(UnsupportedOperationError, match="inside a branch or loop"):
        pippin.load(builder.spec)
