"""Sampling at computed positions against torch's grid_sample and a bilinear reading in numpy."""

import numpy as np
import torch
import torch.nn.functional as F

from lowering.harness import case, check, const, dynamic, f32, rows

X = f32(2, 3, 5, 6)
POSITIONS = f32(2, 4, 3, 2, low=-1.3, high=1.3)
_TORCH = {"constant": "zeros", "border": "border", "reflection": "reflection", "symmetric": "reflection"}


def _resample(x, coordinates, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners):
    size = np.array([x.shape[3], x.shape[2]], np.float32)
    c = coordinates.astype(np.float32)
    if coordinates_mode == "unnormalized":
        pixels = c
    else:
        c = c if coordinates_mode == "normalized_minus_one_to_one" else 2 * c - 1
        pixels = (c + 1) / 2 * (size - 1) if align_corners else ((c + 1) * size - 1) / 2
    # A reflection about the centres of the outer pixels is torch's with align_corners, about their edges without.
    about_centres = padding_mode != "symmetric"
    grid = 2 * pixels / (size - 1) - 1 if about_centres else (2 * pixels + 1) / size - 1
    found = F.grid_sample(
        torch.from_numpy(x - padding_value),
        torch.from_numpy(grid.astype(np.float32)),
        sampling_mode,
        _TORCH[padding_mode],
        about_centres,
    )
    return found.numpy() + padding_value


UNIT = {
    "normalized_minus_one_to_one": POSITIONS,
    "normalized_zero_to_one": (POSITIONS + 1) / 2,
    "unnormalized": (POSITIONS + 1) * np.float32(2.3),
}
CASES = [
    case(
        "resample",
        x=X,
        coordinates=UNIT[mode],
        sampling_mode=sampling,
        padding_mode=padding,
        padding_value=0.0,
        coordinates_mode=mode,
        align_corners=align,
        dtypes=["fp32"],
        atol=1e-4,
        expect=_resample,
    )
    for mode in UNIT
    for sampling in ("bilinear", "nearest")
    for padding in _TORCH
    for align in (True, False)
]
CASES += [
    case(
        "resample",
        x=X,
        coordinates=POSITIONS,
        sampling_mode="bilinear",
        padding_mode="constant",
        padding_value=2.5,
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=True,
        dtypes=["fp32"],
        expect=_resample,
    ),
    case(
        "resample",
        x=X,
        coordinates=np.array([[[[0, 1], [5, 4]]], [[[2, 2], [3, 0]]]], np.int32),
        sampling_mode="bilinear",
        padding_mode="constant",
        padding_value=0.0,
        coordinates_mode="unnormalized",
        align_corners=True,
        expect=_resample,
    ),
    case(
        "resample",
        x=dynamic(X, 0),
        coordinates=dynamic(POSITIONS, 0),
        sampling_mode="bilinear",
        padding_mode="border",
        padding_value=0.0,
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=True,
        dtypes=["fp32"],
        expect=_resample,
    ),
    case(
        "resample",
        x=X,
        coordinates=POSITIONS,
        sampling_mode="bilinear",
        padding_mode="border",
        padding_value=0.0,
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=True,
        opset=16,
        atol=5e-3,
        expect=_resample,
    ),
    case(
        "resample",
        x=X,
        coordinates=const(np.array([[[[0, 1], [5, 4]]]] * 2, np.uint8)),
        sampling_mode="bilinear",
        padding_mode="border",
        padding_value=0.0,
        coordinates_mode="unnormalized",
        align_corners=True,
        opset=17,
        expect=_resample,
    ),
]


def _affine(x, transform_matrix, output_height, output_width, **_):
    theta = torch.from_numpy(np.broadcast_to(transform_matrix, (x.shape[0], 6)).reshape(-1, 2, 3).copy())
    grid = F.affine_grid(theta, (x.shape[0], x.shape[1], int(output_height), int(output_width)), align_corners=True)
    return F.grid_sample(torch.from_numpy(x), grid, align_corners=True).numpy()


CASES += [
    case(
        "affine",
        x=x,
        transform_matrix=matrix,
        output_height=h,
        output_width=w,
        sampling_mode="bilinear",
        padding_mode="constant",
        padding_value=0.0,
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=True,
        dtypes=["fp32"],
        expect=_affine,
    )
    for x in (X, dynamic(X, 0))
    for matrix in (
        f32(2, 6, seed=3, low=-1, high=1),
        const(f32(1, 6, seed=3, low=-1, high=1)),
        const(np.array([[1, 0, 0, 0, 1, 0]], np.float32)),
    )
    for h, w in [(5, 6), (3, 8)]
]


