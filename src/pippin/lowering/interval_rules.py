"""Interval rules: what each ONNX operator makes of the intervals of its operands. `intervals.py` applies them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import numpy_helper

from .interval import ANY, BOOL, FINITE, INF, MODERATE, MOST_READ, SMALLEST, Interval, Made, Rule, Step, of_array
from .interval_patterns import below_zero, equal, floored_remainder, is_maximum, negated, remainder

_EXP_OVERFLOWS = 88.0
# OpenVINO computes int64 as int32. Sums that leave it wrap.
_INT32 = (-(2**31), 2**31 - 1)


def _same(s: Step) -> Made:
    return Made(s.x[0].lo, s.x[0].hi)


def _of_bounds(x: Interval, function: Callable[[float], float]) -> Made:
    """A function that keeps the order, and infinity."""
    lo, hi = (bound if math.isinf(bound) else function(bound) for bound in x[:2])
    return Made(lo, hi)


def _joined(found: Sequence[Interval]) -> Made:
    return Made(min(r.lo for r in found), max(r.hi for r in found))


def _union(s: Step) -> Made:
    return _joined(s.given)


def _with_zero(s: Step) -> Made:
    return Made(min(s.x[0].lo, 0), max(s.x[0].hi, 0))


def _bent(s: Step) -> Made:
    """Functions that a parameter may make steep."""
    return _with_zero(s) if s.moderate else ANY


def _largest(s: Step) -> Made | None:
    """An element, if there is one: else the end of the type, as in a window of padding alone."""
    shape = s.shapes(0)
    some = s.node.op_type != "MaxPool" and shape is not None and all(shape)
    return _same(s) if s.moderate or some else None


def _scattered(s: Step) -> Made:
    made = _union(s)
    if s.attribute("reduction", b"none") in (b"none", b"max", b"min"):
        return made
    return Made(made.lo if made.lo >= 0 else min(made.lo, -MODERATE), max(made.hi, MODERATE), math.isinf(made.hi))


def _linear(s: Step) -> Made:
    """Sums of products: infinities may meet."""
    return ANY if not s.moderate or any(r.infinite for r in s.given) else FINITE


def _sum(s: Step) -> Made | None:
    r, exponential = s.x[0], s.maker(s.node.input[0])
    if not r.floats and not s.moderate:
        return None
    if exponential is not None and exponential.op_type == "Exp" and below_zero(exponential.input[0], s):
        return Made(1.0, MODERATE)  # one of the exponents is 0
    lo = r.lo if r.lo >= 0 or math.isinf(r.lo) else -MODERATE
    hi = r.hi if r.hi <= 0 or math.isinf(r.hi) else MODERATE
    overflows = not s.moderate and lo < 0 < hi
    return Made(lo, hi, overflows or (math.isinf(r.lo) and math.isinf(r.hi)))


def _mean(s: Step) -> Made:
    r = s.x[0]
    return Made(r.lo, r.hi, not s.moderate or (math.isinf(r.lo) and math.isinf(r.hi)))


# Arithmetic


def _total(a: Interval, b: Interval) -> Made:
    nan = (a.hi == INF and b.lo == -INF) or (a.lo == -INF and b.hi == INF)
    lo = -INF if -INF in (a.lo, b.lo) else a.lo + b.lo
    hi = INF if INF in (a.hi, b.hi) else a.hi + b.hi
    return Made(lo, hi, nan)


def _add(s: Step) -> Made | None:
    return floored_remainder(s) or _in_32_bits(s, _total(s.x[0], s.x[1]))


def _sub(s: Step) -> Made | None:
    a, b = s.x[0], s.x[1]
    made = _total(a, Interval(-b.hi, -b.lo, b.dtype))
    if not made.nan and is_maximum(s.node.input[1], s.node.input[0], s):
        return Made(made.lo, 0)
    return remainder(s) or _in_32_bits(s, made)


def _in_32_bits(s: Step, made: Made) -> Made | None:
    fits = s.dtype.kind == "f" or s.moderate or (_INT32[0] <= made.lo and made.hi <= _INT32[1])
    return made if fits else None


def _product(a: float, b: float) -> float:
    return a * b if a and b else 0


def _mul(s: Step) -> Made | None:
    a, b = s.x[0], s.x[1]
    if s.node.input[0] == s.node.input[1]:
        low, high = sorted((_product(a.lo, a.lo), _product(a.hi, a.hi)))
        return _in_32_bits(s, Made(0 if a.holds(0) else low, high))
    corners = [_product(p, q) for p in a[:2] for q in b[:2]]
    nan = (a.infinite and b.holds(0)) or (b.infinite and a.holds(0))
    return _in_32_bits(s, Made(min(corners), max(corners), nan))


def _div(s: Step) -> Made:
    return _quotient(s.x[0], s.x[1]) if s.dtype.kind == "f" else _integer_quotient(s.x[0], s.x[1])


def _quotient(a: Interval, b: Interval) -> Made:
    both = a.infinite and b.infinite
    if b.holds(0):
        positive = a.lo >= 0 and b.lo >= 0
        return Made(0.0 if positive else -INF, INF, both or a.holds(0))
    corners = [0.0 if math.isinf(q) else p / q for p in a[:2] for q in b[:2]]
    return Made(min(corners), max(corners), both)


def _integer_quotient(a: Interval, b: Interval) -> Made:
    most = max(-a.lo, a.hi)
    if b.lo > 0 and a.lo >= 0:
        return Made(a.lo // b.hi, a.hi // b.lo)
    return Made(0 if a.lo >= 0 and b.lo >= 0 else -most, most)  # OpenVINO floors quotients of constants


def _reciprocal(s: Step) -> Made:
    return _quotient(Interval(1.0, 1.0), s.x[0])


def _mod(s: Step) -> Made | None:
    x, divisor = s.x[0], s.x[1]
    if s.dtype.kind == "f":
        return Made(*FINITE[:2], nan=x.infinite or divisor.holds(0) or not s.moderate)
    if divisor.lo < 1:
        return None
    most = divisor.hi - 1
    if x.lo >= 0:
        return Made(0, min(most, x.hi))
    return Made(-most if s.attribute("fmod", 0) else 0, most)


def _abs(s: Step) -> Made:
    x = s.x[0]
    return Made(0 if x.holds(0) else min(abs(x.lo), abs(x.hi)), max(abs(x.lo), abs(x.hi)))


def _neg(s: Step) -> Made:
    return Made(-s.x[0].hi, -s.x[0].lo)


def _rounded(s: Step) -> Made:
    rounds: Any = {"Floor": math.floor, "Ceil": math.ceil, "Round": round}[s.node.op_type]
    return _of_bounds(s.x[0], rounds)


def _bits_of_both(s: Step) -> Made | None:
    """A number that is not negative has no more bits than the result of `and` with it may have."""
    tops = [r.hi for r in s.given if r.lo >= 0]
    return Made(0, min(tops)) if tops else None


# Functions


def _sqrt(s: Step) -> Made:
    x = s.x[0]
    return Made(math.sqrt(max(x.lo, 0.0)), math.sqrt(max(x.hi, 0.0)), x.lo < 0)


def _logarithm(x: Made) -> Made:
    lo = math.log(x.lo) if x.lo >= SMALLEST else -INF
    return Made(lo, math.log(x.hi) if x.hi > 0 else -INF, x.lo < 0)


def _log(s: Step) -> Made:
    return _logarithm(_same(s))


def _log_of_sum(s: Step) -> Made:
    return _logarithm(_sum(s) or ANY)


def _exp(s: Step) -> Made:
    lo, hi = (INF if bound > _EXP_OVERFLOWS else math.exp(bound) for bound in s.x[0][:2])
    return Made(lo, hi)


def _softplus(s: Step) -> Made:
    return Made(0.0, max(s.x[0].hi, 0.0) + 1.0)


def _hyperbolic(s: Step) -> Made:
    wide = max(abs(s.x[0].lo), abs(s.x[0].hi)) > _EXP_OVERFLOWS
    return Made(-INF, INF) if wide else FINITE


def _pow(s: Step) -> Made | None:
    base, exponent = s.x[0], s.x[1]
    if not base.floats and not s.moderate:
        return None
    fixed = exponent.lo == exponent.hi
    if fixed and exponent.lo > 0 and (base.lo >= 0 or exponent.lo % 2 == 0):
        return Made(0.0, INF if base.infinite else MODERATE)
    if base.lo >= 0:
        steady = base.lo >= SMALLEST and fixed and not base.infinite
        return Made(0.0, MODERATE if steady else INF, base.infinite or exponent.infinite)
    integer = fixed and not exponent.infinite and exponent.lo == int(exponent.lo)
    finite = integer and exponent.lo >= 0 and not base.infinite
    return Made(*(FINITE if finite else ANY)[:2], nan=not integer)


def _within(lo: float, hi: float) -> Rule:
    """A result between two bounds, whatever the operand."""
    return lambda s: Made(lo, hi)


def _softsign(s: Step) -> Made:
    return Made(0.0 if s.x[0].lo >= 0 else -1.0, 0.0 if s.x[0].hi <= 0 else 1.0, s.x[0].infinite)


def _periodic(s: Step) -> Made:
    return Made(*(FINITE[:2] if s.node.op_type == "Tan" else (-1.0, 1.0)), nan=s.x[0].infinite)


def _on(lo: float, hi: float, open_end: bool = False) -> Rule:
    """A function that is defined between two bounds; at an open end it is infinite."""

    def rule(s: Step) -> Made:
        inside = lo <= s.x[0].lo and s.x[0].hi <= hi
        return Made(*((-INF, INF) if open_end else FINITE[:2]), nan=not inside)

    return rule


def _softmax(s: Step) -> Made:
    """A row of -inf alone, or with an inf, is 0/0 or inf/inf."""
    infinite = s.x[0].infinite
    if s.node.op_type == "Softmax":
        return Made(0.0, 1.0, infinite)
    return Made(-INF if infinite else -MODERATE, 0.0, infinite)


def _relu(s: Step) -> Made:
    return Made(max(s.x[0].lo, 0), max(s.x[0].hi, 0))


def _gelu(s: Step) -> Made:
    return Made(-1.0, max(s.x[0].hi, 0.0), s.x[0].lo == -INF)


def _norm(s: Step) -> Made:
    return Made(0.0, INF if s.x[0].infinite else MODERATE)


# Choices


def _clip(s: Step) -> Made:
    lo, hi = s.x[0][:2]
    for place, pick in ((1, max), (2, min)):
        if place < len(s.x) and s.x[place] is not None:
            lo, hi = pick(lo, s.x[place].lo), pick(hi, s.x[place].hi)
    return Made(lo, hi)


def _extreme(pick: Callable[..., float]) -> Rule:
    return lambda s: Made(pick(r.lo for r in s.given), pick(r.hi for r in s.given))


def _where(s: Step) -> Made:
    condition, chosen, other = s.x
    if condition.lo == condition.hi:
        return Made(*(chosen if condition.lo else other)[:2])
    return _joined((chosen, other))


def _compared(above: bool, equal: bool) -> Rule:
    """Greater and its like: certain where one interval is above the other."""

    def rule(s: Step) -> Made:
        a, b = (s.x[0], s.x[1]) if above else (s.x[1], s.x[0])
        gap = SMALLEST if a.floats else 0
        if a.lo > b.hi + gap or (equal and not gap and a.lo >= b.hi):
            return Made(0 if a.nan or b.nan else 1, 1)
        never = a.hi < b.lo - gap or (not equal and not gap and a.hi <= b.lo)
        return Made(0, 0 if never else 1)

    return rule


def _is_nan(s: Step) -> Made:
    return Made(0, 1 if s.x[0].nan or s.moderate else 0)


def _pad(s: Step) -> Made:
    value = s.x[2] if len(s.x) > 2 and s.x[2] is not None else Interval(0, 0)
    return _joined((s.x[0], value))


def _cast(s: Step) -> Made | None:
    x = s.x[0]
    if s.dtype == BOOL:
        return Made(0 if x.holds(0) else 1, 0 if x.lo == x.hi == 0 and not x.nan else 1)
    if s.dtype.kind == "f":
        return Made(float(x.lo), float(x.hi))
    if not x.floats:
        return Made(x.lo, x.hi)
    if (x.nan or x.infinite) and not s.moderate:
        return None  # an engine's own number for what has no integer
    return _of_bounds(x, math.trunc)


def _chosen_values(s: Step) -> Made:
    """OneHot: the two values."""
    return Made(s.x[2].lo, s.x[2].hi)


def _constant(s: Step) -> Made | None:
    for name in ("value", "value_int", "value_ints", "value_float", "value_floats"):
        value = s.attribute(name, None)
        if value is not None:
            array = numpy_helper.to_array(value) if name == "value" else np.asarray(value)
            found = of_array(array) if array.size <= MOST_READ else None
            return None if found is None else Made(*found[:2], nan=found.nan)
    return Made(0, 0) if s.node.op_type == "ConstantOfShape" else None


# Sizes and positions


def _position(s: Step) -> Made:
    """ArgMax, ArgMin and TopK's second result: positions on one axis."""
    if s.node.op_type == "TopK" and s.number == 0:
        return _same(s)
    shape = s.shapes(0)
    axis = s.attribute("axis", -1 if s.node.op_type == "TopK" else 0)
    size = shape[axis] if shape else None
    return Made(0, _INT32[1] if size is None else max(size - 1, 0))


