"""Dataset: labelled examples that are read one at a time, so that more than memory holds can be walked through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

Task: TypeAlias = Literal[
    "classification", "detection", "segmentation", "regression", "transcription", "image", "other"
]
"""What the truth is: a label; boxes; a mask; a number or several; a text; an image; anything else."""


class Box(NamedTuple):
    """A labelled box in pixels of the image; (0, 0) is its upper left corner."""

    label: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Example:
    """One input with its truth."""

    name: str
    """Tells it from the others: a path relative to the data, or the number of a row."""
    value: Any
    """A file, a text or an array for a model with one input; else a dictionary of values by column."""
    truth: Any
    """A label, a list of `Box`, the path of a mask or image, a number, or a text."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled examples of one task. Iterating reads them anew each time."""

    name: str
    task: Task
    classes: tuple[str, ...]
    """The labels that occur, in the order of the file or the alphabet; empty if the truth is no label."""
    count: int | None
    """None for an iterable of unknown length."""
    examples: Callable[[], Iterator[Example]]
    folder: Path | None = None

    def __iter__(self) -> Iterator[Example]:
        return self.examples()

    def __len__(self) -> int:
        if self.count is None:
            raise TypeError(f"the length of {self.name} is not known")
        return self.count

    def __repr__(self) -> str:
        many = "examples" if self.count is None else f"{self.count:,} examples"
        labels = f", {len(self.classes)} classes" if self.classes else ""
        return f"<Dataset {self.name!r}: {self.task}, {many}{labels}>"