def _read(image, y, x, pad):
    """image (c, h, w) at one position, bilinear; the padding value outside."""
    _, h, w = image.shape
    if not (0 <= y <= h - 1 and 0 <= x <= w - 1):
        return np.full(image.shape[0], pad, np.float32)
    y0, x0 = int(np.floor(y)), int(np.floor(x))
    y1, x1, fy, fx = min(y0 + 1, h - 1), min(x0 + 1, w - 1), y - y0, x - x0
    top = image[:, y0, x0] * (1 - fx) + image[:, y0, x1] * fx
    return top * (1 - fy) + (image[:, y1, x0] * (1 - fx) + image[:, y1, x1] * fx) * fy


def _points(start, end, count, mode):
    n, i = end - start + 1, np.arange(count)
    if mode == "ALIGN_CORNERS" and count == 1:
        return np.array([(start + end) / 2])
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        return start + i * (end - start) / max(count - 1, 1)
    offset = {
        "DEFAULT": i * n / count,
        "UNALIGN_CORNERS": (i + 0.5) * n / count - 0.5,
        "OFFSET_CORNERS": (i + 0.5) * max(1, n - 1) / count,
    }[mode]
    return start + np.clip(offset, 0, end - start)


def _crop(x, boxes, indices, height, width, normalized, scale, box_mode, mode, pad):
    _, c, h, w = x.shape
    out = np.zeros((len(boxes), c, height, width), np.float32)
    for n, (box, index) in enumerate(zip(boxes, indices, strict=True)):
        a = box if box_mode.endswith("HEIGHT_FIRST") else box[[1, 0, 3, 2]]
        first, second = (a[:2], a[2:]) if box_mode.startswith("CORNERS") else (a[:2] - a[2:] / 2, a[:2] + a[2:] / 2)
        unit = np.array([h - 1, w - 1]) if normalized else 1
        first, second = first * unit * scale, second * unit * scale
        for i, y in enumerate(_points(first[0], second[0], height, mode)):
            for j, xx in enumerate(_points(first[1], second[1], width, mode)):
                out[n, :, i, j] = _read(x[int(index)], y, xx, pad)
    return out


def _roi(
    x,
    roi,
    target_height=1,
    target_width=1,
    normalized_coordinates=False,
    spatial_scale=1.0,
    box_coordinate_mode="CORNERS_HEIGHT_FIRST",
    sampling_mode="DEFAULT",
    pad_value=0.0,
):
    numbers = roi.reshape(roi.shape[0], -1).astype(np.float64)
    how = (
        int(target_height),
        int(target_width),
        normalized_coordinates,
        spatial_scale,
        box_coordinate_mode,
        sampling_mode,
        pad_value,
    )
    if numbers.shape[1] == 5:
        return _crop(x, numbers[:, 1:], numbers[:, 0], *how)[:, None]
    return np.stack([_crop(x, numbers, [b] * len(numbers), *how) for b in range(x.shape[0])], 1)


def _boxes(x, boxes, box_indices=None, **how):
    indices = np.arange(len(boxes)) if box_indices is None else box_indices
    roi = np.concatenate([np.asarray(indices, np.float32)[:, None], boxes], 1).reshape(-1, 1, 5, 1, 1)
    return _roi(x, roi, **how)[:, 0]


