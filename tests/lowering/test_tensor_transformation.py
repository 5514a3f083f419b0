"""Tensor transformations against numpy and torch."""

import numpy as np
import torch
import torch.nn.functional as F

from lowering.harness import booleans, case, check, const, dynamic, f32, i32, rows

t = torch.from_numpy


def _space_to_batch(x, block_shape, paddings):
    (bh, bw), ((top, bottom), (left, right)) = block_shape, paddings
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    blocks = [x[:, :, i::bh, j::bw] for i in range(bh) for j in range(bw)]
    return np.concatenate(blocks, 0)


def _batch_to_space(x, block_shape, crops):
    (bh, bw), ((top, bottom), (left, right)) = block_shape, crops
    n = x.shape[0] // (bh * bw)
    y = np.zeros((n, x.shape[1], x.shape[2] * bh, x.shape[3] * bw), x.dtype)
    for i in range(bh):
        for j in range(bw):
            y[:, :, i::bh, j::bw] = x[(i * bw + j) * n :][:n]
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def _depth_to_space(x, block_size):
    n, c, h, w = x.shape
    b = int(block_size)
    return x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, -1, h * b, w * b)


def _space_to_depth(x, block_size):
    n, c, h, w = x.shape
    b = int(block_size)
    return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, -1, h // b, w // b)


CASES = []
for wrap in (lambda a: a, dynamic):
    CASES += [
        case(
            "space_to_batch",
            x=wrap(f32(2, 3, 4, 6)) if wrap is not dynamic else dynamic(f32(2, 3, 4, 6), 0),
            block_shape=[2, 2],
            paddings=[[0, 0], [0, 0]],
            expect=_space_to_batch,
        ),
        case(
            "space_to_batch",
            x=wrap(f32(1, 2, 3, 4)) if wrap is not dynamic else dynamic(f32(1, 2, 3, 4), 0),
            block_shape=[2, 3],
            paddings=[[1, 0], [0, 2]],
            expect=_space_to_batch,
        ),
        case(
            "batch_to_space",
            x=wrap(f32(8, 3, 2, 3)) if wrap is not dynamic else dynamic(f32(8, 3, 2, 3), 0),
            block_shape=[2, 2],
            crops=[[0, 0], [0, 0]],
            expect=_batch_to_space,
        ),
        case(
            "batch_to_space",
            x=wrap(f32(6, 2, 3, 2)) if wrap is not dynamic else dynamic(f32(6, 2, 3, 2), 0),
            block_shape=[2, 3],
            crops=[[1, 0], [0, 2]],
            expect=_batch_to_space,
        ),
        case("depth_to_space", x=wrap(f32(1, 8, 2, 3)), block_size=2, expect=_depth_to_space),
        case("depth_to_space", x=wrap(f32(2, 9, 1, 2)), block_size=3, expect=_depth_to_space),
        case("space_to_depth", x=wrap(f32(1, 2, 4, 6)), block_size=2, expect=_space_to_depth),
        case(
            "pixel_shuffle",
            x=wrap(f32(1, 8, 2, 3)),
            upscale_factor=2,
            expect=lambda x, upscale_factor: F.pixel_shuffle(t(x), 2).numpy(),
        ),
        case(
            "pixel_shuffle",
            x=wrap(f32(2, 9, 2, 2)),
            upscale_factor=3,
            expect=lambda x, upscale_factor: F.pixel_shuffle(t(x), 3).numpy(),
        ),
        case(
            "pixel_unshuffle",
            x=wrap(f32(1, 2, 4, 6)),
            downscale_factor=np.uint32(2),
            opset=16,
            expect=lambda x, downscale_factor: F.pixel_unshuffle(t(x), 2).numpy(),
        ),
    ]


def _expand(x, axes):
    rank = x.ndim + len(axes)
    return np.expand_dims(x, tuple(int(a) % rank for a in axes))


