"""Intervals: the numbers that each value of an ONNX graph can hold, as far as the graph shows.

One analysis for three questions: which indices need no check (`index_checks.py`), which integers are exact in float32
(`passes/exact_integers.py`), where NaN and infinity can arise (`passes/nonfinite.py`). An integer's bounds are exact; a
float's hold for every engine's way of rounding, and it may be NaN.

The third question has an answer only if inputs are finite and of moderate size, and sums and products of such numbers
too: else every layer could overflow. That is `moderate`; whoever relies on it checks the inputs at run time. Otherwise
nothing is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..types import Shape
from .interval import (
    ANY,
    BOOL,
    EXACT,
    FINITE,
    FLOAT32,
    INF,
    INT64,
    LARGE,
    MODERATE,
    Interval,
    Made,
    Step,
    dtype_of,
    of_array,
    readable,
    whole,
)
from .interval_rules import RULES, places
from .onnx_nodes import bodies
from .weight_arrays import array_of, is_reference

# Of a bound: what rounding, in any of the engines' types and orders, may add to it.
_ROUNDING = 2.0**-7


@dataclass(slots=True)
class Intervals:
    """The intervals of a graph's values, found when they are asked for.

    `maker` gives the node that makes a value, `operand` the type and shape of a node's operand; None if unknown.
    """

    maker: Callable[[str], Any]
    constants: Mapping[str, Any]
    """Arrays, or `TensorProto`s."""
    operand: Callable[[Any, int], Any] = lambda node, place: None
    moderate: bool = False
    values: dict[str, Interval] = field(default_factory=dict)
    sources: list[Any] = field(default_factory=list)
    """Nodes whose result can be NaN though no operand is."""
    bodies: list[Any] = field(default_factory=list)
    """Nodes with a subgraph in which a NaN or an infinity can arise."""

    def of(self, name: str, dtype: np.dtype[Any] = FLOAT32) -> Interval:
        """The interval of a value, of this type if the graph does not show it."""
        found = self.values.get(name)
        return self._found(name, dtype) if found is None else found

    def _found(self, name: str, dtype: np.dtype[Any]) -> Interval:
        todo = [(name, dtype)]
        while todo:
            at, kind = todo[-1]
            if at in self.values:
                todo.pop()
                continue
            node = None if at in self.constants else self.maker(at)
            if node is None:
                self.values[at] = self._given(at, kind)
                continue
            before = [(n, k) for n, k in self._before(node) if n not in self.values]
            if before:
                todo += before
            else:
                self.read(node)
        return self.values[name]

    def _given(self, name: str, dtype: np.dtype[Any]) -> Interval:
        """A constant, or an input."""
        stored = self.constants.get(name)
        if stored is None:
            return Interval(-MODERATE, MODERATE, dtype) if self.moderate and dtype.kind == "f" else whole(dtype)
        if not isinstance(stored, np.ndarray):
            dtype = dtype_of(stored.data_type)
            here = is_reference(stored) or not stored.external_data
            small = readable(math.prod(stored.dims), dtype) and stored.data_type != 8
            stored = array_of(stored) if here and small else None
        elif not readable(stored.size, stored.dtype):
            dtype, stored = stored.dtype, None
        found = None if stored is None else of_array(stored)
        if found is None:
            return Interval(-MODERATE, MODERATE, dtype) if self.moderate and dtype.kind == "f" else whole(dtype)
        return found if found.dtype.kind in "iubf" else whole(dtype)

    def _weight(self, name: str) -> bool:
        """Whether a value is stored and, as far as it is read, finite."""
        return name in self.constants and not self.of(name).infinite

    def _overflows(self, node: Any) -> bool:
        """Whether products with stored numbers may overflow though the other operands are of moderate size. Masks are
        multiplied by the largest number there is, so Mul is not one of them."""
        if node.op_type not in _PRODUCTS or node.domain:
            return False
        slopes = [a.f for a in node.attribute if a.name == "alpha" and node.op_type != "Gemm"]
        stored = [self.of(name) for name in node.input if name in self.constants]
        bounds = [abs(bound) for each in stored if each.floats for bound in each[:2]]
        return any(each.nan for each in stored) or any(
            bound >= LARGE and bound != MODERATE for bound in (*bounds, *map(abs, slopes))
        )

    def _before(self, node: Any) -> Iterable[tuple[str, np.dtype[Any]]]:
        """What must be known to read a node."""
        if not self.moderate and node.op_type == "If":
            for body in bodies(node):
                for info in body.output:
                    yield info.name, dtype_of(info.type.tensor_type.elem_type)
            return
        for place in places(node, self.moderate, self._weight):
            tensor = self.operand(node, place)
            yield node.input[place], tensor.dtype if tensor is not None else FLOAT32

    def read(self, node: Any) -> None:
        """The intervals of a node's results, from those of its operands."""
        if bodies(node):
            found = self._of_bodies(node)
        else:
            read = places(node, self.moderate, self._weight) if not node.domain else []
            x = [self.of(name) if place in read else None for place, name in enumerate(node.input)]
            found = [self._result(node, x, number) for number in range(len(node.output))]
        self.values.update(zip(node.output, found, strict=True))

    def _result(self, node: Any, x: list[Interval | None], number: int) -> Interval:
        if node.domain:  # of unknown types
            rule, dtype = None, FLOAT32
        else:
            rule, dtype = RULES.get(node.op_type), self._dtype(node, number)
        if node.op_type == "MaxPool" and number:
            return whole(INT64)
        step = Step(node, x, number, dtype, self.moderate, self.maker, self.of, lambda place: self._shape(node, place))
        made = rule(step) if rule is not None else None
        if dtype.kind != "f":
            return self._integers(made, whole(dtype))
        made = made or ANY
        if self.moderate:
            made = ANY if self._overflows(node) else made
            if made.nan and not (self.sources and self.sources[-1] is node):
                self.sources.append(node)
            # The widest finite bounds are one: what is added to them or multiplied stays as it is.
            lo, hi = (b if math.isinf(b) else min(max(float(b), -MODERATE), MODERATE) for b in made[:2])
            return Interval(lo, hi, dtype)
        return Interval(_rounded(made.lo, -1), _rounded(made.hi, 1), dtype, made.nan or _stays_nan(node, x, self.maker))

    def _integers(self, made: Made | None, everything: Interval) -> Interval:
        """Integers wrap."""
        if made is None or (not self.moderate and (made.lo < everything.lo or everything.hi < made.hi)):
            return everything
        lo, hi = max(made.lo, everything.lo), min(made.hi, everything.hi)
        return Interval(int(lo), int(hi), everything.dtype) if lo <= hi else everything

    def _shape(self, node: Any, place: int) -> Shape | None:
        tensor = self.operand(node, place)
        return tensor.shape if tensor is not None else None

    def _dtype(self, node: Any, number: int) -> np.dtype[Any]:
        """The type of a result."""
        attributes = {a.name: a for a in node.attribute}
        kind = node.op_type
        if kind in _OF_TYPE or (kind == "TopK" and number == 1):
            return _OF_TYPE.get(kind, INT64)
        if kind == "Constant" and "value" not in attributes:
            return FLOAT32 if attributes.keys() & {"value_float", "value_floats"} else INT64
        if kind in ("Constant", "ConstantOfShape"):
            return dtype_of(attributes["value"].t.data_type) if "value" in attributes else FLOAT32
        if kind == "Cast":
            return dtype_of(attributes["to"].i)
        if kind in ("EyeLike", "Bernoulli", "Multinomial") and "dtype" in attributes:
            return dtype_of(attributes["dtype"].i)
        place = {"Where": 1, "CastLike": 1, "OneHot": 2, "QuantizeLinear": 2}.get(kind, 0)
        if place >= len(node.input) or not node.input[place]:
            return np.dtype(np.uint8) if kind == "QuantizeLinear" else FLOAT32
        known = self.values.get(node.input[place])
        if known is None:
            tensor = self.operand(node, place)
            known = tensor if tensor is not None else self.of(node.input[place])
        return np.dtype(known.dtype)

    def _of_bodies(self, node: Any) -> list[Interval]:
        """The results of If, Loop and Scan."""
        inner = bodies(node)
        skipped = max(len(inner[0].output) - len(node.output), 0)  # the condition of a Loop
        kinds = [dtype_of(info.type.tensor_type.elem_type) for info in inner[0].output[skipped:]]
        kinds += [FLOAT32] * (len(node.output) - len(kinds))
        if self.moderate:
            return self._moderate_bodies(node, inner, kinds)
        if node.op_type != "If":
            return [whole(kind) for kind in kinds]
        found = [[self.of(info.name) for info in body.output] for body in inner]
        return [_either(*pair) for pair in zip(*found, strict=False)][: len(kinds)]

    def _moderate_bodies(self, node: Any, inner: list[Any], kinds: list[np.dtype[Any]]) -> list[Interval]:
        """Finite, unless a body can make another value."""
        found = [of_graph(body, outer=self) for body in inner]
        results = [each.of(info.name) for body, each in zip(inner, found, strict=True) for info in body.output]
        bad = any(each.sources or each.bodies for each in found) or any(r.infinite and r.floats for r in results)
        if bad:
            self.bodies.append(node)
        if bad and any(kind.kind == "f" for kind in kinds):
            self.sources.append(node)
        wide = Interval(-INF, INF) if bad else Interval(*FINITE[:2])
        return [wide._replace(dtype=kind) if kind.kind == "f" else whole(kind) for kind in kinds]


