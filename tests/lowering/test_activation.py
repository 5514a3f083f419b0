"""Activation operations against numpy and torch."""

import numpy as np

from lowering.harness import case, check, dynamic, f32, rows

CASES = [
    case("relu", x=f32(2, 3), expect=lambda x: np.maximum(x, 0)),
    case("relu", x=dynamic(f32(2, 3)), expect=lambda x: np.maximum(x, 0)),
    case("leaky_relu", x=f32(2, 3, 4), alpha=0.1, expect=lambda x, alpha: np.where(x > 0, x, x * alpha)),
]


@rows(CASES)
def test_activation(row, engine, dtype):
    check(row, engine, dtype)
