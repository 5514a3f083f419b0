"""Layers that take positions: a position outside the axis is one error on every engine."""

import numpy as np
import onnx
import pytest
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

import pippin
from lowering.classical.specs import pipeline
from lowering.layers.layer_harness import ENGINES, check, f32, row, specification
from lowering.layers.test_control import assign, inside
from pippin.errors import PredictionError
from pippin.lowering.lower_model import lower_model
from pippin.program.opening import open_model

X = f32(4, 3)
TABLE = f32(2, 4)
FAST = pippin.Hints(specialization_strategy="fast_load")


def position(*values):
    return np.array(values, np.float32)


def rows_in_loop(b):
    """The sum of the first n rows of x, one by one."""
    b.add_load_constant_nd("at", "at", np.zeros(1), [1])
    b.add_load_constant_nd("y", "y", np.zeros((1, 3)), [1, 3])
    body = inside(b.add_loop("loop", input_name="n").loop.bodyNetwork)
    body.add_gather("l", ["x", "at"], "row", axis=0)
    body.add_add_broadcastable("add", ["y", "row"], "sum")
    assign(body, "y", "sum")
    body.add_elementwise("next", "at", "more", "ADD", alpha=1.0)
    assign(body, "at", "more")


def rows_while(most, start=0.0, step=1.0):
    """The sum of the rows start, start + step ... of x, as long as they are below `most`."""

    def build(b):
        b.add_load_constant_nd("at", "at", np.full(1, start), [1])
        b.add_load_constant_nd("y", "y", np.zeros((1, 3)), [1, 3])
        loop = b.add_loop("loop")
        inside(loop.loop.conditionNetwork).add_less_than("below", ["at"], "goes on", alpha=most)
        loop.loop.conditionVar = "goes on"
        body = inside(loop.loop.bodyNetwork)
        body.add_gather("l", ["x", "at"], "row", axis=0)
        body.add_add_broadcastable("add", ["y", "row"], "sum")
        assign(body, "y", "sum")
        body.add_elementwise("next", "at", "more", "ADD", alpha=step)
        assign(body, "at", "more")

    return build


# (the network, whether its positions are known to be inside, the turns that bound its loop)
COUNTED = {
    "to the end": (rows_while(4.0), True, 4),
    "every second": (rows_while(3.5, step=2.0), True, 2),
    "one too far": (rows_while(5.0), False, 5),
    "from the last": (rows_while(4.0, start=3.0), True, 1),
    "steps of a half": (rows_while(4.0, step=0.5), False, None),
    "backwards": (rows_while(4.0, step=-1.0), False, None),
}


@pytest.mark.parametrize("name", COUNTED)
def test_what_counts_to_a_known_bound_is_not_checked(name):
    build, proven, turns = COUNTED[name]
    asset = open_model(specification(row("loop", build, {"x": X}, None)))
    lowered = lower_model(asset, asset.description.function(), np.float32)
    (loop,) = (node for node in lowered.model.graph.node if node.op_type == "Loop")
    bound = {o: n for n in lowered.model.graph.node for o in n.output}.get(loop.input[0])
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in lowered.model.graph.initializer}
    assert (lowered.index_checks == ()) == proven
    assert (None if bound is None else stored[bound.input[0]].item()) == turns


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name, rows", [("to the end", [0, 1, 2, 3]), ("every second", [0, 2]), ("from the last", [3])])
def test_a_counted_loop(name, rows, engine):
    check(row("loop", COUNTED[name][0], {"x": X}, X[rows].sum(0, keepdims=True)), engine)


