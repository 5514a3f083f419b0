"""Spelled out: recognizes what torch's export writes in several operations, for which engines have one kernel.

    pad, convolution                        the convolution's own padding; pooling likewise
    sum of a window / its elements          the mean
    where(x > 0, x, x * slope)              PRelu, LeakyRelu
    max(x, 0) + min(x, 0) * slope           LeakyRelu
    min(max(x, low), high)                  Clip
    clip(x + 3, 0, 6) / 6, and x times it   HardSigmoid, HardSwish
    a broadcast beside what has the shape   the broadcast that the operation makes

The nodes that nothing reads any more are removed with all others. Without this, networks from torch took 1.3 to 2.2
times as long as from Core ML.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..onnx_builder import Tensor
from .builder import CoreAIBuilder

_CLOSE = 1e-5  # relative; the multiplied weights were rounded to float32


def made_by(g: CoreAIBuilder, x: Any, kind: str) -> list[Any]:
    """The operands of the node that computes x if it is of this kind."""
    made = g.makers.get(x.name) if isinstance(x, Tensor) else None
    return list(made.operands) if made is not None and made.node.op_type == kind else []


def number(g: CoreAIBuilder, x: Any) -> float | None:
    """The value of a constant of one element."""
    array = g.initializers.get(x.name) if isinstance(x, Tensor) else x
    if array is None or np.size(array) != 1 or np.asarray(array).dtype.kind not in "fiu":
        return None
    return float(np.asarray(array).reshape(()))


def unpadded(g: CoreAIBuilder, x: Any, fill: float) -> tuple[Any, list[int], list[int]]:
    """What x pads by `fill`, and by how much before and behind each spatial axis."""
    rank = x.rank if isinstance(x, Tensor) else np.ndim(x)
    nothing = x, [0] * (rank - 2), [0] * (rank - 2)
    operands = made_by(g, x, "Pad")
    if len(operands) < 2 or g.nested:
        return nothing
    mode = next((a.s for a in g.makers[x.name].node.attribute if a.name == "mode"), b"constant")
    amounts = g.initializers.get(operands[1].name)
    filled = 0.0 if len(operands) < 3 or operands[2] is None else number(g, operands[2])
    if mode != b"constant" or amounts is None or filled != fill or amounts.min() < 0:
        return nothing
    before, behind = amounts.reshape(2, -1).tolist()
    if any(before[:2]) or any(behind[:2]):
        return nothing
    return operands[0], before[2:], behind[2:]


def selected(g: CoreAIBuilder, condition: Any, a: Any, b: Any) -> Tensor | None:
    """where(x > 0, x, x * slope)"""
    compared, product = made_by(g, condition, "Greater"), made_by(g, b, "Mul")
    if not compared or not _same(compared[0], a) or number(g, compared[1]) != 0:
        return None
    if not product:
        slope = _twin(g, a, b)
        return None if slope is None else g.PRelu(a, slope)
    slopes = [other for x, other in (product, product[::-1]) if _same(x, a)]
    array = g.initializers.get(slopes[0].name) if slopes else None
    if array is None or a.dtype.kind != "f" or not np.isfinite(array).all():
        return None
    if array.size == 1:
        return _leaky(g, a, float(array.reshape(())))
    return g.PRelu(a, array) if array.ndim <= a.rank else None


def _twin(g: CoreAIBuilder, a: Any, b: Any) -> np.ndarray | None:
    """By what each channel of the convolution b is that of a: Apple's compiler multiplies the weights of a second
    convolution instead of the result of the first."""
    sums = [made_by(g, x, "Add") for x in (a, b)]
    convolved = [made_by(g, operands[0], "Conv") if operands else [] for operands in sums]
    if not all(convolved) or not _same(convolved[0][0], convolved[1][0]):
        return None
    attributes = [[a.SerializeToString() for a in g.makers[operands[0].name].node.attribute] for operands in sums]
    arrays = [g.initializers.get(t.name) for t in (convolved[0][1], convolved[1][1], sums[0][1], sums[1][1])]
    if attributes[0] != attributes[1] or any(array is None for array in arrays):
        return None
    first, second, bias, other = (np.asarray(array, np.float64) for array in arrays)
    if first.shape != second.shape or bias.shape != other.shape or bias.size != len(first):
        return None
    rows, twins = first.reshape(len(first), -1), second.reshape(len(first), -1)
    slope = (rows * twins).sum(1) / np.maximum((rows * rows).sum(1), np.finfo(np.float64).tiny)
    close = [
        np.allclose(slope[:, None] * rows, twins, rtol=_CLOSE, atol=_CLOSE * np.abs(twins).max(initial=0)),
        np.allclose(
            slope * bias.reshape(-1), other.reshape(-1), rtol=_CLOSE, atol=_CLOSE * np.abs(other).max(initial=0)
        ),
    ]
    if not all(close) or not np.isfinite(slope).all():
        return None
    return slope.astype(a.dtype).reshape(-1, *[1] * (first.ndim - 2))


def _leaky(g: CoreAIBuilder, x: Tensor, slope: float) -> Tensor | None:
    return g.LeakyRelu(x, alpha=slope) if math.isfinite(slope) else None


def added(g: CoreAIBuilder, x: Any, y: Any) -> Tensor | None:
    """max(x, 0) + min(x, 0) * slope"""
    for above, scaled in ((x, y), (y, x)):
        upper, product = made_by(g, above, "Max"), made_by(g, scaled, "Mul")
        if len(upper) != 2 or not product or number(g, upper[1]) != 0:
            continue
        for part, factor in (product, product[::-1]):
            lower, slope = made_by(g, part, "Min"), number(g, factor)
            if len(lower) == 2 and slope is not None and _same(lower[0], upper[0]) and number(g, lower[1]) == 0:
                return _leaky(g, upper[0], slope)
    return None


def clipped(g: CoreAIBuilder, kind: str, x: Any, y: Any) -> Tensor | None:
    """min(max(x, low), high), or the other way round."""
    end, inner = number(g, y), made_by(g, x, "Max" if kind == "Min" else "Min")
    other = number(g, inner[1]) if len(inner) == 2 else None
    if end is None or other is None or x.dtype.kind != "f":
        return None
    low, high = (other, end) if kind == "Min" else (end, other)
    if not low <= high or not isinstance(inner[0], Tensor) or inner[0].name in g.initializers:
        return None
    return g.Clip(inner[0], np.asarray(low, x.dtype), np.asarray(high, x.dtype))


def divided(g: CoreAIBuilder, x: Any, y: Any) -> Tensor | None:
    """The sum of a window divided by the number of its elements; clip(x + 3, 0, 6) / 6."""
    divisor, summed = number(g, y), made_by(g, x, "Mul")
    if divisor is None:
        return None
    if summed and made_by(g, summed[0], "AveragePool") and number(g, summed[1]) == divisor:
        mean: Tensor = summed[0]
        return mean
    ends = made_by(g, x, "Clip")
    shifted = made_by(g, ends[0], "Add") if len(ends) == 3 else []
    if not shifted or (number(g, ends[1]), number(g, ends[2]), number(g, shifted[1]), divisor) != (0, 6, 3, 6):
        return None
    return g.HardSigmoid(shifted[0], alpha=1 / 6, beta=0.5)


def multiplied(g: CoreAIBuilder, x: Any, y: Any) -> Tensor | None:
    """x times the hard sigmoid of x"""
    for factor, gate in ((x, y), (y, x)):
        hard = made_by(g, gate, "HardSigmoid")
        if hard and _same(hard[0], factor):
            slope = {a.name: np.float32(a.f) for a in g.makers[gate.name].node.attribute}
            if slope == {"alpha": np.float32(1 / 6), "beta": np.float32(0.5)}:
                return g.HardSwish(factor)
    return None


def narrow(g: CoreAIBuilder, x: Any, y: Any) -> tuple[Any, Any]:
    """The operands of an operation that broadcasts, without a broadcast of one to the shape of the other."""
    for one, other in ((x, y), (y, x)):
        wide = made_by(g, one, "Expand")
        shape = other.static_shape if isinstance(other, Tensor) else None
        if wide and shape is not None and isinstance(one, Tensor) and one.static_shape == shape and not g.nested:
            return (wide[0], y) if one is x else (x, wide[0])
    return x, y


def _same(x: Any, y: Any) -> bool:
    return isinstance(x, Tensor) and isinstance(y, Tensor) and x.name == y.name
