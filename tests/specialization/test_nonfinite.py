"""Non-finite: what NaN, infinity and huge values become, by numpy, on every engine; and what is checked for that."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
import pippin
from pippin.engines import all_engines
from pippin.errors import PredictionError, UnsupportedOperationError
from pippin.specialization import exactness
from pippin.specialization.degenerate import degenerate_inputs, difference
from pippin.specialization.nonfinite import Guard, moderate
from support.small_models import converted, saved_program

NAN, INF, MAX = np.float32(np.nan), np.float32(np.inf), np.finfo(np.float32).max
ENGINES = ("openvino", "onnxruntime")
RANDOM = np.random.default_rng(0)
WEIGHT, BIAS = RANDOM.standard_normal((8, 8)).astype(np.float32), RANDOM.standard_normal(8).astype(np.float32)


def _softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _pool(x):
    return x.reshape(4, 4, 2).max(-1)


def _hard_swish(x):
    return mb.mul(x=mb.thresholded_relu(x=x, alpha=-3.0), y=mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5))


# x is [4, 8]. What MIL computes, and what numpy does.
OPERATIONS = {
    "relu": (lambda x: mb.relu(x=x), lambda x: np.maximum(x, 0)),
    "relu6": (lambda x: mb.relu6(x=x), lambda x: np.clip(x, 0, 6)),
    "clip": (lambda x: mb.clip(x=x, alpha=-1.0, beta=2.0), lambda x: np.clip(x, -1, 2)),
    "leaky_relu": (lambda x: mb.leaky_relu(x=x, alpha=0.1), lambda x: np.where(x < 0, np.float32(0.1) * x, x)),
    "sigmoid": (lambda x: mb.sigmoid(x=x), lambda x: 1 / (1 + np.exp(-x))),
    "sigmoid_hard": (lambda x: mb.sigmoid_hard(x=x, alpha=0.2, beta=0.5), lambda x: np.clip(np.float32(0.2) * x + 0.5, 0, 1)),
    "hard_swish": (_hard_swish, lambda x: np.where(x >= -3, x, 0) * np.clip(x * np.float32(1 / 6) + 0.5, 0, 1)),
    "tanh": (lambda x: mb.tanh(x=x), np.tanh),
    "exp": (lambda x: mb.exp(x=x), np.exp),
    "sqrt": (lambda x: mb.sqrt(x=x), np.sqrt),
    "maximum": (lambda x: mb.maximum(x=x, y=np.float32(0)), lambda x: np.maximum(x, 0)),
    "minimum": (lambda x: mb.minimum(x=x, y=np.float32(0)), lambda x: np.minimum(x, 0)),
    "greater": (lambda x: mb.cast(x=mb.greater(x=x, y=np.float32(0)), dtype="int32"), lambda x: x > 0),
    "greater_equal": (lambda x: mb.cast(x=mb.greater_equal(x=x, y=np.float32(0)), dtype="int32"), lambda x: x >= 0),
    "less": (lambda x: mb.cast(x=mb.less(x=x, y=np.float32(0)), dtype="int32"), lambda x: x < 0),
    "softmax": (lambda x: mb.softmax(x=x, axis=-1), _softmax),
    "reduce_max": (lambda x: mb.reduce_max(x=x, axes=[1]), lambda x: x.max(1)),
    "reduce_min": (lambda x: mb.reduce_min(x=x, axes=[0]), lambda x: x.min(0)),
    "reduce_sum": (lambda x: mb.reduce_sum(x=x, axes=[1]), lambda x: x.sum(1)),
    "reduce_argmax": (lambda x: mb.reduce_argmax(x=x, axis=1), lambda x: x.argmax(1)),
    "reduce_argmin": (lambda x: mb.reduce_argmin(x=x, axis=1), lambda x: x.argmin(1)),
    "argsort": (lambda x: mb.argsort(x=x, axis=1, ascending=True), lambda x: x.argsort(1, kind="stable")),
    "argsort_down": (lambda x: mb.argsort(x=x, axis=1, ascending=False), lambda x: (-x).argsort(1, kind="stable")),
    "topk": (lambda x: mb.topk(x=x, k=3, axis=1)[0], lambda x: -np.sort(-x, 1)[:, :3]),
    "max_pool": (lambda x: mb.squeeze(x=mb.max_pool(x=mb.expand_dims(x=x, axes=[0]), kernel_sizes=[2], strides=[2], pad_type="valid"), axes=[0]), _pool),
    "linear_relu": (lambda x: mb.relu(x=mb.linear(x=x, weight=WEIGHT, bias=BIAS)), lambda x: np.maximum(x @ WEIGHT.T + BIAS, 0)),
}  # fmt: skip


def _rows(*values):
    """Random rows, the second of which holds the values."""
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    x[1, : len(values)] = values
    return x


INPUTS = {
    "finite": _rows(),
    "a NaN": _rows(1, NAN, 3),
    "NaN first and last": _rows(NAN, 2, 2, 2, 2, 2, 2, NAN),
    "inf": _rows(INF, 1),
    "-inf": _rows(-INF, 1),
    "both": _rows(-INF, INF),
    "all -inf": _rows(*[-INF] * 8),
    "all inf": _rows(*[INF] * 8),
    "all NaN": np.full((4, 8), NAN),
    "the largest": np.full((4, 8), MAX),
}


def _program(before=lambda x: x):
    def body(x):
        y = before(x)
        return tuple(mb.identity(x=operation(y), name=name) for name, (operation, _) in OPERATIONS.items())

    return body


def _agrees(found, x):
    wrong = {}
    with np.errstate(all="ignore"):
        for name, (_, right) in OPERATIONS.items():
            expected = right(x)
            if not np.allclose(found[name], expected, rtol=1e-5, atol=1e-6, equal_nan=True):
                wrong[name] = (found[name][1], expected[1])
    assert not wrong


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The operations on the input itself."""
    return saved_program(tmp_path_factory.mktemp("given"), _program(), x=(4, 8))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The operations after a division by 0, which makes NaN and infinity of zeros."""
    return saved_program(
        tmp_path_factory.mktemp("made"), _program(lambda x: mb.real_div(x=x, y=mb.sub(x=x, y=np.float32(1)))), x=(4, 8)
    )


def loaded(path, engine, cache=False, **how):
    hints = pippin.Hints(specialization_strategy="fast_load")
    return pippin.load(path, pippin.Configuration(engine=engine, hints=hints, **how), cache=cache)


@pytest.mark.parametrize("engine", ENGINES)
def test_values_of_the_caller(engine, given):
    model = loaded(given, engine)
    for x in INPUTS.values():
        _agrees(model.predict({"x": x}), x)


@pytest.mark.parametrize("engine", ENGINES)
def test_values_that_arise(engine, made):
    model = loaded(made, engine)
    for x in (_rows(), _rows(1, 2, 1), np.ones((4, 8), np.float32), _rows(NAN)):
        with np.errstate(all="ignore"):
            _agrees(model.predict({"x": x}), x / (x - 1))


def test_mnn_does_without_what_can_become_nan(made):
    with pytest.raises(UnsupportedOperationError, match="can be NaN or infinite, of which mnn makes another number"):
        loaded(made, "mnn")


def test_mnn_and_values_of_the_caller(tmp_path):
    """It makes numbers of NaN even in products; a prediction with one does not run on it."""
    path = saved_program(tmp_path, lambda x: mb.relu(x=mb.linear(x=x, weight=WEIGHT, bias=BIAS), name="y"), x=(4, 8))
    model = loaded(path, "mnn")
    for x in (INPUTS["finite"], INPUTS["a NaN"], INPUTS["both"]):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(
                model.predict({"x": x})["y"], np.maximum(x @ WEIGHT.T + BIAS, 0), rtol=1e-4, atol=1e-5
            )


def test_a_cached_model_is_exact(given, tmp_path):
    for label in ("prepare and cache", "cached"):
        model = loaded(given, "openvino", tmp_path)
        assert model.load_label == label
        _agrees(model.predict({"x": INPUTS["a NaN"]}), INPUTS["a NaN"])


def test_a_model_in_memory_is_exact():
    model = loaded(converted(lambda x: mb.relu(x=x, name="y"), x=(4, 8)).get_spec(), "openvino")
    np.testing.assert_array_equal(model.predict({"x": INPUTS["both"]})["y"], np.maximum(INPUTS["both"], 0))
    np.testing.assert_array_equal(model.predict({"x": INPUTS["a NaN"]})["y"], np.maximum(INPUTS["a NaN"], 0))


def test_the_exact_compilation_is_made_when_it_is_needed(given, monkeypatch):
    made = []
    original = exactness.compile_exact
    monkeypatch.setattr(exactness, "compile_exact", lambda lowered: made.append(1) or original(lowered))
    model = loaded(given, "openvino")
    model.predict({"x": INPUTS["finite"]})
    assert not made
    model.predict({"x": INPUTS["a NaN"]})
    model.predict({"x": INPUTS["inf"]})
    assert made == [1]


def test_a_model_whose_file_changed(tmp_path):
    path = saved_program(tmp_path, lambda x: mb.relu(x=x, name="y"), x=(4, 8))
    model = loaded(path, "openvino")
    (path / "more").write_text("")
    model.predict({"x": INPUTS["finite"]})
    with pytest.raises(PredictionError, match="has changed since the load; load the model again"):
        model.predict({"x": INPUTS["a NaN"]})


def test_outputs_in_arrays_of_the_caller(made):
    model = loaded(made, "openvino")
    backing = np.empty((4, 8), np.float32)
    x = np.ones((4, 8), np.float32)
    found = model.predict({"x": x}, options=pippin.PredictionOptions(output_backings={"relu": backing}))
    assert found["relu"] is backing
    assert (backing == INF).all()


# What is checked


def network(x):
    return mb.relu(x=mb.linear(x=x, weight=WEIGHT, bias=BIAS), name="y")


def normalized(x):
    squares = mb.reduce_mean(x=mb.mul(x=x, y=x), axes=[1], keep_dims=True)
    return mb.relu(x=mb.real_div(x=x, y=mb.sqrt(x=mb.add(x=squares, y=np.float32(1e-5)))), name="y")


def divided(x):
    return mb.relu(x=mb.real_div(x=x, y=mb.reduce_sum(x=x, axes=[1], keep_dims=True)), name="y")


def layers(x):
    """Layers after a quotient, in each of which a NaN can arise if the quotient is infinite."""
    for _ in range(3):
        x = mb.relu(x=mb.linear(x=x, weight=WEIGHT, bias=BIAS))
    return mb.identity(x=x, name="y")


def divided_before_layers(x):
    return layers(mb.real_div(x=x, y=mb.reduce_sum(x=x, axes=[1], keep_dims=True)))


def last(x):
    return mb.real_div(x=x, y=mb.reduce_sum(x=x, axes=[1], keep_dims=True), name="y")


# (program, engine, inputs that are checked, whether there is a probe)
CHECKED = {
    "ONNX Runtime is exact": (network, "onnxruntime", (), False),
    "OpenVINO's relu": (network, "openvino", ("x",), False),
    "a root of what is positive": (normalized, "openvino", ("x",), False),
    "a sum can be 0": (divided, "openvino", ("x",), True),
    "nothing after the division": (last, "openvino", (), False),
}


@pytest.mark.parametrize("name", CHECKED)
def test_what_is_checked(name, tmp_path):
    body, engine, inputs, probe = CHECKED[name]
    model = loaded(saved_program(tmp_path, body, x=(4, 8)), engine)
    (segment,) = model._loaded.segments
    assert (segment.checked, bool(segment.probe)) == (inputs, probe)


QUOTIENTS = {
    "finite": _rows(),
    "0 / 0": np.zeros((4, 8), np.float32),
    "1 / 0 and -1 / 0": _rows(1, -1, 0, 0, 0, 0, 0, 0),
    "a large quotient": _rows(1e11, -1e11, 2**-100, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_layers_after_a_quotient(engine, tmp_path):
    path = saved_program(tmp_path, divided_before_layers, x=(4, 8))
    model = loaded(path, engine)
    with np.errstate(all="ignore"):
        for x in QUOTIENTS.values():
            y = x / x.sum(1, keepdims=True)
            for _ in range(3):
                y = np.maximum(y @ WEIGHT.T + BIAS, 0)
            np.testing.assert_allclose(model.predict({"x": x})["y"], y, 1e-4, 1e-5)


def test_images_are_not_checked(tmp_path):
    image = ct.ImageType("x", shape=(1, 3, 8, 8))
    path = saved_program(tmp_path, lambda x: mb.relu(x=x, name="y"), inputs=[image], x=(1, 3, 8, 8))
    (segment,) = loaded(path, "openvino")._loaded.segments
    assert not segment.guard


@pytest.mark.parametrize(
    "array, verdict",
    [
        (np.zeros((0, 3), np.float32), True),
        (np.array(3.0, np.float32), True),
        (np.full((3, 4), -1e9, np.float32), True),
        (np.full(5, MAX), False),
        (np.full(5, -1e13, np.float32), False),
        (np.array([1, np.nan], np.float64), False),
        (np.array([1, -np.inf], np.float32), False),
        (np.full(20000, 1e9, np.float32), True),
        (np.full(300, 60000, np.float16), True),
        (np.array([1, np.nan], np.float16), False),
        (np.ones((6, 4), np.float32)[::2, ::2], True),
    ],
)
@pytest.mark.filterwarnings("error")
def test_moderate(array, verdict):
    assert moderate(array) is verdict


@pytest.mark.parametrize("value", [NAN, INF, -INF, MAX, -MAX])
@pytest.mark.parametrize("size", [3, 8192, 8193, 100_000])
@pytest.mark.filterwarnings("error")
def test_one_value_is_found(value, size):
    array = np.zeros(size, np.float32)
    array[size // 2] = value
    assert not moderate(array)


# Degenerate inputs


class Fixed:
    """A compiled model that answers with a function of its input."""

    def __init__(self, answer):
        self._answer = answer

    def run(self, inputs, stop=None, into=None):
        with np.errstate(all="ignore"):
            return {"y": self._answer(inputs["x"])}


def test_degenerate_inputs():
    sample = {"x": np.ones((2, 2), np.float32), "i": np.array([3]), "image": np.ones((2, 2), np.float32)}
    zeros, ones, largest, one_nan = degenerate_inputs(sample, {"image"})
    assert all((inputs["i"] == 3).all() for inputs in (zeros, ones, largest, one_nan))
    assert (zeros["x"] == 0).all()
    assert (ones["x"] == 1).all()
    assert (largest["x"] == 2.0**63).all()
    assert (largest["image"] == 255).all()
    assert np.isnan(one_nan["x"]).sum() == 1
    assert not np.isnan(one_nan["image"]).any()


DIFFERENCES = {
    "the same": (lambda x: 1 / x, lambda x: 1 / x, Guard(), ""),
    "0/0": (lambda x: np.nan_to_num(x / x), lambda x: x / x, Guard(), "on inputs that are all 0"),
    "a NaN": (lambda x: np.fmax(x, 0), lambda x: np.maximum(x, 0), Guard(), "on an input with a NaN"),
    "a NaN is checked": (lambda x: np.fmax(x, 0), lambda x: np.maximum(x, 0), Guard(("x",)), ""),
    "an infinity": (lambda x: np.nan_to_num(np.exp(x)), np.exp, Guard(), "on inputs that are all 9.22337e+18"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_difference(name):
    own, right, guard, expected = DIFFERENCES[name]
    inputs = degenerate_inputs({"x": np.ones((2, 2), np.float32)}, set())
    found = difference((Fixed(own), guard), (Fixed(right), Guard()), inputs, ["y"], clock=lambda: 0)
    assert found.endswith(expected)
    assert bool(found) == bool(expected)


def test_an_engine_that_differs_is_not_chosen(tmp_path, monkeypatch):
    """As if OpenVINO's relu were thought exact: the comparison finds that it is not."""
    path = saved_program(tmp_path, network, x=(4, 8))
    monkeypatch.setattr(type(all_engines()["openvino"]), "misjudges", lambda self, operator, kind: False)
    with pytest.raises(
        UnsupportedOperationError,
        match=r"openvino cannot run this model: 'y' differs in NaN or infinity from ONNX Runtime",
    ):
        pippin.load(path, pippin.Configuration(engine="openvino"), cache=False)
    model = pippin.load(path, cache=False)
    assert model.engine == "onnxruntime"
