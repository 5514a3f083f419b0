"""Convolutions against torch."""

import numpy as np
import torch
import torch.nn.functional as F

from lowering.harness import case, check, const, dynamic, f32, rows

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def t(x):
    return torch.from_numpy(np.ascontiguousarray(x))


def _pairs(pads):
    """torch pads the last axis first."""
    return [p for pair in reversed(np.reshape(pads, (-1, 2)).tolist()) for p in pair]


def _same(size, kernel, stride, dilation, lower=False):
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    less, more = total // 2, total - total // 2
    return (more, less) if lower else (less, more)


def _conv(x, weight, bias=None, strides=None, pad_type="valid", pad=None, dilations=None, groups=1):
    n = x.ndim - 2
    strides = [1] * n if strides is None else [int(s) for s in strides]
    dilations = [1] * n if dilations is None else [int(d) for d in dilations]
    if pad_type.startswith("same"):
        pad = [
            _same(*v, lower=pad_type == "same_lower")
            for v in zip(x.shape[2:], weight.shape[2:], strides, dilations, strict=True)
        ]
    padded = t(x) if pad is None else F.pad(t(x), _pairs(pad))
    return CONV[n](padded, t(weight), None if bias is None else t(bias), strides, 0, dilations, int(groups)).numpy()


def _w(*shape, seed=7):
    return const(f32(*shape, seed=seed))


CASES = []
for n in (1, 2, 3):
    space = (9, 8, 7)[:n]
    kernel = (3, 2, 3)[:n]
    for opset in (15, 17):
        CASES += [
            case("conv", x=f32(2, 4, *space), weight=_w(6, 4, *kernel), opset=opset, expect=_conv),
            case("conv", x=f32(2, 4, *space), weight=_w(6, 4, *kernel), bias=_w(6), opset=opset, expect=_conv),
        ]
    CASES += [
        case(
            "conv",
            x=f32(1, 4, *space),
            weight=_w(6, 4, *kernel),
            strides=[2] * n,
            pad_type=pad_type,
            opset=16,
            expect=_conv,
        )
        for pad_type in ("valid", "same", "same_lower")
    ]
    CASES += [
        case("conv", x=f32(1, 4, *space), weight=_w(6, 4, *kernel), pad_type="custom", pad=[1, 2] * n, expect=_conv),
        case("conv", x=f32(1, 4, *space), weight=_w(6, 4, *kernel), dilations=[2] * n, pad_type="same", expect=_conv),
        case("conv", x=f32(1, 4, *space), weight=_w(6, 2, *kernel), groups=2, bias=_w(6), expect=_conv),
        case("conv", x=f32(1, 4, *space), weight=_w(4, 1, *kernel), groups=4, pad_type="same", expect=_conv),
        case("conv", x=f32(1, 4, *space), weight=_w(6, 4, *[1] * n), expect=_conv),
        case("conv", x=dynamic(f32(2, 4, *space), 0), weight=_w(6, 4, *kernel), pad_type="same", expect=_conv),
        case(
            "conv",
            x=dynamic(f32(2, 4, *space), 0, *range(2, 2 + n)),
            weight=_w(6, 4, *kernel),
            bias=_w(6),
            expect=_conv,
        ),
        case(
            "conv",
            x=dynamic(f32(1, 4, *space), *range(2, 2 + n)),
            weight=_w(6, 4, *kernel),
            strides=[2] * n,
            pad_type="same",
            expect=_conv,
        ),
        case(
            "conv",
            x=f32(1, 4, *space),
            weight=f32(6, 4, *kernel, seed=7),
            label="runtime-weight",
            opset=17,
            expect=_conv,
        ),
    ]


def _quantized(x, weight, quantization_type, nbits, quant_scale, quant_bias, **how):
    shape = (-1, *[1] * (weight.ndim - 1))
    scale, shift = (np.reshape(v, shape) if np.size(v) > 1 else v for v in (quant_scale, quant_bias))
    return _conv(x, (weight.astype(np.float32) * scale + shift).astype(np.float32), **how)


