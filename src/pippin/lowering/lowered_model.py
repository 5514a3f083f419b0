"""Lowered models: the ONNX graph that every kind of model becomes, and the ports that encoders and decoders read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import DataType, TensorType

if TYPE_CHECKING:  # a cached model needs its ports but not ONNX
    import onnx


PYTHON = "pippin"
"""Domain of nodes that are not ONNX operators; they run in Python, between two segments."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input, output or state of a lowered function, by its Core ML name."""

    name: str
    type: TensorType
    """The type that the program declares."""
    dtype: np.dtype[Any]
    """The type that the engine computes in."""
    tensor: str = ""
    """Its ONNX name. Differs from `name` only for an output named like an input, since ONNX names are unique."""
    keys: np.dtype[Any] | None = None
    """Element type of a dictionary's keys, which are a separate tensor; `tensor` holds its values."""
    default: float | int | str | None = None
    """Value of an omitted optional input, if the model knows better than its description."""

    sequence: bool = False
    """Whether it is [sequence, batch, channel, height, width]; the description has only the channels."""

    def __post_init__(self) -> None:
        if not self.tensor:
            object.__setattr__(self, "tensor", self.name)

    @property
    def key_tensor(self) -> str:
        """The ONNX name of a dictionary's keys."""
        return f"{self.tensor}/keys"

    @property
    def tensors(self) -> tuple[str, ...]:
        """The ONNX names of all its tensors."""
        return (self.tensor,) if self.keys is None else (self.tensor, self.key_tensor)


@dataclass(frozen=True, slots=True)
class Labels:
    """How a classifier's outputs follow from the port `probabilities`: it has one value per class. Values after those
    belong to no class."""

    probabilities: str
    classes: tuple[Any, ...]
    label_output: str
    probabilities_output: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """A check on each prediction: the graph output `tensor` is empty if it passes, else it holds the values that the
    model rejects."""

    tensor: str
    message: str
    """Human-readable; the rejected values are appended."""
    computed: bool = False
    """Whether the program computes the values, so that the prediction is at fault, not a feature."""


@dataclass(frozen=True, slots=True)
class Source:
    """A lowered operation of the program or layer of the network."""

    name: str
    kind: str
    cost: float
    """Its estimated share of a prediction, 0 to 1."""
    constant: bool = False
    """Whether it is computed once, at load."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """An ONNX model and its ports.

    Graph inputs are `inputs`, then `states`; graph outputs are `outputs`, `written`, then `checks`. The keys of a
    dictionary follow its values.
    """

    name: str
    model: onnx.ModelProto
    """Empty if the model comes from the cache."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    written: tuple[str, ...]
    """States that the function writes; the output `written_name(state)` is the new value."""
    labels: Labels | None
    computes: frozenset[DataType] = frozenset({DataType.FLOAT32})
    """Float types that the program declares for its results."""
    sources: tuple[Source, ...] = ()
    """What the nodes were lowered from; node names start with the source's name."""
    threads: int | None = None
    """Threads its operations can keep busy; more would only wait for each other. None: no limit."""
    checks: tuple[Check, ...] = ()
    """Extra graph outputs, checked after each prediction."""


def output_name(name: str, inputs: Iterable[Port]) -> str:
    """The ONNX output that carries a model output."""
    return f"{name}/output" if any(port.name == name for port in inputs) else name


def written_name(state: str) -> str:
    """The ONNX output that carries the new value of a state."""
    return f"{state}/written"
