"""Precision: what a program declares float32 is computed in float32; what it declares float16 may be computed in a
16-bit type where that is measured to be good enough."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ENOUGH = 40.0
"""dB that a 16-bit run must have against the float32 run, on every output."""
EXACT = 70.0
"""dB that a float32 run must have against that of another engine, where its kernels are not trusted by themselves."""


def signal_to_noise(
    reference: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], names: list[str]
) -> dict[str, float]:
    """10 log10 of the power of each output over the power of its error, in dB; infinite where they are equal.

    An output of integers or booleans must be equal. Values that are not finite must be the same.
    """
    return {name: _one(np.asarray(reference[name]), np.asarray(found[name])) for name in names}


def _one(reference: np.ndarray, found: np.ndarray) -> float:
    if reference.shape != found.shape:
        return -np.inf
    if not np.issubdtype(reference.dtype, np.floating):
        return np.inf if np.array_equal(reference, found) else -np.inf
    finite = np.isfinite(reference)
    if not np.array_equal(reference[~finite], found[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return -np.inf
    signal = np.square(reference[finite], dtype=np.float64).sum()
    noise = np.square(reference[finite].astype(np.float64) - found[finite]).sum()
    if noise == 0:
        return float(np.inf)
    return float(10 * np.log10(signal / noise)) if signal else -np.inf