INSIDE = np.array([[0.5, 1.0, 3.5, 4.0], [1.0, 0.0, 2.0, 5.0]], np.float32)
CENTRED = np.array([[2.0, 2.5, 2.0, 3.0], [2.0, 2.0, 3.0, 2.0]], np.float32)
MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]
CASES += [
    case(
        "crop_resize",
        x=X,
        roi=INSIDE.reshape(2, 1, 4, 1, 1),
        target_height=3,
        target_width=4,
        sampling_mode=mode,
        dtypes=["fp32"],
        atol=1e-4,
        opset=opset,
        expect=_roi,
    )
    for mode in MODES
    for opset in (15, 16)
]
CASES += [
    case(
        "crop_resize",
        x=X,
        roi=np.concatenate([[[1.0], [0.0]], boxes], 1).astype(np.float32).reshape(2, 1, 5, 1, 1),
        target_height=2,
        target_width=3,
        box_coordinate_mode=mode,
        sampling_mode="ALIGN_CORNERS",
        dtypes=["fp32"],
        atol=1e-4,
        expect=_roi,
    )
    for mode, boxes in [
        ("CORNERS_HEIGHT_FIRST", INSIDE),
        ("CORNERS_WIDTH_FIRST", INSIDE),
        ("CENTER_SIZE_HEIGHT_FIRST", CENTRED),
        ("CENTER_SIZE_WIDTH_FIRST", CENTRED),
    ]
]
CASES += [
    case(
        "crop_resize",
        x=X,
        roi=(INSIDE / 6).reshape(2, 1, 4, 1, 1),
        target_height=2,
        target_width=2,
        normalized_coordinates=True,
        sampling_mode="ALIGN_CORNERS",
        dtypes=["fp32"],
        atol=1e-4,
        expect=_roi,
    ),
    case(
        "crop_resize",
        x=X,
        roi=(INSIDE * 2).reshape(2, 1, 4, 1, 1),
        target_height=2,
        target_width=2,
        spatial_scale=0.5,
        sampling_mode="ALIGN_CORNERS",
        dtypes=["fp32"],
        atol=1e-4,
        expect=_roi,
    ),
    case(
        "crop_resize",
        x=X,
        roi=INSIDE.reshape(2, 1, 4, 1, 1),
        target_height=1,
        target_width=1,
        sampling_mode="ALIGN_CORNERS",
        dtypes=["fp32"],
        atol=1e-4,
        expect=_roi,
    ),
    case(
        "crop_resize",
        x=X,
        roi=np.array([[3, 4, 1, 2]], np.float32).reshape(1, 1, 4, 1, 1),
        target_height=2,
        target_width=2,
        sampling_mode="ALIGN_CORNERS",
        dtypes=["fp32"],
        atol=1e-4,
        expect=_roi,
    ),
    case(
        "crop_resize",
        x=X,
        roi=np.array([[-2, -2, 2, 3]], np.float32).reshape(1, 1, 4, 1, 1),
        target_height=4,
        target_width=4,
        sampling_mode="ALIGN_CORNERS",
        pad_value=7.0,
        opset=16,
        dtypes=["fp32"],
        atol=1e-4,
        expect=_roi,
    ),
    case(
        "crop_resize",
        x=X,
        boxes=INSIDE,
        target_height=3,
        target_width=4,
        sampling_mode="ALIGN_CORNERS",
        opset=17,
        dtypes=["fp32"],
        atol=1e-4,
        expect=_boxes,
    ),
    case(
        "crop_resize",
        x=X,
        boxes=INSIDE,
        box_indices=np.array([1, 1], np.int32),
        target_height=3,
        target_width=4,
        sampling_mode="DEFAULT",
        opset=17,
        dtypes=["fp32"],
        atol=1e-4,
        expect=_boxes,
    ),
    case(
        "crop_resize",
        x=X,
        boxes=const(INSIDE),
        box_indices=const(np.array([1, 0], np.uint16)),
        target_height=2,
        target_width=2,
        box_coordinate_mode="CORNERS_WIDTH_FIRST",
        sampling_mode="UNALIGN_CORNERS",
        opset=17,
        dtypes=["fp32"],
        atol=1e-4,
        expect=_boxes,
    ),
]


# Positions half-way between two elements: the even one, after the reflection.
SQUARE = np.array([11.0, 22.0, 33.0, 44.0], np.float32).reshape(1, 1, 2, 2)
CASES += [
    case(
        "resample",
        x=SQUARE,
        coordinates=np.array([-1.0, -2.0, -3.7, -1.0, 0.0, 0.0, 3.5, 1.2], np.float32).reshape(1, 2, 2, 2),
        sampling_mode="nearest",
        padding_mode="symmetric",
        padding_value=-1.0,
        coordinates_mode="normalized_zero_to_one",
        align_corners=False,
        dtypes=["fp32"],
        expect=np.array([22.0, 33.0, 11.0, 33.0]).reshape(1, 1, 2, 2),
    ),
    # A box turned inside out: the whole image, or an image that is turned.
    case(
        "crop_resize",
        x=np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4),
        roi=const(np.array([2, 2, 1, 1], np.float32).reshape(1, 1, 4, 1, 1)),
        target_height=2,
        target_width=2,
        normalized_coordinates=True,
        sampling_mode="UNALIGN_CORNERS",
        dtypes=["fp32"],
        expect=np.array([3.5, 5.5, 11.5, 13.5]).reshape(1, 1, 1, 2, 2),
    ),
    case(
        "crop_resize",
        x=np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4),
        roi=const(np.array([2, 2, 1, 1], np.float32).reshape(1, 1, 4, 1, 1)),
        target_height=2,
        target_width=2,
        sampling_mode="ALIGN_CORNERS",
        dtypes=["fp32"],
        expect=np.array([11.0, 10.0, 7.0, 6.0]).reshape(1, 1, 1, 2, 2),
    ),
]


@rows(CASES)
def test_image_sampling(row, engine, dtype):
    check(row, engine, dtype)
