"""Size quotients: how often a broadcast repeats each axis, where the sizes are not known but follow from one another.

Converters write `expand` as a tile by (target shape / shape), where -1 in the target is the axis's own size. Each
element of both vectors is followed back to a number or to a size of a tensor; an unknown size divided by itself is 1.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from .onnx_builder import Graph, Tensor
from .regions import followed

Element: TypeAlias = "int | tuple[str, str, int]"
"""A number, ("size", tensor, axis), or ("element", vector, place) for anything else."""

_STEPS = 32


def known_quotient(g: Graph, x: Any, y: Any) -> np.ndarray | None:
    """x / y for vectors of sizes; None if an element is not known."""
    shapes = [each.shape for each in (x, y)]
    if len(shapes[0] or ()) != 1 or shapes[0] != shapes[1] or shapes[0][0] is None:
        return None
    found = []
    for place in range(shapes[0][0]):
        above, below = _element(g, x, place), _element(g, y, place)
        if isinstance(above, int) and isinstance(below, int):
            if above < 0 or below <= 0:
                return None
            found.append(above // below)
        elif above == below and _is_size(above):
            found.append(1)
        else:
            return None
    return np.array(found, x.dtype)


def _element(g: Graph, values: Any, place: int) -> Element:
    if not isinstance(values, Tensor):
        return int(np.asarray(values)[place])
    for _ in range(_STEPS):
        vector, place = followed(g, values, place)
        if vector is None:
            return place
        made = g.makers.get(vector.name)
        kind = made.node.op_type if made is not None else ""
        if made is None or any(operand is None for operand in made.operands):
            break
        if kind == "Shape" and not made.node.attribute:
            return _size(g, made.operands[0], place)
        if kind == "Cast" and vector.dtype.kind in "iu" and _is_size(_element(g, made.operands[0], place)):
            values = made.operands[0]  # a size that does not fit the type is no size
            continue
        taken = _chosen(g, made, place) if kind == "Where" else None
        if taken is None:
            break
        values = taken
    assert vector is not None
    return "element", vector.name, place


def _chosen(g: Graph, made: Any, place: int) -> Tensor | None:
    """What a Where takes, if its condition tests whether an element is -1."""
    test = g.makers.get(made.operands[0].name)
    if (
        test is None
        or test.node.op_type != "Equal"
        or any(t.shape != made.operands[0].shape for t in made.operands[1:])
    ):
        return None
    tested, number = test.operands
    if tested is None or tested.shape != made.operands[0].shape:
        return None
    element = _element(g, tested, place)
    wanted = None if number is None else g.initializers.get(number.name)
    if wanted is None or wanted.size not in (1, made.operands[0].shape[0]):
        return None
    value = int(wanted.reshape(-1)[place if wanted.size > 1 else 0])
    if isinstance(element, int):
        return made.operands[1] if element == value else made.operands[2]
    return made.operands[2] if value < 0 and _is_size(element) else None


def _is_size(element: Element) -> bool:
    return element >= 0 if isinstance(element, int) else element[0] == "size"


def _size(g: Graph, t: Any, axis: int) -> Element:
    """The size of an axis, of the tensor that it comes from."""
    for _ in range(_STEPS):
        if t.shape is None:
            break
        if t.shape[axis] is not None:
            return int(t.shape[axis])
        made: Any = g.makers.get(t.name)
        step = _AXES.get(made.node.op_type) if made is not None else None
        source = step(g, made, axis) if step is not None else None
        if made is None or source is None:
            break
        t, axis = made.operands[0], source
    return "size", t.name, axis


def _constant(g: Graph, made: Any) -> list[int] | None:
    array = g.initializers.get(made.operands[1].name) if len(made.operands) > 1 and made.operands[1] else None
    return None if array is None else [int(each) for each in array.reshape(-1)]


def _unsqueezed(g: Graph, made: Any, axis: int) -> int | None:
    axes, shape = _constant(g, made), made.operands[0].shape
    if axes is None or shape is None:
        return None
    rank = len(shape)
    added = sorted(each % (rank + len(axes)) for each in axes)
    return None if axis in added else axis - sum(each < axis for each in added)


def _transposed(g: Graph, made: Any, axis: int) -> int | None:
    return next((int(list(a.ints)[axis]) for a in made.node.attribute if a.name == "perm"), None)


def _tiled(g: Graph, made: Any, axis: int) -> int | None:
    repeats = _constant(g, made)
    return axis if repeats is not None and repeats[axis] == 1 else None


_AXES: dict[str, Any] = {
    "Cast": lambda g, made, axis: axis,
    "Identity": lambda g, made, axis: axis,
    "Tile": _tiled,
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}
