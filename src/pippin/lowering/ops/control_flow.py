"""Control flow: lowers constants, selection, conditionals and loops."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...program.ir import Argument, Block, Literal, Value
from ...types import ListType, Shape, TensorType
from ..interval import Interval
from ..loop_counters import Counters, counters, interval_of
from ..lower_blocks import Builder
from ..onnx_builder import Tensor, common_shape
from ..op_registry import Variadic, lowers
from ..unbounded_loops import MOST_TURNS


@lowers("const", "_const_symbolic")
def const(g: Builder, val: Any) -> Any:
    return val


@lowers("select")
def select(g: Builder, cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return g.choose(cond, a, b)


@lowers("cond")
def cond(g: Builder, pred: Tensor) -> Any:
    if not isinstance(pred, Tensor):
        return g.block(g.op.blocks[0 if pred else 1])
    states = _written_states(g, g.op.blocks)
    before = dict(g.states)
    branches = []
    fixed: list[list[bool]] = []
    kinds: list[list[tuple[np.dtype[Any], Shape | None]]] = []

    def build(block: Block) -> list[Tensor]:
        found = [*_tensors(g, g.op.outputs, g.block(block)), *(g.state(name) for name in states)]
        fixed.append([t.name in g.fixed_lists for t in found])
        kinds.append([(t.dtype, t.shape) for t in found])
        return found

    for block in g.op.blocks:
        branches.append(g.subgraph(partial(build, block)))
        g.states = dict(before)
    types = [(dtype, common_shape(shape, other)) for (dtype, shape), (_, other) in zip(*kinds, strict=True)]
    results = g.If(
        g.Reshape(pred, []), then_branch=branches[0], else_branch=branches[1], outputs=len(types), types=types
    )
    results = results if isinstance(results, tuple) else (results,)
    g.fixed_lists.update(t.name for t, both in zip(results, zip(*fixed, strict=True), strict=True) if all(both))
    return _without_states(g, states, results)


@lowers("while_loop")
def while_loop(g: Builder, loop_vars: Variadic) -> Any:
    condition, body = g.op.blocks
    states = _written_states(g, [body])
    initial = [*_tensors(g, body.inputs, loop_vars), *(g.state(name) for name in states)]
    carried = [(t.dtype, _carried_shape(g, v, t)) for v, t in zip(body.inputs, initial, strict=False)]
    carried += [(g.state(name).dtype, g.state(name).shape) for name in states]
    before = dict(g.states)
    counted = _counted(g, condition, body, initial)

    def step(_iteration: Tensor, goes_on: Tensor, *values: Tensor) -> tuple[Any, ...]:
        g.declare((values[number], ends) for number, ends in counted.inside.items())
        _keep_fixed(g, initial, values)
        variables, current = values[: len(values) - len(states)], values[len(values) - len(states) :]
        g.states.update(zip(states, current, strict=True))
        results = _tensors(g, body.inputs, g.block(body, *variables))
        found = g.block(condition, *results)[0]
        if not isinstance(found, Tensor) and found:
            found = goes_on  # a body of constants alone would have no node, and engines stop between nodes
        return (_flag(g, found), *results, *(g.state(name) for name in states))

    first = _flag(g, g.block(condition, *initial[: len(body.inputs)])[0])
    if g.interval(first).hi == 0:  # OpenVINO loses the results of such a loop
        return _without_states(g, states, tuple(initial))
    count = (np.dtype(np.int64), ())
    loop = g.subgraph(step, [count, (np.dtype(np.bool_), ()), *carried])
    g.states = before
    most = np.int64(counted.turns) if counted.turns is not None and counted.turns <= MOST_TURNS else None
    results = g.Loop(most, first, *initial, body=loop, outputs=len(carried), types=carried)
    results = results if isinstance(results, tuple) else (results,)
    g.declare((results[number], ends) for number, ends in counted.after.items())
    _keep_fixed(g, initial, results)
    return _without_states(g, states, results)


def _counted(g: Builder, condition: Block, body: Block, initial: Sequence[Tensor]) -> Counters:
    def known(argument: Argument) -> Interval | None:
        if isinstance(argument, Literal):
            return interval_of(argument.value)
        value = g.scope.get(argument.name)
        if not isinstance(value, Tensor):
            return None if value is None else interval_of(value)
        return g.interval(value) if value.dtype.kind == "i" else None

    before = [g.interval(t) if t.dtype.kind == "i" else None for t in initial[: len(body.inputs)]]
    return counters(condition, body, before, known)


def _flag(g: Builder, value: Any) -> Tensor:
    """A condition as the scalar ONNX expects."""
    return g.Reshape(value, []) if isinstance(value, Tensor) and value.shape != () else g.tensor(value)


def _tensors(g: Builder, declared: tuple[Value, ...], values: tuple[Any, ...]) -> list[Tensor]:
    """Values as tensors of the declared element types, so that branches and loop iterations agree."""
    tensors = []
    for value, given in zip(declared, values, strict=True):
        kind = value.type.element if isinstance(value.type, ListType) else value.type
        dtype = g.dtype(kind.dtype) if isinstance(kind, TensorType) else None
        tensors.append(g.tensor(g.cast(given, dtype) if dtype is not None else given))
    return tensors


def _keep_fixed(g: Builder, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
    """Lists of a fixed length keep it from one iteration to the next."""
    g.fixed_lists.update(b.name for a, b in zip(before, after, strict=True) if a.name in g.fixed_lists)


def _carried_shape(g: Builder, value: Value, initial: Tensor) -> Shape | None:
    """The shape of a loop variable: sizes may change unless the block's input fixes them; a list may grow."""
    if isinstance(value.type, ListType):
        if not initial.shape:
            return initial.shape
        length, elements = initial.shape[0] if initial.name in g.fixed_lists else None, initial.shape[1:]
        declared = value.type.element.shape if isinstance(value.type.element, TensorType) else None
        return (length, *(elements if elements == declared and length is not None else [None] * len(elements)))
    return value.type.shape if isinstance(value.type, TensorType) else initial.shape


def _written_states(g: Builder, blocks: Any) -> list[str]:
    """The states that these blocks write; a branch or loop returns them as extra results."""
    names: list[str] = []
    for block in blocks:
        writes = (operation for operation in block.walk() if operation.kind == "write_state")
        names += [g.value_of(operation.inputs["input"][0]).name for operation in writes]
    return list(dict.fromkeys(names))


def _without_states(g: Builder, states: list[str], results: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The operation's own results; the extra ones after them are the new values of the states."""
    plain = len(results) - len(states)
    g.states.update(zip(states, results[plain:], strict=True))
    g.written.update(states)
    return results[:plain]
