"""Registry: maps each MIL operation to the function that lowers it."""

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
    """The lowering of a MIL operation. Its signature, without `g`, declares the operation's parameters and defaults."""

    kind: str
    function: Lowering
    parameters: Mapping[str, inspect.Parameter]
    since: int
    """First iOS release whose operation set has it; 15 if every ML Program has it."""

    def is_variadic(self, parameter: str) -> bool:
        return str(self.parameters[parameter].annotation).startswith("Variadic")

    @property
    def family(self) -> str:
        return self.function.__module__.rpartition(".")[2]

    @property
    def floats_only(self) -> bool:
        return self.family in _OF_FLOATS and self.kind != "resize"


_OF_FLOATS = frozenset({"activation", "conv", "image_resizing", "image_sampling", "normalization", "pool", "recurrent"})


LOWERINGS: dict[str, Entry] = {}


def lowers(*kinds: str, since: int = 15) -> Callable[[F], F]:
    """Register a function as the lowering of these MIL operations, available since this iOS release.

    Called as `f(g, **arguments)`, where `g` is the Builder. A runtime value arrives as a Tensor, a constant as a typed
    numpy array or scalar or a str, and an omitted argument as its default. A parameter annotated `Variadic` receives a
    tuple of all values bound to the argument.
    Returns the operation's result or a tuple of results, as Tensors or constants. A result is cast if its element type
    differs from the declared one.
    """

    def register(function: F) -> F:
        for kind in kinds:
            if kind in LOWERINGS:
                raise ValueError(f"'{kind}' already has a lowering")
            parameters = list(inspect.signature(function).parameters.values())[1:]
            LOWERINGS[kind] = Entry(kind, function, {p.name: p for p in parameters}, since)
        return function

    return register


def lowers_table(table: Mapping[str, Any], make: Callable[[Any], Lowering]) -> None:
    """Register one lowering per row of a table: `make(row)` returns the function."""
    for kind, row in table.items():
        function = make(row)
        function.__module__ = make.__module__
        lowers(kind)(function)
