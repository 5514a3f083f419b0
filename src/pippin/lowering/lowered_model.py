"""Lowered models: the ONNX graph that every kind of model becomes, and the ports that encoders and decoders read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import PredictionError, SpecificationError
from ..types import DataType, TensorType

if TYPE_CHECKING:  # a cached model needs its ports but not ONNX
    import onnx

    from .weight_arrays import WeightArrays


_SHOWN = 5
_PARTS = 32  # of a node's name after its source
WEIGHTS = "weights.bin"
"""The file next to an ONNX model with its weights."""
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
    def state_shape(self) -> tuple[int, ...]:
        """The shape of a state, all of whose sizes are known."""
        return tuple(size or 0 for size in self.type.shape or ())

    def zeros(self) -> np.ndarray:
        """A state before its first prediction."""
        return np.zeros(self.state_shape, self.dtype)

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
class IndexCheck:
    """A check on each prediction: every index that an operation computes lies on its axis.

    `tensor` is a graph input, checked before the prediction, or a graph output, checked after it: the operation then
    got indices clamped to the axis.
    """

    tensor: str
    where: str
    """The operation or layer, for the message."""
    sizes: tuple[int, ...] = ()
    """The size of the axis or, if an index has several numbers, of each axis; empty if `sizes_from` has them."""
    negative: bool = True
    """Whether -1 is the last element."""
    before: bool = False
    sizes_from: str = ""
    """A graph output with the sizes, which only the prediction knows."""
    added: int = 0
    """What the graph adds to a negative number of `tensor` to make it an index."""
    given: tuple[int, ...] | None = None
    """The least and the greatest constant index, where only the sizes are computed; there is no `tensor`."""
    carried: str = ""
    """A graph output that says whether all indices in a branch or loop were inside; else one was `tensor`."""
    lengths: bool = False
    """Whether the indices are numbers of elements, and the sizes one more than the axis has."""

    message: str = ""
    """Instead of an index: what is wrong with the value, which follows. Only in a branch or loop."""
    total: bool = False
    """Whether `tensor` is the sum of floats that are indices inside unless one is NaN."""

    def error(self, arrays: Mapping[str, np.ndarray]) -> PredictionError | None:
        """The error for the first index outside; None if there is none."""
        if self.total:
            return None if np.isfinite(arrays[self.tensor]).all() else self._outside(math.nan, self.sizes[:1])
        if self.carried:
            return None if arrays[self.carried].all() else self._outside(arrays[self.tensor].item(), self.sizes)
        array = np.asarray(self.given) if self.given is not None else arrays[self.tensor]
        if not array.size:
            return None
        sizes = self.sizes or tuple(arrays[self.sizes_from].reshape(-1).tolist())
        if len(sizes) == 1:
            first, last = self._ends(sizes[0])
            # Comparisons with NaN are false. Most floats are far enough inside to be seen without cutting them.
            if first <= array.min() and array.max() <= last:
                return None
        columns = array.reshape(-1, len(sizes))
        for column, size in enumerate(sizes):
            first, last = self._ends(size)
            values = np.trunc(columns[:, column]) if array.dtype.kind == "f" else columns[:, column]
            outside = ~((first <= values) & (values <= last))
            if outside.any():
                return self._outside(values[outside][0].item(), (size,))
        return None

    def limits(self, dtype: np.dtype[Any]) -> tuple[Any, Any]:
        """The least and the greatest element with which no index of `tensor` is outside."""
        first = max(self._ends(size)[0] for size in self.sizes)
        last = min(self.sizes) - 1
        if dtype.kind != "f":
            return first, last
        # A float is cut to an integer. In float64, which tells it from its neighbours.
        return np.nextafter(np.float64(first - 1), np.inf), np.nextafter(np.float64(last + 1), -np.inf)

    def clipped(self, array: np.ndarray) -> np.ndarray:
        """The array with every index moved inside."""
        columns = array.reshape(-1, len(self.sizes))
        last = np.array(self.sizes, array.dtype) - 1
        return np.clip(np.nan_to_num(columns), 0, last).astype(array.dtype).reshape(array.shape)

    def _ends(self, size: int) -> tuple[int, int]:
        return (-size - self.added if self.negative else -self.added), size - 1

    def _outside(self, index: float, sizes: tuple[int, ...]) -> PredictionError:
        index = int(index) if math.isfinite(index) else index
        if self.message:
            return PredictionError(f"{self.where}: {self.message} {index}")
        if len(sizes) != 1:
            return PredictionError(f"{self.where}: the index {index} is outside its axis")
        (size,) = sizes
        first = -size if self.negative else 0
        if self.lengths:
            return PredictionError(f"{self.where}: the length {index} does not fit an axis of size {size - 1}")
        allowed = f"{first} to {size - 1}" if size else "none"
        return PredictionError(
            f"{self.where}: the index {index} is outside the axis of size {size} (allowed: {allowed})"
        )


@dataclass(frozen=True, slots=True)
class StateWrite:
    """Rows that a prediction writes to a state: the graph output `rows`, from `starts` to `ends`, which have a number
    or the name of a graph output (int64, shape (1,)) for each axis."""

    state: str
    rows: str
    starts: tuple[int | str, ...]
    ends: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A lowered operation of the program or layer of the network."""

    name: str
    kind: str
    constant: bool = False
    """Whether it is computed once, at load."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """An ONNX model and its ports.

    Graph inputs are `inputs`, then `states`; graph outputs are `outputs`, `written`, those of `writes`, then those of
    the checks. The keys of a dictionary follow its values.
    """

    name: str
    model: onnx.ModelProto
    """Empty if the model comes from the cache."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    written: tuple[str, ...]
    """States that the function writes as a whole; the output `written_name(state)` is the new value."""
    labels: Labels | None
    computes: frozenset[DataType] = frozenset({DataType.FLOAT32})
    """Float types that the program declares for its results."""
    sources: tuple[Source, ...] = ()
    """What the nodes were lowered from; node names start with the source's name."""
    unfamiliar: Mapping[str, str] | None = None
    """Of a graph that no lowering made: {node name: operator} of what only the exact engine is known to do right."""
    threads: int | None = None
    """Threads its operations can keep busy; more would only wait for each other. None: no limit."""
    checks: tuple[Check, ...] = ()
    """Extra graph outputs, checked after each prediction."""
    index_checks: tuple[IndexCheck, ...] = ()
    """Checks of indices, before or after each prediction; their graph outputs are the last ones."""
    writes: tuple[StateWrite, ...] = ()
    """Rows that the function writes to states, in this order; a state is among `written` or has `writes`."""
    weights: tuple[WeightArrays, ...] = ()
    """What the model refers to, which is freed with it."""


