"""Values: edges of floats, integers and booleans, as lists of arrays of one shape."""

from __future__ import annotations

import numpy as np

NAN, INF = np.float32(np.nan), np.float32(np.inf)
LARGEST = np.finfo(np.float32).max
SMALLEST = np.finfo(np.float32).tiny
LOW, HIGH = -(2**31), 2**31 - 1

# What an engine may run itself, what overflows, and what is not finite.
MODERATE = [
    0.0,
    -0.0,
    1,
    -1,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    3,
    6,
    6.5,
    -6,
    SMALLEST,
    -SMALLEST,
    20,
    -20,
    88,
    -88,
    1e6,
    -1e6,
    1e11,
]
HUGE = [LARGEST, -LARGEST, 3e38, -3e38, 1e20, -1e20, 0.0, 1, 2.0**31, -(2.0**31), 2.0**63, 1e10]
INFINITE = [INF, -INF, 0.0, -0.0, 1, -1, LARGEST]
WITH_NAN = [NAN, 1, -1, 0.0, NAN, INF, -INF, 7]
INTEGERS = [0, 1, -1, 2, -3, 7, 255, 256, -128, 2**16, 2**24, 2**24 + 1, -(2**24) - 1, HIGH, HIGH - 1, LOW, LOW + 1]


def filled(shape: tuple[int, ...], values: list[float], dtype: type = np.float32, seed: int = 0) -> np.ndarray:
    """An array of the values in turn, in a seeded order."""
    count = int(np.prod(shape))
    array = np.resize(np.array(values, dtype), count) if count else np.zeros(0, dtype)
    return np.random.default_rng([seed, *shape]).permutation(array).reshape(shape)


def floats(*shape: int, seed: int = 0) -> list[np.ndarray]:
    """One array for each kind of float edge; the last are all equal."""
    kinds = [filled(shape, values, seed=seed) for values in (MODERATE, HUGE, INFINITE, WITH_NAN)]
    return kinds + [np.full(shape, value, np.float32) for value in (0.0, -0.0, 1.0, NAN, INF, -INF, LARGEST)]


def tame(*shape: int, seed: int = 0) -> list[np.ndarray]:
    """The same without numbers whose sum or square overflows."""
    return [array for array in floats(*shape, seed=seed) if not (np.isfinite(array) & (np.abs(array) > 1e15)).any()]


def mixed(*shape: int, seed: int = 0) -> list[np.ndarray]:
    """Random numbers with one or two edges among them, in an order that depends on the edge."""
    random = np.random.default_rng([seed, *shape])
    arrays = []
    for edges in ([], [NAN], [INF], [-INF], [INF, -INF], [NAN, INF], [-0.0, 0.0]):
        array = random.uniform(-2, 2, shape).astype(np.float32)
        array.reshape(-1)[random.permutation(array.size)[: len(edges)]] = edges
        arrays.append(array)
    return arrays


def integers(*shape: int, seed: int = 0) -> list[np.ndarray]:
    arrays = [filled(shape, INTEGERS, np.int32, seed)]
    return arrays + [np.full(shape, value, np.int32) for value in (0, -1, HIGH, LOW)]


def booleans(*shape: int, seed: int = 0) -> list[np.ndarray]:
    return [filled(shape, [True, False, True], bool, seed), np.zeros(shape, bool), np.ones(shape, bool)]
