"""Loop counters: the variables of a MIL `while_loop` that count, and how many turns it takes at most.

`while i < n: ...; i += 1` counts from i to n - 1. With that, what i indexes needs no check in each turn, and a loop
whose number of turns is bounded can be given to an engine that cannot be stopped inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ..program.ir import Argument, Block, Operation, Value
from .interval import Interval

_INT32 = 2**31
# Comparisons that hold while the first operand is below the second: 1 if they must differ.
_BELOW = {"less": 1, "less_equal": 0}
_ABOVE = {"greater": 1, "greater_equal": 0}

Known: TypeAlias = Callable[[Argument], Interval | None]
"""The interval of what is defined outside the loop; None if it is not, or holds no integers."""


@dataclass(frozen=True, slots=True)
class Counters:
    turns: int | None
    """At most so many; None if unknown."""
    inside: dict[int, tuple[int, int]]
    """The range of a variable in the body, by its number."""
    after: dict[int, tuple[int, int]]
    """And after the loop."""
    steps: dict[int, tuple[int, int]] = field(default_factory=dict)
    """(start, step) of a variable that is a float."""


def counters(condition: Block, body: Block, initial: Sequence[Interval | None], known: Known) -> Counters:
    """The counters of a loop. `initial` has what the variables hold before it."""
    makers = {value.name: op for op in body.operations for value in op.outputs}
    steps = [_step(*pair, makers, known) for pair in zip(body.inputs, body.outputs, strict=True)]
    inside: dict[int, tuple[int, int]] = {}
    after: dict[int, tuple[int, int]] = {}
    turns: int | None = None
    for number, sign, limit in _limits(condition, steps, initial, known):
        start, step = initial[number], steps[number]
        if start is None or not step or step * sign < 0:
            continue
        first, by = int(start.lo if sign > 0 else -start.hi), abs(step)
        if limit + by >= _INT32 or -first >= _INT32:  # it might wrap
            continue
        count = max((limit - first) // by + 1, 0)
        turns = count if turns is None else min(turns, count)
        most = max(limit, first)
        inside.setdefault(number, _signed(sign, first, most))
        after.setdefault(number, _signed(sign, first, max(limit + by, int(start.hi if sign > 0 else -start.lo))))
    for number, (start, step) in enumerate(zip(initial, steps, strict=True)):
        if turns and step and start is not None and number not in inside:
            low, high, last = int(start.lo), int(start.hi), step * (turns - 1)
            if low + min(last + step, 0) >= -_INT32 and high + max(last + step, 0) < _INT32:
                inside[number] = low + min(last, 0), high + max(last, 0)
                after[number] = low + min(last + step, 0), high + max(last + step, 0)
    return Counters(turns, inside, after)


def _signed(sign: int, low: int, high: int) -> tuple[int, int]:
    return (low, high) if sign > 0 else (-high, -low)


def _step(before: Value, result: Value, makers: dict[str, Operation], known: Known) -> int | None:
    """What a turn adds to a variable; None if unknown."""
    if result.name == before.name:
        return 0
    op = makers.get(result.name)
    if op is None or op.kind not in ("add", "sub"):
        return None
    x, y = (_resolved(op.inputs[side][0], makers) for side in ("x", "y"))
    if op.kind == "add" and not _is(x, before):
        x, y = y, x
    by = _fixed(y, known) if _is(x, before) else None
    return by if by is None or op.kind == "add" else -by


def _limits(
    condition: Block, steps: Sequence[int | None], initial: Sequence[Interval | None], known: Known
) -> Iterator[tuple[int, int, int]]:
    """(number, 1, n) for each variable that is at most n in the body, (number, -1, n) if it is at least -n."""
    makers = {value.name: op for op in condition.operations for value in op.outputs}
    numbers = {value.name: number for number, value in enumerate(condition.inputs)}

    def interval(argument: Argument) -> Interval | None:
        number = numbers.get(argument.name) if isinstance(argument, Value) else None
        if number is not None:
            return initial[number] if steps[number] == 0 else None
        return None if isinstance(argument, Value) and argument.name in makers else known(argument)

    todo: list[Argument] = [*condition.outputs[:1]]
    while todo:
        op = makers.get(getattr(todo.pop(), "name", ""))
        if op is None:
            continue
        if op.kind in ("identity", "cast", "squeeze"):
            todo += op.inputs["x"]
        elif op.kind == "logical_and":
            todo += (*op.inputs["x"], *op.inputs["y"])
        elif op.kind in _BELOW or op.kind in _ABOVE:
            x, y = (_resolved(op.inputs[side][0], makers) for side in ("x", "y"))
            low, high = (x, y) if op.kind in _BELOW else (y, x)
            gap = {**_BELOW, **_ABOVE}[op.kind]
            top, bottom = interval(high), interval(low)
            if isinstance(low, Value) and low.name in numbers and top is not None:
                yield numbers[low.name], 1, int(top.hi) - gap
            if isinstance(high, Value) and high.name in numbers and bottom is not None:
                yield numbers[high.name], -1, -int(bottom.lo) - gap


def _resolved(argument: Argument, makers: dict[str, Operation]) -> Argument:
    """A constant of the block as a literal."""
    op = makers.get(argument.name) if isinstance(argument, Value) else None
    return op.attributes["val"] if op is not None and op.kind == "const" and "val" in op.attributes else argument


def _is(argument: Argument, value: Value) -> bool:
    return isinstance(argument, Value) and argument.name == value.name


def _fixed(argument: Argument, known: Known) -> int | None:
    found = known(argument)
    return int(found.lo) if found is not None and found.lo == found.hi else None


def interval_of(value: Any) -> Interval | None:
    """The interval of a constant integer."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iu":
        return None
    return Interval(int(array.reshape(-1)[0]), int(array.reshape(-1)[0]), array.dtype)
