"""Interpolation: piecewise linear functions in an ML Program."""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import ProgramBuilder, Tensor


def interpolated(g: ProgramBuilder, x: Tensor, xs: Any, ys: Any) -> Tensor:
    """For each of n numbers the function through its points: xs and ys (k, n), xs ascending; constant outside.

    Where points share an x, the value is the mean of those to the left and to the right.
    """
    xs, ys = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    if len(xs) == 1:
        return g.add(g.mul(x, 0.0), ys[0])
    left = _segment(g, x, xs, ys, g.greater)
    if (np.diff(xs.astype(np.float32), axis=0) > 0).all():
        return left
    return g.mul(g.add(left, _segment(g, x, xs, ys, g.greater_equal)), 0.5)


def _segment(g: ProgramBuilder, x: Tensor, xs: np.ndarray, ys: np.ndarray, passed: Any) -> Tensor:
    count, width = xs.shape
    inside = g.minimum(g.maximum(x, xs[0]), xs[-1])
    over = passed(inside, xs[1:-1]) if count > 2 else None
    if over is None:
        chosen = np.zeros(width)
        place: Any = g.add(g.mul(inside, 0.0), chosen)
    else:
        place = g.sum(g.select(over, np.ones((count - 2, width)), np.zeros((count - 2, width))))
    here = g.equal(np.broadcast_to(np.arange(count - 1.0)[:, None], (count - 1, width)), place)

    def at(table: np.ndarray) -> Tensor:
        return g.sum(g.select(here, table, np.zeros(table.shape)))

    gap = np.diff(xs, axis=0)
    slopes = np.divide(np.diff(ys, axis=0), gap, out=np.zeros_like(gap), where=gap > 0)
    return g.add(at(ys[:-1]), g.mul(g.sub(inside, at(xs[:-1])), at(slopes)))
