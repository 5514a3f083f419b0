"""Run-time sizes: numbers of a prediction that size a result.

They are bounded before the engine makes the result: for what an input may ask for, OpenVINO crashes, and ONNX Runtime
takes all memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limits
from .lower_blocks import Builder
from .onnx_builder import Tensor


def from_values(g: Builder, given: Tensor) -> bool:
    """Whether an input's numbers, not only its sizes, go into these."""
    todo, seen = [given.name], set()
    while todo:
        name = todo.pop()
        if name in seen or name in g.initializers:
            continue
        seen.add(name)
        made = g.makers.get(name)
        if made is None:
            return True
        if made.node.op_type not in ("Shape", "Size"):
            todo += [t.name for t in made.operands if t is not None]
    return False


def allowed(g: Builder, given: Tensor, sizes: Any, others: int = 1) -> Tensor:
    """`given` (int64), which a result of these sizes, times `others`, follows from; zeros for a prediction that is
    refused, because one of them is negative or the result would be larger than any tensor may be."""
    if not from_values(g, given):
        return given
    most = limits.TENSOR // max(others, 1)
    least, largest = (
        (given, given) if given.shape == () else (g.ReduceMin(given, keepdims=0), g.ReduceMax(given, keepdims=0))
    )
    count = g.cast(sizes, np.float32)
    count = count if count.shape == () else g.ReduceProd(count, keepdims=0)
    negative = g.Less(least, np.int64(0))
    wrong = g.Or(negative, g.Or(g.Greater(largest, np.int64(most)), g.Greater(count, np.float32(most))))
    shown = g.Where(negative, least, largest)
    message = f"numbers that size the result must be at least 0 and ask for at most {most} elements, got"
    g.refuse(wrong, shown, message)
    return g.Mul(given, g.cast(g.Not(wrong), np.int64))
