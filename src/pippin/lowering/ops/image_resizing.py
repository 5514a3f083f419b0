"""Image resizing: lowers resampling of the last two axes of a tensor.

MIL's sampling modes, as grids of `m` points over an axis of `n` elements (source: coremltools' documentation of
`resize_bilinear`), and the equivalent ONNX coordinate transformation:

    STRICT_ALIGN_CORNERS  i * (n - 1) / (m - 1)                    align_corners
    ALIGN_CORNERS         the same; (n - 1) / 2 if m is 1          align_corners; half_pixel if m is 1
    DEFAULT               i * n / m                                asymmetric
    UNALIGN_CORNERS       (i + 0.5) * n / m - 0.5                  half_pixel
    OFFSET_CORNERS        (i + 0.5) * max(1, n - 1) / m            none: uses gather and blend
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers

_TRANSFORMATIONS = {
    "STRICT_ALIGN_CORNERS": "align_corners",
    "ALIGN_CORNERS": "align_corners",
    "DEFAULT": "asymmetric",
    "UNALIGN_CORNERS": "half_pixel",
}


@lowers("crop")
def crop(g: Builder, x: Tensor, crop_height: np.ndarray, crop_width: np.ndarray) -> Tensor:
    before, behind = np.array([crop_height, crop_width], np.int64).T
    limits.cropped((x.shape or ())[-2:], before, behind)
    return g.Slice(x, before, np.where(behind == 0, np.iinfo(np.int64).max, -behind), [-2, -1])


@lowers("resize_bilinear")
def resize_bilinear(
    g: Builder, x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    return _bilinear(g, x, [int(target_size_height), int(target_size_width)], sampling_mode)


@lowers("upsample_bilinear")
def upsample_bilinear(
    g: Builder,
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    half_pixel = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half_pixel else "DEFAULT"
    return _bilinear(g, x, _scaled(g, x, scale_factor_height, scale_factor_width), mode)


@lowers("resize_nearest_neighbor")
def resize_nearest_neighbor(g: Builder, x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    return _nearest(g, x, [int(target_size_height), int(target_size_width)], "DEFAULT")


@lowers("upsample_nearest_neighbor")
def upsample_nearest_neighbor(
    g: Builder, x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1
) -> Tensor:
    return _nearest(g, x, _scaled(g, x, scale_factor_height, scale_factor_width), "DEFAULT")


@lowers("resize", since=17)
def resize(
    g: Builder,
    x: Tensor,
    shape: Any,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    count = int(resized_dims)
    if count > 2:
        raise UnsupportedOperationError(f"resized_dims must be at most 2, got {count}")
    sizes: list[Any] = []
    for i in range(2 - count, 2):
        position = i - 2
        wanted = g.Gather(shape, [position]) if isinstance(shape, Tensor) else int(shape[position])
        kept = _size(g, x, position)
        if isinstance(wanted, Tensor):
            wanted = g.cast(wanted, np.int64)
            sizes.append(g.Where(g.Equal(wanted, 0), kept, wanted))
        else:
            sizes.append(wanted or kept)
    sizes = [_size(g, x, i) for i in range(-2, -count)] + sizes
    if interpolation_mode == "LINEAR":
        return _bilinear(g, x, sizes, sampling_mode)
    return _nearest(g, x, sizes, sampling_mode, "round_prefer_floor")


def _size(g: Builder, x: Tensor, axis: int) -> Any:
    """The size of one axis: an int, or a tensor of shape (1)."""
    known = (x.shape or ())[axis]
    return g.Gather(g.Shape(x), [axis]) if known is None else known


def _scaled(g: Builder, x: Tensor, *factors: float) -> list[Any]:
    """floor(size * factor) for the last two axes."""
    sizes: list[Any] = []
    for axis, factor in zip((-2, -1), factors, strict=True):
        size = _size(g, x, axis)
        if not isinstance(size, Tensor):
            # The factor is often a rounded quotient of sizes; 1e-4 keeps floor from missing the intended size.
            sizes.append(int(np.floor(size * float(factor) + 1e-4)))
        elif float(factor).is_integer():
            sizes.append(g.Mul(size, int(factor)))
        else:
            product = g.Add(g.Mul(g.cast(size, np.float32), float(factor)), 1e-4)
            sizes.append(g.cast(g.Floor(product), np.int64))
    return sizes


def _resized(g: Builder, x: Tensor, sizes: Sequence[Any], **how: Any) -> Tensor:
    """ONNX Resize of the last two axes, as images: the engines resize rank-4 tensors."""
    limits.at_least(1, size=[size for size in sizes if not isinstance(size, Tensor)])
    if x.shape is not None and [*x.shape[-2:]] == [*sizes]:
        return x  # each point is an element; OpenVINO and MNN multiply the one beside it, perhaps infinite, by 0
    if x.static_shape is not None and 0 in x.static_shape:
        return _nothing(g, x, sizes)
    leading = g.Slice(g.shape_of(x), [0], [-2])
    image = x
    if x.rank != 4:
        last = g.Slice(g.shape_of(x), [-2], [x.rank])
        image = g.Reshape(x, g.Concat([1, -1], last, axis=0))
    wanted = _vector(g, sizes)
    outer = g.Slice(g.shape_of(image), [0], [-2]) if image.static_shape is None else np.array(image.static_shape[:2])
    whole = g.Concat(outer, wanted, axis=0) if isinstance(outer, Tensor) or isinstance(wanted, Tensor) else None
    y = g.Resize(image, None, None, np.concatenate([outer, wanted]) if whole is None else whole, **how)
    return y if x.rank == 4 else g.Reshape(y, g.Concat(leading, wanted, axis=0))


def _nothing(g: Builder, x: Tensor, sizes: Sequence[Any]) -> Tensor:
    """Of no images. Raises ProgramError for images of no elements."""
    if 0 in (x.shape or ())[-2:]:
        raise ProgramError(f"an image of the size {list((x.shape or ())[-2:])} has no elements to take")
    wanted = _vector(g, sizes)
    leading = np.array(x.static_shape[:-2] if x.static_shape else (), np.int64)
    shape = g.Concat(leading, wanted, axis=0) if isinstance(wanted, Tensor) else np.concatenate([leading, wanted])
    return g.Reshape(x, shape, allowzero=1)


def _vector(g: Builder, sizes: Sequence[Any]) -> Any:
    if not any(isinstance(size, Tensor) for size in sizes):
        return np.array(sizes, np.int64)
    return g.Concat(*(s if isinstance(s, Tensor) else np.array([s], np.int64) for s in sizes), axis=0)


def _bilinear(g: Builder, x: Tensor, sizes: Sequence[Any], mode: str) -> Tensor:
    x = g.tensor(x)
    if x.dtype.kind in "iu":
        x = g.cast(x, np.float32)
    if mode == "OFFSET_CORNERS":
        return _blended(g, _blended(g, x, -2, sizes[0]), -1, sizes[1])
    transformation = _TRANSFORMATIONS.get(mode)
    if transformation is None:
        raise UnsupportedOperationError(f"unknown sampling_mode '{mode}'")
    single = [not isinstance(size, Tensor) and size == 1 for size in sizes]
    if mode != "ALIGN_CORNERS" or not any(single):
        return _resized(g, x, sizes, mode="linear", coordinate_transformation_mode=transformation)
    y = _resized(g, x, [sizes[0], _size(g, x, -1)], mode="linear", coordinate_transformation_mode=_single(single[0]))
    return _resized(g, y, sizes, mode="linear", coordinate_transformation_mode=_single(single[1]))


def _single(is_single: bool) -> str:
    return "half_pixel" if is_single else "align_corners"


def _nearest(g: Builder, x: Tensor, sizes: Sequence[Any], mode: str, default_rounding: str = "floor") -> Tensor:
    """The element nearest to each grid point. In DEFAULT mode, `resize` (iOS 17) also takes the nearest one, but older
    operations take the one before it (source: the expected values of coremltools' tests)."""
    x = g.tensor(x)
    if mode == "OFFSET_CORNERS":
        raise UnsupportedOperationError("sampling_mode 'OFFSET_CORNERS' supports linear interpolation only")
    transformation = _TRANSFORMATIONS[mode]
    rounding = default_rounding if transformation == "asymmetric" else "round_prefer_ceil"
    return _resized(g, x, sizes, mode="nearest", coordinate_transformation_mode=transformation, nearest_mode=rounding)


def _blended(g: Builder, x: Tensor, axis: int, size: Any) -> Tensor:
    """One axis sampled at the OFFSET_CORNERS points, by linear interpolation between the two neighbors."""
    known = (x.shape or ())[axis]
    if known is None or isinstance(size, Tensor):
        raise UnsupportedOperationError(
            "sampling_mode 'OFFSET_CORNERS' requires sizes that are known before the prediction"
        )
    points = np.clip((limits.arange(0, size) + 0.5) * max(1, known - 1) / size, 0, known - 1)
    lower = np.floor(points).astype(np.int64)
    upper = np.minimum(lower + 1, known - 1)
    part = (points - lower).astype(x.dtype).reshape(-1, *[1] * (-1 - axis))
    return g.Add(g.Mul(g.Gather(x, lower, axis=axis), 1 - part), g.Mul(g.Gather(x, upper, axis=axis), part))
