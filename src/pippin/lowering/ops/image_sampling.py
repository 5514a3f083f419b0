"""Image sampling: lowers reads of an image at computed positions (resample, affine, crop_resize) to ONNX GridSample.

GridSample takes positions from -1 to 1. With `align_corners` these are the centers of the outer pixels, and reflection
turns there; without, they are the outer edges. The padding mode therefore decides which is used, and positions are
first converted to pixels: 0 is the center of the first one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from ...types import Shape
from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers

# MIL's padding mode: GridSample's padding mode and align_corners.
_PADDING = {
    "constant": ("zeros", 0),
    "border": ("border", 0),
    "reflection": ("reflection", 1),
    "symmetric": ("reflection", 0),
}
# Padding mode to use after positions are reflected.
_NEAREST_PADDING = {"constant": "constant", "border": "border", "reflection": "border", "symmetric": "border"}
_SAMPLING = {"bilinear": "linear", "nearest": "nearest"}


@lowers("resample")
def resample(
    g: Builder,
    x: Tensor,
    coordinates: Any,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    x = g.tensor(x)
    positions = g.cast(coordinates, x.dtype)
    size = _size(g, x)
    if coordinates_mode == "normalized_zero_to_one":
        positions = g.Sub(g.Mul(positions, 2.0), 1.0)
    if coordinates_mode == "unnormalized":
        pixels = positions
    elif align_corners:
        pixels = g.Mul(g.Mul(g.Add(positions, 1.0), 0.5), g.Sub(size, 1.0))
    else:
        pixels = g.Sub(g.Mul(g.Mul(g.Add(positions, 1.0), 0.5), size), 0.5)
    return _sampled(g, x, pixels, sampling_mode, padding_mode, padding_value)


@lowers("affine")
def affine(
    g: Builder,
    x: Tensor,
    transform_matrix: Any,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    if coordinates_mode != "normalized_minus_one_to_one" or not align_corners:
        raise UnsupportedOperationError(
            f"affine requires coordinates_mode 'normalized_minus_one_to_one' with align_corners=True,"
            f" got '{coordinates_mode}' with align_corners={bool(align_corners)}"
        )
    x, height, width = g.tensor(x), int(output_height), int(output_width)
    limits.at_least(1, output_height=height, output_width=width)
    limits.constant(height * width, 64)
    columns, rows = np.meshgrid(_ends(width), _ends(height))
    grid = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(1, -1, 3).astype(x.dtype)
    matrix = g.Transpose(g.Reshape(transform_matrix, [-1, 2, 3]), perm=[0, 2, 1])
    positions = g.Reshape(g.MatMul(grid, g.cast(matrix, x.dtype)), [-1, height, width, 2])
    batch = g.Slice(g.shape_of(x), [0], [1])
    positions = g.Expand(positions, g.Concat(batch, [1, 1, 1], axis=0))
    pixels = g.Mul(g.Mul(g.Add(positions, 1.0), 0.5), g.Sub(_size(g, x), 1.0))
    return _sampled(g, x, pixels, sampling_mode, padding_mode, padding_value)


@lowers("crop_resize")
def crop_resize(
    g: Builder,
    x: Tensor,
    roi: Any = None,
    boxes: Any = None,
    box_indices: Any = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Crop boxes out of images and resize them to one size.

    iOS 15 and 16 take `roi` (N, 1, 4 or 5, 1, 1); of 5 numbers, the first is the image index. iOS 17 takes `boxes`
    (N, 4) and `box_indices` (N).
    """
    x, target = g.tensor(x), (int(target_height), int(target_width))
    all_images = False
    _check_boxes("roi", roi, (None, 1, None, 1, 1), 2, (4, 5))
    _check_boxes("boxes", boxes, (None, None), 1, (4,))
    if roi is not None:
        width = g.tensor(roi).static_size(2)
        numbers, all_images = g.Reshape(roi, [-1, width]), width == 4
        boxes = numbers if all_images else g.Slice(numbers, [1], [5], [1])
        box_indices = None if all_images else g.Reshape(g.Slice(numbers, [0], [1], [1]), [-1])
    boxes = g.cast(g.tensor(boxes), x.dtype)
    count = g.Slice(g.shape_of(boxes), [0], [1])
    if all_images:  # stack the images of the batch as channels
        batch_size = g.shape_of(x)
        images = g.Reshape(x, g.Concat([1, -1], g.Slice(batch_size, [2], [4]), axis=0))
        images = g.Expand(images, g.Concat(count, [1, 1, 1], axis=0))
    else:
        if box_indices is None:  # one box per image
            box_indices = g.Range(0, g.Squeeze(count, [0]), 1) if isinstance(count, Tensor) else np.arange(count[0])
        size = (x.shape or ())[0]
        images_given = g.Shape(x, start=0, end=1) if size is None else np.array([size], np.int64)
        which = g.inside(box_indices, images_given)
        images = g.Gather(x, which, axis=0)
    rows, columns = _box_points(
        g, x, boxes, target, box_coordinate_mode, sampling_mode, normalized_coordinates, spatial_scale
    )
    shape = g.Concat(count, target, axis=0)
    grid = [g.Unsqueeze(g.Expand(g.Unsqueeze(v, [a]), shape), [3]) for v, a in ((columns, 1), (rows, 2))]
    pixels = g.Concat(*grid, axis=3)
    found = _sampled(g, images, pixels, "bilinear", "border", 0.0)
    inside = g.And(g.GreaterOrEqual(pixels, 0.0), g.LessOrEqual(pixels, g.Sub(_size(g, x), 1.0)))
    kept = g.Unsqueeze(g.Equal(g.ReduceMin(g.cast(inside, np.int32), [3], keepdims=0), 1), [1])
    found = g.Where(kept, found, g.cast(pad_value, x.dtype))
    if roi is None:
        return found
    if not all_images:
        return g.Unsqueeze(found, [1])
    return g.Reshape(found, g.Concat(count, g.Slice(g.shape_of(x), [0], [2]), target, axis=0))


