"""Elementwise: layers that compute each element by itself, broadcasting where there are two inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph import Tensor
from ..network import Network
from .registry import layer_table

# Layer: MIL operation with the same meaning and no parameters.
UNARY = {
    "ceil": "ceil",
    "floor": "floor",
    "sign": "sign",
    "round": "round",
    "exp2": "exp2",
}


def _unary(kind: str) -> Callable[..., Any]:
    def lowering(n: Network, p: Any, x: Tensor) -> Any:
        return n.mil(kind, x=x)

    return lowering


layer_table(UNARY, _unary)
