"""Emitter: writes down operations of Core AI, by the names of its authoring interface, for Apple's process to build."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_INLINE = 64  # elements; larger constants are stored beside the description
INDICES = np.int32


@dataclass(frozen=True, slots=True)
class Value:
    """A result of the program; all of its sizes are known."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a result, where an operation is told it."""

    shape: Sequence[int]
    dtype: np.dtype[Any]

    def described(self) -> dict[str, Any]:
        return {"shape": [int(size) for size in self.shape], "dtype": self.dtype.name}


@dataclass(frozen=True, slots=True)
class Narrow:
    """A constant of integers below 8 bits, one in each byte here and packed in the file."""

    array: np.ndarray
    kind: str
    """int4, uint1, uint2, uint4 or uint6."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


Operand = Any
"""A Value, an array, a Narrow one or a number (a constant), a Type, a dtype, or a list of operands."""


@dataclass
class Store:
    """The large constants of all functions of a model, each once."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    _keys: dict[int, str] = field(default_factory=dict)
    _held: list[np.ndarray] = field(default_factory=list)

    def key(self, array: np.ndarray) -> str:
        found = self._keys.get(id(array))
        if found is None:
            found = self._keys[id(array)] = f"c{len(self.arrays)}"
            self.arrays[found] = array
            self._held.append(array)  # no other array gets its identity
        return found


