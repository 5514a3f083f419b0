"""Profile: measured kernels become times of operations; a fused group is one row, and nothing is left over."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from onnx import TensorProto, helper

import pippin
from pippin.engines import Kernel
from pippin.lowering.lowered_model import source_of
from pippin.specialization.compute_plan import ComputePlan, PlannedOperation
from pippin.specialization.profile import with_measurements


def chain(*names):
    """A model of unary nodes in a row, one for each name."""
    values = ["x", *(f"{name}/out" for name in names)]
    nodes = [
        helper.make_node("Relu", [a], [b], name=f"{name}/Relu_{i}")
        for i, (name, a, b) in enumerate(zip(names, values, values[1:], strict=False))
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in (values[0], values[-1])]
    return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]))


SOURCES = {
    "a/Relu_1": "a",
    "a/b/Relu_1/more": "a/b",
    "c/Relu_1": "",
    "x" * 10**6 + "/Relu_1": "x" * 10**6,
    "/" * 10**6: "",  # not looked for at each of them
}


@pytest.mark.parametrize("node", SOURCES, ids=range(len(SOURCES)))
def test_the_source_of_a_node(node):
    assert source_of(node, {"a", "a/b", "x" * 10**6}) == SOURCES[node]


def planned(**costs):
    operations = tuple(PlannedOperation(name, "relu", "cpu", "e", 0, cost) for name, cost in costs.items())
    return ComputePlan("main", (), (), operations, "")


def measured(kernels, model, plan):
    found = with_measurements(plan, model, [Kernel(seconds, tuple(nodes)) for seconds, nodes in kernels])
    return dict(found.measured), dict(found.fused)


CONV_RELU = planned(conv=0.8, relu=0.0, pool=0.2)


@pytest.mark.parametrize(
    ("kernels", "seconds", "fused"),
    [
        ([(3.0, ["conv/C"]), (1.0, ["relu/R"]), (2.0, ["pool/P"])], {"conv": 3.0, "relu": 1.0, "pool": 2.0}, {}),
        ([(4.0, ["conv/C", "relu/R"]), (2.0, ["pool/P"])], {"conv": 4.0, "pool": 2.0}, {"relu": "conv"}),
        ([(4.0, ["relu/R"]), (2.0, ["pool/P"])], {"conv": 4.0, "pool": 2.0}, {"relu": "conv"}),  # named after the last
        ([(4.0, ["conv/C"]), (2.0, ["pool/P"])], {"conv": 4.0, "pool": 2.0}, {"relu": "conv"}),  # or after the first
        ([(3.0, ["conv/C"]), (0.5, ["conv/reorder"]), (2.0, ["pool/P"])], {"conv": 3.5, "pool": 2.0}, {"relu": "conv"}),
        ([(3.0, ["conv/C", "pool/P"]), (1.0, ["pool/Q"])], {"conv": 4.0}, {"pool": "conv", "relu": "conv"}),
        ([(3.0, ["conv/C"]), (1.0, [])], {"conv": 3.0, "": 1.0}, {"relu": "conv", "pool": "conv"}),
    ],
)
def test_kernels_become_operations(kernels, seconds, fused):
    assert measured(kernels, chain("conv", "relu", "pool"), CONV_RELU) == (seconds, fused)


def test_a_node_of_no_operation_counts_with_its_reader():
    model = chain("scale", "conv", "relu", "pool")
    kernels = [(1.0, ["scale/S_0", "scale/Relu_0"]), (3.0, ["conv/C"]), (2.0, ["pool/P"])]
    assert measured(kernels, model, CONV_RELU)[0] == {"conv": 4.0, "pool": 2.0}


def test_a_reshape_between_operations_does_not_join_them():
    """An engine makes one reshape of the last one of an operation and the first one of the next."""
    model, plan = chain("vectorizer", "trees"), planned(vectorizer=0.6, trees=0.4)
    for node in list(model.graph.node):
        source = node.name.split("/")[0]
        model.graph.node.add(op_type="Reshape", name=f"{source}/Reshape")
    joined = ["vectorizer/Reshape", "trees/Reshape"]
    assert measured([(3.0, ["vectorizer/R"]), (1.0, joined), (2.0, ["trees/R"])], model, plan) == (
        {"vectorizer": 4.0, "trees": 2.0}, {}
    )  # fmt: skip
    assert measured([(3.0, ["vectorizer/R", "trees/Reshape"])], model, plan) == (
        {"vectorizer": 3.0},
        {"trees": "vectorizer"},
    )


@pytest.fixture(scope="module")
def network():
    """Convolutions, activations and pooling, whose sizes differ by orders of magnitude."""
    rng = np.random.default_rng(0)
    builder = NeuralNetworkBuilder([("x", datatypes.Array(8, 64, 64))], [("y", None)])
    name = "x"
    for i, (channels, kernel) in enumerate([(16, 3), (64, 5), (8, 1)]):
        inputs = 8 if i == 0 else [16, 64][i - 1]
        weight = rng.standard_normal((kernel, kernel, inputs, channels)).astype(np.float32)
        builder.add_convolution(
            f"conv{i}", inputs, channels, kernel, kernel, 1, 1, "same", 1, weight, None, False, input_name=name, output_name=f"c{i}"
        )  # fmt: skip
        builder.add_activation(f"relu{i}", "RELU", f"c{i}", f"r{i}")
        name = f"r{i}"
    builder.add_pooling("pool", 2, 2, 2, 2, "MAX", "VALID", name, "y")
    return builder.spec


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_network(network, engine):
    plan = pippin.load(network, pippin.Configuration(engine=engine), cache=False).measured_plan()
    names = [op.name for op in plan.operations]
    assert set(plan.measured) <= set(names), "all time belongs to operations"
    assert set(plan.measured) | set(plan.fused) == set(names), "each one is measured, or fused with a measured one"
    assert set(plan.fused.values()) <= set(plan.measured)
    assert not any(name.startswith("conv") for name in plan.fused), "a fused group is listed under its product"
    cost = {op.name: op.cost for op in plan.operations}
    assert cost["conv1"] > cost["conv0"] > cost["relu0"], "costs come from shapes"
    assert sum(cost.values()) == pytest.approx(1)
