"""Interval patterns: what several nodes make together, of which each alone says less."""

from __future__ import annotations

from typing import Any

from .interval import SMALLEST, Made, Step


def is_maximum(name: str, of: str, s: Step) -> bool:
    maker = s.maker(name)
    return maker is not None and maker.op_type == "ReduceMax" and bool(maker.input[0] == of)


def below_zero(name: str, s: Step) -> bool:
    """Whether a value is x - max(x): at most 0, and 0 somewhere."""
    maker = s.maker(name)
    return maker is not None and maker.op_type == "Sub" and is_maximum(maker.input[1], maker.input[0], s)


def remainder(s: Step) -> Made | None:
    """x - x / y * y of integers, for y of at least 1: of the sign of x."""
    product = s.maker(s.node.input[1])
    quotient: Any = s.maker(product.input[0]) if _is(product, "Mul") else None
    if not _is(quotient, "Div") or list(quotient.input) != [s.node.input[0], product.input[1]] or s.dtype.kind == "f":
        return None
    divisor, x = s.of(product.input[1]), s.x[0]
    most = divisor.hi - 1
    return Made(0 if x.lo >= 0 else -most, min(most, x.hi) if x.lo >= 0 else most) if divisor.lo >= 1 else None


def floored_remainder(s: Step) -> Made | None:
    """rest + (rest < 0) * y, for a constant y of at least 1: not negative."""
    product = s.maker(s.node.input[1])
    negative: Any = s.maker(product.input[0]) if _is(product, "Mul") else None
    test: Any = s.maker(negative.input[0]) if _is(negative, "Cast") else None
    if not _is(test, "Less") or test.input[0] != s.node.input[0] or s.dtype.kind == "f":
        return None
    divisor, zero, rest = s.of(product.input[1]), s.of(test.input[1]), s.x[0]
    if zero.lo != 0 or zero.hi != 0 or not (1 <= divisor.lo == divisor.hi) or rest.lo < -divisor.lo:
        return None
    return Made(0, max(rest.hi, divisor.hi - 1 if rest.lo < 0 else 0))


def _is(node: Any, kind: str) -> bool:
    return node is not None and node.op_type == kind


def equal(s: Step) -> Made:
    """Whether two numbers are equal, where that is certain."""
    a, b = s.x[0], s.x[1]
    gap = SMALLEST if a.floats else 0
    if a.lo > b.hi + gap or b.lo > a.hi + gap:
        return Made(0, 0)
    known = a.lo == a.hi == b.lo == b.hi and not (a.nan or b.nan)
    return Made(int(known), 1)


def negated(s: Step) -> Made:
    return Made(1 - s.x[0].hi, 1 - s.x[0].lo)
