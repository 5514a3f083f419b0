"""Control flow: constants, choices, loops, and lists."""

from __future__ import annotations

from typing import Any

from ..builder import Builder
from ..registry import lowers


@lowers("const", "_const_symbolic")
def const(g: Builder, val: Any) -> Any:
    return val
