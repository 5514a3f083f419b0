"""Weights: the constants of a neural network, in whichever of its forms they are stored.

Source: `WeightParams`, `QuantizationParams` in `NeuralNetwork.proto`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError


def weights(params: Any, shape: Sequence[int], name: str = "weights") -> np.ndarray:
    """The constant of a `WeightParams` message, float32, in the given shape.

    Raises ProgramError where it has another number of elements.
    """
    array = _stored(params)
    if array.size != math.prod(shape):
        raise ProgramError(f"{name} has {array.size} elements; the shape {tuple(shape)} needs {math.prod(shape)}")
    return array.reshape(tuple(shape))


def _stored(params: Any) -> np.ndarray:
    if params.float16Value:
        return np.frombuffer(params.float16Value, np.float16).astype(np.float32)
    return np.array(params.floatValue, np.float32)
