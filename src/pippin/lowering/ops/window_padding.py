"""Window padding: converts MIL's pad_type to ONNX padding, for convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ..onnx_builder import Tensor

_AUTO = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER"}


@dataclass(frozen=True, slots=True)
class Padding:
    """Zeros before and after each spatial axis, or ONNX's `auto_pad` if the sizes are unknown."""

    before: list[int]
    behind: list[int]
    auto: str | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        return {"auto_pad": self.auto} if self.auto else {"pads": [*self.before, *self.behind]}


def spatial(x: Tensor) -> tuple[int | None, ...]:
    """The spatial sizes of a tensor (n, channels, *spatial)."""
    if not 3 <= x.rank <= 5:
        raise UnsupportedOperationError(f"x must have rank 3 to 5 (1 to 3 spatial axes), got {x.rank}")
    return (x.shape or ())[2:]


def per_axis(values: Any, count: int) -> list[int]:
    """One integer per spatial axis; 1 if omitted."""
    return [1] * count if values is None else [int(v) for v in np.atleast_1d(values)]


def padding(
    x: Tensor, pad_type: str, pad: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Padding:
    """The padding of a window that slides over x, by `pad_type` (valid, same, same_lower, custom).

    "same" follows TensorFlow: the output has ceil(size / stride) elements, and an odd padding element goes after
    (same_lower: before).
    """
    sizes = spatial(x)
    if pad_type == "custom":
        pairs = np.zeros((len(sizes), 2), int) if pad is None else np.reshape(pad, (-1, 2)).astype(int)
        return Padding(pairs[:, 0].tolist(), pairs[:, 1].tolist())
    if pad_type == "valid":
        return Padding([0] * len(sizes), [0] * len(sizes))
    if pad_type not in _AUTO:
        raise UnsupportedOperationError(f"pad_type must be valid, same, same_lower or custom, got '{pad_type}'")
    if any(size is None and stride > 1 for size, stride in zip(sizes, strides, strict=True)):
        return Padding([], [], _AUTO[pad_type])
    totals = []  # without a stride, whatever the size; ONNX Runtime takes no `auto_pad` with dilations
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        if stride == 1:
            totals.append((k - 1) * dilation)
            continue
        covered = (-(-(size or 0) // stride) - 1) * stride + (k - 1) * dilation + 1
        totals.append(max(covered - (size or 0), 0))
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return Padding(less, more) if pad_type == "same" else Padding(more, less)
