"""Categories: strings, as the tensors that they are in a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import FeatureTypeError


def encode_string(name: str, value: Any) -> np.ndarray:
    """A string, as an array of one. Raises FeatureTypeError."""
    if not isinstance(value, str):
        raise FeatureTypeError(f"'{name}': a {type(value).__name__} was given; it is a string")
    return np.array([str(value)], object)
