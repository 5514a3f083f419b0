"""OpenVINO memory: kernels, packed weights and exported models do not stay in memory twice."""

from __future__ import annotations

import io
import mmap
import os

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pippin.engines import Settings, engine_named
from pippin.engines.openvino import CompiledOpenVINO
from pippin.engines.openvino_memory import FEW_KERNELS, export, few_kernels, let_go
from pippin.engines.openvino_narrow_weights import keep_narrow
from pippin.support.memory import resident

VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
OPENVINO = engine_named("openvino")
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((3, 96)).astype(np.float32)
WEIGHT = RANDOM.standard_normal((96, 64)).astype(np.float16)


def product(reader="MatMul"):
    """x @ w with float16 weights, as the lowering writes it; or with the weights read by something else too."""
    nodes = [
        helper.make_node("Cast", ["w"], ["wide"], name="wide", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "wide"], ["y"], name="y"),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    if reader != "MatMul":
        nodes.append(helper.make_node(reader, ["wide"], ["z"], name="z"))
        outputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 96])
    graph = helper.make_graph(nodes, "product", [x], outputs, [numpy_helper.from_array(WEIGHT, "w")])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString()


@pytest.mark.parametrize("given", [None, "7"])
def test_the_limit_of_kernels_is_set_for_a_moment(given, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VARIABLE, given)  # the user's own
    with few_kernels():
        assert os.environ[VARIABLE] == (given or str(FEW_KERNELS))
    assert os.environ.get(VARIABLE) == given


@pytest.mark.parametrize("written", [False, True])
def test_pages_that_were_written_to_stay(written, tmp_path):
    pages = 64
    (tmp_path / "file").write_bytes(bytes(range(1, 256)) * (pages * mmap.PAGESIZE // 255 + 1))
    with (tmp_path / "file").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), pages * mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    array = np.frombuffer(mapped, np.uint8)
    if written:
        array[5] = 0
    expected = array.copy()
    let_go(mapped)
    np.testing.assert_array_equal(array, expected)


def test_the_first_prediction_lets_the_artifact_go(tmp_path):
    settings = Settings(growing=True)
    compiled = OPENVINO.compile(product(), settings)
    OPENVINO.save(product(), compiled, settings, tmp_path)
    loaded = OPENVINO.load(tmp_path, settings)
    for _ in range(2):
        np.testing.assert_allclose(loaded.run({"x": X})["y"], X @ WEIGHT.astype(np.float32), rtol=1e-4, atol=1e-4)


def test_an_export_is_written_as_it_is_produced(tmp_path):
    compiled, stream = OPENVINO.compile(product()).compiled, io.BytesIO()
    compiled.export_model(stream)
    export(compiled, tmp_path / "exported")
    assert (tmp_path / "exported").read_bytes() == stream.getvalue()


@pytest.mark.parametrize(("reader", "marked"), [("MatMul", True), ("Abs", False)])
def test_weights_of_products_stay_float16(reader, marked):
    model = OPENVINO.core.read_model(product(reader))
    keep_narrow(OPENVINO.core, model)
    conversions = [node for node in model.get_ops() if node.get_type_name() == "Convert"]
    assert [("decompression_0" in node.get_rt_info()) for node in conversions] == [marked]
    compiled = OPENVINO.core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(
        CompiledOpenVINO(compiled).run({"x": X})["y"], X @ WEIGHT.astype(np.float32), rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_kernels_of_growing_sizes_are_not_kept():
    """A product of two inputs has kernels of its own for each size: 60 MB for 100 sizes when all were kept."""
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, None, None]) for name in "xy"]
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "y"], ["z"], name="z")], "growing", infos, [out])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    compiled = OPENVINO.compile(model.SerializeToString(), Settings(growing=True))

    def run(size):
        x, y = np.ones((1, 4, 1, size), np.float32), np.ones((1, 4, size, 64), np.float32)
        assert compiled.run({"x": x, "y": y})["z"][0, 0, 0, 0] == size

    for size in range(1, FEW_KERNELS + 40):
        run(size)
    before = resident()
    for size in range(FEW_KERNELS + 40, FEW_KERNELS + 240):
        run(size)
    after = resident()
    if before is not None and after is not None:
        assert after.since(before).private < 60 << 20
