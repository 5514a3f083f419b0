"""Lowered: what every kind of model becomes, and what the way in and the way out need to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ..types import TensorType


@dataclass(frozen=True, slots=True)
class Port:
    """One input, output or state of a lowered function, by its Core ML name."""

    name: str
    type: TensorType
    """What the program declares."""
    dtype: np.dtype[Any]
    """What the engine computes in."""


@dataclass(frozen=True, slots=True)
class Labels:
    """How a classifier's outputs follow from the port `probabilities`."""

    probabilities: str
    classes: tuple[Any, ...]
    label_output: str
    probabilities_output: str | None


@dataclass(frozen=True, slots=True)
class Lowered:
    """An ONNX model whose inputs are `inputs` then `states`, and whose outputs are `outputs` then `written`."""

    name: str
    model: onnx.ModelProto
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    written: tuple[str, ...]
    """States that the function writes: the output `written_name(state)` is the new value."""
    labels: Labels | None


def written_name(state: str) -> str:
    """The ONNX output that carries what a prediction leaves in a state."""
    return f"{state}/written"
