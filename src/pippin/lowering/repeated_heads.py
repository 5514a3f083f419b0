"""Repeated heads: finds the keys and values that grouped-query attention repeats, so that they need not be.

Converters write `repeat_interleave` and its like as a chain of operators that only move elements. What such a chain
does to every element is computed here on the numbers of the elements, with two lengths, instead of recognizing each way
to write it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .onnx_builder import Graph, Made, Tensor
from .onnx_nodes import attributes

# Operators in a chain, and elements of the arrays that it is computed on.
_STEPS = 12
_MOST = 1 << 20
# Lengths to stand in for unknown sizes.
_LENGTHS = (5, 3, 2), (7, 2, 3)


def unrepeated(g: Graph, x: Tensor) -> tuple[Tensor, int]:
    """(y, n) with x = y.repeat(n, axis 1), element by element, for a tensor of rank 4; (x, 1) if there is none.

    Converters join the transposition of a cache that holds keys as columns with the first move; then y is that
    transposition, on its own.
    """
    chain: list[tuple[Made, list[np.ndarray]]] = []
    found, turned, current = (x, 1), False, x
    for _ in range(_STEPS):
        made = g.makers.get(current.name)
        if made is None or made.node.op_type not in _MOVES or made.operands[0] is None:
            break
        constants = [g.initializers.get(t.name) for t in made.operands[1:] if t is not None]
        known = [array for array in constants if array is not None]
        if len(known) < len(constants):
            break
        chain.insert(0, (made, known))
        current = made.operands[0]
        count = _repeats(current, x)
        for turn in (False, True) if count > 1 else ():
            if all(_repeated(chain, current, count, sizes, turn) for sizes in _LENGTHS):
                found, turned = (current, count), turn
                break
    return (g.Transpose(found[0], perm=[0, 1, 3, 2]), found[1]) if turned else found


def turned(g: Graph, x: Tensor) -> Tensor:
    """x with its last two axes exchanged; what it was made of, if that is the same."""
    order = list(range(x.rank))
    order[-2:] = order[:-3:-1]
    made = g.makers.get(x.name)
    source = made.operands[0] if made is not None and made.node.op_type == "Transpose" else None
    if made is not None and source is not None and list(attributes(made.node).get("perm", ())) == order:
        return source
    result: Tensor = g.Transpose(x, perm=order)
    return result


def _repeats(y: Tensor, x: Tensor) -> int:
    """How often y's heads would be repeated in x; 0 if that cannot be."""
    if y.shape is None or x.shape is None or len(y.shape) != 4 or len(x.shape) != 4:
        return 0
    heads, all_heads = y.shape[1], x.shape[1]
    return all_heads // heads if heads and all_heads and all_heads % heads == 0 else 0


def _repeated(
    chain: Sequence[tuple[Made, list[np.ndarray]]], y: Tensor, count: int, sizes: Sequence[int], turn: bool
) -> bool:
    lengths = iter(sizes)
    try:
        shape = [next(lengths) if size is None else size for size in y.shape or ()]
        if np.prod(shape, dtype=np.float64) * count > _MOST:
            return False
        start = moved = np.arange(np.prod(shape)).reshape(shape)
        for made, constants in chain:
            moved = _MOVES[made.node.op_type](moved, constants, attributes(made.node))
            if moved.size > _MOST:
                return False
    except (ValueError, IndexError, StopIteration, TypeError):
        return False
    return np.array_equal(moved, (start.swapaxes(2, 3) if turn else start).repeat(count, axis=1))


def _reshape(x: np.ndarray, constants: Sequence[np.ndarray], given: Mapping[str, Any]) -> np.ndarray:
    sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(constants[0].tolist())]
    return x.reshape(sizes)


def _expand(x: np.ndarray, constants: Sequence[np.ndarray], given: Mapping[str, Any]) -> np.ndarray:
    return x * np.ones(constants[0].tolist(), x.dtype)


_MOVES: dict[str, Callable[[np.ndarray, Sequence[np.ndarray], Mapping[str, Any]], np.ndarray]] = {
    "Expand": _expand,
    "Identity": lambda x, constants, given: x,
    "Reshape": _reshape,
    "Squeeze": lambda x, constants, given: x.squeeze(tuple(constants[0].tolist())),
    "Tile": lambda x, constants, given: np.tile(x, constants[0].tolist()),
    "Transpose": lambda x, constants, given: x.transpose(given["perm"]),
    "Unsqueeze": lambda x, constants, given: np.expand_dims(x, tuple(constants[0].tolist())),
}
