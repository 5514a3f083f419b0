"""Small: models of a kind each, written for the fuzzer: a network of many layers, the classical models, a compiled folder."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

from format.test_compiled import BASE, conv
from format.test_compiled import network as compiled
from lowering.classical.specs import DOUBLE, INT, INTS, STRING, STRINGS, pipeline
from lowering.classical.test_boxes import suppression
from lowering.classical.test_categories import encoder, mapping
from lowering.classical.test_imputer import imputer
from lowering.classical.test_nearest_neighbors import neighbors
from lowering.classical.test_pipelines import renamed
from lowering.classical.test_probit_and_recommender import FILMS, glm, probit, recommender
from lowering.classical.test_support_vectors import classifier, sparse_model
from lowering.classical.test_tree_ensemble import many_trees, stump
from lowering.classical.test_vectors import dict_vectorizer, extractor, scaler, vectorizer

from .bases import files_of

WEIGHT = np.random.default_rng(0).standard_normal((24, 16)).astype(np.float32)


@cache
def network() -> Any:
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
    b.add_reduce_l2("length", "s", "total", axes=[1], keepdims=False, reduce_all=False)  # no whole number, for a floor
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
    return b.spec


@cache
def classical() -> dict[str, Any]:
    joined = renamed(vectorizer([("n", 1), ("s", 2)], {"n": INT, "s": INTS}, 3), y="x")
    return {
        "trees": many_trees(3),
        "stump": stump("treeEnsembleRegressor", {"y": DOUBLE}, 1),
        "svm": classifier(),
        "sparse_svm": sparse_model(),
        "glm": glm([[1.0, 2.0]], [0.5], ["a", "b"]),
        "neighbors": neighbors([[0, 0, 1], [1, 2, 3]], ["a", "b"], 1),
        "scaler": scaler([1], [1, 2, 3, 4]),
        "encoder": encoder(["a", "b"], INTS),
        "mapping": mapping({"a": 1}, 0),
        "imputer": imputer(STRINGS, "imputedStringDictionary", {"a": 1.0}),
        "dict_vectorizer": dict_vectorizer(["a", "b"], STRINGS, (2,)),
        "extractor": extractor([1], DOUBLE),
        "boxes": suppression((2, 5)),
        "probit": probit(),
        "recommender": recommender(FILMS),
        "pipeline": pipeline(
            [renamed(encoder(["a", "b"], INTS), x="s", y="s"), joined, many_trees(2)],
            {"n": INT, "s": STRING},
            {"y": DOUBLE},
        ),
    }


@cache
def compiled_network() -> dict[str, bytes]:
    layers = [
        conv("convolution", C=4, K=2, Ny=2, Nx=2, pad_mode=1, fused_relu=1) | {"top": "a"},
        {**BASE, "type": "pool", "avg_or_max": 1, "size_x": 2, "size_y": 2, "stride_x": 2, "stride_y": 2, "bottom": "a", "top": "b"},
        {**BASE, "type": "activation", "mode": 2, "alpha": 0.25, "bottom": "b"},
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        compiled(Path(folder), layers, {1: WEIGHT[0, :4], 3: WEIGHT[:4, :8]}, (2, 2, 8))
        return files_of(Path(folder))
