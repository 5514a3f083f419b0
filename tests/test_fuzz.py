"""Fuzz: 2,000 damaged packages, and as many neural networks. Each opens and predicts, or ends in an error of Pippin; never a crash or a hang.

They run in batches, each in a process of its own: a crash of an engine is then seen, and named by its seed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

import pippin
from model.small import saved_program
from test_bad_input import WEIGHT

CASES, BATCHES = 2_000, 8
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
        "quantized", np.arange(16, dtype=np.uint8).reshape(4, 4), None, 4, 4, False, "a", "q", is_quantized_weight=True,
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


def run(batch, model, folder):
    count = CASES // BATCHES
    script = Path(__file__).with_name("fuzz_worker.py")
    arguments = [sys.executable, str(script), str(model), str(folder), str(batch * count), str(count)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"after seed {done.stdout.split()[-1:]}: {done.stderr[-2000:]}"
    assert done.stdout.split()[-1] == "done"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_packages(batch, package, tmp_path):
    run(batch, package, tmp_path)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_networks(batch, network, tmp_path):
    run(batch, network, tmp_path)
