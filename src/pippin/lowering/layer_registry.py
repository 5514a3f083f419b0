"""Registry: which function lowers which layer of a neural network.

A layer is a few calls of MIL operations, so that the one lowering of those serves both kinds of model:

    @layer("batchedMatmul")
    def batched_matmul(n, p, x, y=None): ...n.mil.matmul(x=x, y=y)...

`n` is the Network, `p` the layer's parameters (the protobuf message of the layer's kind), then come its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

LAYERS: dict[str, Callable[..., Any]] = {}


def layer(*kinds: str) -> Callable[[F], F]:
    """Register a function as the lowering of these layers, by their names in the protobuf's oneof `layer`.

    It is called as `f(n, p, *inputs)` and returns the layer's output, or a tuple of them, as Tensors or constants.
    """

    def register(function: F) -> F:
        for kind in kinds:
            if kind in LAYERS:
                raise ValueError(f"{kind} is lowered twice")
            LAYERS[kind] = function
        return function

    return register


def layer_table(table: Mapping[str, Any], make: Callable[[Any], Callable[..., Any]]) -> None:
    """Register a row of a table for each regular layer: `make(row)` gives its lowering."""
    for kind, row in table.items():
        layer(kind)(make(row))
