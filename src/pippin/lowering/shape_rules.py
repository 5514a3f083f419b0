"""Shape rules: sizes of operands that must agree, where ONNX's own inference accepts any.

An engine that does not check them either reads memory outside of the operand, or repeats what is there. Unknown sizes
are checked by the engines, as the operands' sizes are at the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ProgramError
from ..types import Shape

Shapes = Sequence[Shape | None]
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def check(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    """Check the operands of a node. Raises ProgramError."""
    rule = _RULES.get(kind)
    if rule is not None:
        rule(kind, shapes, attributes)


def check_moved(kind: str, given: Shape | None, made: Shape | None) -> None:
    """Check that a Reshape keeps the number of elements, which ONNX's inference leaves open. Raises ProgramError."""
    if kind != "Reshape" or given is None or made is None or None in (*given, *made):
        return
    if math.prod(d or 0 for d in given) != math.prod(d or 0 for d in made):
        raise ProgramError(f"{_described(given)} cannot be reshaped to {_described(made)}: the sizes do not fit")


def _size(shapes: Shapes, operand: int, axis: int) -> int | None:
    """The size of an operand's axis; None if it is unknown, or if there is no such operand or axis."""
    shape = shapes[operand] if operand < len(shapes) else None
    return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None


def _agree(what: str, found: int | None, wanted: int | None) -> None:
    if found is not None and wanted is not None and found != wanted:
        raise ProgramError(f"{what} must be {wanted}, got {found}")


