"""Protobuf writer: converts the IR to the protobuf of an ML Program. Source: `MIL.proto` of coremltools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ProgramError
from ..format.schema import messages
from ..format.weight_blob import pack_elements
from ..types import DataType, DictionaryType, ListType, Shape, StateType, TensorType, TupleType, ValueType
from .ir import Block, Function, Literal, Operation, Program, Value

# Repeated fields by element type. Other types are stored as packed bytes, as coremltools does.
_FIELDS = {
    DataType.FLOAT32: "floats",
    DataType.FLOAT64: "doubles",
    DataType.INT32: "ints",
    DataType.INT64: "longInts",
    DataType.UINT64: "longInts",
    DataType.BOOL: "bools",
}


def write_program(program: Program) -> Any:
    """The `Program` message. Constants in weight files stay references. Raises ProgramError if the shape of a constant
    does not match its type."""
    mil = messages("MIL")
    message = mil.Program(version=program.version)
    writer = _Writer(mil.DataType)
    for name, function in program.functions.items():
        writer.function(function, message.functions[name])
    writer.literals(program.attributes, message.attributes)
    return message


class _Writer:
    def __init__(self, enum: Any) -> None:
        self.dtypes = {member: enum.Value(member.name) for member in DataType if member.name in dict(enum.items())}

    def function(self, function: Function, message: Any) -> None:
        message.opset = function.opset
        for value in function.inputs:
            self.named(value, message.inputs.add())
        self.literals(function.attributes, message.attributes)
        self.block(function.block, message.block_specializations[function.opset])

    def block(self, block: Block, message: Any) -> None:
        for value in block.inputs:
            self.named(value, message.inputs.add())
        for operation in block.operations:
            self.operation(operation, message.operations.add())
        message.outputs.extend(value.name for value in block.outputs)

    def operation(self, operation: Operation, message: Any) -> None:
        message.type = operation.kind
        for name, bound in operation.inputs.items():
            arguments = message.inputs[name].arguments
            for argument in bound:
                if isinstance(argument, Value):
                    arguments.add(name=argument.name)
                else:
                    self.literal(argument, arguments.add().value)
        for value in operation.outputs:
            self.named(value, message.outputs.add())
        for block in operation.blocks:
            self.block(block, message.blocks.add())
        self.literals(operation.attributes, message.attributes)

    def named(self, value: Value, message: Any) -> None:
        message.name = value.name
        self.type(value.type, message.type)

    def type(self, kind: ValueType, message: Any) -> None:
        match kind:
            case TensorType(dtype, shape):
                tensor = message.tensorType
                tensor.dataType = self.dtypes[dtype]
                tensor.rank = -1 if shape is None else len(shape)
                for size in shape or ():
                    self.size(size, tensor.dimensions.add())
            case ListType(element, length):
                self.type(element, message.listType.type)
                self.size(length, message.listType.length)
            case TupleType(elements):
                message.tupleType.SetInParent()
                for element in elements:
                    self.type(element, message.tupleType.types.add())
            case DictionaryType(key, value):
                self.type(key, message.dictionaryType.keyType)
                self.type(value, message.dictionaryType.valueType)
            case StateType(wrapped):
                self.type(wrapped, message.stateType.wrappedType)

    @staticmethod
    def size(size: int | None, message: Any) -> None:
        if size is None:
            message.unknown.variadic = False
        else:
            message.constant.size = size

    def literals(self, literals: Mapping[str, Literal], message: Any) -> None:
        for name, literal in literals.items():
            self.literal(literal, message[name])

    def literal(self, literal: Literal, message: Any) -> None:
        if literal.file is None:
            self.value(literal.type, literal.value, message)
            return
        self.type(literal.type, message.type)
        message.blobFileValue.fileName = literal.file
        message.blobFileValue.offset = literal.offset

    def value(self, kind: ValueType, value: Any, message: Any) -> None:
        """Write a typed value. Unknown sizes in a tensor type are taken from the value."""
        immediate = message.immediateValue
        match kind:
            case TensorType(dtype, shape):
                array = np.asarray(value, dtype.numpy)
                if not _fits(shape, array.shape):
                    raise ProgramError(f"a constant of type {kind} has a value of shape {array.shape}")
                self.type(TensorType(dtype, array.shape), message.type)
                _fill(immediate.tensor, dtype, array)
                return
            case ListType(element):
                immediate.list.SetInParent()
                for item in value:
                    self.value(element, item, immediate.list.values.add())
            case TupleType(elements):
                immediate.tuple.SetInParent()
                for item_type, item in zip(elements, value, strict=True):
                    self.value(item_type, item, immediate.tuple.values.add())
            case DictionaryType(key_type, value_type):
                immediate.dictionary.SetInParent()
                for key, item in value.items():
                    pair = immediate.dictionary.values.add()
                    self.value(key_type, key, pair.key)
                    self.value(value_type, item, pair.value)
        self.type(kind, message.type)


def _fits(shape: Shape | None, found: tuple[int, ...]) -> bool:
    return shape is None or (
        len(shape) == len(found) and all(d in (None, f) for d, f in zip(shape, found, strict=True))
    )


def _fill(tensor: Any, dtype: DataType, array: np.ndarray) -> None:
    if dtype is DataType.STRING:
        tensor.strings.values.extend(array.reshape(-1).tolist())
    elif dtype is DataType.UINT64:
        tensor.longInts.values.extend(array.reshape(-1).view(np.int64).tolist())
    elif dtype in _FIELDS and not (dtype is DataType.FLOAT32 and np.isnan(array).any()):
        getattr(tensor, _FIELDS[dtype]).values.extend(array.reshape(-1))
    else:  # Python floats would not preserve the bits of a NaN
        tensor.bytes.values = pack_elements(array, dtype)
