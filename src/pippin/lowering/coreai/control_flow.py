"""Control flow: lowers branches, loops and the graphs that a program invokes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...program.ir import Value
from ...types import TensorType
from ..onnx_builder import Tensor
from ..op_registry import Variadic
from ..ops import control_flow, normalization
from .builder import CoreAIBuilder
from .registry import lowers


@lowers("invoke", "isolated_group")
def invoke(
    g: CoreAIBuilder, operands: Variadic, callee: str = "", composite: str = "", composite_axes: Any = None,
    composite_eps: Any = None,
) -> Any:  # fmt: skip
    """A graph is computed where it is invoked; one that is known by name by the operator that engines have for it."""
    if composite == "layer_norm" and len(operands) == 3 and isinstance(composite_axes, tuple):
        x, gamma, beta = operands
        if isinstance(x, Tensor) and not isinstance(gamma, Tensor) and not isinstance(beta, Tensor):
            return normalization.layer_norm(g, x, composite_axes, gamma, beta, float(composite_eps or 0))
    return g.block(g.op.blocks[0], *operands)


@lowers("copy_with_constraints", "copy_discarding_constraints")
def copied(g: CoreAIBuilder, input: Any) -> Any:
    return input


@lowers("if")
def if_(g: CoreAIBuilder, condition: Any) -> Any:
    return control_flow.cond(g, condition)


@lowers("while")
def while_(g: CoreAIBuilder, inits: Variadic) -> Any:
    """The first block says whether the loop goes on, and with what; the second makes the next values for the first.

    In ONNX, a turn is the second block and the first one after it.
    """
    before, after = g.op.blocks
    states = control_flow._written_states(g, [before, after])
    outer = dict(g.states)
    goes_on, *first = g.block(before, *_tensors(g, before.inputs, inits))
    started = [*_tensors(g, after.inputs, first), *(g.state(name) for name in states)]
    carried = [(t.dtype, _shape(v, t)) for v, t in zip(after.inputs, started, strict=False)]
    carried += [(g.state(name).dtype, g.state(name).shape) for name in states]

    def turn(_number: Tensor, goes: Tensor, *values: Tensor) -> tuple[Any, ...]:
        own = len(values) - len(states)
        g.states.update(zip(states, values[own:], strict=True))
        made = _tensors(g, before.inputs, g.block(after, *values[:own]))
        found, *rest = g.block(before, *made)
        flag = goes if not isinstance(found, Tensor) and found else control_flow._flag(g, found)
        return (flag, *_tensors(g, after.inputs, rest), *(g.state(name) for name in states))

    count = (np.dtype(np.int64), ())
    body = g.subgraph(turn, [count, (np.dtype(np.bool_), ()), *carried])
    g.states = outer
    results = g.Loop(None, control_flow._flag(g, goes_on), *started, body=body, outputs=len(carried), types=carried)
    return control_flow._without_states(g, states, results if isinstance(results, tuple) else (results,))


def _tensors(g: CoreAIBuilder, declared: Sequence[Value], values: Sequence[Any]) -> list[Tensor]:
    return control_flow._tensors(g, tuple(declared), tuple(values))


def _shape(value: Value, first: Tensor) -> Any:
    """The shape of what a loop carries: a size that the program does not fix may change."""
    return value.type.shape if isinstance(value.type, TensorType) else first.shape