def _convolution(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    groups = attributes.get("group", 1)
    filters, each = _size(shapes, 1, 0), _size(shapes, 1, 1)
    if groups < 1:
        raise ProgramError(f"the number of groups must be at least 1, got {groups}")
    if kind == "Conv":
        wanted, made = None if each is None else each * groups, filters
    else:
        wanted, made = filters, None if each is None else each * groups
    _agree("the number of input channels (by its weights)", _size(shapes, 0, 1), wanted)
    if filters is not None and filters % groups:
        raise ProgramError(f"{filters} channels cannot be divided into {groups} groups")
    _agree("the length of the bias", _size(shapes, 2, 0), made)
    if kind == "Conv":
        _window(shapes[0], (shapes[1] or ())[2:], attributes)


def _pool(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    _window(shapes[0], attributes.get("kernel_shape", ()), attributes)


def _window(shape: Shape | None, kernel: Sequence[int | None], attributes: Mapping[str, Any]) -> None:
    """A kernel must fit into the padded input, unless the input is empty anyway."""
    sizes = (shape or ())[2:]
    if len(sizes) != len(kernel) or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return
    pads = attributes.get("pads") or [0] * (2 * len(sizes))
    dilations = attributes.get("dilations") or [1] * len(sizes)
    for axis, (size, width) in enumerate(zip(sizes, kernel, strict=True)):
        if size is None or width is None or size == 0:
            continue
        padded, covered = size + pads[axis] + pads[axis + len(sizes)], (width - 1) * dilations[axis] + 1
        if padded < covered:
            raise ProgramError(f"a kernel that covers {covered} does not fit into the size {padded} (padding included)")


def _channels(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    for operand in range(1, len(shapes)):
        _agree("the length of a parameter (one for each channel)", _size(shapes, operand, 0), _size(shapes, 0, 1))


def _recurrent(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    units = attributes.get("hidden_size")
    if not units:
        return
    rows = _GATES[kind] * units
    wanted: list[tuple[str, tuple[int | None, ...]]] = [
        ("weight", (directions, rows, _size(shapes, 0, 2))),
        ("recurrent weight", (directions, rows, units)),
        ("bias", (directions, 2 * rows)),
        ("sequence lengths", (_size(shapes, 0, 1),)),
        ("initial state", (directions, _size(shapes, 0, 1), units)),
        ("initial cell", (directions, _size(shapes, 0, 1), units)),
        ("peephole", (directions, 3 * units)),
    ]
    for (name, sizes), shape in zip(wanted, shapes[1:], strict=False):
        _same(f"in ONNX's order, the {name}", shape, sizes)


def _slope(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    """The second operand may be repeated, the first may not."""
    whole, repeated = shapes[0], shapes[1]
    if whole is None or repeated is None:
        return
    if len(repeated) > len(whole):
        raise ProgramError(f"the slope {list(repeated)} must not have more axes than the input {list(whole)}")
    for size, own in zip(reversed(repeated), reversed(whole), strict=False):
        if size not in (1, None):
            _agree("the size of the slope", size, own)


def _along_axis(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    """The indices may reach beyond the data only along the axis."""
    data, indices = shapes[0], shapes[1]
    if data is None or indices is None:
        return
    if len(data) != len(indices):
        raise ProgramError(f"the indices must have the rank of the data, {len(data)}, got {len(indices)}")
    axis = attributes.get("axis", 0) % max(len(data), 1)
    for number, (size, most) in enumerate(zip(indices, data, strict=True)):
        if number != axis and size is not None and most is not None and size > most:
            raise ProgramError(f"the indices have the size {size} along axis {number}, where the data has {most}")
    if kind == "ScatterElements":
        _same("the updates", shapes[2], indices)


def _scatter_nd(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    data, indices = shapes[0], shapes[1]
    depth = _size(shapes, 1, -1)
    if data is not None and indices is not None and depth is not None:
        if depth > len(data):
            raise ProgramError(f"an index has {depth} numbers, but the data only {len(data)} axes")
        _same("the updates", shapes[2], (*indices[:-1], *data[depth:]))


def _gather_nd(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    for axis in range(attributes.get("batch_dims", 0)):
        _agree(f"the size of axis {axis} of the indices, a batch,", _size(shapes, 1, axis), _size(shapes, 0, axis))


def _picked(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    """Of nothing there is no element, unless the result is empty too."""
    shape = shapes[0]
    if shape is None:
        return
    axis = attributes.get("axis", 0) % max(len(shape), 1)
    if shape[axis : axis + 1] == (0,) and 0 not in (*shape[:axis], *shape[axis + 1 :]):
        raise ProgramError(f"axis {axis} of {_described(shape)} has no element to choose")


def _reversed(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    batch = _size(shapes, 0, attributes.get("batch_axis", 1))
    _agree("the number of lengths, one for each element of the batch,", _size(shapes, 1, 0), batch)


def _blocks(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    block = attributes["blocksize"]
    for axis, whole in ((1, block * block),) if kind == "DepthToSpace" else ((2, block), (3, block)):
        size = _size(shapes, 0, axis)
        if size is not None and size % whole:
            raise ProgramError(f"the size {size} of axis {axis} must be a multiple of {whole}")


def _same(what: str, found: Shape | None, wanted: Shape) -> None:
    if found is None:
        return
    if len(found) != len(wanted) or any(a != b for a, b in zip(found, wanted, strict=True) if None not in (a, b)):
        raise ProgramError(f"{what} must have the shape {_described(wanted)}, got {_described(found)}")


def _described(shape: Shape) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def _order(kind: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    order = attributes.get("perm")
    if order is not None and shapes[0] is not None and sorted(order) != list(range(len(shapes[0]))):
        raise ProgramError(f"the axes {list(order)} are no order of the {len(shapes[0])} axes that there are")


_RULES: Mapping[str, Callable[[str, Shapes, Mapping[str, Any]], None]] = {
    "ArgMax": _picked,
    "ArgMin": _picked,
    "AveragePool": _pool,
    "BatchNormalization": _channels,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "DepthToSpace": _blocks,
    "GRU": _recurrent,
    "GatherElements": _along_axis,
    "GatherND": _gather_nd,
    "InstanceNormalization": _channels,
    "LSTM": _recurrent,
    "LpPool": _pool,
    "MaxPool": _pool,
    "PRelu": _slope,
    "RNN": _recurrent,
    "ReverseSequence": _reversed,
    "ScatterElements": _along_axis,
    "ScatterND": _scatter_nd,
    "SpaceToDepth": _blocks,
    "Transpose": _order,
}
