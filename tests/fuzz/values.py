"""Values: seeded and degenerate inputs for a description, and the comparison of two engines' answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pippin.format.description import (
    ColorSpace,
    Dictionary,
    Double,
    FeatureDescription,
    FunctionDescription,
    Image,
    Int64,
    MultiArray,
    Sequence,
    String,
)

from .messages import one

_ELEMENTS = 1 << 20
"""No input has more: this is about what a model is, not about how much of it."""
_RELATIVE, _ABSOLUTE = 2e-3, 1e-5

Features = dict[str, Any]


def inputs(function: FunctionDescription, random: np.random.Generator, count: int) -> list[Features]:
    """Up to `count` sets of inputs: normal ones first. Empty if an input is too large to be made."""
    fillings: list[Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = [
        lambda r, shape: r.standard_normal(shape),
        lambda r, shape: np.zeros(shape),
        lambda r, shape: _with(r.standard_normal(shape), np.nan, r),
        lambda r, shape: np.ones(shape),
        lambda r, shape: np.round(r.uniform(-3, 3, shape)),
        lambda r, shape: _with(r.standard_normal(shape), one((np.inf, -np.inf), r), r),
        lambda r, shape: r.uniform(-3000, 3000, shape),
    ]
    order = [0, *(1 + random.permutation(len(fillings) - 1))][:count]
    try:
        return [{f.name: _value(f, random, fillings[i], i == 0) for f in function.inputs} for i in order]
    except _TooLarge:
        return []


class _TooLarge(Exception):
    pass


def _with(array: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    if array.size:
        array.reshape(-1)[int(random.integers(array.size))] = value
    return array


def _value(feature: FeatureDescription, random: np.random.Generator, fill: Any, plain: bool) -> Any:
    match feature.type:
        case Image(width=width, height=height, color=color):
            gray = color in (ColorSpace.GRAYSCALE, ColorSpace.GRAYSCALE_FLOAT16)
            return random.integers(0, 256, _bounded((height, width, *(() if gray else (3,))))).astype(np.uint8)
        case MultiArray(dtype=dtype, shape=shape):
            sizes = _bounded(tuple(3 if d is None else d for d in (shape if shape is not None else (3,))))
            if dtype.is_float:
                return fill(random, sizes).astype(dtype.numpy)
            drawn = random.integers(0, 2, sizes) if plain else _integers(random, sizes)
            limits = np.iinfo(dtype.numpy)
            return np.clip(drawn, limits.min, limits.max).astype(dtype.numpy)
        case Int64():
            return int(one((0, 1) if plain else (0, 1, -1, 2, 7, 2**31, -(2**63)), random))
        case Double():
            return float(fill(random, (1,))[0])
        case String():
            return one(("a", "b", "", "é", "n" * 300), random)
        case Sequence(element=element, length=length):
            count = _bounded((max(length.lower, int(random.integers(1, 4))),))[0]
            return [
                one(("a", "b"), random) if element == "string" else int(random.integers(0, 3)) for _ in range(count)
            ]
        case Dictionary(key=key):
            return {"a" if key == "string" else 1: float(fill(random, (1,))[0])}
    return None


def _bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    count = 1
    for size in shape:
        count *= size
    if count > _ELEMENTS or any(size < 0 for size in shape):
        raise _TooLarge
    return shape


def _integers(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.choice(np.array([0, 1, 2, -1, 3, 5, 100, 2**31 - 1, -(2**31)], np.int64), shape)


def perturbed(features: Features, random: np.random.Generator, by: float = 1e-6) -> Features:
    """Nearly the same inputs. What changes much with them is not compared."""

    def nearly(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            scale = 1e-3 if value.dtype == np.float16 else by
            with np.errstate(all="ignore"):
                return (value * (1 + scale * random.choice((-1, 1), value.shape))).astype(value.dtype)
        return value * (1 + by) if isinstance(value, float) else value

    return {name: nearly(value) for name, value in features.items()}


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any], slack: float = 1.0) -> str:
    """Where two answers differ; "" if they agree, within `slack` times the tolerance."""
    if found.keys() != wanted.keys():
        return f"outputs {sorted(found)} and {sorted(wanted)}"
    for name, value in found.items():
        text = _difference(value, wanted[name], slack)
        if text:
            return f"'{name}': {text}"
    return ""


def _difference(a: Any, b: Any, slack: float) -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        return (
            "keys"
            if a.keys() != b.keys()
            else _difference(np.array(list(a.values())), np.array([b[k] for k in a]), slack)
        )
    if isinstance(a, str | list | tuple) or isinstance(b, str | list | tuple):
        return "" if a == b else f"{str(a)[:40]!r} and {str(b)[:40]!r}"
    one, other = np.asarray(a), np.asarray(b)
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{one.dtype}{list(one.shape)} and {other.dtype}{list(other.shape)}"
    if one.dtype.kind != "f":
        return "" if np.array_equal(one, other) else _first(one, other, one != other)
    relative = slack * (2 * _RELATIVE if one.dtype == np.float16 else _RELATIVE)
    one, other = one.astype(np.float64), other.astype(np.float64)
    odd = ~(np.isfinite(one) & np.isfinite(other))
    with np.errstate(all="ignore"):
        same = (one == other) | (np.isnan(one) & np.isnan(other))
    if not same[odd].all():
        return "not finite: " + _first(one, other, odd & ~same)
    finite = np.abs(other[~odd])
    tolerance = _ABSOLUTE + relative * (finite.max() if finite.size else 0.0)
    with np.errstate(all="ignore"):
        wrong = ~odd & (np.abs(one - other) > tolerance)
    return _first(one, other, wrong) if wrong.any() else ""


def _first(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> str:
    at = tuple(int(i[0]) for i in np.nonzero(where)) if where.ndim else ()
    return f"{int(where.sum())} of {where.size}, at {list(at)} {one[at]!s} and {other[at]!s}"
