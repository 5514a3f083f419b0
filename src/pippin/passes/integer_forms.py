"""Integer forms: operators on integers, written with what an engine computes exactly. See `exact_integers.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

import numpy as np

from ..lowering.interval import EXACT
from ..lowering.onnx_builder import Graph, Tensor
from .exact_integers import Rule
from .integer_values import BOOL, Values

_FEW = 8  # more than the rank of any tensor
_INT32 = 1 << 31
_NARROW = {np.dtype(t): np.iinfo(t).bits for t in (np.int8, np.uint8, np.int16, np.uint16)}


# Comparisons and choices


def _equal(g: Graph, x: Tensor, y: Tensor) -> Any:
    return g.Equal(g.Sub(x, y), 0)


def _less(g: Graph, x: Tensor, y: Tensor) -> Any:
    """Numbers that are equal when rounded are so near to each other that their difference cannot overflow."""
    return g.Or(g.Less(x, y), g.And(g.Not(g.Less(y, x)), g.Less(g.Sub(x, y), 0)))


def _chosen(g: Graph, condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b."""
    return g.Add(b, g.Mul(g.cast(condition, b.dtype), g.Sub(a, b)))


def _comparison(compare: Callable[[Graph, Tensor, Tensor], Any]) -> Rule:
    def rule(g: Graph, values: Values, node: Any) -> Any:
        if any(values.below(EXACT, name) for name in node.input):
            return None
        return compare(g, *(values.tensors[name] for name in node.input))

    return rule


def _where(g: Graph, values: Values, node: Any) -> Any:
    if values.below(EXACT, *node.input[1:]):
        return None
    return _chosen(g, *(values.tensors[name] for name in node.input))


def _extreme(largest: bool) -> Rule:
    """Max or Min."""

    def rule(g: Graph, values: Values, node: Any) -> Any:
        found, *rest = (values.tensors[name] for name in node.input)
        for other in rest:
            found = _chosen(g, _less(g, found, other), *((other, found) if largest else (found, other)))
        return found if rest else None

    return rule


def _clip(g: Graph, values: Values, node: Any) -> Any:
    found: Any = values.tensors[node.input[0]]
    low, high = [*(values.tensors.get(name) for name in node.input[1:]), None, None][:2]
    if low is not None:
        found = _chosen(g, _less(g, found, low), low, found)
    return found if high is None else _chosen(g, _less(g, high, found), high, found)


def _abs(g: Graph, values: Values, node: Any) -> Any:
    x = values.tensors[node.input[0]]
    if values.below(EXACT, x.name):
        return None
    return g.Mul(x, g.Sub(1, g.Mul(g.cast(g.Less(x, 0), x.dtype), 2)))


# Quotients


def _quotient(g: Graph, values: Values, node: Any) -> Any:
    """A quotient in float32 is off by up to 2**-22 of it. The quotient of what is left, by at most 1."""
    x, y = (values.tensors[name] for name in node.input)
    if values.below(EXACT, x.name, y.name) and not (node.output[0] in values.fixed and _negative(values, node)):
        return None
    quotient = g.Div(x, y)
    rest = g.Sub(x, g.Mul(quotient, y))
    more = g.Div(rest, y)
    quotient, rest = g.Add(quotient, more), g.Sub(rest, g.Mul(more, y))
    below_0 = g.Less(y, 0)
    over = g.cast(_opposite(g, rest, below_0), x.dtype)
    quotient, rest = g.Sub(quotient, over), g.Add(rest, g.Mul(over, y))
    left = g.Sub(rest, y)  # of the same sign as y, or 0, if the quotient is too small
    enough = g.Or(g.Equal(left, 0), g.Not(g.Xor(g.Less(left, 0), below_0)))
    under = g.cast(g.And(g.Not(g.Equal(rest, 0)), enough), x.dtype)
    quotient, rest = g.Add(quotient, under), g.Sub(rest, g.Mul(under, y))
    # It is floored now. ONNX truncates.
    negative = g.And(g.Not(g.Equal(rest, 0)), g.Xor(g.Less(x, 0), below_0))
    return g.Add(quotient, g.cast(negative, x.dtype))


def _negative(values: Values, node: Any) -> bool:
    """Whether an operand may be negative: OpenVINO floors quotients of constants."""
    return any(values.range(name)[0] < 0 for name in node.input)