def _transpose(
    x, weight, bias=None, pad=None, output_shape=None, pad_type="valid", strides=None, dilations=None, groups=1
):
    """The full result, cut or extended to what MIL asks for."""
    n = x.ndim - 2
    strides = [1] * n if strides is None else [int(s) for s in strides]
    dilations = [1] * n if dilations is None else [int(d) for d in dilations]
    full = TRANSPOSE[n](t(x), t(weight), None, strides, 0, 0, int(groups), dilations).numpy()
    wanted = None if output_shape is None else [int(v) for v in output_shape[-n:]]
    index, extra = [slice(None), slice(None)], [(0, 0), (0, 0)]
    for i in range(n):
        size = full.shape[2 + i]
        if pad_type == "same":
            target = wanted[i] if wanted else x.shape[2 + i] * strides[i]
            begin = max(size - target, 0) // 2
        else:
            pads = (0, 0) if pad is None else (int(pad[2 * i]), int(pad[2 * i + 1]))
            begin = pads[0]
            target = wanted[i] if wanted else size - sum(pads)
        index.append(slice(begin, min(begin + target, size)))
        extra.append((0, max(begin + target - size, 0)))
    y = np.pad(full[tuple(index)], extra)
    return y if bias is None else y + np.reshape(bias, (1, -1, *[1] * n))


for n in (1, 2, 3):
    space, kernel = (5, 4, 3)[:n], (3, 4, 2)[:n]
    for opset in (15, 17):
        CASES += [
            case("conv_transpose", x=f32(1, 4, *space), weight=_w(4, 3, *kernel), opset=opset, expect=_transpose),
            case(
                "conv_transpose",
                x=f32(2, 4, *space),
                weight=_w(4, 3, *kernel),
                bias=_w(3),
                strides=[2] * n,
                opset=opset,
                expect=_transpose,
            ),
        ]
    CASES += [
        case(
            "conv_transpose",
            x=f32(1, 4, *space),
            weight=_w(4, 3, *kernel),
            strides=[2] * n,
            pad_type="same",
            expect=_transpose,
        ),
        case(
            "conv_transpose",
            x=f32(1, 4, *space),
            weight=_w(4, 3, *kernel),
            strides=[2] * n,
            pad_type="custom",
            pad=[1, 0] * n,
            expect=_transpose,
        ),
        case("conv_transpose", x=f32(1, 4, *space), weight=_w(4, 3, *kernel), dilations=[2] * n, expect=_transpose),
        case("conv_transpose", x=f32(1, 4, *space), weight=_w(4, 2, *kernel), groups=2, bias=_w(4), expect=_transpose),
        case(
            "conv_transpose",
            x=dynamic(f32(2, 4, *space), 0),
            weight=_w(4, 3, *kernel),
            strides=[2] * n,
            expect=_transpose,
        ),
    ]
CASES += [
    case(
        "conv_transpose",
        x=f32(1, 4, 5, 4),
        weight=_w(4, 3, 3, 3),
        strides=[2, 2],
        pad_type="custom",
        pad=[1, 1, 1, 1],
        output_shape=[1, 3, 10, 8],
        expect=_transpose,
    ),
    case(
        "conv_transpose",
        x=f32(1, 4, 5, 4),
        weight=_w(4, 3, 3, 3),
        strides=[2, 2],
        pad_type="same",
        output_shape=[1, 3, 10, 7],
        expect=_transpose,
    ),
    case("conv_transpose", x=f32(1, 4, 5), weight=_w(4, 3, 3), strides=[3], pad_type="same", expect=_transpose),
    case("conv_transpose", x=f32(1, 4, 5), weight=_w(4, 3, 2), strides=[3], pad_type="same", expect=_transpose),
]


CODES = np.random.default_rng(9).integers(0, 255, (6, 4, 3, 3)).astype(np.uint8)
CASES += [
    case(
        "conv_quantized",
        x=f32(1, 4, 8, 8),
        weight=const(CODES),
        quantization_type="linear",
        nbits=8,
        quant_scale=const(scale),
        quant_bias=const(shift),
        pad_type="same",
        dtypes=["fp32"],
        atol=1e-3,
        expect=_quantized,
    )
    for scale, shift in [
        (f32(6, seed=1, low=0.001, high=0.01), f32(6, seed=2, low=-0.1, high=0.1)),
        (np.float32([0.01]), np.float32([-0.5])),
    ]
]


@rows(CASES)
def test_conv(row, engine, dtype):
    check(row, engine, dtype)
