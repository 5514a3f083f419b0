"""Control: branches and loops, whose networks read and write the values around them by name; custom layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ...types import Shape
from ..graph import Tensor, common_shape
from ..layer_registry import layer
from ..network import Network


@layer("branch")
def branch(n: Network, p: Any, condition: Any) -> None:
    """Either of two networks; what both name, or what one names anew, is there afterwards."""
    if not isinstance(condition, Tensor):
        n.layers((p.ifBranch if np.any(condition) else p.elseBranch).layers)
        return
    written = [set(_written(part.layers)) for part in (p.ifBranch, p.elseBranch)]
    outer = dict(n.values)
    names = sorted((written[0] & written[1]) | ((written[0] | written[1]) & outer.keys()))
    kinds: list[list[tuple[np.dtype[Any], Shape | None]]] = []

    def build(layers: Any) -> list[Tensor]:
        n.values = dict(outer)
        n.layers(layers)
        found = [n.tensor(n.values[name]) for name in names]
        kinds.append([(t.dtype, t.shape) for t in found])
        return found

    graphs = [n.subgraph(lambda part=part: build(part.layers)) for part in (p.ifBranch, p.elseBranch)]
    n.values = outer
    types = [(dtype, common_shape(shape, other)) for (dtype, shape), (_, other) in zip(*kinds, strict=True)]
    results = n.If(_scalar(n, condition), then_branch=graphs[0], else_branch=graphs[1], outputs=len(names), types=types)
    n.values.update(zip(names, results if isinstance(results, tuple) else (results,), strict=True))


@layer("loop")
def loop(n: Network, p: Any, count: Any = None) -> None:
    """A network again and again: a number of times, or as long as the condition, tested first, is not 0."""
    n.layers(p.conditionNetwork.layers)
    written = {*_written(p.bodyNetwork.layers), *_written(p.conditionNetwork.layers)}
    names = sorted(written & n.values.keys())
    outer = dict(n.values)
    initial = [n.tensor(outer[name]) for name in names]
    most = n.integers(count) if count is not None else np.int64(p.maxLoopIterations) if p.maxLoopIterations else None
    shapes = [t.shape for t in initial]
    # Sizes that differ after a turn are unknown, and the turn is lowered again.
    while True:
        turn = _Turn(n, p, names, outer)
        kinds = [(np.dtype(np.float32), shape) for shape in shapes]
        body = n.subgraph(turn.build, [(np.dtype(np.int64), ()), (np.dtype(np.bool_), ()), *kinds])
        n.values = dict(outer)
        merged = [common_shape(a, b) for a, b in zip(shapes, turn.shapes, strict=True)]
        if merged == shapes:
            break
        shapes = merged
    limit = n.Reshape(n.tensor(most), np.zeros(0, np.int64)) if most is not None else None
    results = n.Loop(limit, _flag(n, p), *initial, body=body, outputs=len(names), types=kinds)
    n.values.update(zip(names, results if isinstance(results, tuple) else (results,), strict=True))


class _Turn:
    """One turn of a loop; `shapes` are those of the carried values at its end."""

    def __init__(self, n: Network, p: Any, names: Sequence[str], outer: dict[str, Any]) -> None:
        self._n, self._p, self._names, self._outer = n, p, names, outer
        self.shapes: list[Shape | None] = []

    def build(self, _iteration: Tensor, _condition: Tensor, *carried: Tensor) -> list[Any]:
        n = self._n
        n.values = {**self._outer, **dict(zip(self._names, carried, strict=True))}
        n.layers(self._p.bodyNetwork.layers)
        n.layers(self._p.conditionNetwork.layers)
        found = [n.tensor(n.values[name]) for name in self._names]
        self.shapes = [t.shape for t in found]
        return [_flag(n, self._p), *found]


def _flag(n: Network, p: Any) -> Tensor:
    """Whether to go on, as the scalar that ONNX takes."""
    if not p.conditionVar:
        return n.tensor(np.bool_(True))
    return _scalar(n, n.values[p.conditionVar])


def _scalar(n: Network, condition: Any) -> Tensor:
    """Whether a value is not 0; of an array, its first element."""
    first = n.Slice(n.Reshape(condition, [-1]), [0], [1])
    flag: Tensor = n.Reshape(n.truth(first), np.zeros(0, np.int64))
    return flag


def _written(layers: Any) -> Iterator[str]:
    """Every name that layers give a value to, those of nested networks included."""
    for message in layers:
        yield from message.output
        kind = message.WhichOneof("layer")
        if kind == "branch":
            yield from _written(message.branch.ifBranch.layers)
            yield from _written(message.branch.elseBranch.layers)
        elif kind == "loop":
            yield from _written(message.loop.bodyNetwork.layers)
            yield from _written(message.loop.conditionNetwork.layers)


@layer("loopBreak", "loopContinue")
def leave(n: Network, p: Any, *x: Any) -> Any:
    raise UnsupportedOperationError("a loop that is left, or begun anew, from its middle is not supported")


@layer("custom")
def custom(n: Network, p: Any, *x: Any) -> Any:
    raise UnsupportedOperationError(
        f"a custom layer of the class '{p.className}': its code is not in the file, so that it cannot be executed"
    )