class Emitter:
    """Operations in order. `source` is the operation of the Core ML model that is being written."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.operations: list[dict[str, Any]] = []
        self.source = ""

    def op(
        self,
        name: str,
        *operands: Operand,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        **keywords: Any,
    ) -> Value:
        """One operation. Without a shape, its operands are broadcast; without a type, it has the first one's."""
        values = [one for one in operands if isinstance(one, Value | np.ndarray | np.generic)]
        if shape is None:
            shape = np.broadcast_shapes(*(one.shape for one in values))
        result = Value(
            f"%{len(self.operations)}",
            tuple(map(int, shape)),
            np.dtype(dtype if dtype is not None else values[0].dtype),
        )
        self.operations.append({
            "op": name,
            "operands": [self.operand(one) for one in operands],
            "keywords": keywords,
            "result": result.name,
            "source": self.source,
        })  # fmt: skip
        return result

    def operand(self, given: Operand) -> dict[str, Any]:
        if isinstance(given, Value):
            return {"value": given.name}
        if isinstance(given, Type):
            return {"type": given.described()}
        if isinstance(given, list):
            return {"list": [self.operand(one) for one in given]}
        if isinstance(given, np.dtype):
            return {"dtype_only": given.name}
        if isinstance(given, Narrow):
            return {"stored": self.store.key(given.array), "dtype": given.kind}
        array = np.asarray(given)
        if array.size > _INLINE:
            return {"stored": self.store.key(array), "dtype": array.dtype.name}
        data = array.astype(float) if array.dtype.kind == "f" else array
        return {"data": data.reshape(-1).tolist(), "dtype": array.dtype.name, "shape": list(array.shape)}

    # What several translations need.

    def number(self, value: float, like: Any) -> np.ndarray:
        """A constant of the type of another value."""
        return np.asarray(value, like.dtype)

    def binary(self, name: str, x: Operand, y: Operand, dtype: Any = None) -> Value:
        """A broadcasting operation; a Python number takes the type of the other operand."""
        like = x if isinstance(x, Value | np.ndarray) else y
        x, y = (self.number(one, like) if isinstance(one, int | float) else one for one in (x, y))
        return self.op(f"broadcasting_{name}", x, y, dtype=dtype)

    def add(self, x: Operand, y: Operand) -> Value:
        return self.binary("add", x, y)

    def sub(self, x: Operand, y: Operand) -> Value:
        return self.binary("sub", x, y)

    def mul(self, x: Operand, y: Operand) -> Value:
        return self.binary("mul", x, y)

    def divide(self, x: Operand, y: Operand) -> Value:
        return self.binary("divide", x, y)

    def maximum(self, x: Operand, y: Operand) -> Value:
        return self.binary("maximum", x, y)

    def minimum(self, x: Operand, y: Operand) -> Value:
        return self.binary("minimum", x, y)

    def greater(self, x: Operand, y: Operand) -> Value:
        return self.binary("greater", x, y, dtype=bool)

    def equal(self, x: Operand, y: Operand) -> Value:
        return self.binary("equal", x, y, dtype=bool)

    def where(self, condition: Operand, x: Operand, y: Operand) -> Value:
        like = x if isinstance(x, Value | np.ndarray) else y
        x, y = (self.number(one, like) if isinstance(one, int | float) else one for one in (x, y))
        return self.op("broadcasting_where", condition, x, y, dtype=like.dtype)

    def cast(self, x: Operand, dtype: Any) -> Operand:
        target = np.dtype(dtype)
        if not isinstance(x, Value):
            return np.asarray(x).astype(target)
        return x if x.dtype == target else self.op("cast", x, target, shape=x.shape, dtype=target)

    def reshape(self, x: Operand, shape: Sequence[int]) -> Operand:
        if not isinstance(x, Value):
            return np.reshape(x, shape)
        if -1 in shape:
            shape = [math.prod(x.shape) // -math.prod(shape) if size == -1 else size for size in shape]
        if tuple(shape) == x.shape:
            return x
        return self.op("reshape", x, np.array(shape, INDICES), shape=shape)

    def transpose(self, x: Operand, order: Sequence[int]) -> Operand:
        order = [int(axis) for axis in order]
        if not isinstance(x, Value):
            return np.ascontiguousarray(np.transpose(x, order))
        if order == list(range(x.rank)):
            return x
        return self.op("transpose", x, np.array(order, np.uint32), shape=[x.shape[axis] for axis in order])

    def pad(
        self, x: Value, before: Sequence[int], after: Sequence[int], value: float = 0, mode: str = "constant"
    ) -> Value:
        if not any(before) and not any(after):
            return x
        sizes = np.stack([before, after], axis=1).reshape(-1).astype(np.uint32)
        shape = [size + low + high for size, low, high in zip(x.shape, before, after, strict=True)]
        return self.op("pad", x, sizes, self.number(value, x), shape=shape, padding_mode=mode)

    def slice(self, x: Value, starts: Sequence[int], ends: Sequence[int], steps: Sequence[int] | None = None) -> Value:
        """Part of each axis. The ends lie within the axes; a negative one is before the first element."""
        parts = [range(*one) for one in zip(starts, ends, steps or [1] * x.rank, strict=True)]
        backward = [axis for axis, part in enumerate(parts) if part.step < 0]
        if backward:  # Apple's runtime leaves out the first element of a slice that ends before it
            x = self.op("reverse", x, np.array(backward, INDICES), shape=x.shape)
            parts = [
                range(size - 1 - p.start, size - 1 - p.start + len(p) * -p.step, -p.step) if p.step < 0 else p
                for p, size in zip(parts, x.shape, strict=True)
            ]
        if all(part == range(size) for part, size in zip(parts, x.shape, strict=True)):
            return x
        last = [min(part.stop, size) for part, size in zip(parts, x.shape, strict=True)]
        numbers = [[part.start for part in parts], last, [part.step for part in parts]]
        shape = [len(part) for part in parts]
        return self.op("slice_", x, *(np.array(one, INDICES) for one in numbers), shape=shape)

    def concat(self, values: list[Operand], axis: int) -> Value:
        shape = list(values[0].shape)
        shape[axis] = sum(one.shape[axis] for one in values)
        return self.op("concat", np.array(axis, INDICES), list(values), shape=shape, dtype=values[0].dtype)

    def reduce(self, name: str, x: Value, axes: Sequence[int], keep: bool = True) -> Value:
        axes = sorted(axis % x.rank for axis in axes)
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        found = self.op(f"reduce_{name}", x, np.array(axes, INDICES), shape=shape) if axes else x
        return found if keep else self.reshape(found, [s for axis, s in enumerate(x.shape) if axis not in axes])

    def matmul(self, x: Operand, y: Operand) -> Value:
        shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
        return self.op("broadcasting_batch_matmul", x, y, shape=shape, dtype=x.dtype)

    def unary(self, name: str, x: Value) -> Value:
        return self.op(name, x)
