"""Cut, cost: a graph in segments computes what it computed in one piece; described devices get what suits them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

from pippin.specialization.segment.cost_model import Unit, estimate
from pippin.specialization.segment.cut import cut, run_numbers
from pippin.specialization.segment.partition import partition

GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[3,4] x, float[4,4] w) => (float[3,4] y, float[3,4] z) {
    a = MatMul(x, w)
    b = Relu(a)
    c = Sin(x)
    d = Add(b, c)
    e = MatMul(d, w)
    y = Add(e, a)
    z = Neg(c)
}
"""


@pytest.fixture(scope="module")
def model():
    made = onnx.parser.parse_model(GRAPH)
    for number, node in enumerate(made.graph.node):
        node.name = f"op{number}/{node.op_type}_1"
    return made


def in_segments(model, units, inputs):
    values = dict(inputs)
    for segment in cut(model, units):
        onnx.checker.check_model(segment.model)
        found = ReferenceEvaluator(segment.model).run(None, {name: values[name] for name in segment.inputs})
        values.update(zip(segment.outputs, found, strict=True))
    return [values[info.name] for info in model.graph.output]


@pytest.mark.parametrize("seed", range(20))
def test_segments_compute_what_the_whole_computes(model, seed):
    random = np.random.default_rng(seed)
    units = random.integers(0, 3, len(model.graph.node)).tolist()
    inputs = {n: random.standard_normal(s).astype(np.float32) for n, s in (("x", (3, 4)), ("w", (4, 4)))}
    for found, expected in zip(
        in_segments(model, units, inputs), ReferenceEvaluator(model).run(None, inputs), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_one_unit_is_one_segment(model):
    (segment,) = cut(model, [0] * len(model.graph.node))
    assert len(segment.model.graph.node) == len(model.graph.node)


def test_segments_can_run_in_order(model):
    """What a segment reads comes from an earlier run."""
    runs = run_numbers(model, [0, 1, 0, 1, 0, 0, 1])
    made = {name: runs[i] for i, node in enumerate(model.graph.node) for name in node.output}
    for i, node in enumerate(model.graph.node):
        for name in node.input:
            if name in made and made[name] != runs[i]:
                assert made[name][0] < runs[i][0]


def test_a_subgraph_reads_from_around_it():
    condition = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[2] x, bool c) => (float[2] y) {
            a = Sin(x)
            b = Cos(x)
            y = If (c) <
                then_branch = t () => (float[2] p) { p = Neg(a) },
                else_branch = f () => (float[2] q) { q = Neg(b) }
            >
        }
    """)
    x = np.array([1, 2], np.float32)
    for flag in (True, False):
        inputs = {"x": x, "c": np.array(flag)}
        (found,) = in_segments(condition, [0, 1, 2], inputs)
        np.testing.assert_allclose(found, -np.sin(x) if flag else -np.cos(x), rtol=1e-6)


HOST = Unit("host", "cpu", arithmetic=1e11, bandwidth=1e10, launch=1e-6, latency=1e-6)
GPU = Unit("remote", "gpu", arithmetic=1e13, bandwidth=1e12, launch=5e-6, transfer=1e10, latency=1e-5)


def products(size, count=4):
    steps = "\n".join(f"v{i + 1} = MatMul(v{i}, w)" for i in range(count))
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[{size},{size}] v0) => (float[{size},{size}] v{count})
        <float[{size},{size}] w = {{{", ".join(["0"] * (size * size))}}}> {{ {steps} }}
    """)


@pytest.mark.parametrize(("size", "where"), [(4, 0), (96, 1)], ids=["small stays", "large goes"])
def test_work_goes_to_a_described_device_where_it_pays(size, where):
    gpu = GPU if size > 4 else replace(GPU, latency=1e-3)
    host = HOST if size == 4 else replace(HOST, arithmetic=1e8)
    found = partition(estimate(products(size), [host, gpu], [{}, {}]))
    assert set(found.units[:-1]) == {where}
    assert found.units[-1] == 0  # the caller is on the host


def test_what_a_unit_declines_goes_elsewhere(model):
    problem = estimate(model, [GPU, HOST], [{"op2/Sin_1": "no such kernel"}, {}])
    assert partition(problem).units[2] == 1
