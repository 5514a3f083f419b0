"""Fuzz: 2,000 damaged packages, 2,000 neural networks, and 1,000 of either kind of folder that Apple's compiler writes.
Each opens and predicts, or ends in an error of Pippin; never a crash or a hang.

They run in batches, each in a process of its own: a crash of an engine is then seen, and named by its seed.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

import pippin
from format.test_compiled import BASE, conv, layout_b
from format.test_compiled import network as compiled_network
from pippin.program import mil_text, open_model, read_program
from runtime.test_bad_input import WEIGHT
from support.small_models import saved_program

pytestmark = pytest.mark.process

CASES, BATCHES = 2_000, 8
COMPILED_CASES, COMPILED_BATCHES = 1_000, 2
SECONDS = 300


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    def body(x):
        y = mb.layer_norm(x=mb.relu(x=mb.linear(x=x, weight=WEIGHT)), axes=[-1])
        y = mb.reshape(x=mb.slice_by_index(x=y, begin=[0, 0], end=[2, 32]), shape=[4, -1])
        return mb.concat(values=mb.split(x=y, num_splits=2, axis=0), axis=1)

    return saved_program(tmp_path_factory.mktemp("fuzz"), body, x=(2, 8))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Layers of most families, a loop with a way out, a branch, and quantized weights, in one small network."""
    b = NeuralNetworkBuilder([("x", datatypes.Array(2, 8))], [("y", None)], disable_rank5_shape_mapping=True)
    b.add_inner_product("linear", WEIGHT[:4, :8], np.ones(4), 8, 4, True, "x", "a")
    b.add_inner_product(
        "quantized", bytes(range(16)), None, 4, 4, False, "a", "q", is_quantized_weight=True,
        quantization_type="linear", nbits=8, quant_scale=np.full(4, 0.1), quant_bias=np.full(4, -0.5),
    )  # fmt: skip
    b.add_layer_normalization("norm", "q", "n", [4], np.ones(4), np.zeros(4))
    b.add_reshape_static("images", "n", "i", [1, 2, 2, 2])
    b.add_convolution(
        "conv", 2, 3, 2, 2, 1, 1, "same", 1, WEIGHT[:4, :6].reshape(2, 2, 2, 3), None, False, input_name="i", output_name="c"
    )  # fmt: skip
    b.add_pooling("pool", 2, 2, 1, 1, "MAX", "VALID", "c", "p")
    b.add_softmax_nd("softmax", "p", "s", 1)
    b.add_reduce_sum("sum", "s", "total", axes=[1], keepdims=False, reduce_all=False)
    b.add_copy("start", "total", "v")
    loop = b.add_loop("loop", max_iterations=9)
    body = NeuralNetworkBuilder(nn_spec=loop.loop.bodyNetwork, disable_rank5_shape_mapping=True)
    body.add_add_broadcastable("double", ["v", "v"], "twice")
    body.add_copy("back", "twice", "v")
    body.add_reduce_max("largest", "v", "largest", reduce_all=True)
    body.add_greater_than("over", ["largest"], "is_over", alpha=20.0)
    branch = body.add_branch("enough", "is_over")
    NeuralNetworkBuilder(nn_spec=branch.branch.ifBranch, disable_rank5_shape_mapping=True).add_loop_break("break")
    b.add_topk("top", ["v"], ["y", "which"], k=1, axis=-1)
    path = tmp_path_factory.mktemp("fuzz") / "network.mlmodel"
    path.write_bytes(b.spec.SerializeToString())
    found = pippin.load(path).predict({"x": np.ones((2, 8), np.float32)})
    assert found["y"].size == 1 and np.isfinite(found["y"]).all()
    return path


@pytest.fixture(scope="module")
def folder_of_program(package, tmp_path_factory):
    """The program as text, with its weights and description beside it."""
    folder = tmp_path_factory.mktemp("fuzz") / "program.mlmodelc"
    weights = next(package.rglob("weights"))
    shutil.copytree(weights, folder / "weights")
    asset = open_model(package)
    (folder / "model.mil").write_text(mil_text(read_program(asset)))
    description = asset.specification.description.SerializeToString()
    whole = struct.pack("<Q", len(description)) + description + struct.pack("<2Q", 502, 0)
    (folder / "coremldata.bin").write_bytes(layout_b(502, b"generic", 7, whole))
    same(folder, package)
    return folder


@pytest.fixture(scope="module")
def folder_of_network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "network.mlmodelc"
    layers = [
        conv("convolution", C=4, K=2, Ny=2, Nx=2, pad_mode=1, fused_relu=1) | {"top": "a"},
        {**BASE, "type": "pool", "avg_or_max": 1, "size_x": 2, "size_y": 2, "stride_x": 2, "stride_y": 2, "bottom": "a", "top": "b"},
        {**BASE, "type": "activation", "mode": 2, "alpha": 0.25, "bottom": "b"},
    ]  # fmt: skip
    compiled_network(folder, layers, {1: WEIGHT[0, :4], 3: WEIGHT[:4, :8]}, (2, 2, 8))
    assert np.isfinite(pippin.load(folder).predict({"x": np.ones((2, 2, 8), np.float32)})["y"]).all()
    return folder


def same(folder, package):
    x = {"x": np.ones((2, 8), np.float32)}
    found, wanted = (pippin.load(path).predict(x) for path in (folder, package))
    for one, other in zip(found.values(), wanted.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def run(batch, model, folder, count=CASES // BATCHES, shape="2,8"):
    script = Path(__file__).with_name("fuzz_worker.py")
    arguments = [sys.executable, str(script), str(model), str(folder), shape, str(batch * count), str(count)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"after seed {done.stdout.split()[-1:]}: {done.stderr[-2000:]}"
    assert done.stdout.split()[-1] == "done"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_packages(batch, package, tmp_path):
    run(batch, package, tmp_path)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_networks(batch, network, tmp_path):
    run(batch, network, tmp_path)


@pytest.mark.parametrize("batch", range(COMPILED_BATCHES))
def test_damaged_folders_of_programs(batch, folder_of_program, tmp_path):
    run(batch, folder_of_program, tmp_path, COMPILED_CASES // COMPILED_BATCHES)


@pytest.mark.parametrize("batch", range(COMPILED_BATCHES))
def test_damaged_folders_of_networks(batch, folder_of_network, tmp_path):
    run(batch, folder_of_network, tmp_path, COMPILED_CASES // COMPILED_BATCHES, "2,2,8")
