"""Scope: the values that a name may mean at one place of a program."""

from __future__ import annotations

from typing import TypeAlias

from ..ir import Value
from .cursor import Cursor

Bound: TypeAlias = tuple[Value]
"""A value as an argument is bound to it."""


class Scope:
    """`visible` has what outer blocks define too; a name is defined once in a block, which may hide an outer one."""

    def __init__(self, outer: dict[str, Bound]) -> None:
        self.visible = dict(outer)
        self.outer = set(outer)

    def define(self, results: tuple[Value, ...]) -> bool:
        """Make the results of an operation visible. False, and nothing is done, where the block has one already."""
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
            cursor.refuse(f"'{name}' is used, but nothing before it defines it", at)
        return found[0]
