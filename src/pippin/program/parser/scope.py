"""Scope: the values that a name may mean at one place of a program."""

from __future__ import annotations

from ..ir import Value
from .cursor import Cursor


class Scope:
    """`visible` has what outer blocks define too; a name is defined once in a block."""

    def __init__(self, outer: dict[str, Value]) -> None:
        self.visible = dict(outer)
        self.own: set[str] = set()

    def define(self, cursor: Cursor, value: Value, at: int) -> None:
        if value.name in self.own:
            cursor.refuse(f"'{value.name}' is defined a second time", at)
        self.own.add(value.name)
        self.visible[value.name] = value

    def use(self, cursor: Cursor, name: str, at: int) -> Value:
        found = self.visible.get(name)
        if found is None:
            cursor.refuse(f"'{name}' is used, but nothing before it defines it", at)
        return found
