"""Registry: for each operator of the lowered graph, the function that writes it down for Core AI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ...errors import UnsupportedOperationError


@dataclass(frozen=True, slots=True)
class Node:
    """An operator: its attributes, and the sizes and types of its results."""

    kind: str
    name: str
    attributes: dict[str, Any]
    types: tuple[tuple[tuple[int, ...], np.dtype[Any]] | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        assert self.types[0] is not None
        return self.types[0][0]

    @property
    def dtype(self) -> np.dtype[Any]:
        assert self.types[0] is not None
        return self.types[0][1]

    def get(self, name: str, default: Any = None) -> Any:
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else found

    def refused(self, why: str) -> UnsupportedOperationError:
        return UnsupportedOperationError(f"[{self.kind}] '{self.name}': {why}")

    def constant(self, value: Any, what: str) -> np.ndarray:
        """An operand that must be known. Raises UnsupportedOperationError if a prediction computes it."""
        if not isinstance(value, np.ndarray):
            raise self.refused(f"its {what} must be a constant for Core AI, but a prediction computes it")
        return value


Translation = Callable[..., Any]
F = TypeVar("F", bound=Translation)
TRANSLATIONS: dict[str, Translation] = {}


def translates(*kinds: str) -> Callable[[F], F]:
    """Register a function `(emitter, node, *operands)` that returns the operator's results."""

    def register(function: F) -> F:
        TRANSLATIONS.update(dict.fromkeys(kinds, function))
        return function

    return register