def _opposite(g: Graph, rest: Tensor, below_0: Tensor) -> Any:
    """Whether a remainder has the other sign than its divisor."""
    return g.And(g.Not(g.Equal(rest, 0)), g.Xor(g.Less(rest, 0), below_0))


def _remainder(g: Graph, values: Values, node: Any) -> Any:
    x, y = (values.tensors[name] for name in node.input)
    if values.below(EXACT, x.name, y.name):
        return None
    quotient = _quotient(g, values, node)
    assert quotient is not None
    rest = g.Sub(x, g.Mul(quotient, y))
    if any(attribute.name == "fmod" and attribute.i for attribute in node.attribute):
        return rest
    return g.Add(rest, g.Mul(g.cast(_opposite(g, rest, g.Less(y, 0)), x.dtype), y))


# Element types


def _cast(g: Graph, values: Values, node: Any) -> Any:
    """A cast to 8 or 16 bits keeps the lowest bits; OpenVINO keeps 16-bit integers in 32 bits."""
    x, result = values.tensors[node.input[0]], values.tensors[node.output[0]]
    low, high = values.range(x.name)
    if result.dtype == BOOL:
        return None if values.below(_INT32 - 1, x.name) else g.Not(g.Equal(x, 0))
    if result.dtype not in _NARROW:
        return None
    kept = np.iinfo(result.dtype)
    if kept.min <= low and high <= kept.max:
        return None
    return _lowest_bits(g, g.cast(x, np.int32), result.dtype)


def _lowest_bits(g: Graph, x: Tensor, dtype: np.dtype[Any]) -> Any:
    """int32 as an integer of 8 or 16 bits, in which it wraps."""
    kept = np.iinfo(dtype)
    bits = g.BitwiseAnd(x, np.int32((1 << kept.bits) - 1))
    if kept.min < 0:
        sign = np.int32(1 << (kept.bits - 1))
        bits = g.Sub(g.BitwiseXor(bits, sign), sign)
    return g.cast(bits, dtype)


def _narrow(g: Graph, values: Values, node: Any) -> Any:
    """Sums, differences and products of 8 and 16 bits wrap; OpenVINO's saturate."""
    x, y = (values.tensors[name] for name in node.input)
    if x.dtype not in _NARROW:
        return None
    return _lowest_bits(g, g.emit(node.op_type, g.cast(x, np.int32), g.cast(y, np.int32)), x.dtype)


def _range(g: Graph, values: Values, node: Any) -> Any:
    """OpenVINO counts away from a limit in the wrong direction, where there is nothing to count."""
    start, limit, step = (values.tensors[name] for name in node.input)
    integers = start.dtype.kind in "iu"
    by = values.constants.get(step.name)
    if by is not None and by > 0 and integers and values.range(start.name)[1] <= values.range(limit.name)[0]:
        return None

    def choose(condition: Tensor, a: Tensor, b: Tensor) -> Any:
        return _chosen(g, condition, a, b) if integers else g.Where(condition, a, b)

    upwards = choose(_less(g, limit, start) if integers else g.Less(limit, start), start, limit)
    if by is not None and by > 0:
        end = upwards
    else:
        downwards = choose(_less(g, start, limit) if integers else g.Less(start, limit), start, limit)
        end = downwards if by is not None else choose(g.Less(step, 0), downwards, upwards)
    return g.Range(start, end, step)


# Reductions


def _axes(values: Values, node: Any) -> list[int] | None:
    """The axes that a reduction removes; None if they are not known."""
    x = values.tensors[node.input[0]]
    if x.shape is None:
        return None
    if len(node.input) < 2 or not node.input[1]:
        return list(range(len(x.shape)))
    found = values.constants.get(node.input[1])
    if found is None:
        return None
    return sorted(int(axis) % len(x.shape) for axis in found) or list(range(len(x.shape)))


def _kept(node: Any) -> bool:
    return all(attribute.i for attribute in node.attribute if attribute.name == "keepdims")


