"""IR: a MIL program as Python objects. Program > Function > Block > Operation > Value.

Nothing of it is changed once it is made. Values, literals and operations are not frozen all the same: a frozen object
takes three times as long to make, and half of the time that a text is parsed is spent with making them.
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
    """What an operation, a block or a function gives a name to. Assigned once, visible in nested blocks."""

    name: str
    type: ValueType


@dataclass(slots=True)
class Literal:
    """A constant: written into the program, or a record of the weight file that is read when it is asked for.

    `data` is a numpy array (shape () for a scalar), a str, a list, a dict, or a function of the literal that reads
    one of them.
    """

    type: ValueType
    data: Any = field(repr=False)
    file: str | None = None
    """The weight file that holds it; None for a value written into the program."""
    offset: int = 0
    """Where in that file its record lies."""

    @property
    def value(self) -> Any:
        """The data; a record is read once. Threads that ask at once read it each, and one of them is kept."""
        data = self.data
        if callable(data):
            data = self.data = data(self)
        return data


class NameAndValue(Mapping[str, Literal]):
    """The attributes of nearly every operation: its name, and the value of a constant.

    It is a dict that takes a fifth of the memory, where a program has hundreds of thousands of them.
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
    """One step. `inputs` maps each parameter to what it is bound to: several values for a variadic one."""

    kind: str
    inputs: Inputs
    outputs: tuple[Value, ...]
    blocks: tuple[Block, ...] = ()
    attributes: Mapping[str, Literal] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the first output; what messages call the operation."""
        if self.outputs:
            return self.outputs[0].name
        name = self.attributes.get("name")
        return str(name.value) if name else self.kind

    def __str__(self) -> str:
        return f"[{self.kind}] '{self.name}'"


@dataclass(frozen=True, slots=True)
class Block:
    inputs: tuple[Value, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Value, ...]

    def walk(self) -> Iterator[Operation]:
        """Every operation in order, those of nested blocks after the operation that holds them."""
        for operation in self.operations:
            yield operation
            for block in operation.blocks:
                yield from block.walk()


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    opset: str
    """The core operation set, e.g. "CoreML7"; `ios` gives the iOS release that brought it."""
    inputs: tuple[Value, ...]
    block: Block
    attributes: Mapping[str, Literal] = field(default_factory=dict)
    """What a compiler noted down, e.g. FlexibleShapeInformation."""

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.block.outputs

    def histogram(self) -> dict[str, int]:
        """Number of operations of each kind, the most frequent first; constants are left out."""
        counts = Counter(op.kind for op in self.block.walk() if op.kind != "const")
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Program:
    functions: Mapping[str, Function]
    version: int = 1
    attributes: Mapping[str, Literal] = field(default_factory=dict)
