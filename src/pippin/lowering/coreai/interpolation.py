"""Interpolation: lowers sampling between elements. The nearest of two that are equally near is the even one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from .. import limits
from ..onnx_builder import Tensor
from ..ops import image_resizing
from .builder import CoreAIBuilder
from .registry import lowers


@lowers("interpolate")
def interpolate(
    g: CoreAIBuilder, input: Any, output_shape: Any, scale: Any, offset: Any, interpolation_mode: str = "linear"
) -> Tensor:
    """Element i of an axis is the input's at (i + 0.5 - offset) / scale - 0.5."""
    x = g.tensor(input)
    numbers = (output_shape, scale, offset)
    linear = interpolation_mode == "linear"
    if not any(isinstance(n, Tensor) for n in numbers) and x.static_shape is not None:
        return _known(g, x, x.static_shape, np.asarray(output_shape), np.asarray(scale), np.asarray(offset), linear)
    for axis in range(x.rank):
        wanted, factor, shift = (_element(g, n, axis) for n in numbers)
        x = _computed(g, x, axis, wanted, factor, shift, linear)
    return x


def _known(
    g: CoreAIBuilder, x: Tensor, sizes: tuple[int, ...], wanted: Any, scale: Any, offset: Any, linear: bool
) -> Tensor:
    for target in wanted:
        limits.constant(int(target))
    points = [
        np.clip((np.arange(m) + 0.5 - o) / s - 0.5, 0, n - 1)
        for m, n, s, o in zip(wanted.tolist(), sizes, scale.astype(float), offset.astype(float), strict=True)
    ]
    changed = [
        axis for axis, at in enumerate(points) if len(at) != sizes[axis] or not np.array_equal(at, np.arange(len(at)))
    ]
    if linear and changed == [x.rank - 2, x.rank - 1]:
        mode = _sampling(points[-2:], sizes[-2:])
        if mode is not None:
            return image_resizing._bilinear(g, x, [int(m) for m in wanted[-2:]], mode)
    if not linear and changed == [x.rank - 2, x.rank - 1] and _repeats(points[-2:], sizes[-2:]):
        return image_resizing._nearest(g, x, [int(m) for m in wanted[-2:]], "DEFAULT")
    for axis in changed:
        x = (
            _blended(g, x, axis, points[axis], sizes[axis])
            if linear
            else g.Gather(x, np.rint(points[axis]).astype(np.int64), axis=axis)
        )
    return x


def _sampling(points: list[np.ndarray], sizes: tuple[int, ...]) -> str | None:
    """MIL's name for these points on the last two axes."""
    grids: dict[str, Callable[[int, int], np.ndarray]] = {
        "UNALIGN_CORNERS": lambda m, n: np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1),
        "STRICT_ALIGN_CORNERS": lambda m, n: np.arange(m) * (n - 1) / max(m - 1, 1),
    }
    for name, grid in grids.items():
        if all(np.allclose(at, grid(len(at), n), atol=1e-5) for at, n in zip(points, sizes, strict=True)):
            return name
    return None


def _repeats(points: list[np.ndarray], sizes: tuple[int, ...]) -> bool:
    """Whether each element is repeated as often as the others."""
    return all(
        len(at) % n == 0 and np.array_equal(np.rint(at), np.arange(len(at)) // (len(at) // n))
        for at, n in zip(points, sizes, strict=True)
    )


def _blended(g: CoreAIBuilder, x: Tensor, axis: int, at: np.ndarray, size: int) -> Tensor:
    low = np.floor(at).astype(np.int64)
    part = (at - low).astype(np.float32).reshape(-1, *[1] * (x.rank - 1 - axis))
    first, second = (g.Gather(x, np.minimum(low + more, size - 1), axis=axis) for more in (0, 1))
    return g.Add(g.Mul(first, g.cast(1 - part, x.dtype)), g.Mul(second, g.cast(part, x.dtype)))


def _element(g: CoreAIBuilder, values: Any, index: int) -> Any:
    return g.Gather(values, np.int64(index), axis=0) if isinstance(values, Tensor) else np.asarray(values)[index]


def _computed(g: CoreAIBuilder, x: Tensor, axis: int, wanted: Any, scale: Any, offset: Any, linear: bool) -> Tensor:
    """One axis, of sizes or at points that only the prediction knows."""
    size = (x.shape or ())[axis]
    plain = not isinstance(scale, Tensor) and not isinstance(offset, Tensor) and (float(scale), float(offset)) == (1, 0)
    if plain and not isinstance(wanted, Tensor) and size == int(wanted):
        return x
    places = g.cast(g.Range(0, g.cast(wanted, np.int64), 1), np.float32)
    last = g.Sub(g.cast(g.Gather(g.Shape(x), np.int64(axis)), np.float32), 1.0)
    at = g.Sub(g.Div(g.Sub(g.Add(places, 0.5), g.cast(offset, np.float32)), g.cast(scale, np.float32)), 0.5)
    at = g.Max(g.Min(at, last), 0.0)
    if not linear:
        return g.Gather(x, g.cast(g.Round(at), np.int64), axis=axis)
    low = g.Floor(at)
    part = g.Reshape(g.Sub(at, low), [-1, *[1] * (x.rank - 1 - axis)])
    first, second = g.cast(low, np.int64), g.cast(g.Min(g.Add(low, 1.0), last), np.int64)
    near, far = (g.Gather(x, index, axis=axis) for index in (first, second))
    return g.Add(g.Mul(near, g.Sub(1.0, part)), g.Mul(far, part))


@lowers("interpolate_coordinates")
def interpolate_coordinates(g: CoreAIBuilder, input: Any, coords: Any, interpolation_mode: str = "linear") -> Tensor:
    """The input at points, one number for each axis; a point outside is moved to the nearest edge."""
    x, points = g.tensor(input), g.tensor(coords)
    last = g.Sub(g.cast(g.tensor(g.shape_of(x)), points.dtype), 1.0)
    at = g.Max(g.Min(points, last), 0.0)
    if interpolation_mode != "linear":
        return g.GatherND(x, g.cast(g.Round(at), np.int64))
    low = g.Floor(at)
    part = g.Sub(at, low)
    ends = low, g.Min(g.Add(low, 1.0), last)
    total: Any = None
    for corner in product((0, 1), repeat=x.rank):
        chosen = np.array(corner, bool)
        index = g.Where(chosen, ends[1], ends[0])
        weight = g.ReduceProd(g.Where(chosen, part, g.Sub(1.0, part)), [-1], keepdims=0)
        value = g.Mul(g.GatherND(x, g.cast(index, np.int64)), weight)
        total = value if total is None else g.Add(total, value)
    return total
