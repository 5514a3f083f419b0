"""Limits: what a file may ask for. A number of a file is checked here before it sizes or repeats anything.

A file of a hundred bytes can ask for a tensor of any size. Two sizes are bounded, each by an absolute number that any
machine bears or, if that is more, by a multiple of the size of the file: the elements of a tensor (an input, a state or
a result of the graph), and the bytes of all constants that are made from numbers of the file when it is lowered. Stored
weights are no such constants; they are as large as the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ProgramError, SpecificationError, UnsupportedModelError
from ..format.description import FeatureDescription, FunctionDescription, Image, MultiArray, State
from ..format.description import Sequence as SequenceType
from ..types import Shape

TENSOR = 1 << 28
"""Elements of one tensor, and of all inputs and states together."""
CONSTANTS = 1 << 28
"""Bytes of all constants made at load."""
TENSOR_PER_BYTE, CONSTANTS_PER_BYTE = 64, 8
"""The same for each byte of the file."""
WORK = 1 << 36
"""Elements that the windows of one node read, in sum: a minute. No engine stops within a node."""
_INT32 = (1 << 31) - 1
# Attributes with which engines compute in 32 bits.
_GEOMETRY = frozenset({"kernel_shape", "strides", "dilations", "pads", "output_padding", "blocksize", "size"})
# Operators along an axis whose number ONNX's inference does not check.
_ALONG = frozenset({"Softmax", "LogSoftmax", "Hardmax", "GatherElements", "ScatterElements", "LayerNormalization"})
# Operators that read a window for each element of their result, and its attribute.
_WINDOWED = {"MaxPool": "kernel_shape", "AveragePool": "kernel_shape", "LpPool": "kernel_shape", "LRN": "size"}
# Operators sized by numbers: the place of the input that holds them.
_SIZED_BY = {"Expand": 1, "Tile": 1, "ConstantOfShape": 0, "Pad": 1, "Reshape": 1, "Resize": 3}
# Operators whose result may be much larger than their inputs.
_GROWING = frozenset({"Expand", "Tile", "ConstantOfShape", "Pad", "Resize", "Range"})
# Operators whose results are never constants, whatever their inputs.
_UNFOLDED = frozenset({"Bernoulli", "Multinomial", "Loop", "If"})


class Allowance:
    """What one file may ask for, and how much of it was used. `size` returns the bytes of the file."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self.made = 0

    @cached_property
    def file(self) -> int:
        """Bytes of the file; only looked up if an absolute limit is exceeded."""
        return self._size()

    def tensor(self, count: int) -> None:
        if count > TENSOR and count > TENSOR_PER_BYTE * self.file:
            raise _refused(count, "elements in a tensor", max(TENSOR, TENSOR_PER_BYTE * self.file))

    def make(self, size: int) -> None:
        self.made += size
        if self.made > CONSTANTS and self.made > CONSTANTS_PER_BYTE * self.file:
            raise _refused(self.made, "bytes of constants", max(CONSTANTS, CONSTANTS_PER_BYTE * self.file))


_current: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def allowing(size: Callable[[], int]) -> Iterator[None]:
    """Lower one file of `size()` bytes. Within another file, such as the one that links to it, that one's counts."""
    if _current.get() is not None:
        yield
        return
    token = _current.set(Allowance(size))
    try:
        yield
    finally:
        _current.reset(token)


def _allowance() -> Allowance:
    return _current.get() or Allowance(lambda: 0)


def tensor(shape: Iterable[int | None] | None) -> None:
    """Check a result of the graph; an unknown size counts as 1. Raises UnsupportedModelError."""
    count = 1
    for size in shape or ():
        count *= 1 if size is None else size
    if count > TENSOR:
        _allowance().tensor(count)


def constant(count: int, itemsize: int = 8) -> None:
    """Check a constant of `count` elements before it is made. Raises UnsupportedModelError."""
    if count < 0:
        raise ProgramError(f"a size must not be negative, got {count}")
    _allowance().make(int(count) * itemsize)


def full(shape: Iterable[Any], value: Any, dtype: Any = None) -> np.ndarray:
    """`np.full` of a shape from the file."""
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=0) < 0:
        raise ProgramError(f"a size must not be negative, got the shape {list(sizes)}")
    constant(math.prod(sizes))
    return np.full(sizes, value, dtype)


def arange(start: Any, end: Any, step: Any = 1, dtype: Any = None) -> np.ndarray:
    """`np.arange` of numbers from the file."""
    first, last, by = (float(np.asarray(v).reshape(-1)[0]) for v in (start, end, step))
    if by == 0 or not all(map(math.isfinite, (first, last, by))):
        raise ProgramError(f"a range needs finite numbers and a step other than 0, got {first} to {last} by {by}")
    count = (last - first) / by
    constant(max(0, math.ceil(count)) if math.isfinite(count) else CONSTANTS)
    return np.arange(start, end, step, dtype)


def axis(number: Any, rank: int) -> int:
    """An axis from the file, counted from the first. Raises ProgramError if a tensor of this rank has no such axis."""
    found = int(number)
    if not -rank <= found < rank:
        raise ProgramError(f"axis {found} does not exist: a tensor of rank {rank} has the axes {-rank} to {rank - 1}")
    return found % rank


