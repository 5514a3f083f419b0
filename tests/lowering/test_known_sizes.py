"""Known sizes: what is known of shapes computed at run time."""

import numpy as np
import pytest

from pippin.lowering.onnx_builder import Graph, Tensor

FLOAT = np.dtype(np.float32)
ONE, SEVEN = np.array([1.0], np.float32), np.array([7.0], np.float32)


def graph():
    """A graph with the size of a batch, as a network computes it, and the batch."""
    g = Graph()
    x = Tensor("x", FLOAT, (None, 3))
    return g, x, g.Gather(g.Cast(g.Shape(x), to=1), [0])


def shape(g, *sizes):
    return g.Reshape(g.Cast(g.Concat(*sizes, axis=0), to=7), [-1])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda g, x, n: g.Expand(np.float32(0), shape(g, ONE * 2, n, SEVEN)), (2, None, 7)),
        (lambda g, x, n: g.Expand(x, shape(g, SEVEN, n, ONE)), (7, None, 3)),
        (lambda g, x, n: g.Expand(x, shape(g, n, n)), (None, 3)),
        (lambda g, x, n: g.Reshape(x, shape(g, n, ONE, -ONE)), (None, 1, None)),
        (lambda g, x, n: g.Reshape(x, shape(g, ONE * 0, SEVEN)), (None, 7)),
        (lambda g, x, n: g.Expand(np.float32(0), g.Gather(shape(g, ONE, n, SEVEN), [-1, 1])), (7, None)),
        (lambda g, x, n: g.Expand(np.float32(0), shape(g, ONE * 1.5, SEVEN, n)), (None, 7, None)),  # no size
        (lambda g, x, n: g.Expand(np.float32(0), g.Cast(g.Cast(shape(g, SEVEN, n), to=9), to=7)), (None, None)),  # 1
    ],
)
def test_known_sizes(build, expected):
    assert build(*graph()).shape == expected
