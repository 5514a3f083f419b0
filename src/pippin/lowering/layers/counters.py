"""Counters of a network's loop: values that each turn adds a whole number to until they reach a constant.

MIL says so in its operations (`loop_counters.py`). The layers of a network say it in many ways, so the lowered body is
read. The condition is tested on the results of a turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import onnx

from ..interval import EXACT
from ..loop_counters import Counters
from ..lower_layers import Network
from ..onnx_builder import Tensor

_MOVES = frozenset({"Cast", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"})


def counters(n: Network, body: onnx.GraphProto, initial: Sequence[Tensor]) -> Counters:
    """The counters of a lowered loop body, whose carried values start as `initial`."""
    names = [info.name for info in body.input[2 : 2 + len(initial)]]
    results = [_source(n, info.name) for info in body.output[1 : 1 + len(initial)]]
    found, turns = Counters(None, {}, {}), None
    for result, limit in _limits(n, body.output[0].name):
        if result not in results:
            continue
        number = results.index(result)
        start, step = n.interval(initial[number]), _step(n, result, names[number])
        fixed = start.lo == start.hi and start.inside(-EXACT, EXACT) and start.lo == int(start.lo)
        if not fixed or not step or initial[number].static_shape not in ((), (1,)) or abs(limit) + step >= EXACT:
            continue
        first = int(start.lo)
        count = max((limit - first) // step, 0) + 1
        turns = count if turns is None else min(turns, count)
        found.inside[number] = first, max(limit, first)
        found.steps[number] = first, step
    return replace(found, turns=turns)


def _limits(n: Network, condition: str) -> Iterator[tuple[str, int]]:
    """(value, n) for each value that must be at most n if the loop goes on."""
    todo = [condition]
    while todo:
        made = n.makers.get(_source(n, todo.pop()))
        node = made.node if made is not None else None
        kind = node.op_type if node is not None else ""
        if node is None:
            continue
        if kind == "And":
            todo += node.input
        elif kind == "Not":  # a number that is not 0 is true
            of = n.makers.get(node.input[0])
            if of is not None and of.node.op_type == "Equal" and _constant(n, of.node.input[1]) == 0:
                todo.append(of.node.input[0])
        elif kind in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
            low, high = node.input if kind.startswith("Less") else reversed(node.input)
            top = _constant(n, high)
            if top is not None and math.isfinite(top):
                yield _source(n, low), math.floor(top) if kind.endswith("Equal") else math.ceil(top) - 1


def _step(n: Network, result: str, before: str) -> int | None:
    """The whole number above 0 that a turn adds."""
    made = n.makers.get(result)
    if made is None or made.node.op_type != "Add":
        return None
    left, right = made.node.input
    added = _constant(n, right if _source(n, left) == before else left)
    if before not in (_source(n, left), _source(n, right)) or added is None:
        return None
    return int(added) if 0 < added < EXACT and added == int(added) else None


def _source(n: Network, name: str) -> str:
    """What a value was before it was moved or its type changed."""
    while (made := n.makers.get(name)) is not None and made.node.op_type in _MOVES:
        name = made.node.input[0]
    return name


def _constant(n: Network, name: str) -> float | None:
    array: Any = n.initializers.get(_source(n, name))
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
