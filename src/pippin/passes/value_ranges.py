"""Value ranges: what is known about the values of a graph, to find where NaN and infinity can arise.

Every tensor gets an interval. Inputs are finite and of moderate size; whoever uses the result checks that at run time.
Sums and products of such values count as finite: only operators that leave the finite numbers by themselves (division,
logarithm, root, exponential ...) can make a NaN or an infinity. A bound is infinite if the value can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from onnx import numpy_helper

MODERATE = 1e30
"""Stands for any finite bound that is not known better."""
_SMALLEST = float(np.finfo(np.float32).tiny)  # what is smaller may be flushed to zero
_MOST_READ = 1 << 16  # elements; the bounds of larger constants are not computed
_EXP_OVERFLOWS = 88.0
_FLOATS = frozenset({1, 10, 11, 16})  # of TensorProto.DataType
_INF = math.inf


class Range(NamedTuple):
    lo: float = -MODERATE
    hi: float = MODERATE
    floats: bool = True
    """Whether the tensor holds floats."""

    @property
    def infinite(self) -> bool:
        return self.floats and (math.isinf(self.lo) or math.isinf(self.hi))

    def holds(self, number: float) -> bool:
        return self.lo - _SMALLEST <= number <= self.hi + _SMALLEST


class Made(NamedTuple):
    """What an operator makes of operands that are not NaN."""

    range: Range
    nan: bool = False


@dataclass(slots=True)
class Ranges:
    """The ranges of a graph's tensors, and the nodes whose result can be NaN though no operand is."""

    values: dict[str, Range] = field(default_factory=dict)
    sources: list[Any] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    """Nodes with a subgraph in which a NaN or an infinity can arise."""
    makers: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> Range:
        if name not in self.values and name in self.constants:
            self.values[name] = _bounds(self.constants[name])
        return self.values.get(name, Range())

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a small constant."""
        tensor = self.constants.get(name)
        return numpy_helper.to_array(tensor) if tensor is not None and math.prod(tensor.dims) <= _MOST_READ else None


def ranges(graph: Any, bounded: Iterable[str] = (), outer: Ranges | None = None) -> Ranges:
    """The ranges in a graph. `bounded` are the inputs that hold pixels, 0 to 255; `outer` is the graph around it."""
    found = Ranges()
    if outer is not None:
        found.values, found.makers, found.constants = dict(outer.values), dict(outer.makers), dict(outer.constants)
    found.constants |= {tensor.name: tensor for tensor in graph.initializer}
    pixels = set(bounded)
    for info in graph.input:
        floats = info.type.tensor_type.elem_type in _FLOATS
        found.values[info.name] = Range(0.0, 255.0, floats) if info.name in pixels else Range(floats=floats)
    for node in graph.node:
        found.makers.update(dict.fromkeys(node.output, node))
        made = _made(node, found)
        for number, name in enumerate(node.output):
            found.values[name] = made[min(number, len(made) - 1)].range
        if any(one.nan and one.range.floats for one in made):
            found.sources.append(node)
    return found


def bodies(node: Any) -> list[Any]:
    """The subgraphs of a node."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _made(node: Any, known: Ranges) -> list[Made]:
    inner = bodies(node)
    if inner:
        return _of_bodies(node, inner, known)
    rule = None if node.domain else _RULES.get(node.op_type)
    # Weights have no bounds that matter, but NaN and infinity among them do.
    read = [n for n in node.input if n and not (rule is _linear and n in known.constants and not known.of(n).infinite)]
    operands = [known.of(name) for name in read or node.input[:1]]
    if node.op_type == "TopK":
        return [Made(operands[0]), Made(Range(0.0, MODERATE, False))]
    if node.op_type in _INTEGERS:
        return [Made(Range(1.0 if node.op_type in ("Shape", "Size") else 0.0, MODERATE, False))]
    if rule is None:
        return [Made(Range(-_INF, _INF), nan=True)]
    made = rule(node, operands, known)
    floats = _floats(node, operands)
    # The widest finite bounds are one: what is added to them or multiplied stays as it is.
    lo, hi = (bound if math.isinf(bound) else min(max(bound, -MODERATE), MODERATE) for bound in made.range[:2])
    return [Made(Range(lo, hi, floats), made.nan and floats)]


