"""Size quotients: the repeats of a broadcast are known if its sizes are numbers or the axis's own size."""

import numpy as np
import pytest

from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.lowering.size_quotients import known_quotient


def _shape(g, x):
    return g.cast(g.Shape(x), np.int32)


def _expanded(g, x, target):
    """(target / shape of x), where -1 in the target keeps the size."""
    sizes = _shape(g, x)
    return g.Where(g.Equal(target, np.int32([-1])), sizes, target), sizes


def _vector(g, *elements):
    parts = [each if isinstance(each, Tensor) else np.int32([each]) for each in elements]
    return g.Concat(*parts, axis=0)


def _size(g, x, axis, dtype=np.int32):
    return g.cast(g.Gather(g.cast(g.Shape(x), dtype), np.int64([axis])), np.int32)


ROWS = {
    "kept": (lambda g, x: _expanded(g, x, np.int32([1, 6, -1, -1])), [1, 3, 1, 1]),
    "its own size": (lambda g, x: _expanded(g, x, _vector(g, 1, 6, _size(g, x, 2), _size(g, x, 3))), [1, 3, 1, 1]),
    "its own, cast": (lambda g, x: _expanded(g, x, _vector(g, 1, 2, _size(g, x, 2, np.int16), -1)), [1, 1, 1, 1]),
    "of what it was made of": (
        lambda g, x: _expanded(g, g.Unsqueeze(g.Transpose(x, perm=[0, 2, 1, 3]), [2]),
                               _vector(g, 1, _size(g, x, 2), 5, 2, _size(g, x, 3))), [1, 1, 5, 1, 1]),
    "of a tile": (lambda g, x: _expanded(g, g.Tile(x, [1, 3, 1, 1]), _vector(g, 1, 6, _size(g, x, 2), -1)), [1, 1, 1, 1]),
    "another axis": (lambda g, x: _expanded(g, x, _vector(g, 1, 6, _size(g, x, 3), -1)), None),
    "an input": (lambda g, x: _expanded(g, x, _vector(g, 1, 6, Tensor("n", np.dtype(np.int32), (1,)), -1)), None),
    "a sum": (lambda g, x: _expanded(g, x, _vector(g, 1, 6, g.Add(_size(g, x, 2), np.int32([1])), -1)), None),
    "by an unknown number": (lambda g, x: (np.int32([4]), _size(g, x, 2)), None),
    "by zero": (lambda g, x: (_shape(g, x), np.int32([1, 0, 1, 1])), None),
    "inputs": (lambda g, x: (Tensor("n", np.dtype(np.int32), (1,)),) * 2, None),
    "scalars": (lambda g, x: (g.Squeeze(_size(g, x, 2), [0]),) * 2, None),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_known_quotients(name):
    build, expected = ROWS[name]
    g, x = Graph(), Tensor("x", np.dtype(np.float32), (1, 2, None, None))
    found = known_quotient(g, *build(g, x))
    assert (None if found is None else found.tolist()) == expected
