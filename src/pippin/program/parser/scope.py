"""Scope: resolves names to the values visible at one point of a program."""

from __future__ import annotations

from typing import TypeAlias

from ..ir import Value
from .cursor import Cursor

Bound: TypeAlias = tuple[Value]
"""A value in the form in which `Operation.inputs` stores it."""


class Scope:
    """`visible` includes values of outer blocks. Each name is defined once per block and may shadow an outer one."""

    def __init__(self, outer: dict[str, Bound]) -> None:
        self.visible = dict(outer)
        self.outer = set(outer)

    def define(self, results: tuple[Value, ...]) -> bool:
        """Define the results of an operation. Returns False, without any change, if the block already defines one."""
        if len(results) == 1 and self.visible.setdefault(results[0].name, results) is results:
            return True
        new = {result.name: (result,) for result in results}
        if len(new) < len(results):
            return False
        if not self.visible.keys().isdisjoint(new.keys()):
            if any(name in self.visible and name not in self.outer for name in new):
                return False
            self.outer.difference_update(new)
        self.visible.update(new)
        return True

    def use(self, cursor: Cursor, name: str, at: int) -> Value:
        found = self.visible.get(name)
        if found is None:
            cursor.refuse(f"'{name}' is used before it is defined", at)
        return found[0]
