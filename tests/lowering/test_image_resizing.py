"""Resizing against the grids of coremltools' documentation in numpy, and against torch."""

import numpy as np
import torch
import torch.nn.functional as F
from coremltools.converters.mil.mil import types

from lowering.harness import case, check, const, dynamic, f32, i32, rows


def _grid(n, m, mode):
    i = np.arange(m)
    if mode == "ALIGN_CORNERS" and m == 1:
        points = np.array([(n - 1) / 2])
    elif mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = i * (n - 1) / max(m - 1, 1)
    elif mode == "DEFAULT":
        points = i * n / m
    elif mode == "UNALIGN_CORNERS":
        points = (i + 0.5) * n / m - 0.5
    else:
        points = (i + 0.5) * max(1, n - 1) / m
    return np.clip(points, 0, n - 1)


def _axis(x, axis, size, mode):
    points = _grid(x.shape[axis], size, mode)
    low = np.floor(points).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    part = (points - low).reshape(-1, *[1] * (-1 - axis))
    return np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part


def _bilinear(x, target_size_height=1, target_size_width=1, sampling_mode="DEFAULT"):
    return _axis(_axis(x, -2, int(target_size_height), sampling_mode), -1, int(target_size_width), sampling_mode)


def _upsample(x, scale_factor_height=1, scale_factor_width=1, align_corners=True, half_pixel_centers=None):
    sizes = [
        int(np.floor(d * s + 1e-4))
        for d, s in zip(x.shape[-2:], (scale_factor_height, scale_factor_width), strict=True)
    ]
    half = not align_corners if half_pixel_centers is None else half_pixel_centers
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half else "DEFAULT"
    return _bilinear(x, *sizes, mode)


def _nearest(x, height, width):
    rows = np.arange(height) * x.shape[-2] // height
    columns = np.arange(width) * x.shape[-1] // width
    return x[..., rows, :][..., columns]


MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]
X = f32(1, 2, 5, 6)
CASES = [
    case(
        "resize_bilinear",
        x=X,
        target_size_height=h,
        target_size_width=w,
        sampling_mode=mode,
        opset=opset,
        expect=_bilinear,
    )
    for mode in MODES
    for h, w in [(10, 12), (7, 9), (3, 2), (5, 6), (1, 4), (1, 1)]
    for opset in (15, 17)
]
CASES += [
    case(
        "resize_bilinear",
        x=x,
        target_size_height=8,
        target_size_width=9,
        sampling_mode="UNALIGN_CORNERS",
        expect=_bilinear,
    )
    for x in (f32(2, 5, 6), f32(1, 2, 2, 5, 6), dynamic(X, 0), dynamic(X))
]
CASES += [
    case(
        "resize_bilinear",
        x=X,
        target_size_height=8,
        target_size_width=9,
        sampling_mode=mode,
        label=f"torch-{mode}",
        expect=lambda x, a=align, **_: F.interpolate(
            torch.from_numpy(x), (8, 9), mode="bilinear", align_corners=a
        ).numpy(),
    )
    for mode, align in [("UNALIGN_CORNERS", False), ("STRICT_ALIGN_CORNERS", True)]
]
CASES += [
    case(
        "upsample_bilinear",
        x=x,
        scale_factor_height=h,
        scale_factor_width=w,
        align_corners=align,
        dtypes=["fp32"] if h == 1.5 else ["fp32", "fp16"],
        expect=_upsample,
    )
    for x in (X, f32(2, 5, 6), dynamic(X, 0))
    for h, w in [(2, 2), (3, 1), (1.5, 2.5)]
    for align in (True, False)
]
CASES += [
    case(
        "upsample_bilinear",
        x=X,
        scale_factor_height=2,
        scale_factor_width=3,
        align_corners=False,
        half_pixel_centers=half,
        opset=16,
        expect=_upsample,
    )
    for half in (True, False)
]
CASES += [
    case(
        "upsample_bilinear",
        x=dynamic(X),
        scale_factor_height=2,
        scale_factor_width=3,
        align_corners=False,
        expect=_upsample,
    )
]
CASES += [
    case(
        "upsample_nearest_neighbor",
        x=x,
        scale_factor_height=h,
        scale_factor_width=w,
        expect=lambda x, scale_factor_height, scale_factor_width: _nearest(
            x, int(x.shape[-2] * scale_factor_height), int(x.shape[-1] * scale_factor_width)
        ),
    )
    for x in (X, f32(2, 5, 6), dynamic(X))
    for h, w in [(2, 2), (3, 1), (1, 4)]
]
CASES += [
    case(
        "upsample_nearest_neighbor",
        x=f32(1, 2, 4, 6),
        scale_factor_height=1.5,
        scale_factor_width=0.5,
        dtypes=["fp32"],
        expect=lambda x, **_: _nearest(x, 6, 3),
    )
]
CASES += [
    case(
        "resize_nearest_neighbor",
        x=x,
        target_size_height=h,
        target_size_width=w,
        expect=lambda x, target_size_height, target_size_width: _nearest(
            x, int(target_size_height), int(target_size_width)
        ),
    )
    for x in (X, f32(2, 5, 6), dynamic(X, 0))
    for h, w in [(10, 12), (7, 4), (3, 3)]
]
CASES += [
    case(
        "resize",
        x=x,
        shape=shape,
        resized_dims=np.uint32(2),
        interpolation_mode="LINEAR",
        sampling_mode=mode,
        opset=17,
        expect=lambda x, sampling_mode, **_: _bilinear(x, 7, 9, sampling_mode),
    )
    for mode in MODES
    for x, shape in [(X, const(np.array([1, 7, 9], np.int32))), (f32(2, 5, 6), const(np.array([7, 9], np.int32)))]
]
CASES += [
    case(
        "resize",
        x=X,
        shape=np.array([7, 9], np.int32),
        resized_dims=np.uint32(2),
        sampling_mode="UNALIGN_CORNERS",
        opset=17,
        expect=lambda x, sampling_mode, **_: _bilinear(x, 7, 9, sampling_mode),
    ),
    case(
        "resize",
        x=dynamic(X),
        shape=const(np.array([7, 0], np.int32)),
        resized_dims=np.uint32(2),
        opset=17,
        expect=lambda x, **_: _bilinear(x, 7, 6),
    ),
    case(
        "resize",
        x=X,
        shape=const(np.array([9], np.int32)),
        resized_dims=np.uint32(1),
        opset=17,
        expect=lambda x, **_: _bilinear(x, 5, 9),
    ),
    case(
        "resize",
        x=X,
        shape=const(np.array([10, 12], np.int32)),
        resized_dims=np.uint32(2),
        interpolation_mode="NEAREST_NEIGHBOR",
        opset=17,
        expect=lambda x, **_: _nearest(x, 10, 12),
    ),
    case(
        "resize",
        x=i32(1, 1, 4, 4),
        shape=const(np.array([8, 8], np.int32)),
        resized_dims=np.uint32(2),
        interpolation_mode="NEAREST_NEIGHBOR",
        opset=17,
        expect=lambda x, **_: _nearest(x, 8, 8),
    ),
    case(
        "resize",
        x=X,
        shape=const(np.array([10, 12], np.int32)),
        resized_dims=np.uint32(2),
        interpolation_mode="NEAREST_NEIGHBOR",
        sampling_mode="UNALIGN_CORNERS",
        opset=17,
        expect=lambda x, **_: F.interpolate(torch.from_numpy(x), (10, 12), mode="nearest-exact").numpy(),
    ),
]
CASES += [
    case(
        "crop",
        x=x,
        crop_height=ch,
        crop_width=cw,
        expect=lambda x, crop_height, crop_width: x[
            ...,
            int(crop_height[0]) : x.shape[-2] - int(crop_height[1]),
            int(crop_width[0]) : x.shape[-1] - int(crop_width[1]),
        ],
    )
    for x in (X, f32(2, 5, 6), dynamic(X))
    for ch, cw in [([1, 1], [0, 2]), ([0, 0], [3, 0])]
]


# What coremltools' own tests expect: resize takes the nearer element, the older operation the one before.
COLUMN = np.array([-6.174, 9.371], np.float32).reshape(1, 1, 2, 1)
CASES += [
    case(
        "resize",
        x=COLUMN,
        shape=const(np.array([1, 1, 3, 2], np.int32)),
        resized_dims=np.uint32(2),
        interpolation_mode="NEAREST_NEIGHBOR",
        opset=17,
        rtol=1e-3,
        expect=lambda x, **_: np.repeat(x[:, :, [0, 1, 1]], 2, axis=3),
    ),
    case(
        "resize_nearest_neighbor",
        x=COLUMN,
        target_size_height=3,
        target_size_width=2,
        rtol=1e-3,
        expect=lambda x, **_: np.repeat(x[:, :, [0, 0, 1]], 2, axis=3),
    ),
]


CASES += [  # an image that is a constant of the program, beside an input
    case(
        op,
        x=f32(2, 3),
        label="constant image",
        build=lambda mb, x, op=op: mb.add(
            x=mb.reduce_sum(x=x),
            y=getattr(mb, op)(
                x=X.astype(types.nptype_from_builtin(x.dtype)), scale_factor_height=2, scale_factor_width=2
            ),
        ),
        atol=2e-2,
        expect=lambda x, f=f: x.astype(np.float64).sum() + f(X, 10, 12),
    )
    for op, f in [
        ("upsample_nearest_neighbor", _nearest),
        ("upsample_bilinear", lambda x, h, w: _bilinear(x, h, w, "STRICT_ALIGN_CORNERS")),
    ]
]


@rows(CASES)
def test_image_resizing(row, engine, dtype):
    check(row, engine, dtype)
