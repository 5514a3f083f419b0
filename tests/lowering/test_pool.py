"""Pooling against torch and numpy."""

import numpy as np
import torch
import torch.nn.functional as F

from lowering.harness import case, check, dynamic, f32, rows


def _windows(x, kernel, strides, pads, fill, ceil):
    """Every window as an axis of its own: (n, c, *out, window), elements outside the padded input are NaN."""
    n = x.ndim - 2
    y = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    counts = []
    for i in range(n):
        span = y.shape[2 + i] - kernel[i]
        count = (-(-span // strides[i]) if ceil else span // strides[i]) + 1
        if ceil and (count - 1) * strides[i] >= x.shape[2 + i] + pads[i][0]:
            count -= 1
        counts.append(count)
    beyond = [(0, max((c - 1) * s + k - d, 0)) for c, s, k, d in zip(counts, strides, kernel, y.shape[2:], strict=True)]
    y = np.pad(y, [(0, 0), (0, 0), *beyond], constant_values=np.nan)
    v = np.lib.stride_tricks.sliding_window_view(y, kernel, tuple(range(2, 2 + n)))
    v = v[(slice(None), slice(None), *(slice(None, (c - 1) * s + 1, s) for c, s in zip(counts, strides, strict=True)))]
    return v.reshape(*v.shape[: 2 + n], -1)


def _padding(x, kernel, strides, pad_type, pad):
    n = x.ndim - 2
    if pad_type == "custom":
        return [tuple(int(v) for v in p) for p in np.reshape(pad, (n, 2))]
    if pad_type == "valid":
        return [(0, 0)] * n
    pairs = []
    for size, k, s in zip(x.shape[2:], kernel, strides, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pairs.append((total // 2, total - total // 2) if pad_type == "same" else (total - total // 2, total // 2))
    return pairs


def _pool(reduce, fill):
    def expect(x, kernel_sizes, pad_type, strides=None, pad=None, ceil_mode=False, exclude_padding_from_average=False):
        kernel = [int(k) for k in kernel_sizes]
        steps = [1] * len(kernel) if strides is None else [int(s) for s in strides]
        outside = np.nan if exclude_padding_from_average else fill
        return reduce(_windows(x, kernel, steps, _padding(x, kernel, steps, pad_type, pad), outside, ceil_mode))

    return expect


KINDS = {
    "max_pool": _pool(lambda w: np.nanmax(w, -1), -np.inf),
    "avg_pool": _pool(lambda w: np.nanmean(w, -1), 0),
    "l2_pool": _pool(lambda w: np.sqrt(np.nansum(np.square(w), -1)), 0),
}
CASES = []
for kind, expect in KINDS.items():
    for n in (1, 2, 3) if kind != "l2_pool" else (1, 2):
        x = f32(1, 2, *(9, 8, 7)[:n])
        k = [3, 2, 3][:n]
        CASES += [
            case(kind, x=x, kernel_sizes=k, pad_type="valid", expect=expect),
            case(kind, x=x, kernel_sizes=k, pad_type="valid", strides=[2] * n, expect=expect),
            case(kind, x=x, kernel_sizes=k, pad_type="same", strides=[2] * n, expect=expect),
            case(kind, x=x, kernel_sizes=k, pad_type="same_lower", strides=[2] * n, opset=16, expect=expect),
            case(kind, x=x, kernel_sizes=k, pad_type="custom", pad=[1, 0] * n, strides=[2] * n, expect=expect),
            case(kind, x=dynamic(x, 0), kernel_sizes=k, pad_type="same", expect=expect),
            case(
                kind, x=dynamic(x, *range(2, 2 + n)), kernel_sizes=k, pad_type="valid", strides=[2] * n, expect=expect
            ),
        ]
    CASES += [
        case(
            kind,
            x=f32(1, 2, 8, 10),
            kernel_sizes=[3, 3],
            strides=[2, 3],
            pad_type=pad_type,
            pad=pad,
            ceil_mode=True,
            expect=expect,
        )
        for pad_type, pad in [("valid", [0, 0, 0, 0]), ("custom", [1, 1, 1, 1])]
    ]
CASES += [
    case(
        "avg_pool",
        x=f32(1, 2, 8, 9),
        kernel_sizes=[3, 3],
        strides=s,
        pad_type=p,
        pad=pad,
        exclude_padding_from_average=True,
        ceil_mode=ceil,
        expect=KINDS["avg_pool"],
    )
    for s in ([1, 1], [2, 2])
    for p, pad, ceil in [("same", [0, 0, 0, 0], False), ("custom", [1, 1, 1, 1], False), ("custom", [1, 1, 1, 1], True)]
]


def _torch(function, **how):
    return lambda x, **_: function(torch.from_numpy(x), **how).numpy()


CASES += [
    case(
        "max_pool",
        x=f32(1, 2, 7, 7),
        kernel_sizes=[3, 3],
        strides=[2, 2],
        pad_type="custom",
        pad=[1, 1, 1, 1],
        ceil_mode=ceil,
        label=f"torch-{ceil}",
        expect=_torch(F.max_pool2d, kernel_size=3, stride=2, padding=1, ceil_mode=ceil),
    )
    for ceil in (False, True)
]
CASES += [
    case(
        "avg_pool",
        x=f32(1, 2, 8, 7),
        kernel_sizes=[3, 3],
        strides=[2, 2],
        pad_type="custom",
        pad=[1, 1, 1, 1],
        ceil_mode=ceil,
        exclude_padding_from_average=not include,
        label=f"torch-{ceil}-{include}",
        expect=_torch(F.avg_pool2d, kernel_size=3, stride=2, padding=1, ceil_mode=ceil, count_include_pad=include),
    )
    for ceil in (False, True)
    for include in (False, True)
]


@rows(CASES)
def test_pool(row, engine, dtype):
    check(row, engine, dtype)