_PRODUCTS = frozenset({
    "BatchNormalization", "Conv", "ConvTranspose", "DequantizeLinear", "Elu", "GRU", "Gemm", "LSTM", "LeakyRelu",
    "MatMul", "PRelu", "RNN",
})  # fmt: skip

# Results that have one type whatever their operands.
_OF_TYPE: Mapping[str, np.dtype[Any]] = {
    **dict.fromkeys(("ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "Shape", "Size"), INT64),
    **dict.fromkeys(("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or",
                     "Xor"), BOOL),
    **dict.fromkeys(("DequantizeLinear", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"),
                    FLOAT32),
}  # fmt: skip


def of_graph(
    graph: Any, bounded: Iterable[str] = (), outer: Intervals | None = None, checked: Iterable[str] = ()
) -> Intervals:
    """The intervals in a graph with moderate inputs. `bounded` are the inputs that hold pixels, 0 to 255; `outer` is
    the graph around it; `checked` are results that are checked at run time to be moderate."""
    makers: dict[str, Any] = {}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    before: Callable[[str], Any] = outer.maker if outer is not None else lambda name: None
    found = Intervals(lambda name: makers.get(name) or before(name), constants, moderate=True)
    if outer is not None:
        found.values, found.constants = dict(outer.values), {**outer.constants, **constants}
    pixels = set(bounded)
    for info in graph.input:
        dtype = dtype_of(info.type.tensor_type.elem_type)
        given = Interval(0.0, 255.0, dtype) if dtype.kind == "f" else whole(dtype)._replace(lo=0, hi=255)
        found.values[info.name] = given if info.name in pixels else found._given(info.name, dtype)
    moderate = set(checked)
    for node in graph.node:
        makers.update(dict.fromkeys(node.output, node))
        found.read(node)
        if not moderate.isdisjoint(node.output):
            found.sources.remove(node)
            for name in node.output:
                found.values[name] = Interval(-MODERATE, MODERATE, found.values[name].dtype)
    return found


def of_builder(g: Any) -> Intervals:
    """The intervals of a graph under construction (`onnx_builder.Graph`), for any input."""

    def maker(name: str) -> Any:
        made = g.makers.get(name)
        return None if made is None else made.node

    def operand(node: Any, place: int) -> Any:
        operands = g.makers[node.output[0]].operands
        return operands[place] if place < len(operands) else None

    return Intervals(maker, g.initializers, operand)


def _either(a: Interval, b: Interval) -> Interval:
    return Interval(min(a.lo, b.lo), max(a.hi, b.hi), a.dtype, a.nan or b.nan)


def _rounded(bound: float, outwards: int) -> float:
    """A bound of floats, for any way of rounding; infinite if it can overflow."""
    if abs(bound) >= MODERATE:
        return math.copysign(INF, bound)
    if bound == int(bound) and abs(bound) <= EXACT:
        return float(bound)
    return bound + outwards * abs(bound) * _ROUNDING


def _stays_nan(node: Any, x: list[Interval | None], maker: Callable[[str], Any]) -> bool:
    """Whether an operand's NaN goes into the result; a choice where there is none leaves it out."""
    if node.op_type == "Where":
        test = maker(node.input[0])
        cleared = test is not None and test.op_type == "IsNaN" and test.input[0] == node.input[2]
        chosen, other = x[1:]
        return bool(chosen and chosen.nan) or bool(other and other.nan and not cleared)
    return any(each is not None and each.nan for each in x)
