"""Registry: which function lowers which MIL operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

Lowering = Callable[..., Any]
Variadic: TypeAlias = tuple[Any, ...]
F = TypeVar("F", bound=Lowering)


@dataclass(frozen=True, slots=True)
class Entry:
    """A MIL operation's lowering. Its signature, less `g`, is the operation's parameters and defaults."""

    kind: str
    function: Lowering
    parameters: Mapping[str, inspect.Parameter]
    since: int
    """The iOS release whose operation set brought it; 15 for what every ML Program has."""

    def is_variadic(self, parameter: str) -> bool:
        return str(self.parameters[parameter].annotation).startswith("Variadic")

    @property
    def family(self) -> str:
        return self.function.__module__.rpartition(".")[2]


LOWERINGS: dict[str, Entry] = {}


def lowers(*kinds: str, since: int = 15) -> Callable[[F], F]:
    """Register a function as the lowering of these MIL operations, there since this iOS release.

    The function is called as `f(g, **arguments)`: `g` is the Builder; a runtime value arrives as a Tensor, a
    constant as a numpy array or scalar (typed) or a str, an argument that was not given as the default. A
    parameter annotated `Variadic` takes a tuple of all that the argument is bound to.
    It returns the operation's result, or a tuple of them, as Tensors or constants; an element type that
    differs from the declared one is cast.
    """

    def register(function: F) -> F:
        for kind in kinds:
            if kind in LOWERINGS:
                raise ValueError(f"{kind} is lowered twice")
            parameters = list(inspect.signature(function).parameters.values())[1:]
            LOWERINGS[kind] = Entry(kind, function, {p.name: p for p in parameters}, since)
        return function

    return register


def lowers_table(table: Mapping[str, Any], make: Callable[[Any], Lowering]) -> None:
    """Register a row of a table for each regular operation: `make(row)` gives its lowering."""
    for kind, row in table.items():
        function = make(row)
        function.__module__ = make.__module__
        lowers(kind)(function)