def _non_zero(s: Step) -> Made:
    shape = s.shapes(0)
    sizes = [_INT32[1] if size is None else size for size in shape or ()]
    return Made(0, max(*sizes, 1, 1) - 1 if shape is not None else _INT32[1])


def _shape(s: Step) -> Made:
    """Where it matters only to models that do something sensible, no axis is empty."""
    least, shape = int(s.moderate), s.shapes(0)
    if shape is not None and s.node.op_type == "Shape":
        asked = shape[s.attribute("start", 0) : s.attribute("end", None)]
        sizes = [size for size in asked if size is not None]
        if sizes and len(sizes) == len(asked):
            return Made(min(sizes), max(sizes))
    return Made(least, _INT32[1])


def _counted(s: Step) -> Made:
    (first, _), (_, limit), (step, _) = (r[:2] for r in s.x)
    if step >= 1 and s.dtype.kind != "f":
        return Made(first, max(limit - 1, first))
    return _joined(s.x[:2])


def _not_negative(s: Step) -> Made:
    return Made(0, _INT32[1])


def _truth(s: Step) -> Made:
    return Made(0, 1)


def _finite(s: Step) -> Made:
    return FINITE if s.moderate else ANY


def _unknown(s: Step) -> None:
    return None


_BY_RULE: Mapping[Rule, str] = {
    _same: "Identity Compress DepthToSpace Expand Flatten Gather GatherElements GatherND"
           " Reshape ReverseSequence Slice SpaceToDepth Split Squeeze Tile"
           " Transpose Unsqueeze Upsample",
    _with_zero: "Trilu HardSwish ThresholdedRelu Celu Mish", _bent: "Dropout Elu GridSample LeakyRelu PRelu Selu",
    _largest: "GlobalMaxPool MaxPool ReduceMax ReduceMin",
    _union: "Concat", _scattered: "ScatterElements ScatterND",
    _linear: "Conv ConvTranspose MatMul Gemm Einsum CumSum BatchNormalization InstanceNormalization LayerNormalization"
             " GroupNormalization RMSNormalization MeanVarianceNormalization LRN Resize Det ReduceProd STFT DFT"
             " ReduceLogSumExp",
    _mean: "ReduceMean AveragePool GlobalAveragePool",
    _norm: "ReduceL1 ReduceL2 ReduceSumSquare",
    _finite: "DequantizeLinear LSTM GRU RNN RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli"
             " Multinomial",
    _unknown: "QuantizeLinear BitShift BitwiseOr BitwiseXor BitwiseNot",
    _truth: "And Or Xor IsInf EyeLike", equal: "Equal", negated: "Not",
    _not_negative: "NonMaxSuppression",
    _shape: "Shape Size", _position: "ArgMax ArgMin TopK", _non_zero: "NonZero", _counted: "Range",
    _compared(above=True, equal=False): "Greater", _compared(above=True, equal=True): "GreaterOrEqual",
    _compared(above=False, equal=False): "Less", _compared(above=False, equal=True): "LessOrEqual",
    _is_nan: "IsNaN", _cast: "Cast CastLike", _bits_of_both: "BitwiseAnd", _chosen_values: "OneHot",
    _sum: "ReduceSum", _add: "Add", _sub: "Sub", _mul: "Mul", _div: "Div", _reciprocal: "Reciprocal", _sqrt: "Sqrt",
    _log: "Log", _log_of_sum: "ReduceLogSum", _exp: "Exp", _softplus: "Softplus", _hyperbolic: "Sinh Cosh",
    _pow: "Pow", _mod: "Mod", _periodic: "Sin Cos Tan", _softmax: "Softmax LogSoftmax", _clip: "Clip", _relu: "Relu",
    _gelu: "Gelu", _extreme(max): "Max", _extreme(min): "Min", _abs: "Abs", _neg: "Neg", _rounded: "Floor Ceil Round",
    _where: "Where", _pad: "Pad", _constant: "Constant ConstantOfShape", _softsign: "Softsign",
    _within(0.0, 1.0): "Sigmoid HardSigmoid", _within(-1.0, 1.0): "Tanh Erf Sign", _within(-2.0, 2.0): "Atan",
    _within(-100.0, 100.0): "Asinh",
    _on(-1.0, 1.0): "Asin Acos", _on(-1.0, 1.0, open_end=True): "Atanh", _on(1.0, INF): "Acosh",
}  # fmt: skip
RULES: Mapping[str, Rule] = {kind: rule for rule, kinds in _BY_RULE.items() for kind in kinds.split()}

_PLACES: Mapping[Rule, tuple[int, ...]] = {
    **dict.fromkeys((_same, _with_zero, _bent, _largest, _mean, _norm, _sum, _log_of_sum), (0,)),
    **dict.fromkeys((_shape, _non_zero, _truth, _not_negative, _unknown, _finite), ()),
    _scattered: (0, 2), _pad: (0, 2), _chosen_values: (2,), _constant: (),
}  # fmt: skip


def places(node: Any, moderate: bool, stored: Callable[[str], bool]) -> list[int]:
    """The operands of which the rule of a node reads the intervals. The bounds of finite weights do not matter."""
    rule = RULES.get(node.op_type)
    read = range(len(node.input))
    if rule is None or (rule is _linear and not moderate) or (rule is _position and node.op_type != "TopK"):
        return []
    if rule is _linear:
        return [place for place in read if node.input[place] and not stored(node.input[place])]
    return [place for place in _PLACES.get(rule, read) if place < len(node.input) and node.input[place]]
