"""IR: a MIL program as Python objects. Program > Function > Block > Operation > Value.

Treat all objects as immutable. Values, literals and operations are not frozen dataclasses because those take three
times as long to create, and creating objects is half of the parse time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from ..types import DataType, TensorType, ValueType

STRING = TensorType(DataType.STRING, ())


@dataclass(slots=True, unsafe_hash=True)
class Value:
    """A named result or input of an operation, block or function. Assigned once, visible in nested blocks."""

    name: str
    type: ValueType


@dataclass(slots=True)
class Literal:
    """A constant: stored in the program, or in a weight file and read on first use.

    `data` is a numpy array (shape () for a scalar), a str, a list, a dict, or a function that reads one of these for
    the literal.
    """

    type: ValueType
    data: Any = field(repr=False)
    file: str | None = None
    """Weight file of the value; None if it is stored in the program."""
    offset: int = 0
    """Offset of its record in that file, in bytes."""

    @property
    def value(self) -> Any:
        """The data. A record is read once and kept; concurrent first accesses may each read it."""
        data = self.data
        if callable(data):
            data = self.data = data(self)
        return data


class NameAndValue(Mapping[str, Literal]):
    """The attributes of nearly every operation: its name and, for a constant, its value.

    Takes a fifth of the memory of a dict; a program has hundreds of thousands of them.
    """

    __slots__ = ("name", "val")

    def __init__(self, name: str, val: Literal | None = None) -> None:
        self.name = name
        self.val = val

    def __getitem__(self, key: str) -> Literal:
        if key == "name":
            return Literal(STRING, self.name)
        if key == "val" and self.val is not None:
            return self.val
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("name",) if self.val is None else ("name", "val"))

    def __len__(self) -> int:
        return 1 if self.val is None else 2

    def __repr__(self) -> str:
        return repr(dict(self))


Argument: TypeAlias = Value | Literal
Inputs: TypeAlias = Mapping[str, tuple[Argument, ...]]
NO_INPUTS: Inputs = MappingProxyType({})


@dataclass(slots=True)
class Operation:
    """One step. `inputs` maps each parameter to its arguments: several for a variadic parameter."""

    kind: str
    inputs: Inputs
    outputs: tuple[Value, ...]
    blocks: tuple[Block, ...] = ()
    attributes: Mapping[str, Literal] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the first output, used in messages."""
        if self.outputs:
            return self.outputs[0].name
        name = self.attributes.get("name")
        return str(name.value) if name else self.kind

    @property
    def constant(self) -> bool:
        """Whether it is computed before predictions: a const or a compressed weight."""
        return self.kind == "const" or self.kind.startswith("constexpr_")

    def __str__(self) -> str:
        return f"[{self.kind}] '{self.name}'"


@dataclass(frozen=True, slots=True)
class Block:
    inputs: tuple[Value, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Value, ...]

    def walk(self) -> Iterator[Operation]:
        """All operations in order; those of nested blocks follow the operation that contains them."""
        for operation in self.operations:
            yield operation
            for block in operation.blocks:
                yield from block.walk()


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    opset: str
    """The core operation set, e.g. "CoreML7"."""
    inputs: tuple[Value, ...]
    block: Block
    attributes: Mapping[str, Literal] = field(default_factory=dict)
    """Attributes set by the compiler, e.g. FlexibleShapeInformation."""

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.block.outputs

    def histogram(self) -> dict[str, int]:
        """Number of operations by kind, most frequent first, without constants."""
        counts = Counter(op.kind for op in self.block.walk() if op.kind != "const")
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Program:
    functions: Mapping[str, Function]
    version: int = 1
    attributes: Mapping[str, Literal] = field(default_factory=dict)
