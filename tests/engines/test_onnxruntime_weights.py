"""ONNX Runtime weights: where nothing rewrites them, the file of the source becomes that of the artifact."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pippin.engines import Settings, engine_named
from pippin.lowering.external_data import write_weights

ENGINE = engine_named("onnxruntime")
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((1, 64, 8, 8)).astype(np.float32)
NODES = {  # the node that reads the weights, the weights, what they compute from X, and whether they stay where they are
    "MatMul": (("x", "w"), (8, 40), lambda x, w: x @ w, True),
    "Conv": (("x", "w"), (16, 64, 1, 1), lambda x, w: np.einsum("bchw,oc->bohw", x, w[:, :, 0, 0]), False),
    "Transpose": (("w",), (64, 8), lambda x, w: w.T, False),
}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("row", NODES)
def test_the_artifact_computes_the_same(row, shared, tmp_path):
    inputs, shape, expected, stays = NODES[row]
    weights = RANDOM.standard_normal(shape).astype(np.float32)
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    nodes = [helper.make_node(row, inputs, ["y"], name="y")]
    graph = helper.make_graph(nodes, "g", infos, outputs, [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    source, folder, settings = tmp_path / "model.onnx", tmp_path / "artifact", Settings(shared=shared)
    folder.mkdir()
    source.write_bytes(write_weights(model, tmp_path / "weights.bin", "weights.bin").SerializeToString())
    compiled = ENGINE.compile(source, settings, folder)
    ENGINE.save(source, compiled, settings, folder)
    source.unlink()
    for each in (compiled, ENGINE.load(folder, settings)):
        np.testing.assert_allclose(each.run({"x": X})["y"], expected(X, weights), rtol=1e-4, atol=1e-4)
    stored = onnx.load(folder / "model.onnx", load_external_data=False).graph.initializer
    if stays:
        assert (folder / "weights.bin").samefile(tmp_path / "weights.bin")
        assert [tensor.name for tensor in stored if tensor.external_data] == ["w"]
