"""Reduction: lowers sums, means and extrema along axes, which stay with size 1, sorts and running sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ...program.ir import Block, Operation
from .. import limits
from ..onnx_builder import Tensor
from ..op_registry import LOWERINGS, Lowering
from ..ops import tensor_operation
from .builder import CoreAIBuilder
from .registry import lowers, lowers_table

# MIL's operation.
_REDUCED = {
    "reduce_max": "reduce_max", "reduce_mean": "reduce_mean", "reduce_min": "reduce_min",
    "reduce_product": "reduce_prod", "reduce_sum": "reduce_sum",
}  # fmt: skip
# What the body of a `reduce` makes of two elements.
_BODIES = {
    "add": "reduce_sum", "mul": "reduce_prod", "maximum": "reduce_max", "minimum": "reduce_min", "and": "all",
    "or": "any", "bitwise_or": "any", "bitwise_and": "all",
}  # fmt: skip
_COMBINED = {"product": "Mul", "min": "Min", "max": "Max"}


def _reduced(mil: str) -> Lowering:
    def lower(g: CoreAIBuilder, input: Any, axes: Any) -> Any:
        along = _axes(g, axes, input)
        if not isinstance(input, Tensor) and mil == "reduce_prod" and input.dtype.kind in "iu":
            return g.wrapped(np.prod(input, axis=tuple(along), keepdims=True), g.result_type)
        if not len(along):
            return input
        return g.wrapped(LOWERINGS[mil].function(g, input, along, True), g.result_type)

    return lower


lowers_table(_REDUCED, _reduced)


@lowers("all")
def all_(g: CoreAIBuilder, input: Tensor, axes: Any) -> Tensor:
    return g.cast(g.ReduceMin(g.cast(input, np.int32), _axes(g, axes, input), keepdims=1), np.bool_)


@lowers("any")
def any_(g: CoreAIBuilder, input: Tensor, axes: Any) -> Tensor:
    return g.cast(g.ReduceMax(g.cast(input, np.int32), _axes(g, axes, input), keepdims=1), np.bool_)


@lowers("reduce")
def reduce(g: CoreAIBuilder, input: Tensor, axes: Any, init_value: Any) -> Any:
    """A reduction by a body of one operation. Where the first value changes nothing, it is left out."""
    operation = _single(g.op.blocks[0] if g.op.blocks else None)
    name = operation.kind.partition(".")[2].removeprefix("broadcasting_")
    mil = _BODIES.get(name)
    if mil is None or (mil in ("all", "any") and input.dtype != np.bool_):
        raise UnsupportedOperationError(f"it reduces by '{operation.kind}'; known are {', '.join(_BODIES)}")
    if mil in ("all", "any"):
        found = (all_ if mil == "all" else any_)(g, input, axes)
        return g.And(found, init_value) if mil == "all" else g.Or(found, init_value)
    found = LOWERINGS[mil].function(g, input, _axes(g, axes, input), True)
    combine: Callable[..., Any] = {"add": g.Add, "mul": g.Mul, "maximum": g.Max, "minimum": g.Min}[name]
    neutral = {"add": 0, "mul": 1}.get(name)
    if isinstance(init_value, Tensor) or neutral is None or init_value != neutral:
        found = combine(found, init_value)
    return g.wrapped(found, g.result_type)


@lowers("argmax")
def argmax(g: CoreAIBuilder, input: Tensor, axis: Any) -> Tensor:
    return g.ArgMax(g.with_sizes(input), axis=int(g.known(axis, "axis")), keepdims=1)


@lowers("reduce_index")
def reduce_index(g: CoreAIBuilder, input: Tensor, axis: Any, init_value: Any, init_index: Any) -> Tensor:
    """The first of the elements that no other one surpasses. The first value is the end of the type in all programs
    that Apple's tools write, which none lies beyond."""
    block = g.op.blocks[0] if g.op.blocks else None
    operation = _single(block)
    assert block is not None
    if operation.kind.removeprefix("coreai.broadcasting_").removeprefix("coreai.") != "greater":
        raise UnsupportedOperationError(f"it compares by '{operation.kind}'; known is coreai.greater")
    candidate_first = operation.inputs["input"][0] == block.inputs[1]
    made = g.ArgMax if candidate_first else g.ArgMin
    return made(g.with_sizes(input), axis=int(g.known(axis, "axis")), keepdims=1)


@lowers("argsort")
def argsort(g: CoreAIBuilder, input: Tensor, dim: Any, descending: Any, stable: Any = False) -> Tensor:
    down = bool(g.known(descending, "descending"))
    return tensor_operation.argsort(g, input, int(g.known(dim, "dim")), not down)


@lowers("sort")
def sort(g: CoreAIBuilder, input: Tensor, dim: Any, descending: Any, stable: Any = False) -> Tensor:
    down = bool(g.known(descending, "descending"))
    return tensor_operation.topk(g, input, np.int32(-1), int(g.known(dim, "dim")), not down)[0]


@lowers("scan")
def scan(g: CoreAIBuilder, input: Tensor, axis: Any, reverse: Any, scan_op: str = "sum") -> Any:
    """Running sums, products and extrema: each element is combined with those 1, 2, 4 ... places before it."""
    x = g.tensor(input)
    along, backwards = limits.axis(g.known(axis, "axis"), x.rank), bool(g.known(reverse, "reverse"))
    if scan_op == "sum":
        return g.wrapped(tensor_operation.cumsum(g, x, along, False, backwards), g.result_type)
    if scan_op not in _COMBINED:
        raise UnsupportedOperationError(f"scan_op must be sum or one of {', '.join(_COMBINED)}, got '{scan_op}'")
    size, step = x.static_size(along), 1
    while step < size:
        head, tail = ([0], [size - step]), ([step], [size])
        near, far = (head, tail) if backwards else (tail, head)
        joined = g.emit(_COMBINED[scan_op], *(g.Slice(x, *part, [along]) for part in (near, far)))
        kept = g.Slice(x, *(([size - step], [size]) if backwards else ([0], [step])), [along])
        x = g.Concat(*((joined, kept) if backwards else (kept, joined)), axis=along)
        step *= 2
    return g.wrapped(x, g.result_type)


def _axes(g: CoreAIBuilder, axes: Any, x: Any) -> np.ndarray:
    rank = x.rank if isinstance(x, Tensor) else np.ndim(x)
    return np.array(limits.axes(g.known(axes, "axes").reshape(-1), rank), np.int64)


def _single(block: Block | None) -> Operation:
    operations = [o for o in block.operations if o.kind != "const"] if block is not None else []
    if len(operations) != 1:
        raise UnsupportedOperationError(f"its body has {len(operations)} operations; only one is known")
    return operations[0]
