"""Precision: the signal-to-noise ratio of a run against a reference run, and the ratios required.

Values declared float32 are computed in float32. Values declared float16 may be computed in a 16-bit type if its
measured error is small enough.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MIN_DB_16_BIT = 40.0
"""Minimum dB of a 16-bit run against the float32 run, on every output."""
MIN_DB_FLOAT32 = 70.0
"""Minimum dB of a float32 run against another engine, for engines whose kernels are checked."""
MIN_DB_8_BIT = 35.0
"""Minimum dB of a run with quantized activations against the same graph in float32. Engines round a few codes otherwise
(50 dB in a network of three layers, where saturating sums keep 20 dB)."""


def signal_to_noise(
    reference: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], names: list[str]
) -> dict[str, float]:
    """Signal-to-noise ratio by output in dB: 10 log10(signal power / error power); infinite if equal.

    Integer and boolean outputs and non-finite values must match exactly, or the ratio is -infinity.
    """
    return {name: _decibels(np.asarray(reference[name]), np.asarray(found[name])) for name in names}


def _decibels(reference: np.ndarray, found: np.ndarray) -> float:
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
