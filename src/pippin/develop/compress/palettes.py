"""Palettes: the tables of 2^n numbers that stand for a weight's values with the least squared error."""

from __future__ import annotations

import numpy as np

_ROUNDS = 300


def palette(rows: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """k-means in one dimension for each row: the tables (rows, 2^bits), ascending, and the indices (rows, columns).

    Lloyd's algorithm on the sorted values, where a cluster is a stretch and its mean a difference of prefix sums; it
    begins half-way between quantiles and an even grid, which reaches the tails, and ends when nothing moves.
    """
    tables = np.stack([_table(row.astype(np.float64), 1 << bits) for row in rows])
    codes = [np.searchsorted((t[1:] + t[:-1]) / 2, row).astype(np.uint8) for t, row in zip(tables, rows, strict=True)]
    return tables, np.stack(codes)


def _table(values: np.ndarray, count: int) -> np.ndarray:
    ordered = np.sort(values)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    shares = (np.arange(count) + 0.5) / count
    table = (np.quantile(ordered, shares) + ordered[0] + (ordered[-1] - ordered[0]) * shares) / 2
    places = np.zeros(0, np.intp)
    for _ in range(_ROUNDS):
        middle = (table[1:] + table[:-1]) / 2
        moved = np.concatenate([[0], np.searchsorted(ordered, middle), [len(ordered)]])
        if np.array_equal(moved, places):
            break
        places = moved
        table = _means(sums, places, ordered)
    return np.sort(table)


def _means(sums: np.ndarray, places: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """The mean of each stretch; of an empty one, the value where it stands."""
    counts = np.diff(places)
    found: np.ndarray = np.where(
        counts > 0,
        np.diff(sums[places]) / np.maximum(counts, 1),
        ordered[np.minimum(places[:-1], len(ordered) - 1)],
    )
    return found
