"""Styled text: lines whose parts have styles. A name is never read as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text


def styled(*parts: str | tuple[str, str]) -> Text:
    """One line; a part (text, style) has that style."""
    from rich.text import Text

    return Text.assemble(*parts)


def notice(text: str) -> None:
    """Print one dim line to standard error."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(styled((text, "dim")))
