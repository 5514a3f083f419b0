"""Tensor transformations against numpy and torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lowering.harness import booleans, case, check, const, dynamic, f32, i32, rows
from pippin.errors import UnsupportedOperationError

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


# Integers that float32 does not hold.
LARGE = np.array([[2**31 - 1, -(2**31), 16777217], [33554433, -16777219, 1]], np.int32)
EXACT = {"rtol": 0, "atol": 0}
NARROW = [f32(2, 6, low=0, high=99).astype(d) for d in (np.int8, np.uint8, np.int16, np.uint16)]
NARROW += [LARGE.reshape(1, 6), booleans(2, 6)]

for narrow in NARROW:
    CASES += [
        case("expand_dims", x=narrow, axes=[-1, 0], opset=17, expect=lambda x, axes: x[None, ..., None], **EXACT),
        case("squeeze", x=narrow[:, None], axes=[1], opset=17, expect=narrow, **EXACT),
        case("reshape", x=narrow, shape=[3, -1], opset=17, expect=lambda x, shape: x.reshape(3, -1), **EXACT),
        case("reverse", x=narrow, axes=[1], opset=17, expect=lambda x, axes: x[:, ::-1], **EXACT),
        case("sliding_windows", x=narrow, axis=1, size=4, stride=2, opset=17, expect=_windows, **EXACT),
        case("transpose", x=narrow, perm=[1, 0], opset=17, expect=lambda x, perm: x.T, **EXACT),
        case(
            "reverse_sequence",
            x=narrow.T.copy(),
            lengths=const(np.full(narrow.shape[0], 3, np.int8)),
            seq_axis=0,
            batch_axis=1,
            opset=17,
            expect=_reverse_sequence,
            **EXACT,
        ),
        case(
            "reshape_like",
            x=narrow,
            r=booleans(3, 2, narrow.size // 6),
            opset=17,
            expect=lambda x, r: x.reshape(r.shape),
            build=lambda mb, x, r: mb.reshape_like(x=x, ref_tensors=(r,), begins=(0,), ends=(0,), end_masks=(True,)),
            **EXACT,
        ),
    ]

CASES += [
    case("expand_dims", x=const(f32(2, 3)), axes=[1], expect=_expand),
    case("expand_dims", x=f32(2, 3), axes=[-1, -2, 0], expect=lambda x, axes: x[None, ..., None, None]),
    case(
        "expand_dims",
        x=f32(1),
        label="scalar",
        expect=lambda x: x.reshape(1, 1),
        build=lambda mb, x: mb.expand_dims(x=mb.squeeze(x=x), axes=[0, 1]),
    ),
    # An axis that is not of size 1 stays.
    case("squeeze", x=f32(2, 1, 3), axes=[0, 1], expect=lambda x, axes: x[:, 0]),
    case("squeeze", x=f32(2, 3), axes=[-1], expect=lambda x, axes: x),
    case("squeeze", x=dynamic(f32(2, 1, 3), 0), axes=[0, 1], expect=lambda x, axes: x[:, 0]),
    case("squeeze", x=dynamic(f32(1, 2, 1), 1), expect=lambda x: x[0, :, 0]),
    case("squeeze", x=dynamic(f32(1, 1, 3), 0), axes=[1], expect=lambda x, axes: x[:, 0]),
    case("squeeze", x=const(f32(1, 3)), axes=[0], expect=lambda x, axes: x[0]),
    case("squeeze", x=f32(2, 3), expect=lambda x: x),
]


BLOCKS = {"block_shape": [2, 3]}


def _zeros_from_the_right(x, shape):
    aligned = [1] * len(shape) + list(x.shape)
    return x.reshape([aligned[i - len(shape)] if d == 0 else int(d) for i, d in enumerate(shape)])


CASES += [
    case("reshape", x=x, shape=shape, opset=17, expect=_zeros_from_the_right)
    for x in (f32(2, 50), dynamic(f32(2, 50)), dynamic(f32(2, 50), 0), const(f32(2, 50)))
    for shape in (
        [1, 0, -1, 0],
        [2, 5, 10, 1],
        [0, 0],
        [-1, 1, 0],
        np.array([1, 0, -1, 0], np.int32),
        np.array([-1, 0], np.int32),
        np.array([-1], np.int32),
    )
]
CASES += [
    case("reshape", x=f32(2, 3, 4), shape=shape, opset=17, expect=_zeros_from_the_right) for shape in ([0, -1], [-1, 0])
]
CASES += [
    case("reshape", x=f32(2, 6), shape=const(np.array(shape, d)), opset=17, expect=_zeros_from_the_right)
    for shape in ([4, 3], [-1, 0])
    for d in (np.int8, np.int16)
]
CASES += [
    case("reshape", x=f32(2, 3, 4), shape=shape, opset=opset, expect=lambda x, shape: x.reshape(2, 3, -1))
    for shape in ([0, 0, -1], [0, 3, 0], np.array([0, -1, 4], np.int32))
    for opset in (15, 16)
]
CASES += [
    case("reshape", x=const(f32(2, 3)), shape=[3, 2], expect=lambda x, shape: x.reshape(3, 2)),
    case(
        "reshape",
        x=dynamic(f32(2, 6)),
        shape=dynamic(np.array([3, 4], np.int32)),
        expect=lambda x, shape: x.reshape(3, 4),
    ),
    case(
        "reshape",
        x=f32(1),
        label="scalar",
        expect=lambda x: x.reshape(1, 1, 1),
        build=lambda mb, x: mb.reshape(x=mb.squeeze(x=x), shape=[1, 1, 1]),
    ),
    case(
        "reshape",
        x=dynamic(f32(2, 3, 4)),
        label="shape-of",
        expect=lambda x: x.reshape(6, 4),
        build=lambda mb, x: mb.reshape(
            x=x,
            shape=mb.concat(
                values=(np.array([-1], np.int32), mb.slice_by_size(x=mb.shape(x=x), begin=[2], size=[1])), axis=0
            ),
        ),
    ),
    case(
        "reshape_like",
        x=dynamic(f32(4, 6)),
        r=dynamic(f32(2, 3, 4), 0),
        s=f32(7, 6),
        label="dynamic",
        opset=17,
        expect=lambda x, r, s: x.reshape(4, 6),
        build=lambda mb, x, r, s: mb.reshape_like(
            x=x, ref_tensors=(r, s), begins=(2, -1), ends=(3, 0), end_masks=(False, True)
        ),
    ),
    case(
        "reshape_like",
        x=f32(4, 6),
        r=f32(2, 3, 4),
        label="negative",
        opset=16,
        expect=lambda x, r: x.reshape(2, 3, 4),
        build=lambda mb, x, r: mb.reshape_like(
            x=x, ref_tensors=(r, r), begins=(0, -2), ends=(-2, 3), end_masks=(False, False)
        ),
    ),
]
CASES += [
    case("reverse", x=const(f32(2, 3)), expect=lambda x: np.flip(x)),
    case("reverse", x=dynamic(f32(2, 3)), expect=lambda x: np.flip(x)),
    case("reverse", x=f32(1, 2, 1, 2, 3), axes=[-1, 1, -2], expect=lambda x, axes: np.flip(x, (-1, 1, -2))),
    case("reverse_sequence", x=f32(3, 4), lengths=np.array([0, 1, 4], np.int32), seq_axis=1, expect=_reverse_sequence),
    case(
        "reverse_sequence",
        x=const(f32(2, 4)),
        lengths=np.array([3, 2], np.int32),
        seq_axis=-1,
        expect=lambda x, lengths, seq_axis: _reverse_sequence(x, lengths, 1),
    ),
    case(
        "reverse_sequence",
        x=f32(2, 3, 4),
        lengths=np.array([3, 2, 4], np.int32),
        seq_axis=-1,
        batch_axis=-2,
        expect=lambda x, lengths, **h: _reverse_sequence(x, lengths, 2, 1),
    ),
    case("sliding_windows", x=const(f32(2, 7)), axis=1, size=3, expect=_windows),
    case("sliding_windows", x=f32(2, 5), axis=1, size=5, expect=_windows),
    case("sliding_windows", x=dynamic(f32(2, 7, 2)), axis=-2, size=2, stride=3, expect=_windows),
    case("transpose", x=const(f32(2, 3)), perm=[1, 0], expect=lambda x, perm: x.T),
    case("transpose", x=f32(3), perm=[0], expect=lambda x, perm: x),
    case("transpose", x=f32(1, 2, 3, 2, 2), perm=[0, 4, -2, 1, 2], expect=lambda x, perm: x.transpose(0, 4, 3, 1, 2)),
]
for op, how, shape, expect in [
    ("space_to_batch", {"block_shape": [1, 2], "paddings": [[0, 1], [2, 0]]}, (1, 2, 3, 4), _space_to_batch),
    ("batch_to_space", {"block_shape": [2, 1], "crops": [[0, 1], [0, 0]]}, (4, 2, 2, 3), _batch_to_space),
    ("depth_to_space", {"block_size": 2}, (1, 4, 2, 2), _depth_to_space),
    ("space_to_depth", {"block_size": 3}, (1, 2, 3, 6), _space_to_depth),
]:
    CASES += [case(op, x=const(f32(*shape)), expect=expect, **how)]
CASES += [
    case(
        "pixel_shuffle",
        x=const(f32(1, 4, 2, 2)),
        upscale_factor=2,
        expect=lambda x, **h: F.pixel_shuffle(t(x), 2).numpy(),
    ),
    case(
        "pixel_unshuffle",
        x=const(f32(1, 2, 3, 6)),
        downscale_factor=np.uint32(3),
        opset=16,
        expect=lambda x, **h: F.pixel_unshuffle(t(x), 3).numpy(),
    ),
]

CASES += [
    # A runtime 0 in a shape of another rank means the same in every release: OpenVINO's own leaves its memory.
    case("reshape", x=f32(2, 50), shape=np.array([1, 0, -1, 0], np.int32), expect=_zeros_from_the_right),
    case(
        "space_to_batch", x=dynamic(f32(1, 2, 4, 6), 2, 3), expect=_space_to_batch, **BLOCKS, paddings=[[1, 1], [0, 3]]
    ),
    case("space_to_batch", x=dynamic(f32(1, 2, 4, 6)), expect=_space_to_batch, **BLOCKS, paddings=[[1, 1], [0, 3]]),
    case("batch_to_space", x=dynamic(f32(6, 2, 3, 2), 2, 3), expect=_batch_to_space, **BLOCKS, crops=[[1, 2], [0, 1]]),
    case("batch_to_space", x=dynamic(f32(6, 2, 3, 2)), expect=_batch_to_space, **BLOCKS, crops=[[1, 2], [0, 1]]),
]


@rows(CASES)
def test_tensor_transformation(row, engine, dtype):
    check(row, engine, dtype)


def test_reverse_sequence_needs_two_axes():
    row = case("reverse_sequence", x=f32(3, 3), lengths=np.array([1, 2, 3], np.int32), expect=None)
    with pytest.raises(UnsupportedOperationError, match="seq_axis and batch_axis must be different axes, both are 0"):
        check(row, "onnxruntime", "fp32")
