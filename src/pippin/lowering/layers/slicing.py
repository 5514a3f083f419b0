"""Slicing: lowers layers that slice, split, window or crop tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProgramError
from .. import limits
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor

_AXES = {"CHANNEL_AXIS": -3, "HEIGHT_AXIS": -2, "WIDTH_AXIS": -1}


@layer("slice")
def slice_(n: Network, p: Any, x: Tensor) -> Any:
    """Slice channel, height or width from start to end; a negative end counts from the end."""
    axis = _AXES[p.SliceAxis.Name(p.axis)]
    end = int(p.endIndex) or np.iinfo(np.int64).max
    return n.Slice(x, [int(p.startIndex)], [end], [axis], [int(p.stride) or 1])


@layer("sliceStatic")
def slice_static(n: Network, p: Any, x: Any) -> Any:
    return _sliced(n, x, limits.integers(p.beginIds), limits.integers(p.endIds), np.array(p.strides), p)


@layer("sliceDynamic")
def slice_dynamic(
    n: Network,
    p: Any,
    x: Any,
    begin: Any,
    end: Any = None,
    strides: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Any:
    """Like sliceStatic, with parameters as inputs. Those stored in the layer cover the largest possible rank."""
    x = n.tensor(x)
    last = np.array(p.endIds[: x.rank], np.int64) if end is None else n.integers(end)
    steps = np.array(p.strides[: x.rank]) if strides is None else np.asarray(n.integers(strides))
    masks = {
        name: None if given is None else np.asarray(n.integers(given), bool)
        for name, given in (("begin_mask", begin_mask), ("end_mask", end_mask), ("squeeze_mask", squeeze_mask))
    }
    return _sliced(n, x, n.integers(begin), last, steps, p, masks)


def _sliced(n: Network, x: Any, begin: Any, end: Any, strides: Any, p: Any, given: Any = None) -> Any:
    x = n.tensor(x)
    masks = {"begin_mask": p.beginMasks, "end_mask": p.endMasks, "squeeze_mask": p.squeezeMasks}
    arrays = {name: np.array(mask[: x.rank], bool) if len(mask) else None for name, mask in masks.items()}
    arrays |= {name: mask for name, mask in (given or {}).items() if mask is not None}
    return n.mil("slice_by_index", x=x, begin=begin, end=end, stride=np.asarray(strides, np.int64), **arrays)


@layer("sliceBySize")
def slice_by_size(n: Network, p: Any, x: Any, begin: Any) -> Any:
    """Take `size` elements of one axis from a computed position."""
    first = n.Reshape(n.tensor(n.integers(begin)), [1])
    return n.Slice(x, first, n.Add(first, np.int64(p.size)), [int(p.axis)])


@layer("split")
def split(n: Network, p: Any, x: Tensor) -> Any:
    count = _parts(n, int(p.nOutputs))
    return n.Split(x, axis=-3, num_outputs=count, outputs=count)


def _parts(n: Network, count: int) -> int:
    """The number of parts of a split. Raises ProgramError unless the layer names each of them."""
    if count != len(n.layer.output):
        raise ProgramError(f"it splits into {count} parts, but names {len(n.layer.output)} outputs")
    return count


@layer("splitND")
def split_nd(n: Network, p: Any, x: Any) -> Any:
    x, axis = n.tensor(x), int(p.axis)
    count = _parts(n, len(p.splitSizes) or int(p.numSplits))
    sizes = limits.integers(p.splitSizes) if p.splitSizes else _part_sizes(n, n.sizes(x)[axis], count)
    return n.mil("split", x=x, axis=axis, num_splits=count, split_sizes=sizes)


def _part_sizes(n: Network, size: Any, count: int) -> Any:
    """The sizes of this many parts. If they cannot be equal, the first ones get one more element."""
    numbers = np.arange(count)
    if not isinstance(size, Tensor):
        return size // max(count, 1) + (numbers < size % max(count, 1))
    more = n.Less(numbers, n.Mod(size, np.int64(count)))
    return n.Add(n.Div(size, np.int64(count)), n.cast(more, np.int64))


@layer("slidingWindows")
def sliding_windows(n: Network, p: Any, x: Any) -> Any:
    return n.mil("sliding_windows", x=n.tensor(x), axis=int(p.axis), size=int(p.windowSize), stride=int(p.step))


@layer("crop")
def crop(n: Network, p: Any, x: Tensor, like: Any = None) -> Any:
    """Crop the border of an image or, with a second input, a region of its size at `offset`."""
    if like is not None:
        top, left = (list(p.offset) or [0, 0])[:2]
        begin = np.array([int(top), int(left)], np.int64)
        for whole, part, first in zip((x.shape or ())[-2:], (like.shape or ())[-2:], begin.tolist(), strict=False):
            if None not in (whole, part) and first + part > whole:
                raise ProgramError(f"{part} elements from {first} on do not fit an axis of size {whole}")
        size = n.Slice(n.shape_of(like), [-2], [np.iinfo(np.int64).max])
        return n.Slice(x, begin, n.Add(size, begin), [-2, -1])
    edges = [(int(e.startEdgeSize), int(e.endEdgeSize)) for e in p.cropAmounts.borderAmounts] or [(0, 0), (0, 0)]
    limits.cropped((x.shape or ())[-2:], *zip(*edges, strict=True))
    ends = [-behind if behind else np.iinfo(np.int64).max for _, behind in edges]
    return n.Slice(x, [before for before, _ in edges], ends, [-2, -1])
