"""Control flow: lowers branches and loops to `If` and `Loop`. Their networks read and write outer values by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError
from ...types import Shape
from ..layer_registry import layer
from ..loop_counters import Counters
from ..lower_layers import LEAVING, LEFT, Network, written
from ..onnx_builder import Tensor, common_shape
from ..unbounded_loops import MOST_TURNS
from .counters import counters


@layer("branch")
def branch(n: Network, p: Any, condition: Any) -> None:
    """One of two networks. Values that both define, or that one redefines, remain available afterwards."""
    n.either(condition, p.ifBranch.layers, p.elseBranch.layers)


@layer("loop")
def loop(n: Network, p: Any, count: Any = None) -> None:
    """Run a network a number of times, or while the condition, tested first, is not 0."""
    n.layers(p.conditionNetwork.layers)
    if p.conditionVar and n.interval(_flag(n, p)).hi == 0:
        return  # no turn; OpenVINO loses the results of such a loop
    changed = {*written(p.bodyNetwork.layers), *written(p.conditionNetwork.layers)}
    names = sorted((changed & n.values.keys()) - {LEFT})
    outer = dict(n.values)
    initial = [n.tensor(outer[name]) for name in names]
    maximum = n.integers(count) if count is not None else np.int64(p.maxLoopIterations) if p.maxLoopIterations else None
    bounded = maximum is not None and not isinstance(maximum, Tensor) and bool(np.max(maximum) <= MOST_TURNS)
    shapes = [t.shape for t in initial]
    counted = Counters(None, {}, {})
    # A size that changes in an iteration becomes unknown, and the body is lowered again; so it is if it checks an index
    # and has a counter, with which the index may be known.
    while True:
        iteration = _Iteration(n, p, names, outer, bounded, counted)
        kinds = [(np.dtype(np.float32), shape) for shape in shapes]
        body = n.subgraph(iteration.build, [(np.dtype(np.int64), ()), (np.dtype(np.bool_), ()), *kinds])
        n.values = dict(outer)
        merged = [common_shape(a, b) for a, b in zip(shapes, iteration.shapes, strict=True)]
        found = counters(n, body, initial)
        checks = n.returns_checks(body)
        if merged == shapes and (found == counted or not found.inside or not checks):
            break
        shapes, counted = merged, found
    if maximum is None and found.turns is not None and found.turns <= MOST_TURNS:
        maximum = np.int64(found.turns)
    limit = n.Reshape(n.tensor(maximum), np.zeros(0, np.int64)) if maximum is not None else None
    results = n.Loop(limit, _flag(n, p), *initial, body=body, outputs=len(names), types=kinds)
    n.values.update(zip(names, results if isinstance(results, tuple) else (results,), strict=True))


class _Iteration:
    """One iteration of a loop. `shapes` holds the shapes of the carried values at its end."""

    def __init__(
        self, n: Network, p: Any, names: Sequence[str], outer: dict[str, Any], bounded: bool, counted: Counters
    ) -> None:
        self._n, self._p, self._names, self._outer, self._bounded = n, p, names, outer, bounded
        self._counted = counted
        self.shapes: list[Shape | None] = []

    def build(self, iteration: Tensor, goes_on: Tensor, *carried: Tensor) -> list[Any]:
        n = self._n
        n.declare((carried[number], ends) for number, ends in self._counted.inside.items())
        n.counted.update((carried[number].name, (iteration, *at)) for number, at in self._counted.steps.items())
        n.values = {**self._outer, **dict(zip(self._names, carried, strict=True))}
        n.values[LEFT] = np.zeros(1, np.float32)
        n.layers(self._p.bodyNetwork.layers)
        broken = _left_by(n, n.values.pop(LEFT), "loopBreak")
        n.either(broken, (), self._p.conditionNetwork.layers)
        found = [n.tensor(n.values[name]) for name in self._names]
        self.shapes = [t.shape for t in found]
        proceed = _flag(n, self._p)
        if not self._p.conditionVar and not self._bounded:
            proceed = goes_on  # a body of constants alone would have no node, and engines stop between nodes
        if isinstance(broken, Tensor):
            proceed = n.And(n.Not(n.flag(broken)), proceed)
        elif broken.any():
            proceed = n.tensor(np.bool_(False))
        return [proceed, *found]


def _left_by(n: Network, left: Any, kind: str) -> Any:
    """Whether a layer of this kind ended the iteration, as a number."""
    same = n.Equal(left, np.float32(LEAVING[kind])) if isinstance(left, Tensor) else left == LEAVING[kind]
    return n.cast(same, np.float32)


def _flag(n: Network, p: Any) -> Tensor:
    """The loop condition as the scalar that ONNX requires."""
    if not p.conditionVar:
        return n.tensor(np.bool_(True))
    return n.flag(n.values[p.conditionVar])


@layer("loopBreak", "loopContinue")
def leave(n: Network, p: Any, *x: Any) -> None:
    """Set the flag that skips the remaining layers of the iteration (`Network.layers`)."""
    if LEFT not in n.values:
        raise ProgramError("must be inside a loop")
    n.values[LEFT] = np.full(1, LEAVING[n.layer.WhichOneof("layer")], np.float32)