def _check_boxes(name: str, given: Any, shape: Shape, place: int, numbers: tuple[int, ...]) -> None:
    """Raises ProgramError unless the boxes have this shape, with one of these counts of numbers for each box."""
    found = None if given is None else given.shape
    if found is None:
        return
    fits = len(found) == len(shape)
    fits = fits and all(None in pair or pair[0] == pair[1] for pair in zip(found, shape, strict=True))
    if not fits or found[place] not in (None, *numbers):
        of = ", ".join("N" if size is None else str(size) for size in shape[:place])
        rest = "".join(f", {size}" for size in shape[place + 1 :])
        wanted = " or ".join(f"({of}, {count}{rest})" for count in numbers)
        raise ProgramError(f"'{name}' must have the shape {wanted}, got {list(found)}")


def _box_points(
    g: Builder,
    x: Tensor,
    boxes: Tensor,
    target: tuple[int, int],
    box_mode: str,
    sampling_mode: str,
    normalized: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """The rows (N, height) and columns (N, width) at which each box is sampled, in pixels."""
    order = [0, 1, 2, 3] if box_mode.endswith("HEIGHT_FIRST") else [1, 0, 3, 2]
    first, second = (g.Gather(boxes, order[i : i + 2], axis=1) for i in (0, 2))  # (N, 2): height, width
    if box_mode.startswith("CENTER_SIZE"):
        half = g.Mul(second, 0.5)
        first, second = g.Sub(first, half), g.Add(first, half)
    factor: Any = float(scale)
    if normalized:
        rows_columns = g.Gather(_size(g, x), [1, 0])
        factor = g.Mul(g.Sub(rows_columns, 1.0), float(scale))
    first, second = g.Mul(first, factor), g.Mul(second, factor)
    if sampling_mode == "UNALIGN_CORNERS":
        # An inverted box selects the whole image (source: the expected values of coremltools' tests); in the other
        # modes it flips the crop.
        whole = g.Sub(g.Gather(_size(g, x), [1, 0]), 1.0)
        inverted = g.Less(second, first)
        first, second = g.Where(inverted, g.cast(0, x.dtype), first), g.Where(inverted, whole, second)
    points = []
    for axis, count in enumerate(target):
        start, end = (g.Gather(v, [axis], axis=1) for v in (first, second))  # (N, 1)
        points.append(_points(g, start, end, count, sampling_mode))
    return points[0], points[1]


def _points(g: Builder, start: Tensor, end: Tensor, count: int, mode: str) -> Tensor:
    """`count` points between start and end (N, 1), on the grids of `image_resizing`, with n = end - start + 1."""
    i = limits.arange(0, count)[None].astype(start.dtype)
    extent = g.Sub(end, start)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        middle = 0.5 if mode == "ALIGN_CORNERS" else 0.0
        return g.Add(start, g.Mul(extent, i / (count - 1) if count > 1 else np.full_like(i, middle)))
    if mode == "OFFSET_CORNERS":
        offset = g.Mul(g.Max(extent, 1.0), (i + np.asarray(0.5, i.dtype)) / count)
    elif mode == "DEFAULT":
        offset = g.Mul(g.Add(extent, 1.0), i / count)
    elif mode == "UNALIGN_CORNERS":
        offset = g.Sub(g.Mul(g.Add(extent, 1.0), (i + np.asarray(0.5, i.dtype)) / count), 0.5)
    else:
        raise UnsupportedOperationError(f"unknown sampling_mode '{mode}'")
    return g.Add(start, g.Max(g.Min(offset, extent), 0.0))


def _sampled(g: Builder, x: Tensor, pixels: Tensor, sampling: str, padding: str, value: float) -> Tensor:
    """Read x (n, c, h, w) at pixels (n, h', w', 2), given as (column, row)."""
    if sampling not in _SAMPLING or padding not in _PADDING:
        raise UnsupportedOperationError(f"unknown sampling_mode '{sampling}' or padding_mode '{padding}'")
    size = _size(g, x)
    if sampling == "nearest":
        # Round here: the engines break ties differently, and in both directions at a reflection.
        pixels, padding = g.Round(_reflected(g, pixels, size, padding)), _NEAREST_PADDING[padding]
    mode, align = _PADDING[padding]
    if align:
        span = g.Max(g.Sub(size, 1.0), 1.0)
        grid = g.Sub(g.Div(g.Mul(pixels, 2.0), span), 1.0)
    else:
        grid = g.Sub(g.Div(g.Add(g.Mul(pixels, 2.0), 1.0), size), 1.0)
    shift = g.cast(value, x.dtype)
    shifted = padding == "constant" and float(value) != 0  # GridSample pads only with zeros
    image = g.Sub(x, shift) if shifted else x
    found = g.GridSample(image, grid, mode=_SAMPLING[sampling], padding_mode=mode, align_corners=align)
    return g.Add(found, shift) if shifted else found


def _reflected(g: Builder, pixels: Tensor, size: Any, padding: str) -> Tensor:
    """Mirror pixels outside the image into it, at the outer pixels or at their outer edges."""
    if padding not in ("reflection", "symmetric"):
        return pixels
    edge = 0.5 if padding == "symmetric" else 0.0
    span = g.Sub(size, 1.0 - 2 * edge)
    period = g.Max(g.Mul(span, 2.0), 1.0)
    shifted = g.Add(pixels, edge)
    # The two ends of a period are the same pixel, so a quotient may be rounded to either side of a whole number.
    inside = g.Sub(shifted, g.Mul(g.Floor(g.Mul(shifted, g.Reciprocal(period))), period))
    return g.Sub(g.Min(inside, g.Sub(period, inside)), edge)


def _size(g: Builder, x: Tensor) -> Any:
    """(width, height) of the last two axes, as floats."""
    height, width = (x.shape or (None, None))[-2:]
    if height is not None and width is not None:
        return np.array([width, height], x.dtype)
    return g.cast(g.Gather(g.Shape(x), [x.rank - 1, x.rank - 2]), x.dtype)


def _ends(count: int) -> np.ndarray:
    """`count` evenly spaced points from -1 to 1."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