def _floats(node: Any, operands: list[Range]) -> bool:
    attributes = {a.name: a for a in node.attribute}
    match node.op_type:
        case "Cast":
            return attributes["to"].i in _FLOATS
        case "Constant" | "ConstantOfShape":
            return "value" not in attributes or attributes["value"].t.data_type in _FLOATS
        case "DequantizeLinear" | "RandomNormal" | "RandomUniform" | "RandomNormalLike" | "RandomUniformLike":
            return True
        case "Where":
            return operands[1].floats
        case "OneHot":
            return operands[2].floats
        case "CastLike":
            return operands[1].floats
    return operands[0].floats if operands else True


def _of_bodies(node: Any, inner: list[Any], known: Ranges) -> list[Made]:
    """The results of If, Loop and Scan: finite, unless a body can make another value."""
    found = [ranges(body, outer=known) for body in inner]
    bad = any(each.sources or each.bodies for each in found)
    results = [[each.of(info.name) for info in body.output] for each, body in zip(found, inner, strict=True)]
    bad = bad or any(result.infinite for each in results for result in each)
    if bad:
        known.bodies.append(node)
    skipped = len(inner[0].output) - len(node.output)  # the condition of a Loop
    wide = Range(-_INF, _INF) if bad else Range()
    return [
        Made(wide._replace(floats=info.type.tensor_type.elem_type in _FLOATS), bad)
        for info in list(inner[0].output)[max(skipped, 0) :]
    ] or [Made(wide, bad)]


def _bounds(tensor: Any) -> Range:
    floats = tensor.data_type in _FLOATS
    if math.prod(tensor.dims) > _MOST_READ or tensor.data_type == 8:
        return Range(floats=floats)
    values = numpy_helper.to_array(tensor)
    if not values.size:
        return Range(floats=floats)
    with np.errstate(all="ignore"):
        lo, hi = float(values.min()), float(values.max())
    # A NaN among the constants: anything can follow.
    return Range(-_INF, _INF, floats) if lo != lo else Range(lo, hi, floats)


Rule = Callable[[Any, list[Range], Ranges], Made]