CASES += [
    case("expand_dims", x=x, axes=axes, opset=opset, expect=_expand)
    for x, axes in [
        (f32(2, 3), [0]),
        (f32(2, 3), [-1]),
        (f32(2, 3), [0, 2]),
        (i32(3), [1, 2]),
        (dynamic(f32(2, 3)), [1]),
        (booleans(2), [0]),
    ]
    for opset in (15, 17)
]
CASES += [
    case("squeeze", x=x, axes=axes, opset=opset, expect=lambda x, axes: np.squeeze(x, tuple(int(a) for a in axes)))
    for x, axes in [
        (f32(1, 3, 1), [0]),
        (f32(1, 3, 1), [0, 2]),
        (f32(1, 3, 1), [-1]),
        (dynamic(f32(1, 3, 1), 1), [0]),
        (i32(2, 1), [1]),
    ]
    for opset in (15, 17)
]
CASES += [
    case("squeeze", x=f32(1, 3, 1, 2), expect=lambda x: np.squeeze(x)),
    case("squeeze", x=f32(1), axes=[0], expect=lambda x, axes: x[0]),
]
CASES += [
    case(
        "reshape",
        x=x,
        shape=shape,
        opset=opset,
        expect=lambda x, shape: np.reshape(x, [x.shape[i] if d == 0 else d for i, d in enumerate(shape)]),
    )
    for x, shape in [
        (f32(2, 6), [3, 4]),
        (f32(2, 3, 4), [-1]),
        (f32(2, 3, 4), [2, -1, 2]),
        (f32(2, 6), [0, 6]),
        (f32(2, 3, 4), [0, -1, 2]),
        (i32(4, 2), [8]),
        (booleans(4), [2, 2]),
        (f32(1), [1, 1, 1]),
        (dynamic(f32(2, 6), 0), [-1, 3]),
        (dynamic(f32(2, 6)), [3, 4]),
    ]
    for opset in (15, 17)
]
CASES += [
    case("reshape", x=f32(2, 6), shape=np.array([3, 4], np.int32), expect=lambda x, shape: np.reshape(x, shape)),
    case(
        "reshape", x=dynamic(f32(2, 6)), shape=np.array([4, -1], np.int32), expect=lambda x, shape: np.reshape(x, shape)
    ),
    case(
        "reshape_like",
        x=f32(4, 6),
        r=f32(2, 3, 4),
        label="one",
        opset=16,
        expect=lambda x, r: x.reshape(2, 3, 4),
        build=lambda mb, x, r: mb.reshape_like(x=x, ref_tensors=(r,), begins=(0,), ends=(3,), end_masks=(False,)),
    ),
    case(
        "reshape_like",
        x=f32(4, 6),
        r=f32(2, 12),
        s=f32(7, 12),
        label="two",
        opset=16,
        expect=lambda x, r, s: x.reshape(2, 12),
        build=lambda mb, x, r, s: mb.reshape_like(
            x=x, ref_tensors=(r, s), begins=(0, 1), ends=(1, 0), end_masks=(False, True)
        ),
    ),
]
CASES += [
    case("reverse", x=x, axes=axes, opset=opset, expect=lambda x, axes: np.flip(x, tuple(int(a) for a in axes)))
    for x, axes in [
        (f32(2, 3), [0]),
        (f32(2, 3), [-1]),
        (f32(2, 3, 4), [0, 2]),
        (i32(4), [0]),
        (dynamic(f32(2, 3)), [1]),
    ]
    for opset in (15, 17)
]
CASES += [case("reverse", x=f32(2, 3), expect=lambda x: np.flip(x))]


def _reverse_sequence(x, lengths, seq_axis=0, batch_axis=0):
    y = x.copy()
    for b, length in enumerate(lengths):
        source = np.take(x, b, int(batch_axis))
        axis = int(seq_axis) - (seq_axis > batch_axis)
        head = np.flip(np.take(source, np.arange(length), axis), axis)
        index = [slice(None)] * source.ndim
        index[axis] = slice(0, length)
        target = np.moveaxis(y, int(batch_axis), 0)[b]
        target[tuple(index)] = head
    return y


CASES += [
    case("reverse_sequence", x=x, lengths=lengths, seq_axis=s, batch_axis=b, opset=opset, expect=_reverse_sequence)
    for x, lengths, s, b in [
        (f32(2, 5, 3), np.array([3, 5], np.int32), 1, 0),
        (f32(5, 2, 3), np.array([2, 4], np.int32), 0, 1),
        (f32(2, 3, 4), np.array([1, 4], np.int32), 2, 0),
        (f32(4, 2, 3), np.array([1, 2, 3], np.int32), 0, 2),
        (dynamic(f32(2, 5, 3)), np.array([3, 5], np.int32), 1, 0),
        (i32(2, 4), const(np.array([2, 3], np.int32)), 1, 0),
    ]
    for opset in (15, 17)
]


def _windows(x, axis, size, stride=1):
    axis = int(axis) % x.ndim
    v = np.lib.stride_tricks.sliding_window_view(x, int(size), axis)
    return np.moveaxis(np.take(v, np.arange(0, v.shape[axis], int(stride)), axis), -1, axis + 1)


CASES += [
    case("sliding_windows", x=x, axis=axis, size=size, stride=stride, opset=opset, expect=_windows)
    for x, axis, size, stride in [
        (f32(8), 0, 3, 1),
        (f32(2, 7), 1, 3, 2),
        (f32(2, 7, 3), -2, 4, 1),
        (dynamic(f32(2, 7)), 1, 3, 2),
        (i32(6), 0, 2, 2),
    ]
    for opset in (15, 17)
]
CASES += [
    case("transpose", x=x, perm=perm, opset=opset, expect=lambda x, perm: np.transpose(x, [int(p) for p in perm]))
    for x, perm in [
        (f32(2, 3), [1, 0]),
        (f32(2, 3, 4), [2, 0, 1]),
        (f32(1, 2, 3, 4), [0, 2, 3, 1]),
        (i32(2, 3), [1, 0]),
        (booleans(2, 3), [1, 0]),
        (dynamic(f32(2, 3, 4)), [0, 2, 1]),
        (f32(2, 3, 4), [-1, 0, 1]),
    ]
    for opset in (15, 17)
]


@rows(CASES)
def test_tensor_transformation(row, engine, dtype):
    check(row, engine, dtype)