def _reduction(one: Callable[[Graph, Tensor, int], Any], limit: Callable[[int, int], int], exact: int) -> Rule:
    """A reduction by `one`, axis by axis, unless `limit(largest element, elements)` is below `exact`."""

    def rule(g: Graph, values: Values, node: Any) -> Any:
        x, axes = values.tensors[node.input[0]], _axes(values, node)
        if axes is None:
            return None
        count = values.count(x.name, axes)
        largest = max(map(abs, values.range(x.name)))
        if count is not None and largest < _INT32 and limit(largest, count) < exact:
            return None
        for axis in axes:
            x = one(g, x, axis)
        return x if _kept(node) or not axes else g.Squeeze(x, axes)

    return rule


def _scattered(reduction: str, neutral: int) -> Callable[[Graph, Tensor, int], Any]:
    """Scatter all elements along an axis into one: exact, and right for an axis of size 0.

    A few elements are combined one after the other: OpenVINO fails or crashes where a scattered product of sizes
    decides the shape of other tensors.
    """
    combined = {"add": "Add", "mul": "Mul"}[reduction]

    def one(g: Graph, x: Tensor, axis: int) -> Any:
        sizes, size = g.shape_of(x), (x.shape or ())[axis]
        if size is not None and 0 < size <= _FEW:
            parts = [g.Slice(x, [i], [i + 1], [axis]) for i in range(size)]
            return reduce(partial(g.emit, combined), parts)
        along = np.arange(x.rank) == axis
        single = g.Add(g.Mul(sizes, ~along), along) if isinstance(sizes, Tensor) else np.where(along, 1, sizes)
        start = g.Expand(np.full(1, neutral, x.dtype), single)
        return g.ScatterElements(start, g.Expand(np.int64(0), sizes), x, axis=axis, reduction=reduction)

    return one


def _first_of(largest: bool) -> Callable[[Graph, Tensor, int], Any]:
    return lambda g, x, axis: g.TopK(x, [1], axis=axis, largest=largest)[0]


def _product(largest: int, count: int) -> int:
    return largest**count if largest > 1 and count < 64 else largest if largest < 2 else _INT32


def _wide_sum(g: Graph, values: Values, node: Any) -> Any:
    """A sum in 64 bits; the cast then wraps."""
    x = values.tensors[node.input[0]]
    axes = _axes(values, node)
    if x.dtype != np.int32 or axes is None:
        return None
    count = values.count(x.name, axes)
    if count is not None and max(map(abs, values.range(x.name))) * count < _INT32:
        return None
    return g.cast(g.ReduceSum(g.cast(x, np.int64), np.array(axes, np.int64), keepdims=_kept(node)), np.int32)


def _matrix_product(g: Graph, values: Values, node: Any) -> Any:
    x, y = (values.tensors[name] for name in node.input)
    if x.shape is None or y.shape is None or len(x.shape) < 2 or len(y.shape) < 2:
        return None
    products = g.Mul(g.Unsqueeze(x, [-1]), g.Unsqueeze(y, [-3]))
    return g.Squeeze(_scattered("add", 0)(g, products, products.rank - 2), [-2])


IN_FLOAT32: Mapping[str, Rule] = {
    "Abs": _abs,
    "Add": _narrow,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _quotient,
    "Equal": _comparison(_equal),
    "Greater": _comparison(lambda g, x, y: _less(g, y, x)),
    "GreaterOrEqual": _comparison(lambda g, x, y: g.Not(_less(g, x, y))),
    "Less": _comparison(_less),
    "LessOrEqual": _comparison(lambda g, x, y: g.Not(_less(g, y, x))),
    "MatMul": _matrix_product,
    "Max": _extreme(largest=True),
    "Min": _extreme(largest=False),
    "Mod": _remainder,
    "Mul": _narrow,
    "Range": _range,
    "ReduceMax": _reduction(_first_of(largest=True), lambda most, _: most, EXACT),
    "ReduceMin": _reduction(_first_of(largest=False), lambda most, _: most, EXACT),
    "ReduceProd": _reduction(_scattered("mul", 1), _product, EXACT),
    "ReduceSum": _reduction(_scattered("add", 0), lambda most, count: most * count, EXACT),
    "Sub": _narrow,
    "Where": _where,
}
"""For an engine that computes these in float32: OpenVINO."""

SATURATING: Mapping[str, Rule] = {
    "ReduceProd": _reduction(_scattered("mul", 1), _product, _INT32),
    "ReduceSum": _wide_sum,
}
"""For an engine whose reductions saturate: ONNX Runtime."""
