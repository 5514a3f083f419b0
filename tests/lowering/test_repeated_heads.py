"""Repeated heads: found however they are written, and only if every element is where it would be."""

import numpy as np
import pytest

from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.lowering.repeated_heads import turned, unrepeated


def _tiled(g, x):
    tiled = g.Reshape(g.Tile(g.Transpose(x, perm=[1, 0, 2, 3]), [3, 1, 1, 1]), [3, 4, 1, -1, 8])
    return g.Transpose(g.Reshape(g.Transpose(tiled, perm=[1, 0, 2, 3, 4]), [12, 1, -1, 8]), perm=[1, 0, 2, 3])


def _expanded(g, x):
    return g.Reshape(g.Expand(g.Unsqueeze(x, [2]), [1, 1, 3, 1, 1]), [1, 12, -1, 8])


def _in_another_order(g, x):
    return g.Tile(x, [1, 3, 1, 1])


def _turned(g, x):
    return g.Reshape(g.Transpose(g.Expand(g.Unsqueeze(x, [2]), [1, 1, 3, 1, 1]), perm=[0, 2, 1, 3, 4]), [1, 12, -1, 8])


def _flattened(g, x):
    """The positions are mixed with the heads."""
    return g.Reshape(g.Expand(g.Unsqueeze(x, [3]), [1, 1, 1, 3, 1]), [1, 12, -1, 8])


def _computed(g, x):
    return g.Reshape(g.Add(g.Expand(g.Unsqueeze(x, [2]), [1, 1, 3, 1, 1]), 1), [1, 12, -1, 8])


ROWS = {
    "tiled": (_tiled, 3), "expanded": (_expanded, 3), "in another order": (_in_another_order, 1),
    "turned": (_turned, 1), "flattened": (_flattened, 1), "computed": (_computed, 1), "itself": (lambda g, x: x, 1),
}  # fmt: skip


@pytest.mark.parametrize("length", [None, 6])
@pytest.mark.parametrize("name", ROWS)
def test_unrepeated(name, length):
    build, count = ROWS[name]
    g, x = Graph(), Tensor("x", np.dtype(np.float32), (1, 4, length, 8))
    repeated = build(g, x)
    assert unrepeated(g, repeated) == ((x, 3) if count == 3 else (repeated, 1))


@pytest.mark.parametrize("length", [None, 6])
def test_columns(length):
    """Keys kept as columns are turned by the first move of the chain; a product takes them as they are."""
    g, x = Graph(), Tensor("x", np.dtype(np.float32), (1, 4, 8, length))
    tiled = g.Reshape(g.Tile(g.Transpose(x, perm=[1, 0, 3, 2]), [3, 1, 1, 1]), [3, 4, 1, -1, 8])
    repeated = g.Transpose(g.Reshape(g.Transpose(tiled, perm=[1, 0, 2, 3, 4]), [12, 1, -1, 8]), perm=[1, 0, 2, 3])
    keys, count = unrepeated(g, repeated)
    assert count == 3 and keys.shape == (1, 4, length, 8)
    assert turned(g, keys) == x
    assert g.makers[turned(g, x).name].node.op_type == "Transpose"
