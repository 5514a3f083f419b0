"""The rows of operations that compute each element on its own, and what a row is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    operation: str
    build: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    dynamic: bool = False
    """Whether no size of an input is known before the prediction."""
    note: str = ""
    documented: Callable[..., Any] | None = None
    """What Apple's documentation says, where its runtime computes something else."""

    @property
    def name(self) -> str:
        kinds = "-".join(f"{x.dtype}{'x'.join(map(str, x.shape))}" for x in self.inputs)
        return "-".join(filter(None, (self.operation, kinds, "dynamic" if self.dynamic else "", self.note)))


def floats(*shape: int, seed: int = 0, dtype: Any = np.float32, low: float = -3, high: float = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def ints(*shape: int, seed: int = 1, dtype: Any = np.int32, low: int = -9, high: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def bools(*shape: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.5


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def u32(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


def at(value: int) -> np.ndarray:
    return np.array(value, np.int32)


SPECIAL = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, np.inf, -np.inf, np.nan, 3.5], np.float32)
INSIDE = np.array([0.0, 1, -1, 0.5, -0.25, np.nan, 2, -2], np.float32)
_UNARY = (
    "abs_ acos acosh asin asinh atan atanh cos cosh erf exp log round_ rsqrt sin sinh sqrt tan tanh relu sigmoid silu"
)
_BINARY = "add sub mul divide floor_divide modulo maximum minimum pow_"
_COMPARE = "equal not_equal greater"
_LOGICAL = "and_ or_ xor_"
_BITS = "bitwise_and bitwise_or bitwise_xor"


def call(name: str) -> Callable[..., Any]:
    return lambda c, *values: getattr(c, name)(*values)


def elementwise() -> list[Case]:
    rows = []
    for name in _UNARY.split():
        rows += [
            Case(name, call(name), (values,)) for values in (floats(2, 3), INSIDE if name.startswith("a") else SPECIAL)
        ]
        rows.append(Case(name, call(name), (floats(2, 3, low=0.1, high=0.9),), dynamic=True))
    rows += [Case(name, call(name), (ints(2, 5),)) for name in ("abs_", "relu")]
    rows += [
        Case("gelu", lambda c, x, a=a: c.gelu(x, approximate=a), (floats(2, 5),), note=a)
        for a in ("none", "tanh", "sigmoid")
    ]
    rows.append(Case("gelu", call("gelu"), (np.array([0, np.inf, -np.inf, np.nan, 1], np.float32),), note="special"))
    rows.append(Case("not_", call("not_"), (bools(3, 2),)))
    left, right = np.meshgrid(SPECIAL, SPECIAL)
    some, other = ints(3, 4), ints(3, 4, seed=4, low=1, high=5) * np.array([1, -1, 1, -1], np.int32)
    for name in _BINARY.split():
        # Infinity divided by a number is infinite; the runtime makes NaN of it.
        documented = (lambda x, y: np.floor(x / y)) if name == "floor_divide" else None
        rows.append(Case(name, call(name), (left, right), documented=documented))
        rows.append(Case(name, call(name), (floats(2, 3), floats(2, 3, seed=9)), dynamic=True))
        rows.append(Case(name, call(name), (some, other if name != "pow_" else abs(other))))
        broad = "broadcasting_" + name.rstrip("_")
        rows.append(Case(broad, call(broad), (floats(2, 3), floats(3, seed=5))))
        rows.append(Case(broad, call(broad), (floats(2, 1, 3), floats(4, 1, seed=5)), dynamic=True))
    for name in ("add", "sub", "mul"):
        rows.append(
            Case(name, call(name), (np.array([127, -128, 100], np.int8), np.array([1, -1, 100], np.int8)), note="wraps")
        )
        rows.append(
            Case(
                name,
                call(name),
                (np.array([2**31 - 1, -(2**31), 65536], np.int32), np.array([1, -1, 65536], np.int32)),
                note="wraps",
            )
        )
        rows.append(
            Case(
                name,
                call(name),
                (np.array([2**32 - 1, 0, 70000], np.uint32), np.array([1, 1, 70000], np.uint32)),
                note="wraps",
            )
        )
    rows += [
        Case(name, call(name), (np.array([7, 200, 255], np.uint8), np.array([2, 3, 255], np.uint8)))
        for name in _BINARY.split()
        if name not in ("pow_", "add", "sub", "mul")
    ]
    for name in _COMPARE.split():
        rows += [Case(name, call(name), (left, right)), Case(name, call(name), (some, some.T.copy().reshape(3, 4)))]
        broad = "broadcasting_" + name
        rows.append(Case(broad, call(broad), (ints(2, 3), ints(3, seed=5))))
    for name in _LOGICAL.split():
        broad = "broadcasting_" + name.rstrip("_")
        rows += [
            Case(name, call(name), (bools(3, 4), bools(3, 4, seed=5))),
            Case(broad, call(broad), (bools(3, 4), bools(4, seed=5))),
        ]
    for name in _BITS.split():
        rows += [
            Case(name, call(name), (some, other)),
            Case("broadcasting_" + name, call("broadcasting_" + name), (some, other[0])),
        ]
    where = (bools(2, 3), floats(2, 3), floats(2, 3, seed=8))
    rows += [
        Case("where", call("where"), where),
        Case("where", call("where"), (bools(2, 3), ints(2, 3), ints(2, 3, seed=8)), dynamic=True),
    ]
    rows.append(Case("broadcasting_where", call("broadcasting_where"), (bools(2, 1), floats(3), floats(4, 1, 1))))
    casts = np.array([0, 1.5, -1.5, 100.7, -100.7], np.float32)
    for kind in ("int32", "int8", "uint8", "int16", "float16", "bool_"):
        rows.append(
            Case(
                "cast",
                lambda c, x, kind=kind: c.cast(x, getattr(np, kind)),
                (abs(casts) if kind == "uint8" else casts,),
                note=kind,
            )
        )
    rows.append(Case("cast", lambda c, x: c.cast(x, np.float32), (ints(5),), note="float32"))
    rows.append(Case("cast", lambda c, x: c.cast(x, np.float32), (bools(5),), note="float32"))
    return rows
