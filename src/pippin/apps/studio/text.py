"""Text: labels and headings whose control characters are visible; a name of a model is never HTML or a template."""

from __future__ import annotations

from typing import Self

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from ...support.visible_text import visible


class TextLabel(ui.label):
    """A label. Line breaks stay, and show where the style keeps them."""

    def __init__(self, text: str = "") -> None:
        super().__init__(visible(text, lines=True))

    def set_text(self, text: str) -> Self:
        return super().set_text(visible(text, lines=True))


class Heading(TextElement):
    """A heading of a level from 1 to 6; a page has one of level 1."""

    def __init__(self, level: int, text: str) -> None:
        super().__init__(tag=f"h{level}", text=visible(text))
