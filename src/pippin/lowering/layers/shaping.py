"""Shaping: lowers layers that reshape, permute, repeat, join or pad tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from .. import limits
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor

_CHANNEL_LAST = 1


@layer("reshape")
def reshape(n: Network, p: Any, x: Tensor) -> Any:
    """Replace C, H, W of [.., C, H, W] (and the sequence, if four sizes are given), in the element order of `mode`."""
    x, target = n.tensor(x), [int(d) for d in p.targetShape]
    sizes = n.sizes(x)
    leading = [target[0], *sizes[1:-3]] if len(target) == 4 else sizes[:-3]
    target = target[-3:]
    if p.mode != _CHANNEL_LAST:
        return n.Reshape(x, n.shape(*leading, *target))
    last = n.Transpose(x, perm=_permutation(x.rank, [-2, -1, -3]))
    height_width_channel = n.Reshape(last, n.shape(*leading, *target[1:], target[0]))
    return n.Transpose(height_width_channel, perm=_permutation(x.rank, [-1, -3, -2]))


@layer("flatten")
def flatten(n: Network, p: Any, x: Tensor) -> Any:
    """Flatten [.., C, H, W] to [.., C * H * W, 1, 1]."""
    x = n.tensor(x)
    if p.mode == _CHANNEL_LAST:
        x = n.Transpose(x, perm=_permutation(x.rank, [-2, -1, -3]))
    return n.Reshape(x, n.shape(*n.sizes(x)[:-3], -1, 1, 1))


def _permutation(rank: int, last: list[int]) -> list[int]:
    """A permutation that reorders the last three axes."""
    return [*range(rank - 3), *(rank + axis for axis in last)]


@layer("permute")
def permute(n: Network, p: Any, x: Tensor) -> Any:
    """Permute [sequence, channel, height, width]; the batch axis of a rank-5 tensor stays in place."""
    x, order = n.tensor(x), [int(a) for a in p.axis]
    if x.rank == 5 and len(order) == 4:
        places = [0, 2, 3, 4]
        moved = iter(places[a] for a in order)
        order = [1 if i == 1 else next(moved) for i in range(5)]
    return n.Transpose(x, perm=order)


@layer("transpose")
def transpose(n: Network, p: Any, x: Tensor) -> Any:
    """Permute axes. A rank-4 image is accepted as rank 3, for networks converted to image inputs."""
    x, order = n.tensor(x), [int(axis) for axis in p.axes]
    if len(order) == x.rank - 1 and (x.shape or ())[0] == 1:
        order = [0, *(axis + 1 for axis in limits.axes(order, len(order)))]
    return n.mil("transpose", x=x, perm=np.array(order, np.int64))


@layer("concat")
def concat(n: Network, p: Any, *x: Any) -> Any:
    return n.Concat(*x, axis=0 if p.sequenceConcat else -3)


@layer("concatND")
def concat_nd(n: Network, p: Any, *x: Any) -> Any:
    """Join tensors. Networks have no scalars, so a scalar expanded for a join has one axis too many; drop it."""
    rank = min((len(each.shape) for each in x if each.shape is not None), default=0)
    expanded = [each.shape is not None and len(each.shape) > rank and set(each.shape) == {1} for each in x]
    one = np.ones(rank, np.int64)
    x = tuple(n.Reshape(each, one) if ones else each for each, ones in zip(x, expanded, strict=True))
    return n.mil("concat", values=x, axis=int(p.axis), interleave=bool(p.interleave))


@layer("stack")
def stack(n: Network, p: Any, *x: Any) -> Any:
    return n.mil("stack", values=x, axis=int(p.axis))


@layer("sequenceRepeat")
def sequence_repeat(n: Network, p: Any, x: Tensor) -> Any:
    x = n.tensor(x)
    return n.Tile(x, np.array([p.nRepetitions or 1, *[1] * (x.rank - 1)], np.int64))


@layer("tile")
def tile(n: Network, p: Any, x: Any, repetitions: Any = None) -> Any:
    """With fewer repetitions than axes, the leading axes are not repeated."""
    given = limits.integers(p.reps) if repetitions is None else n.integers(repetitions)
    x = n.tensor(x)
    missing = x.rank - (given.static_size(0) if isinstance(given, Tensor) else len(given))
    if missing > 0:
        ones = np.ones(missing, np.int64)
        given = n.Concat(ones, given, axis=0) if isinstance(given, Tensor) else np.concatenate([ones, given])
    return n.mil("tile", x=x, reps=given)


@layer("reorganizeData")
def reorganize_data(n: Network, p: Any, x: Tensor) -> Any:
    block = int(p.blockSize)
    kind, name = {
        "SPACE_TO_DEPTH": ("space_to_depth", "block_size"),
        "DEPTH_TO_SPACE": ("depth_to_space", "block_size"),
        "PIXEL_SHUFFLE": ("pixel_shuffle", "upscale_factor"),
    }[p.ReorganizationType.Name(p.mode)]
    return n.as_images(x, lambda image: n.mil(kind, x=image, **{name: block}))


@layer("squeeze")
def squeeze(n: Network, p: Any, x: Any) -> Any:
    x = n.tensor(x)
    if not p.squeezeAll:
        return n.Squeeze(x, limits.integers(p.axes)) if p.axes else x
    axes = [i for i, size in enumerate(x.shape or ()) if size == 1]
    if len(axes) == x.rank:  # a network has no scalars
        axes = axes[1:]
    return n.Squeeze(x, np.array(axes, np.int64)) if axes else x


@layer("expandDims")
def expand_dims(n: Network, p: Any, x: Any) -> Any:
    return n.Unsqueeze(x, limits.integers(p.axes))


@layer("flattenTo2D")
def flatten_to_2d(n: Network, p: Any, x: Any) -> Any:
    return n.mil("flatten2d", x=n.tensor(x), axis=int(p.axis))


@layer("reshapeStatic")
def reshape_static(n: Network, p: Any, x: Any) -> Any:
    return n.Reshape(x, limits.integers(p.targetShape))


@layer("reshapeDynamic")
def reshape_dynamic(n: Network, p: Any, x: Any, shape: Any) -> Any:
    return n.Reshape(x, n.integers(shape))


@layer("reshapeLike")
def reshape_like(n: Network, p: Any, x: Any, like: Any) -> Any:
    return n.Reshape(x, n.shape_of(like))


@layer("rankPreservingReshape")
def rank_preserving_reshape(n: Network, p: Any, x: Any) -> Any:
    """0 keeps the size of its axis; -1 is inferred."""
    return n.Reshape(x, limits.integers(p.targetShape))


@layer("getShape")
def get_shape(n: Network, p: Any, x: Any) -> Any:
    return n.shape_of(x)


@layer("reverse")
def reverse(n: Network, p: Any, x: Any) -> Any:
    return n.mil("reverse", x=n.tensor(x), axes=np.flatnonzero(np.array(p.reverseDim)))


@layer("reverseSeq")
def reverse_sequence(n: Network, p: Any, x: Any, lengths: Any) -> Any:
    axes = {"seq_axis": int(p.sequenceAxis), "batch_axis": int(p.batchAxis)}
    return n.mil("reverse_sequence", x=n.tensor(x), lengths=n.tensor(n.integers(lengths)), **axes)


@layer("padding")
def padding(n: Network, p: Any, x: Tensor) -> Any:
    """Pad images with a constant, a reflection or the nearest element."""
    x, edges = n.tensor(x), p.paddingAmounts.borderAmounts
    (top, bottom), (left, right) = [(int(e.startEdgeSize), int(e.endEdgeSize)) for e in edges] or [(0, 0), (0, 0)]
    amounts = np.array([0] * (x.rank - 2) + [top, left] + [0] * (x.rank - 2) + [bottom, right], np.int64)
    kind = p.WhichOneof("PaddingType")
    if kind == "reflection":
        pairs = np.reshape(amounts, (2, -1)).T.reshape(-1)
        return n.mil("pad", x=x, pad=pairs, mode="reflect")
    if kind == "replication":
        return n.Pad(x, amounts, mode="edge")
    return n.Pad(x, amounts, np.float32(p.constant.value))


@layer("constantPad")
def constant_pad(n: Network, p: Any, x: Any, amounts: Any = None) -> Any:
    """Pad each axis before and after by amounts or, with `padToGivenOutputSizeMode`, on one side up to a size."""
    x = n.tensor(x)
    given = limits.integers(p.padAmounts) if amounts is None else n.integers(amounts)
    if not isinstance(given, Tensor):
        pairs = np.reshape(given, (-1, 2))
        if p.padToGivenOutputSizeMode:
            sizes = np.array([x.static_size(i) for i in range(x.rank)])
            pairs = np.where(pairs > 0, np.maximum(pairs - sizes[:, None], 0), 0)
        return n.Pad(x, pairs.T.reshape(-1), np.float32(p.value))
    if p.padToGivenOutputSizeMode:
        raise UnsupportedOperationError("padToGivenOutputSizeMode with sizes computed at run time is not supported")
    columns = n.Transpose(n.Reshape(given, [-1, 2]), perm=[1, 0])
    return n.Pad(x, n.Reshape(columns, [-1]), np.float32(p.value))


@layer("copy")
def copy(n: Network, p: Any, x: Any) -> Any:
    return n.Identity(x) if isinstance(x, Tensor) else x
