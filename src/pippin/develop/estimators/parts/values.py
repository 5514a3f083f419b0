"""Values: what flows between the parts of a model, and the parts that make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

ARRAY, NUMBER, INTEGER, STRING, WORDS, HASHES = "array", "number", "integer", "string", "words", "hashes"
"""A row of numbers; one number; an integer; a string; a dictionary of strings to numbers; of integers to numbers."""


@dataclass(eq=False)
class Value:
    """A feature: an input of the model, or what a part gives."""

    kind: str
    width: int = 1
    node: Node | None = None
    """The part that makes it; None for an input."""
    name: str = ""

    @property
    def in_program(self) -> bool:
        return isinstance(self.node, Step)


@dataclass(eq=False)
class Node:
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)


@dataclass(eq=False)
class Part(Node):
    """A classical model. `fill` writes its parameters; the names of inputs and outputs are known by then."""

    type: str = ""
    fill: Callable[[Any], None] | None = None
    classes: Sequence[Any] | None = None


@dataclass(eq=False)
class Columns(Node):
    """Numbers of the model's own columns, by index: a part only once it is known how the model takes its inputs."""

    indices: tuple[int, ...] = ()


@dataclass(eq=False)
class Step(Node):
    """Operations of an ML Program: `function` is given a `Program` and its tensors, and returns a tensor."""

    function: Callable[..., Any] | None = None
    classes: Sequence[Any] | None = None
