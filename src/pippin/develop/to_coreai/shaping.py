"""Shaping: sizes, order, parts and places of elements. Every size is known when the asset is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from .emitter import INDICES, Emitter, Type, Value
from .registry import Node, translates

_PADDING = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@translates("Identity")
def identity(e: Emitter, node: Node, x: Any) -> Any:
    return x


@translates("Reshape", "Squeeze", "Unsqueeze", "Flatten")
def reshape(e: Emitter, node: Node, x: Any, *_: Any) -> Any:
    return e.reshape(x, node.shape)


@translates("Transpose")
def transpose(e: Emitter, node: Node, x: Any) -> Any:
    return e.transpose(x, node.get("perm") or range(len(x.shape))[::-1])


@translates("Concat")
def concat(e: Emitter, node: Node, *values: Any) -> Any:
    axis = node.get("axis") % len(node.shape)
    filled = [one for one in values if one.shape[axis]]
    return filled[0] if len(filled) == 1 else e.concat(filled, axis)


@translates("Expand")
def expand(e: Emitter, node: Node, x: Any, _shape: Any) -> Any:
    return x if x.shape == node.shape else e.op("broadcast_to", x, np.array(node.shape, np.uint32), shape=node.shape)


@translates("Tile")
def tile(e: Emitter, node: Node, x: Any, repeats: Any) -> Value:
    return e.op("tile", x, node.constant(repeats, "repeats").astype(np.uint32), shape=node.shape)


@translates("Split")
def split(e: Emitter, node: Node, x: Value, _sizes: Any = None) -> tuple[Value, ...]:
    axis, at, found = node.get("axis", 0) % x.rank, 0, []
    for kind in node.types:
        size = kind[0][axis] if kind is not None else 0
        starts, ends = [0] * x.rank, list(x.shape)
        starts[axis], ends[axis] = at, at + size
        found.append(e.slice(x, starts, ends))
        at += size
    return tuple(found)


@translates("Slice")
def slice_(e: Emitter, node: Node, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    rank = len(x.shape)
    chosen = range(starts.shape[0]) if axes is None else node.constant(axes, "axes")
    strides = np.ones(len(chosen), int) if steps is None else node.constant(steps, "steps")
    places = [int(axis) % rank for axis in chosen]
    if isinstance(starts, Value) or isinstance(ends, Value):
        return _moving(e, node, x, (starts, ends), places, strides)
    first, last, step = [0] * rank, list(x.shape), [1] * rank
    for axis, start, end, stride in zip(places, starts.tolist(), ends.tolist(), strides.tolist(), strict=True):
        first[axis], last[axis], step[axis] = slice(start, end, stride).indices(x.shape[axis])
    return e.slice(x, first, last, step)


def _moving(e: Emitter, node: Node, x: Any, given: Any, places: list[int], strides: Any) -> Value:
    """A part whose place a prediction computes."""
    numbers = [placed(e, one, places, other) for one, other in zip(given, ([0] * len(x.shape), x.shape), strict=True)]
    step = np.ones(len(x.shape), INDICES)
    step[places] = strides
    return e.op("slice_", x, *numbers, step, shape=node.shape)


def placed(e: Emitter, values: Any, places: list[int], others: Any) -> Any:
    """A number for each axis: those of `values` for `places`, else those of `others`."""
    if not isinstance(values, Value):
        found = np.array(others, np.int64)
        found[places] = np.clip(values, -(2**31), 2**31 - 1)
        return found.astype(INDICES)
    values = e.cast(values, INDICES)
    parts = [
        e.slice(values, [places.index(axis)], [places.index(axis) + 1]) if axis in places else np.array([size], INDICES)
        for axis, size in enumerate(others)
    ]
    return parts[0] if len(parts) == 1 else e.concat(parts, 0)


@translates("Pad")
def pad(e: Emitter, node: Node, x: Value, pads: Any, value: Any = None, axes: Any = None) -> Value:
    given = node.constant(pads, "padding").reshape(2, -1)
    places = range(x.rank) if axes is None else [int(a) % x.rank for a in node.constant(axes, "axes")]
    sizes = np.zeros((2, x.rank), int)
    sizes[:, list(places)] = given
    mode = _PADDING[node.get("mode", "constant")]
    starts, cut = np.maximum(-sizes[0], 0), np.maximum(-sizes[1], 0)
    x = e.slice(x, starts.tolist(), (np.array(x.shape) - cut).tolist())
    number = 0.0 if value is None else float(node.constant(value, "value").reshape(-1)[0])
    return e.pad(x, np.maximum(sizes[0], 0).tolist(), np.maximum(sizes[1], 0).tolist(), number, mode)


@translates("DepthToSpace")
def depth_to_space(e: Emitter, node: Node, x: Value) -> Value:
    n, c, h, w = x.shape
    b = node.get("blocksize")
    if node.get("mode", "DCR") == "DCR":
        split_, order = [n, b, b, c // b**2, h, w], [0, 3, 4, 1, 5, 2]
    else:
        split_, order = [n, c // b**2, b, b, h, w], [0, 1, 4, 2, 5, 3]
    return e.reshape(e.transpose(e.reshape(x, split_), order), node.shape)


@translates("SpaceToDepth")
def space_to_depth(e: Emitter, node: Node, x: Value) -> Value:
    n, c, h, w = x.shape
    b = node.get("blocksize")
    return e.reshape(e.transpose(e.reshape(x, [n, c, h // b, b, w // b, b]), [0, 3, 5, 1, 2, 4]), node.shape)


@translates("Range")
def range_(e: Emitter, node: Node, start: Any, stop: Any, step: Any) -> Value:
    return e.op("range_", *(e.cast(one, node.dtype) for one in (start, stop, step)), shape=node.shape, dtype=node.dtype)


@translates("Gather")
def gather(e: Emitter, node: Node, x: Any, indices: Any) -> Any:
    axis, rank = node.get("axis", 0) % len(x.shape), len(x.shape)
    part = _run(indices)
    if part is not None and isinstance(x, Value):
        starts, ends = [0] * rank, list(x.shape)
        first = part[0] if part[0] >= 0 else part[0] + x.shape[axis]
        starts[axis], ends[axis] = first, first + len(part)
        return e.reshape(e.slice(x, starts, ends), node.shape)
    order = [axis, *(one for one in range(rank) if one != axis)]
    turned = e.transpose(x, order)
    rest = [x.shape[one] for one in order[1:]]
    places = e.reshape(e.cast(indices, INDICES), (*indices.shape, 1))
    found = e.op("gather_nd", turned, places, shape=(*indices.shape, *rest), dtype=x.dtype)
    count = len(indices.shape)
    back = [*range(count, count + axis), *range(count), *range(count + axis, count + rank - 1)]
    return e.transpose(found, back)


def _run(indices: Any) -> list[int] | None:
    """Known indices that follow each other."""
    if not isinstance(indices, np.ndarray) or not indices.size or indices.ndim > 1:
        return None
    values: list[int] = indices.reshape(-1).tolist()
    run = list(range(values[0], values[0] + len(values)))
    return run if values == run and (values[0] >= 0 or values[-1] < 0) else None


@translates("GatherElements")
def gather_elements(e: Emitter, node: Node, x: Any, indices: Any) -> Value:
    axis = np.array(node.get("axis", 0) % len(x.shape), INDICES)
    return e.op("gather_along_axis", x, e.cast(indices, INDICES), axis, shape=node.shape, dtype=x.dtype)


@translates("GatherND")
def gather_nd(e: Emitter, node: Node, x: Any, indices: Any) -> Value:
    places, count = e.cast(indices, INDICES), node.get("batch_dims", 0)
    if count:  # the place in the batch becomes a part of the index
        lead = indices.shape[:-1]
        own = [
            np.broadcast_to(np.arange(n).reshape(-1, *[1] * (len(lead) - 1 - a)), lead)
            for a, n in enumerate(lead[:count])
        ]
        batch = np.stack(own, axis=-1).astype(INDICES)
        known = isinstance(places, np.ndarray)
        places = np.concatenate([batch, places], -1) if known else e.concat([batch, places], len(lead))
    return e.op("gather_nd", x, places, shape=node.shape, dtype=x.dtype)


@translates("ScatterND")
def scatter_nd(e: Emitter, node: Node, x: Any, indices: Any, updates: Any) -> Value:
    if node.get("reduction", "none") != "none":
        raise node.refused(f"its mode '{node.get('reduction')}' has no counterpart in Core AI")
    return e.op("scatter_nd", x, e.cast(indices, INDICES), updates, shape=node.shape, dtype=x.dtype)


@translates("ScatterElements")
def scatter_elements(e: Emitter, node: Node, x: Any, indices: Any, updates: Any) -> Value:
    mode = {"none": "update"}.get(node.get("reduction", "none"), node.get("reduction", "none"))
    axis = np.array(node.get("axis", 0) % len(x.shape), INDICES)
    kind = Type(node.shape, node.dtype)
    operands = (kind, x, e.cast(indices, INDICES), updates, axis)
    return e.op("scatter_along_axis", *operands, shape=node.shape, dtype=node.dtype, scatter_mode=mode)


@translates("OneHot")
def one_hot(e: Emitter, node: Node, indices: Any, depth: Any, values: Any) -> Value:
    axis, count = node.get("axis", -1) % len(node.shape), int(node.constant(depth, "depth").reshape(-1)[0])
    places = e.cast(indices, INDICES)
    places = e.where(e.greater(0, places), e.add(places, count), places)
    places = e.reshape(places, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    line = np.arange(count, dtype=INDICES).reshape(-1, *[1] * (len(node.shape) - 1 - axis))
    off, on = node.constant(values, "values")
    return e.where(e.equal(places, line), np.asarray(on), np.asarray(off))


@translates("Trilu")
def trilu(e: Emitter, node: Node, x: Value, k: Any = None) -> Value:
    offset = 0 if k is None else int(node.constant(k, "diagonal").reshape(-1)[0])
    ones = np.ones(x.shape[-2:], bool)
    mask = np.triu(ones, offset) if node.get("upper", 1) else np.tril(ones, offset)
    return e.where(mask, x, 0)
