"""Lowered: what every kind of model becomes, and what the way in and the way out need to know of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import DataType, TensorType

if TYPE_CHECKING:  # a model from the cache needs its ports, and no ONNX
    import onnx


PYTHON = "pippin"
"""The domain of the nodes that are no ONNX: they run in Python, between two segments."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input, output or state of a lowered function, by its Core ML name."""

    name: str
    type: TensorType
    """What the program declares."""
    dtype: np.dtype[Any]
    """What the engine computes in."""
    tensor: str = ""
    """Its ONNX name: its own, but for an output with the name of an input, which ONNX cannot name twice."""
    keys: np.dtype[Any] | None = None
    """Of a dictionary the element type of its keys, which are a tensor of their own; its values are `tensor`."""
    default: float | int | str | None = None
    """What stands for an optional input that is not given, where the model knows better than its description."""

    sequence: bool = False
    """Whether it is [sequence, batch, channel, height, width], of which the description tells the channels alone."""

    def __post_init__(self) -> None:
        if not self.tensor:
            object.__setattr__(self, "tensor", self.name)

    @property
    def key_tensor(self) -> str:
        """The ONNX name of a dictionary's keys."""
        return f"{self.tensor}/keys"

    @property
    def tensors(self) -> tuple[str, ...]:
        """The ONNX names of all that it consists of."""
        return (self.tensor,) if self.keys is None else (self.tensor, self.key_tensor)


@dataclass(frozen=True, slots=True)
class Labels:
    """How a classifier's outputs follow from the port `probabilities`, which has a value for each class; what comes
    after them belongs to none."""

    probabilities: str
    classes: tuple[Any, ...]
    label_output: str
    probabilities_output: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """What a prediction must not do: the output `tensor` of the graph is empty where all is well, else it holds the
    values that the model does not take."""

    tensor: str
    message: str
    """For people; what was found follows it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One operation of the program, or layer of the network, that was lowered."""

    name: str
    kind: str
    cost: float
    """Its estimated share of a prediction, 0 to 1."""
    constant: bool = False
    """Whether it is computed once, at load."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """An ONNX model whose inputs are `inputs` then `states`, and whose outputs are `outputs` then `written`, each with
    its keys where it is a dictionary; then `checks`."""

    name: str
    model: onnx.ModelProto
    """Empty where the model comes from the cache."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    written: tuple[str, ...]
    """States that the function writes: the output `written_name(state)` is the new value."""
    labels: Labels | None
    computes: frozenset[DataType] = frozenset({DataType.FLOAT32})
    """The float types that the program declares for what it computes."""
    sources: tuple[Source, ...] = ()
    """What the nodes were lowered from: the names of nodes begin with theirs."""
    threads: int | None = None
    """So many threads its operations have work for, more would only wait for each other; None: any number."""
    checks: tuple[Check, ...] = ()
    """Further outputs of the graph, which are looked at after each prediction."""


def output_name(name: str, inputs: Iterable[Port]) -> str:
    """The ONNX output that carries an output of the model."""
    return f"{name}/output" if any(port.name == name for port in inputs) else name


def written_name(state: str) -> str:
    """The ONNX output that carries what a prediction leaves in a state."""
    return f"{state}/written"
