"""Engine forms: what converters write with several operations, found again as one that engines have a kernel for.

A form is recognized when its last operation is lowered, from the nodes that compute the operands. Nodes that nothing
reads afterwards are removed with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import limits
from .onnx_builder import Graph, Tensor

# 1/6 as converters write it, in float32 or float16.
_SIXTHS = (np.float32(1 / 6), np.float32(np.float16(1 / 6)))


def made_by(g: Graph, x: Any, kind: str) -> list[Any]:
    """The operands of the node that computes x if it is of this kind."""
    made = g.makers.get(x.name) if isinstance(x, Tensor) else None
    return made.operands if made is not None and made.node.op_type == kind else []


def behind(g: Graph, x: Any, *kinds: str) -> list[Any]:
    """The operands of the last of these nodes, from x backwards by their first operands; none if they are others."""
    operands = [x]
    for kind in kinds:
        operands = made_by(g, operands[0], kind)
        if not operands:
            return []
    return operands


def hard_swish(g: Graph, x: Any, y: Any) -> Tensor | None:
    """x * y as a hard swish, if it is thresholded_relu(z, -3) * sigmoid_hard(z, 1/6, 1/2): engines fuse it with the
    convolution before it."""
    swished = next(filter(None, (_swished(g, *factors) for factors in ((x, y), (y, x)))), None)
    return None if swished is None else g.HardSwish(swished)


def _swished(g: Graph, thresholded: Any, gate: Any) -> Tensor | None:
    """z. An activation in place has the thresholded value in both factors, which is the same: where it is cut to 0, so
    is the product."""
    chosen, hard = made_by(g, thresholded, "Where"), made_by(g, gate, "HardSigmoid")
    compared = behind(g, thresholded, "Where", "GreaterOrEqual")
    if not hard or not chosen or not compared:
        return None
    gated: Tensor = chosen[1] if hard[0].name == thresholded.name else hard[0]
    names = {x.name for x in (gated, chosen[1], compared[0])}
    numbers = [g.initializers.get(t.name) for t in (compared[1], chosen[2])]
    same = len(names) == 1 and all(n is not None and n == value for n, value in zip(numbers, (-3, 0), strict=True))
    slope = {a.name: np.float32(a.f) for a in g.makers[gate.name].node.attribute}
    return gated if same and slope["alpha"] in _SIXTHS and slope["beta"] == 0.5 else None


def instance_norm(g: Graph, x: Any, y: Any) -> Tensor | None:
    """x / y as an instance norm, if it is (z - mean) / sqrt(variance + epsilon) over all axes behind the second: the
    group norm of coremltools, whose second axis are the groups."""
    variance = behind(g, y, "Sqrt", "Add")
    if not variance:
        return None
    z, epsilon = _centred(g, x), _scalar(g, variance[1])
    factors = made_by(g, _mean_of(g, variance[0]), "Mul")
    if z is None or not factors or epsilon is None or epsilon <= 0:
        return None
    if any(_centred(g, factor) is not z for factor in factors) or not z.shape or None in z.shape[:2] or 0 in z.shape:
        return None
    sizes = [z.static_size(0), z.static_size(1), -1]
    ones, zeros = (limits.full(sizes[1:2], value, z.dtype) for value in (1, 0))
    # With one axis for all positions, as engines are used to it.
    flat = z if z.rank == 3 else g.Reshape(before_reshape(g, z), sizes)
    normal: Tensor = g.InstanceNormalization(flat, ones, zeros, epsilon=epsilon)
    return normal if z.rank == 3 else g.Reshape(normal, g.shape_of(z))


def _centred(g: Graph, x: Any) -> Tensor | None:
    """z if x is z - mean(z) over all axes behind the second."""
    difference = made_by(g, x, "Sub")
    if not difference:
        return None
    z: Tensor = difference[0]
    averaged = _mean_of(g, difference[1])
    return z if averaged is not None and averaged.name == z.name else None


def _mean_of(g: Graph, x: Any) -> Tensor | None:
    """z if x is the mean of z over all axes behind the second, which stay as axes of size 1."""
    if pooled := made_by(g, x, "GlobalAveragePool"):
        return pooled[0]
    operands = made_by(g, x, "ReduceMean")
    if len(operands) != 2 or not operands[0].shape or operands[0].rank < 3 or operands[0].dtype.kind != "f":
        return None
    z: Tensor = operands[0]
    axes = g.initializers.get(operands[1].name)
    keeps = all(a.i for a in g.makers[x.name].node.attribute if a.name == "keepdims")
    whole = axes is not None and sorted(a % z.rank for a in axes.reshape(-1).tolist()) == list(range(2, z.rank))
    return z if keeps and whole else None


def rms_norm(g: Graph, x: Any, y: Any) -> Tensor | None:
    """x * y as ONNX Runtime recognizes a root-mean-square norm, if y is 1 / sqrt(mean(x * x) + epsilon) over the last
    axis. OpenVINO recognizes any form."""
    return next(filter(None, (_rms_norm(g, *factors) for factors in ((x, y), (y, x)))), None)


def _rms_norm(g: Graph, x: Any, y: Any) -> Tensor | None:
    sums = behind(g, y, "Reciprocal", "Sqrt", "Add")
    mean = behind(g, y, "Reciprocal", "Sqrt", "Add", "ReduceMean")
    factors = made_by(g, mean[0], "Mul") if len(mean) == 2 else []
    if not factors or any(factor.name != x.name for factor in factors) or not x.shape:
        return None
    axes, keeps = g.initializers.get(mean[1].name), g.makers[sums[0].name].node.attribute
    if axes is None or axes.reshape(-1).tolist() not in ([-1], [x.rank - 1]) or not all(a.i for a in keeps):
        return None
    squared = g.ReduceMean(g.Pow(x, g.cast(2.0, x.dtype)), [-1], keepdims=1)
    normal: Tensor = g.Div(x, g.Sqrt(g.Add(squared, sums[1])))
    return normal


def shifted(g: Graph, x: Tensor, amount: float) -> Tensor:
    """x + amount, in one addition if x is itself the sum of something and a number."""
    operands = made_by(g, x, "Add")
    before = _scalar(g, operands[1]) if operands and isinstance(operands[0], Tensor) else None
    if before is None or x.dtype.kind != "f":
        return g.Add(x, g.cast(amount, x.dtype))
    return g.Add(operands[0], g.cast(before + amount, x.dtype))


def _scalar(g: Graph, x: Any) -> float | None:
    constant = g.initializers.get(x.name) if isinstance(x, Tensor) else None
    return float(constant.reshape(-1)[0]) if constant is not None and constant.size == 1 else None


def before_reshape(g: Graph, x: Tensor) -> Tensor:
    """What x is a reshape of, if that has known sizes: else the reshape checks how many elements there are."""
    operands = made_by(g, x, "Reshape")
    return operands[0] if operands and operands[0].static_shape is not None else x


def unrepeated(g: Graph, x: Any, y: Any) -> tuple[Any, Any]:
    """The operands of a function that broadcasts, without tiling axes of size 1, which that does by itself."""
    return _before_tile(g, x, y), _before_tile(g, y, x)


def _before_tile(g: Graph, tiled: Any, other: Any) -> Any:
    operands = made_by(g, tiled, "Tile")
    if not operands or operands[1].name not in g.initializers or not isinstance(other, Tensor | np.ndarray):
        return tiled
    shapes = [_static(t) for t in (operands[0], tiled, other)]
    if None in shapes or shapes[0] is None:
        return tiled
    single = all(a in (1, b) for a, b in zip(shapes[0], shapes[1] or (), strict=False))
    same = len(shapes[0]) == len(shapes[1] or ()) and _together(shapes[0], shapes[2]) == _together(shapes[1], shapes[2])
    return operands[0] if single and same else tiled


def _static(x: Any) -> Sequence[int] | None:
    return x.static_shape if isinstance(x, Tensor) else np.shape(x)


def _together(a: Any, b: Any) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return None