def refuse_outside(checks: Iterable[IndexCheck], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise the PredictionError of the first check that fails."""
    for check in checks:
        error = check.error(arrays)
        if error is not None:
            raise error


def check_labels(classes: Sequence[Any], kind: str, few: bool = False) -> None:
    """Raise SpecificationError for a classifier without labels, or with two equal ones.

    Published networks have lists of a thousand labels with a few equal ones ("crane" is a bird and a machine), so
    unless the classes are `few`, one repeated label in a hundred is only warned of.
    """
    repeated = sorted({str(label) for label, count in Counter(classes).items() if count > 1})
    if not classes:
        raise SpecificationError(f"the {kind} has no class labels")
    if not repeated:
        return
    several = f"several classes of the {kind} have the label {', '.join(map(repr, repeated[:_SHOWN]))}"
    if few or (len(classes) - len(set(classes))) * 100 > len(classes):
        raise SpecificationError(f"{several}; labels must differ")
    import logging

    log = logging.getLogger("pippin.lowering")
    log.addHandler(logging.NullHandler())
    log.warning("%s; the dictionary of probabilities has the last one's", several)


def check_scores(shape: Sequence[int] | None, classes: Sequence[Any]) -> None:
    """Raise SpecificationError if a classifier has fewer scores than labels; `shape` is None if it is not known."""
    if shape is not None and prod(shape) < len(classes):
        raise SpecificationError(f"the model has {len(classes)} class labels for {prod(shape)} scores")


def output_name(name: str, inputs: Iterable[Port]) -> str:
    """The ONNX output that carries a model output."""
    return f"{name}/output" if any(port.name == name for port in inputs) else name


def written_name(state: str) -> str:
    """The ONNX output that carries the new value of a state."""
    return f"{state}/written"


def source_of(node: str, sources: Container[str]) -> str:
    """The operation or layer that an ONNX node was lowered from; "" if none has its name.

    Nodes are named `<source>/<operator>_<number>`, perhaps with further parts. A name may itself be a million slashes.
    """
    for _ in range(_PARTS):
        if not node or node in sources:
            return node
        node = node.rpartition("/")[0]
    return ""