# The layer, its network, the inputs except i, and an i that is inside.
LAYERS = [
    ("gather", lambda b: b.add_gather("l", ["x", "i"], "y", axis=0), {"x": X}, position(1, 0)),
    ("gatherND", lambda b: b.add_gather_nd("l", ["x", "i"], "y"), {"x": X}, position(0, 1)[:, None]),
    ("gatherAlongAxis", lambda b: b.add_gather_along_axis("l", ["x", "i"], "y", axis=0), {"x": X}, position(0, 1, 2)[None]),
    ("scatter", lambda b: b.add_scatter("l", ["x", "i", "u"], "y", axis=0, mode="ADD"), {"x": X, "u": X[:2]}, position(0, 1)),
    ("scatterND", lambda b: b.add_scatter_nd("l", ["x", "i", "u"], "y", mode="ADD"), {"x": X, "u": X[:2]}, position(0, 1)[:, None]),
    ("scatterAlongAxis", lambda b: b.add_scatter_along_axis("l", ["x", "i", "u"], "y", axis=0, mode="UPDATE"), {"x": X, "u": X[:1]}, position(0, 1, 2)[None]),
    ("embeddingND", lambda b: b.add_embedding_nd("l", "i", "y", 4, 2, TABLE), {}, position(0, 1)[:, None]),
]  # fmt: skip
OUTSIDE = [(4, "4"), (-5, "-5"), (2.0**31, str(2**31)), (1e10, str(10**10)), (-1e10, str(-(10**10))), (np.nan, "nan"), (np.inf, "inf")]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("computed", [False, True], ids=["given", "computed"])
@pytest.mark.parametrize(("layer", "build", "given", "right"), LAYERS, ids=[layer for layer, *_ in LAYERS])
def test_a_position_outside_is_named(layer, build, given, right, computed, engine):
    def network(b):
        if computed:
            b.add_activation("twice", "LINEAR", "half", "i", [2, 0])
        build(b)

    name = "half" if computed else "i"
    made = specification(row(layer, network, {**given, name: right}, None))
    model = pippin.load(made, pippin.Configuration(engine=engine, hints=FAST))
    scale = 0.5 if computed else 1
    model.predict({**given, name: right * np.float32(scale)})
    for outside, text in OUTSIDE:
        wrong = right * np.float32(scale)
        wrong.flat[0] = outside * scale
        with pytest.raises(PredictionError, match=rf"^\[{layer}\] 'l': the index {text} is outside the axis of size "):
            model.predict({**given, name: wrong})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_position_that_an_earlier_model_of_a_pipeline_computes(engine):
    first = NeuralNetworkBuilder(
        [("x", datatypes.Array(2))], [("i", datatypes.Array(2))], disable_rank5_shape_mapping=True
    )
    first.add_activation("twice", "LINEAR", "x", "i", [2, 0])
    second = NeuralNetworkBuilder(
        [("i", datatypes.Array(2))], [("y", datatypes.Array(2, 2))], disable_rank5_shape_mapping=True
    )
    second.add_expand_dims("column", "i", "column", [1])
    second.add_embedding_nd("l", "column", "y", 4, 2, TABLE)
    made = pipeline([first.spec, second.spec], {"x": (2,)}, {"y": (2, 2)})
    made.specificationVersion = 5
    model = pippin.load(made, pippin.Configuration(engine=engine, hints=FAST))
    np.testing.assert_array_equal(model.predict({"x": position(0.5, 1.5)})["y"], TABLE.T[[1, 3]])
    for outside, text in OUTSIDE[:2]:
        with pytest.raises(PredictionError, match=rf"^\[embeddingND\] 'l': the index {text} is outside"):
            model.predict({"x": position(0, outside / 2)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_position_in_a_loop(engine):
    made = specification(row("gather", rows_in_loop, {"x": X, "n": position(2)}, None))
    model = pippin.load(made, pippin.Configuration(engine=engine, hints=FAST))
    for n in (0, 3, 4):
        found = model.predict({"x": X, "n": position(n)})["y"]
        np.testing.assert_allclose(found.reshape(3), X[:n].sum(0), rtol=1e-6)
    for n in (5, 10**9):  # ends at the first one
        with pytest.raises(PredictionError, match=r"^\[gather\] 'l': the index 4 is outside the axis of size 4"):
            model.predict({"x": X, "n": position(n)})
