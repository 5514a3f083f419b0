"""Known sizes: what is known of a shape that is computed at run time: (2, ?, 7) of a concatenation of 2, a batch, 7.

ONNX's inference sees one node at a time, and only whole constants. Without this, a tensor filled to such a shape
would have no known size at all, and whatever needs one of its sizes could not be lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..types import Shape

# Elements; no shape has more axes.
_MOST = 64

# Types that hold every size; float16 and booleans do not.
_EXACT = frozenset(np.dtype(name) for name in ("int32", "int64", "float32", "float64"))

_Elements: TypeAlias = Shape
"""The elements of a vector or scalar, None for an unknown one."""


class KnownSizes:
    """The known elements of the vectors of a graph, by name."""

    def __init__(self, constants: Mapping[str, np.ndarray]) -> None:
        self._constants = constants
        self._known: dict[str, _Elements] = {}

    def note(self, kind: str, inputs: Sequence[Any], result: Any, attributes: Mapping[str, Any]) -> None:
        """Keep what is known of the result of one node."""
        rule = _VALUES.get(kind)
        if rule is None or not inputs or inputs[0] is None or result.dtype not in _EXACT:
            return
        found = rule(inputs, [self.elements(t) for t in inputs], attributes)
        if found is not None and len(found) <= _MOST and any(element is not None for element in found):
            self._known[result.name] = found

    def shape(self, kind: str, inputs: Sequence[Any], inferred: Shape | None) -> Shape | None:
        """The shape of a node's result, completed by the sizes that are known of its shape operand."""
        rule = _SHAPES.get(kind)
        if rule is None or inferred is None or None not in inferred:
            return inferred
        sizes = self.elements(inputs[-1])
        if sizes is None or len(inferred) != len(sizes):
            return inferred
        known = rule(inputs[0].shape, sizes)
        return tuple(other if size is None else size for size, other in zip(inferred, known, strict=True))

    def elements(self, tensor: Any) -> _Elements | None:
        """The elements of a vector or scalar; None if its length is unknown, or it is neither."""
        if tensor is None or tensor.shape is None or len(tensor.shape) > 1:
            return None
        if tensor.name in self._known:
            return self._known[tensor.name]
        array = self._constants.get(tensor.name)
        if array is not None and array.size <= _MOST and array.dtype.kind in "iuf":
            return tuple(_whole(value) for value in array.reshape(-1).tolist())
        count = tensor.shape[0] if tensor.shape else 1
        return None if count is None or count > _MOST else (None,) * count


def _whole(value: float) -> int | None:
    """A number as a size, -1 and 0 included; None for what is neither."""
    return int(value) if -1 <= value < 1 << 31 and value == int(value) else None


def _same(inputs: Sequence[Any], elements: Sequence[_Elements | None], attributes: Mapping[str, Any]) -> Any:
    return elements[0]


def _shape(inputs: Sequence[Any], elements: Sequence[_Elements | None], attributes: Mapping[str, Any]) -> Any:
    return None if attributes.keys() & {"start", "end"} else inputs[0].shape


def _joined(inputs: Sequence[Any], elements: Sequence[_Elements | None], attributes: Mapping[str, Any]) -> Any:
    known = [each for each in elements if each is not None]
    return sum(known, ()) if len(known) == len(elements) else None


def _picked(inputs: Sequence[Any], elements: Sequence[_Elements | None], attributes: Mapping[str, Any]) -> Any:
    of, places = elements[:2]
    if of is None or places is None:
        return None
    return tuple(None if i is None or not -len(of) <= i < len(of) else of[i] for i in places)


_VALUES: Mapping[str, Callable[..., _Elements | None]] = {
    **dict.fromkeys(("Cast", "Identity", "Reshape", "Round", "Squeeze", "Unsqueeze"), _same),
    "Concat": _joined,
    "Gather": _picked,
    "Shape": _shape,
}


def _expanded(given: Shape | None, sizes: _Elements) -> Shape:
    own = (None,) * len(sizes) if given is None else (1,) * (len(sizes) - len(given)) + given
    return tuple(_broadcast(mine, size) for mine, size in zip(own[-len(sizes) :], sizes, strict=True))


def _broadcast(mine: int | None, size: int | None) -> int | None:
    """A size of 1 leaves that of the tensor; a larger one, on either side, is the result's."""
    if size == 1:
        return mine
    if size is not None and size > 1:
        return size
    return mine if mine is not None and mine > 1 else None


def _reshaped(given: Shape | None, sizes: _Elements) -> Shape:
    """A size of -1 or 0 is another's."""
    return tuple(size if size is not None and size > 0 else None for size in sizes)


_SHAPES: Mapping[str, Callable[[Shape | None, _Elements], Shape]] = {"Expand": _expanded, "Reshape": _reshaped}