def axes(numbers: Iterable[Any], rank: int) -> list[int]:
    return [axis(number, rank) for number in numbers]


def batch(axes: Any, *ranks: int) -> int:
    """How many first axes are a batch: no more than each of these ranks. Raises ProgramError."""
    if not 0 <= int(axes) <= min(ranks):
        raise ProgramError(f"batch_dims must be from 0 to {min(ranks)} for these inputs, got {int(axes)}")
    return int(axes)


def integers(given: Iterable[Any]) -> np.ndarray:
    """Numbers from the file as int64, which numpy would wrap. Raises ProgramError if one does not fit."""
    found = [int(number) for number in given]
    for number in found:
        if not -(1 << 63) <= number < 1 << 63:
            raise ProgramError(f"the number {number} does not fit int64")
    return np.array(found, np.int64)


def at_least(lowest: int, **named: Any) -> None:
    """Check numbers, each a number or several, by their names. Raises ProgramError."""
    for name, given in named.items():
        found = np.asarray(given).reshape(-1)
        if found.size and found.min() < lowest:
            raise ProgramError(f"{name} must be at least {lowest}, got {found.min()}")


def cropped(sizes: Iterable[int | None], before: Iterable[Any], behind: Iterable[Any]) -> None:
    """Check how much is cut off these axes on both sides. Raises ProgramError."""
    for size, first, last in zip(sizes, before, behind, strict=False):
        if min(first, last) < 0 or (size is not None and first + last > size):
            raise ProgramError(f"cannot crop {first} and {last} of an axis of size {size}")


def along(kind: str, shape: Shape | None, attributes: Mapping[str, Any]) -> None:
    """Check the axis of a node whose first input has this shape. Raises ProgramError."""
    if kind in _ALONG and shape is not None and "axis" in attributes:
        axis(attributes["axis"], len(shape))


def numbers(kind: str, given: Sequence[np.ndarray | None], attributes: Mapping[str, Any]) -> None:
    """Check the numbers of a node that no shape shows: its attributes, and what sizes a result of unknown shape.
    `given` are the inputs that are small constants."""
    for name in attributes.keys() & _GEOMETRY:
        _geometry(name, attributes[name])
    place = _SIZED_BY.get(kind, len(given))
    sizes = given[place] if place < len(given) else None
    if sizes is not None:
        found = [abs(size) or 1 for size in sizes.reshape(-1).tolist()]
        tensor([max(found, default=1)] if kind == "Pad" else found)


def results(kind: str, shapes: Sequence[Shape | None], attributes: Mapping[str, Any], known: bool) -> bool:
    """Check the results of a node; `known` is whether all its inputs are constants. Returns whether its results are."""
    for shape in shapes:
        tensor(shape)
    if kind in _WINDOWED:
        window = np.atleast_1d(attributes[_WINDOWED[kind]]).tolist()
        if kind == "LRN":  # ONNX Runtime pads the channels by it
            tensor([*window, *(shapes[0] or ())[2:]])
        reads = math.prod(window) * math.prod(d or 1 for d in shapes[0] or ())
        if reads > WORK:
            raise UnsupportedModelError(f"windows of {window} would read {reads:,} elements; the limit is {WORK:,}")
    if not known or kind in _UNFOLDED or kind.startswith("Random"):
        return False
    if kind in _GROWING:  # the engine computes it at load
        constant(math.prod(d or 1 for d in shapes[0] or ()), 4)
    return True


def _geometry(name: str, value: Any) -> None:
    """Check a kernel, stride, padding or block size: engines compute with 32 bits. Raises ProgramError."""
    for number in value if isinstance(value, list | tuple) else (value,):
        if isinstance(number, int) and not -_INT32 <= number <= _INT32:
            raise ProgramError(f"{name} must fit 32 bits, got {number}")


def described(function: FunctionDescription) -> None:
    """Check the sizes of all inputs and states. Raises SpecificationError, UnsupportedModelError."""
    total = 0
    for feature in (*function.inputs, *function.states):
        sizes = _sizes(feature)
        if min(sizes, default=0) < 0:
            raise SpecificationError(f"'{feature.name}' is described with the size {min(sizes)}; sizes are 0 or more")
        total += math.prod(sizes)
        if total > TENSOR:
            try:
                _allowance().tensor(total)
            except UnsupportedModelError as error:
                raise UnsupportedModelError(f"'{feature.name}' of function '{function.name}': {error}") from None


def _sizes(feature: FeatureDescription) -> Sequence[int]:
    match feature.type:
        case MultiArray(shape=shape) | State(MultiArray(shape=shape)):
            return shape or ()
        case Image(width=width, height=height):
            return width, height
        case SequenceType(length=length):
            return (length.lower,)
    return ()


def _refused(count: int, what: str, limit: int) -> UnsupportedModelError:
    return UnsupportedModelError(f"the file asks for {count:,} {what}; one of its size may ask for {limit:,}")
