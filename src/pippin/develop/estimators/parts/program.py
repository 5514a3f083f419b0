"""Program: writes one ML Program in float32, operation by operation.

Each method is an operation of MIL (CoreML5, iOS 15); names and parameters are those of coremltools' documentation.
All shapes are known: a row of numbers is a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....program.ir import STRING, Block, Function, Literal, Operation, Program, Value
from ....types import DataType, DictionaryType, ListType, TensorType

OPSET = "CoreML5"
_TYPES = {
    np.dtype(np.float32): DataType.FLOAT32,
    np.dtype(np.int32): DataType.INT32,
    np.dtype(np.bool_): DataType.BOOL,
}


@dataclass(frozen=True)
class Tensor:
    """A result: its name in the program, its shape and its element type."""

    value: Value
    shape: tuple[int, ...]
    dtype: DataType


class ProgramBuilder:
    """A function "main" with vectors as inputs."""

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.operations: list[Operation] = []
        self.outputs: list[Value] = []
        self._count = 0

    def input(self, name: str, width: int) -> Tensor:
        value = Value(name, TensorType(DataType.FLOAT32, (width,)))
        self.inputs.append(value)
        return Tensor(value, (width,), DataType.FLOAT32)

    def output(self, tensor: Tensor, name: str) -> None:
        value = Value(name, TensorType(tensor.dtype, tensor.shape))
        self._add("identity", {"x": tensor.value}, (value,), name)
        self.outputs.append(value)

    def finished(self) -> Program:
        block = Block((), tuple(self.operations), tuple(self.outputs))
        return Program({"main": Function("main", OPSET, tuple(self.inputs), block)})

    # Arithmetic, with numpy's broadcasting.

    def add(self, x: Any, y: Any) -> Tensor:
        return self._binary("add", x, y)

    def sub(self, x: Any, y: Any) -> Tensor:
        return self._binary("sub", x, y)

    def mul(self, x: Any, y: Any) -> Tensor:
        return self._binary("mul", x, y)

    def div(self, x: Any, y: Any) -> Tensor:
        return self._binary("real_div", x, y)

    def pow(self, x: Any, y: Any) -> Tensor:
        return self._binary("pow", x, y)

    def maximum(self, x: Any, y: Any) -> Tensor:
        return self._binary("maximum", x, y)

    def minimum(self, x: Any, y: Any) -> Tensor:
        return self._binary("minimum", x, y)

    def greater(self, x: Any, y: Any) -> Tensor:
        return self._binary("greater", x, y, DataType.BOOL)

    def greater_equal(self, x: Any, y: Any) -> Tensor:
        return self._binary("greater_equal", x, y, DataType.BOOL)

    def equal(self, x: Any, y: Any) -> Tensor:
        return self._binary("equal", x, y, DataType.BOOL)

    def exp(self, x: Tensor) -> Tensor:
        return self._same("exp", x)

    def log(self, x: Tensor) -> Tensor:
        return self._same("log", x, epsilon=np.float32(0))

    def sqrt(self, x: Tensor) -> Tensor:
        return self._same("sqrt", x)

    def abs(self, x: Tensor) -> Tensor:
        return self._same("abs", x)

    def tanh(self, x: Tensor) -> Tensor:
        return self._same("tanh", x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return self._same("sigmoid", x)

    def relu(self, x: Tensor) -> Tensor:
        return self._same("relu", x)

    def softmax(self, x: Tensor) -> Tensor:
        return self._same("softmax", x, axis=np.int32(-1))

    def square(self, x: Tensor) -> Tensor:
        return self._same("square", x)

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        return self._same("clip", x, alpha=np.float32(low), beta=np.float32(high))

    def cast(self, x: Tensor, dtype: DataType) -> Tensor:
        return self._operation("cast", {"x": x, "dtype": dtype.value}, x.shape, dtype)

    def select(self, condition: Tensor, a: Any, b: Any) -> Tensor:
        a, b = self.tensor(a), self.tensor(b)
        shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
        condition, a, b = (self._expanded(t, shape) for t in (condition, a, b))
        return self._operation("select", {"cond": condition, "a": a, "b": b}, shape, a.dtype)

    # Shapes and reductions.

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return self._operation("reshape", {"x": x, "shape": np.array(shape, np.int32)}, tuple(shape), x.dtype)

    def concat(self, values: Sequence[Tensor], axis: int = 0) -> Tensor:
        if len(values) == 1:
            return values[0]
        shape = list(values[0].shape)
        shape[axis] = sum(v.shape[axis] for v in values)
        inputs = {"values": tuple(values), "axis": np.int32(axis), "interleave": np.bool_(False)}
        return self._operation("concat", inputs, tuple(shape), values[0].dtype)

    def gather(self, x: Any, indices: Any, axis: int = 0) -> Tensor:
        x, indices = self.tensor(x), self.tensor(indices)
        shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
        return self._operation("gather", {"x": x, "indices": indices, "axis": np.int32(axis)}, shape, x.dtype)

    def matmul(self, x: Any, y: Any) -> Tensor:
        """(a, b) @ (b, c)."""
        x, y = self.tensor(x), self.tensor(y)
        inputs = {"x": x, "y": y, "transpose_x": np.bool_(False), "transpose_y": np.bool_(False)}
        return self._operation("matmul", inputs, (*x.shape[:-1], y.shape[-1]), x.dtype)

    def linear(self, x: Tensor, weights: np.ndarray, offset: np.ndarray | None = None) -> Tensor:
        """weights (m, n) @ x (n) + offset (m)."""
        row = self.reshape(x, (1, x.shape[0]))
        inputs: dict[str, Any] = {"x": row, "weight": np.asarray(weights, np.float32)}
        inputs["bias"] = np.zeros(len(weights), np.float32) if offset is None else np.asarray(offset, np.float32)
        made = self._operation("linear", inputs, (1, len(weights)), DataType.FLOAT32)
        return self.reshape(made, (len(weights),))

    def sum(self, x: Tensor, axis: int = 0, keep: bool = False) -> Tensor:
        return self._reduced("reduce_sum", x, axis, keep)

    def max(self, x: Tensor, axis: int = 0, keep: bool = False) -> Tensor:
        return self._reduced("reduce_max", x, axis, keep)

    def argmax(self, x: Tensor) -> Tensor:
        inputs = {"x": x, "axis": np.int32(0), "keep_dims": np.bool_(True)}
        return self._operation("reduce_argmax", inputs, (1,), DataType.INT32)

    def argsort(self, x: Tensor) -> Tensor:
        inputs = {"x": x, "axis": np.int32(0), "ascending": np.bool_(True)}
        return self._operation("argsort", inputs, x.shape, DataType.INT32)

    def cumsum(self, x: Tensor) -> Tensor:
        inputs = {"x": x, "axis": np.int32(0), "exclusive": np.bool_(False), "reverse": np.bool_(False)}
        return self._operation("cumsum", inputs, x.shape, x.dtype)

    def nearest(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k smallest numbers and their indices."""
        inputs = {"x": x, "k": np.int32(k), "axis": np.int32(0), "ascending": np.bool_(True)}
        shape = (k, *x.shape[1:])
        values = self._value(TensorType(x.dtype, shape)), self._value(TensorType(DataType.INT32, shape))
        self._add("topk", self._bound(inputs), values, values[0].name)
        return Tensor(values[0], shape, x.dtype), Tensor(values[1], shape, DataType.INT32)

    def classify(self, probabilities: Tensor, classes: Sequence[Any], label: str, scores: str) -> None:
        """The label with the highest probability, and all probabilities by label."""
        strings = isinstance(classes[0], str)
        key = TensorType(DataType.STRING if strings else DataType.INT64, ())
        # As coremltools writes it: the labels are a value of the operation itself, not a constant of their own.
        labels = Literal(ListType(key, len(classes)), [str(c) if strings else np.int64(c) for c in classes])
        outputs = (Value(label, key), Value(scores, DictionaryType(key, TensorType(DataType.FLOAT32, ()))))
        self._add("classify", {"probabilities": probabilities.value, "classes": labels}, outputs, label)
        self.outputs += outputs

    # Writing operations.

    def tensor(self, value: Any) -> Tensor:
        """A tensor, or a constant in float32 (an integer array: int32)."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value)
        array = array.astype(np.int32 if array.dtype.kind in "iu" and array.ndim else np.float32)
        dtype = _TYPES[array.dtype]
        return Tensor(self._constant(array, TensorType(dtype, array.shape)), array.shape, dtype)

    def _constant(self, value: Any, kind: TensorType) -> Value:
        made = self._value(kind)
        attributes = {"name": Literal(STRING, made.name), "val": Literal(kind, value)}
        self.operations.append(Operation("const", {}, (made,), (), attributes))
        return made

    def _value(self, kind: Any) -> Value:
        self._count += 1
        return Value(f"t{self._count}", kind)

    def _binary(self, kind: str, x: Any, y: Any, dtype: DataType | None = None) -> Tensor:
        x, y = self.tensor(x), self.tensor(y)
        return self._operation(kind, {"x": x, "y": y}, np.broadcast_shapes(x.shape, y.shape), dtype or x.dtype)

    def _same(self, kind: str, x: Tensor, **inputs: Any) -> Tensor:
        return self._operation(kind, {"x": x, **inputs}, x.shape, x.dtype)

    def _reduced(self, kind: str, x: Tensor, axis: int, keep: bool) -> Tensor:
        shape = list(x.shape)
        shape[axis : axis + 1] = [1] if keep or len(shape) == 1 else []
        inputs = {"x": x, "axes": np.array([axis], np.int32), "keep_dims": np.bool_(keep or len(x.shape) == 1)}
        return self._operation(kind, inputs, tuple(shape), x.dtype)

    def _expanded(self, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        """`select` does not broadcast in iOS 15."""
        if tensor.shape == shape:
            return tensor
        if tensor.dtype is DataType.BOOL:
            return self.greater(self.add(self.cast(tensor, DataType.FLOAT32), np.zeros(shape)), 0.5)
        return self.add(tensor, np.zeros(shape))

    def _operation(self, kind: str, inputs: dict[str, Any], shape: Sequence[int], dtype: DataType) -> Tensor:
        shape = tuple(int(size) for size in shape)
        made = self._value(TensorType(dtype, shape))
        self._add(kind, self._bound(inputs), (made,), made.name)
        return Tensor(made, shape, dtype)

    def _bound(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: self._argument(value) for name, value in inputs.items()}

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.value
        if isinstance(value, tuple):
            return tuple(self._argument(item) for item in value)
        if isinstance(value, str):
            return self._constant(value, STRING)
        array = np.asarray(value)
        return self._constant(array, TensorType(_TYPES[array.dtype], array.shape))

    def _add(self, kind: str, inputs: dict[str, Any], outputs: tuple[Value, ...], name: str) -> None:
        bound = {key: value if isinstance(value, tuple) else (value,) for key, value in inputs.items()}
        self.operations.append(Operation(kind, bound, outputs, (), {"name": Literal(STRING, name)}))
