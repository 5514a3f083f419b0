"""Registry: maps each neural-network layer kind to the function that lowers it.

A layer calls the lowerings of a few MIL operations, so both kinds of model share them:

    @layer("batchedMatmul")
    def batched_matmul(n, p, x, y=None): ...n.mil.matmul(x=x, y=y)...

`n` is the Network and `p` the layer's parameters (the protobuf message of its kind); its inputs follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

LAYERS: dict[str, Callable[..., Any]] = {}


def layer(*kinds: str) -> Callable[[F], F]:
    """Register a function as the lowering of these layers, named as in the protobuf's oneof `layer`.

    Called as `f(n, p, *inputs)`. Returns the layer's output or a tuple of outputs, as Tensors or constants.
    """

    def register(function: F) -> F:
        for kind in kinds:
            if kind in LAYERS:
                raise ValueError(f"'{kind}' already has a lowering")
            LAYERS[kind] = function
        return function

    return register


def layer_table(table: Mapping[str, Any], make: Callable[[Any], Callable[..., Any]]) -> None:
    """Register one lowering per row of a table: `make(row)` returns the function."""
    for kind, row in table.items():
        layer(kind)(make(row))
