"""Registry: maps each operation of Core AI to the function that lowers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..op_registry import LOWERINGS, Entry, F, Lowering

PREFIX = "coreai."
_MIL = ("const", "identity", "read_state", "write_state")
COREAI: dict[str, Entry] = {}
"""By the names of the program's operations; those of MIL that it uses are among them."""


def lowers(*names: str) -> Callable[[F], F]:
    """Register a function as the lowering of these operations; see `op_registry.lowers`."""

    def register(function: F) -> F:
        for name in names:
            parameters = list(inspect.signature(function).parameters.values())[1:]
            COREAI[PREFIX + name] = Entry(name, function, {p.name: p for p in parameters}, 27)
        return function

    return register


def lowers_table(table: Mapping[str, Any], make: Callable[[Any], Lowering], *also: str) -> None:
    """Register one lowering per row of a table, and for each the same with these prefixes."""
    for name, row in table.items():
        lowers(name, *(prefix + name for prefix in also))(make(row))


def all_lowerings() -> dict[str, Entry]:
    return {**COREAI, **{kind: LOWERINGS[kind] for kind in _MIL}}
