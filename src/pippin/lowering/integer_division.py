"""Integer division: quotients, remainders and powers of integers. Overflow wraps; a divisor of 0 is an error.

A processor ends the process where an integer is divided by 0, and where -2**31 is divided by -1. So no divisor of a
graph is 0 or -1: x / -1 is computed as -x / 1, and x / 0 as x / 1, after which a check refuses the prediction. Constant
divisors, and those that are known to be above 0, need none of that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedOperationError
from .lower_blocks import Builder
from .onnx_builder import Tensor

# Bits of an exponent that is not negative.
_BITS = 31


def truncated_quotient(g: Builder, x: Any, y: Any) -> Any:
    """x / y without its fraction."""
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        quotient, rest = floored(g, x, y)
        return quotient + ((rest != 0) & ((x < 0) != (y < 0)))
    return _quotient(g, x, y)


def floored(g: Builder, x: Any, y: Any) -> tuple[Any, Any]:
    """floor(x / y), and the remainder, which has the sign of y."""
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        _refuse_zeros(y)
        with np.errstate(over="ignore"):
            return np.floor_divide(x, y), np.mod(x, y)
    quotient = _quotient(g, x, y)
    rest = g.Sub(x, g.Mul(quotient, y))
    positive = g.interval(y).lo > 0 if isinstance(y, Tensor) else np.all(y > 0)
    if isinstance(x, Tensor) and g.interval(x).lo >= 0 and positive:
        return quotient, rest
    if positive or (not isinstance(y, Tensor) and np.all(y < 0)):
        over = g.Less(rest, 0) if positive else g.Greater(rest, 0)
    else:
        over = g.And(g.Not(g.Equal(rest, 0)), g.Xor(g.Less(rest, 0), g.Less(y, 0)))
    one = g.cast(over, rest.dtype)
    return g.Sub(quotient, one), g.Add(rest, g.Mul(one, y))


def _quotient(g: Builder, x: Any, y: Any) -> Any:
    """The truncated quotient, by a divisor that is neither 0 nor -1."""
    if isinstance(y, Tensor) and g.interval(y).lo > 0:
        return g.Div(x, y)
    if isinstance(y, Tensor):
        sign: Any = g.Where(g.Equal(y, -1), g.cast(-1, y.dtype), g.cast(1, y.dtype))
        divisor: Any = g.Mul(y, sign)
        if g.interval(y).holds(0):
            g.refuse(g.Equal(y, 0), y, "division by")
            divisor = g.Add(divisor, g.cast(g.Equal(y, 0), y.dtype))
        return g.Div(g.Mul(x, sign), divisor)
    _refuse_zeros(y)
    sign = np.where(y == -1, -1, 1).astype(y.dtype)
    return g.Div(g.Mul(x, sign) if np.any(sign < 0) else x, y * sign)


def _refuse_zeros(y: Any) -> None:
    if not np.all(y):
        raise UnsupportedOperationError("division by 0: a constant divisor of integers must not be 0")


def integer_power(g: Builder, x: Any, y: Any) -> Any:
    """x to the power of y, by squaring. As in numpy, a negative exponent is an error."""
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        return np.power(x, y)
    if isinstance(y, Tensor):
        if g.interval(y).lo < 0:
            g.refuse(g.Less(y, 0), y, "an integer to the power of")
    elif np.any(np.asarray(y) < 0):
        raise UnsupportedOperationError(f"an integer to the power of {np.min(y)}: an exponent must be 0 or more")
    most = int(g.interval(y).hi) if isinstance(y, Tensor) else int(np.max(y, initial=0))
    bits = min(max(most, 0).bit_length(), _BITS)
    result: Any = None
    for bit in range(bits):
        x = _product(g, x, x) if bit else x
        factor = _factor(g, x, y, bit)
        result = factor if result is None else result if factor is None else _product(g, result, factor)
    one = np.ones(np.shape(y), np.int32)
    return g.Add(g.Mul(x, 0), one) if result is None else result


def _factor(g: Builder, power: Any, y: Any, bit: int) -> Any:
    """The power where y has this bit, else 1; None if it is 1 everywhere."""
    if isinstance(y, Tensor):
        has = g.cast(g.Not(g.Equal(g.BitwiseAnd(y, g.cast(1 << bit, y.dtype)), 0)), y.dtype)
        return g.Add(g.Mul(has, g.Sub(power, 1)), 1)
    has = (np.asarray(y) >> bit) & 1
    if np.all(has):
        return power if np.ndim(y) == 0 else g.Expand(power, np.shape(y))
    return g.Add(g.Mul(has, g.Sub(power, 1)), 1) if np.any(has) else None


def _product(g: Builder, a: Any, b: Any) -> Any:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return g.Mul(a, b)
    with np.errstate(over="ignore"):
        return np.multiply(a, b)