def _same(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(x[0])


def _union(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(min(r.lo for r in x), max(r.hi for r in x)))


def _with_zero(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(min(x[0].lo, 0.0), max(x[0].hi, 0.0)))


def _linear(node: Any, x: list[Range], known: Ranges) -> Made:
    """Sums of products: infinities may meet."""
    bad = any(r.infinite for r in x)
    return Made(Range(-_INF, _INF) if bad else Range(), bad)


def _sum(node: Any, x: list[Range], known: Ranges) -> Made:
    r = x[0]
    exponential = known.makers.get(node.input[0])
    if exponential is not None and exponential.op_type == "Exp" and _below_zero(exponential.input[0], known):
        return Made(Range(1.0, MODERATE))  # one of the exponents is 0
    lo = r.lo if r.lo >= 0 or math.isinf(r.lo) else -MODERATE
    hi = r.hi if r.hi <= 0 or math.isinf(r.hi) else MODERATE
    return Made(Range(lo, hi), math.isinf(r.lo) and math.isinf(r.hi))


def _mean(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(x[0], math.isinf(x[0].lo) and math.isinf(x[0].hi))


def _add(node: Any, x: list[Range], known: Ranges) -> Made:
    a, b = x[0], x[1]
    nan = (a.hi == _INF and b.lo == -_INF) or (a.lo == -_INF and b.hi == _INF)
    lo = -_INF if -_INF in (a.lo, b.lo) else a.lo + b.lo
    hi = _INF if _INF in (a.hi, b.hi) else a.hi + b.hi
    return Made(Range(lo, hi), nan)


def _sub(node: Any, x: list[Range], known: Ranges) -> Made:
    made = _add(node, [x[0], Range(-x[1].hi, -x[1].lo)], known)
    if not made.nan and _is_maximum(node.input[1], node.input[0], known):
        return Made(Range(made.range.lo, 0.0))
    return made


def _is_maximum(name: str, of: str, known: Ranges) -> bool:
    maker = known.makers.get(name)
    return maker is not None and maker.op_type == "ReduceMax" and maker.input[0] == of


def _below_zero(name: str, known: Ranges) -> bool:
    """Whether a value is x - max(x): at most 0, and 0 somewhere."""
    maker = known.makers.get(name)
    return maker is not None and maker.op_type == "Sub" and _is_maximum(maker.input[1], maker.input[0], known)


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _mul(node: Any, x: list[Range], known: Ranges) -> Made:
    a, b = x[0], x[1]
    if len(node.input) == 2 and node.input[0] == node.input[1]:
        return _squared(a)
    corners = [_product(p, q) for p in a[:2] for q in b[:2]]
    nan = (a.infinite and b.holds(0)) or (b.infinite and a.holds(0))
    return Made(Range(min(corners), max(corners)), nan)


def _squared(a: Range) -> Made:
    low, high = sorted((_product(a.lo, a.lo), _product(a.hi, a.hi)))
    return Made(Range(0.0 if a.holds(0) else low, high))


def _div(node: Any, x: list[Range], known: Ranges) -> Made:
    a, b = x[0], x[1]
    both = a.infinite and b.infinite
    if b.holds(0):
        positive = a.lo >= 0 and b.lo >= 0
        return Made(Range(0.0 if positive else -_INF, _INF), both or a.holds(0))
    corners = [_quotient(p, q) for p in a[:2] for q in b[:2]]
    return Made(Range(min(corners), max(corners)), both)


def _quotient(a: float, b: float) -> float:
    if math.isinf(b):
        return 0.0
    return a / b


def _reciprocal(node: Any, x: list[Range], known: Ranges) -> Made:
    return _div(node, [Range(1.0, 1.0), x[0]], known)


def _sqrt(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(math.sqrt(max(x[0].lo, 0.0)), math.sqrt(max(x[0].hi, 0.0))), x[0].lo < 0)


def _log(node: Any, x: list[Range], known: Ranges) -> Made:
    lo = math.log(x[0].lo) if x[0].lo >= _SMALLEST else -_INF
    return Made(Range(lo, math.log(x[0].hi) if x[0].hi > 0 else -_INF), x[0].lo < 0)


def _log_of_sum(node: Any, x: list[Range], known: Ranges) -> Made:
    return _log(node, [_sum(node, x, known).range], known)


def _exp(node: Any, x: list[Range], known: Ranges) -> Made:
    lo, hi = (_INF if bound > _EXP_OVERFLOWS else math.exp(bound) for bound in x[0][:2])
    return Made(Range(lo, hi))


def _softplus(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(0.0, max(x[0].hi, 0.0) + 1.0))


def _hyperbolic(node: Any, x: list[Range], known: Ranges) -> Made:
    wide = max(abs(x[0].lo), abs(x[0].hi)) > _EXP_OVERFLOWS
    return Made(Range(-_INF, _INF) if wide else Range())


def _pow(node: Any, x: list[Range], known: Ranges) -> Made:
    base, exponent = x[0], x[1]
    if exponent.lo == exponent.hi and exponent.lo > 0 and exponent.lo % 2 == 0:
        return Made(Range(0.0, _INF if base.infinite else MODERATE))
    if base.lo >= 0 and exponent.lo == exponent.hi and exponent.lo > 0:
        return Made(Range(0.0, _INF if base.infinite else MODERATE))
    if base.lo >= 0:
        steady = base.lo >= _SMALLEST and exponent.lo == exponent.hi and not base.infinite
        return Made(Range(0.0, MODERATE if steady else _INF), base.infinite or exponent.infinite)
    whole = exponent.lo == exponent.hi and exponent.lo == int(exponent.lo)
    finite = whole and exponent.lo >= 0 and not base.infinite
    return Made(Range() if finite else Range(-_INF, _INF), not whole)


def _mod(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(), x[0].infinite or x[1].holds(0))


def _within(lo: float, hi: float) -> Rule:
    """A result between two bounds, whatever the operand."""
    return lambda node, x, known: Made(Range(lo, hi))


def _periodic(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range() if node.op_type == "Tan" else Range(-1.0, 1.0), x[0].infinite)


def _on(lo: float, hi: float, open_end: bool = False) -> Rule:
    """A function that is defined between two bounds; at an open end it is infinite."""

    def rule(node: Any, x: list[Range], known: Ranges) -> Made:
        inside = lo <= x[0].lo and x[0].hi <= hi
        return Made(Range(-_INF, _INF) if open_end else Range(-MODERATE, MODERATE), not inside)

    return rule


def _softmax(node: Any, x: list[Range], known: Ranges) -> Made:
    """A row of -inf alone, or with an inf, is 0/0 or inf/inf."""
    return Made(Range(0.0, 1.0) if node.op_type == "Softmax" else Range(-_INF if x[0].infinite else -MODERATE, 0.0),
                x[0].infinite)  # fmt: skip


def _clip(node: Any, x: list[Range], known: Ranges) -> Made:
    lo, hi = x[0].lo, x[0].hi
    names = [*node.input, "", ""]
    if names[1]:
        lo, hi = max(lo, known.of(names[1]).lo), max(hi, known.of(names[1]).lo)
    if names[2]:
        lo, hi = min(lo, known.of(names[2]).hi), min(hi, known.of(names[2]).hi)
    return Made(Range(lo, hi))


def _relu(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(max(x[0].lo, 0.0), max(x[0].hi, 0.0)))


def _gelu(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(-1.0, max(x[0].hi, 0.0)), x[0].lo == -_INF)


def _max(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(max(r.lo for r in x), max(r.hi for r in x)))


def _min(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(min(r.lo for r in x), min(r.hi for r in x)))


def _abs(node: Any, x: list[Range], known: Ranges) -> Made:
    high = max(abs(x[0].lo), abs(x[0].hi))
    return Made(Range(0.0 if x[0].holds(0) else min(abs(x[0].lo), abs(x[0].hi)), high))


def _neg(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(-x[0].hi, -x[0].lo))


def _rounded(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(x[0].lo - 1, x[0].hi + 1))


def _norm(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range(0.0, _INF if x[0].infinite else MODERATE))


def _where(node: Any, x: list[Range], known: Ranges) -> Made:
    return _union(node, x[1:], known)


def _pad(node: Any, x: list[Range], known: Ranges) -> Made:
    value = known.of(node.input[2]) if len(node.input) > 2 and node.input[2] else Range(0.0, 0.0)
    return _union(node, [x[0], value], known)


def _constant(node: Any, x: list[Range], known: Ranges) -> Made:
    value = next((a.t for a in node.attribute if a.name == "value"), None)
    return Made(Range(0.0, 0.0) if value is None else _bounds(value))


def _finite(node: Any, x: list[Range], known: Ranges) -> Made:
    return Made(Range())


_INTEGERS = frozenset({
    "And", "ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual",
    "NonMaxSuppression", "NonZero", "Not", "Or", "Shape", "Size", "Xor", "QuantizeLinear",
})  # fmt: skip

_BY_RULE: Mapping[Rule, str] = {
    _same: "Identity Cast CastLike Compress DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND"
           " GlobalMaxPool MaxPool ReduceMax ReduceMin Reshape ReverseSequence Slice SpaceToDepth Split Squeeze Tile"
           " Transpose Unsqueeze Upsample Softsign",
    _with_zero: "Trilu GridSample LeakyRelu PRelu Elu HardSwish ThresholdedRelu Celu Selu Mish",
    _union: "Concat ScatterElements ScatterND",
    _linear: "Conv ConvTranspose MatMul Gemm Einsum CumSum BatchNormalization InstanceNormalization LayerNormalization"
             " GroupNormalization RMSNormalization MeanVarianceNormalization LRN Resize Det ReduceProd STFT DFT"
             " ReduceLogSumExp",
    _mean: "ReduceMean AveragePool GlobalAveragePool",
    _norm: "ReduceL1 ReduceL2 ReduceSumSquare",
    _finite: "DequantizeLinear LSTM GRU RNN RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli"
             " Multinomial Range OneHot EyeLike BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot",
    _sum: "ReduceSum", _add: "Add", _sub: "Sub", _mul: "Mul", _div: "Div", _reciprocal: "Reciprocal", _sqrt: "Sqrt",
    _log: "Log", _log_of_sum: "ReduceLogSum", _exp: "Exp", _softplus: "Softplus", _hyperbolic: "Sinh Cosh",
    _pow: "Pow", _mod: "Mod", _periodic: "Sin Cos Tan", _softmax: "Softmax LogSoftmax", _clip: "Clip", _relu: "Relu",
    _gelu: "Gelu", _max: "Max", _min: "Min", _abs: "Abs", _neg: "Neg", _rounded: "Floor Ceil Round",
    _where: "Where", _pad: "Pad", _constant: "Constant ConstantOfShape",
    _within(0.0, 1.0): "Sigmoid HardSigmoid", _within(-1.0, 1.0): "Tanh Erf Sign", _within(-2.0, 2.0): "Atan",
    _within(-100.0, 100.0): "Asinh",
    _on(-1.0, 1.0): "Asin Acos", _on(-1.0, 1.0, open_end=True): "Atanh", _on(1.0, _INF): "Acosh",
}  # fmt: skip
_RULES: Mapping[str, Rule] = {kind: rule for rule, kinds in _BY_RULE.items() for kind in kinds.split()}
