"""Leading part: a detector's network runs on any engine, its suppression on one that computes float64, with the numbers
of the whole on one engine."""

import numpy as np
import pytest
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

import pippin
from lowering.classical.specs import pipeline
from lowering.classical.test_boxes import suppression
from pippin.configuration import Configuration, Hints
from pippin.engines import all_engines
from pippin.lowering.lower_model import lower_model
from pippin.program.opening import open_model
from pippin.specialization.leading_part import split
from pippin.specialization.segmentation import declined_nodes

FAST = Hints("fast_load")
ENGINES = [all_engines()[name] for name in ("openvino", "onnxruntime")]


def detector(width=32, thresholds=True):
    """A pipeline of a convolutional network, which makes 200 boxes of 3 classes, and a suppression."""
    random = np.random.default_rng(0)
    names = ("raw_confidence", "raw_coordinates")
    made = NeuralNetworkBuilder(
        [("x", datatypes.Array(1, 4, 20, 40))], [(name, None) for name in names], disable_rank5_shape_mapping=True
    )
    before, value = 4, "x"
    for number, after in enumerate((width, width, width)):
        weights = random.standard_normal((3, 3, before, after)).astype(np.float32) / np.sqrt(9 * before)
        made.add_convolution(f"conv{number}", before, after, 3, 3, 1, 1, "same", 1, weights, random.random(after), True,
                             input_name=value, output_name=f"v{number}")  # fmt: skip
        before, value = after, f"v{number}"
    for name, count in zip(names, (3, 4), strict=True):
        weights = random.standard_normal((4, 2, before, count)).astype(np.float32) / np.sqrt(8 * before)
        made.add_convolution(f"{name}_conv", before, count, 4, 2, 2, 4, "valid", 1, weights, np.zeros(count), True,
                             input_name=value, output_name=f"{name}_raw")  # fmt: skip
        made.add_activation(f"{name}_act", "SIGMOID", f"{name}_raw", f"{name}_act")
        made.add_transpose(f"{name}_turn", (0, 2, 3, 1), f"{name}_act", f"{name}_turned")
        made.add_reshape_static(f"{name}_rows", f"{name}_turned", name, (-1, count))
    network = made.spec
    for output in network.description.output:
        output.type.multiArrayType.dataType = 65568
    given = {"x": ((1, 4, 20, 40), "float32")} | ({"iouThreshold": "double?"} if thresholds else {})
    boxes = suppression(dtype="float32", confidence=0.4, iou=0.3, thresholds=thresholds)
    whole = pipeline([network, boxes], given, {})
    whole.description.output.MergeFrom(boxes.description.output)
    if thresholds:
        whole.description.input.add(name="confidenceThreshold").type.doubleType.SetInParent()
    return whole


def example(seed=0):
    x = np.random.default_rng(seed).standard_normal((1, 4, 20, 40)).astype(np.float32)
    return {"x": x, "iouThreshold": 0.3, "confidenceThreshold": 0.5}


@pytest.fixture(scope="module")
def model():
    return detector()


def parts(spec):
    asset = open_model(spec, None)
    lowered = lower_model(asset, asset.description.function(), np.float32)
    return split(lowered, ENGINES, declined_nodes(lowered, ENGINES, set()))


def test_the_numbers_are_those_of_one_engine(model, tmp_path):
    alone = pippin.load(model, Configuration(engine="onnxruntime"), cache=False)
    assert len(alone.compute_plan.segments) == 1
    for cache in (False, tmp_path, tmp_path):  # fresh, fresh and stored, from the cache
        both = pippin.load(model, Configuration(hints=FAST), cache=cache)
        assert both.engine == "openvino+onnxruntime"
        for seed in range(3):
            right, found = alone.predict(example(seed)), both.predict(example(seed))
            assert right["confidence"].shape[0] > 3
            for name, values in right.items():
                assert found[name].shape == values.shape
                np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)


def test_every_engine_is_measured_on_the_network(model):
    plan = pippin.load(model, cache=False).compute_plan
    first, second = plan.segments
    assert second.engine == "onnxruntime" and second.threads == 1
    tried = {(candidate.engine, candidate.seconds is not None) for candidate in plan.candidates}
    assert {("openvino", True), ("onnxruntime", True)} <= tried
    assert first.operations > 5 and "float64" in plan.declined["openvino"]


def test_the_operations_are_measured_in_both_segments(model):
    plan = pippin.load(model, Configuration(hints=FAST), cache=False).measured_plan()
    kinds = {op.name: op.kind for op in plan.operations}
    measured = {kinds.get(name, name) for name in plan.measured}
    assert "nonMaximumSuppression" in measured and any("conv" in kind.lower() for kind in measured)


def test_a_value_that_is_not_a_number(model):
    """The whole is computed again by an engine that is exact."""
    given = example()
    given["x"][0, 0, 0, 0] = np.nan
    alone, both = (pippin.load(model, c, cache=False).predict(given) for c in
                   (Configuration(engine="onnxruntime"), Configuration(hints=FAST)))  # fmt: skip
    for name, values in alone.items():
        np.testing.assert_array_equal(both[name], values)


def test_a_wrong_threshold_is_refused(model):
    with pytest.raises(pippin.errors.PippinError, match="IoU threshold"):
        pippin.load(model, Configuration(hints=FAST), cache=False).predict({**example(), "iouThreshold": 1.5})


def test_what_is_cut(model):
    found = parts(model)
    assert found is not None
    assert [engine.name for engine in found.engines] == ["openvino", "onnxruntime"]
    assert found.leading.inputs == ("x",) and len(found.leading.outputs) == 2
    assert not {node.op_type for node in found.leading.model.graph.node} & {"Compress", "NonMaxSuppression"}
    assert {"confidence", "coordinates"} <= set(found.rest.outputs)


@pytest.mark.parametrize("width", [1, 2])
def test_a_small_network_is_not_worth_it(width):
    assert parts(detector(width)) is None


@pytest.mark.parametrize("engine", ["", "openvino", "mnn"])
def test_whose_refusals_cut_a_model(engine):
    """None does if every engine takes the model; MNN is only tried for fast predictions."""
    asset = open_model(detector().pipeline.models[0], None)
    lowered = lower_model(asset, asset.description.function(), np.float32)
    engines = [*ENGINES, all_engines()["mnn"]]
    last = lowered.model.graph.node[-1].name
    declined = {e.name: {last: "for the test"} if e.name == engine else {} for e in engines}
    assert (split(lowered, engines, declined) is not None) == (engine == "openvino")
