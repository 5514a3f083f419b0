"""Protobuf reader: converts the protobuf of an ML Program to the IR. Source: `MIL.proto` of coremltools."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ..errors import ProgramError
from ..format.asset import Asset
from ..format.schema import messages
from ..format.weight_blob import unpack_elements
from ..support.boundary import boundary
from ..types import DataType, DictionaryType, ListType, Shape, StateType, TensorType, TupleType, ValueType
from .blob_constants import is_fixed, read_record
from .ir import Argument, Block, Function, Literal, Operation, Program, Value

# Repeated fields by name; element types without one are stored as packed bytes.
_FIELDS = {
    "floats": np.float32,
    "doubles": np.float64,
    "ints": np.int32,
    "longInts": np.int64,
    "bools": np.bool_,
}


def read_program(asset: Asset) -> Program:
    """The ML Program of an asset.

    Raises ProgramError if a value is undefined, unnamed or does not match its type. Constants in weight files are read
    on first use and raise WeightError then.
    """
    proto = asset.specification.mlProgram
    if not proto.functions:
        raise ProgramError(f"{asset.name}: the ML Program has no functions")
    reader = _Reader(asset)
    with boundary(ProgramError, f"{asset.name}: invalid ML Program"):
        functions = {name: reader.function(name, proto.functions[name]) for name in sorted(proto.functions)}
        attributes = {name: reader.literal(value) for name, value in proto.attributes.items()}
        return Program(functions, int(proto.version), attributes)


class _Reader:
    def __init__(self, asset: Asset) -> None:
        self.asset = asset
        self.read = partial(read_record, asset.weights)
        enum = messages("MIL").DataType
        known = {member.name: member for member in DataType}
        self.dtypes = {number: known[name] for name, number in enum.items() if name in known}

    def function(self, name: str, proto: Any) -> Function:
        block = proto.block_specializations.get(proto.opset)
        if block is None:
            found = ", ".join(sorted(proto.block_specializations)) or "none"
            raise ProgramError(
                f"function '{name}' has no block for its operation set '{proto.opset}' (it has: {found})"
            )
        try:
            inputs = tuple(self.named(value) for value in proto.inputs)
            scope = _define({}, inputs, "the inputs")
            body = self.block(block, scope)
            attributes = {key: self.literal(value) for key, value in proto.attributes.items()}
            return Function(name, proto.opset, inputs, Block((), body.operations, body.outputs), attributes)
        except ProgramError as error:
            error.add_note(f"in function '{name}' of {self.asset.name}")
            raise

    def block(self, proto: Any, outer: Mapping[str, Value]) -> Block:
        inputs = tuple(self.named(value) for value in proto.inputs)
        scope = _define(dict(outer), inputs, "the inputs of a block")
        operations = []
        for number, op in enumerate(proto.operations):
            operation = self.operation(op, scope, number)
            operations.append(operation)
            _define(scope, operation.outputs, str(operation))
        missing = [name for name in proto.outputs if name not in scope]
        if missing:
            raise ProgramError(f"a block returns '{missing[0]}', which is not defined")
        return Block(inputs, tuple(operations), tuple(scope[name] for name in proto.outputs))

    def operation(self, proto: Any, scope: Mapping[str, Value], number: int) -> Operation:
        outputs = tuple(self.named(value) for value in proto.outputs)
        where = f"[{proto.type or f'operation {number}'}] '{outputs[0].name if outputs else proto.type}'"
        if not proto.type:
            raise ProgramError(f"{where} has no operation type")
        try:
            inputs = {
                name: tuple(self.binding(binding, scope, name) for binding in argument.arguments)
                for name, argument in proto.inputs.items()
            }
            attributes = {name: self.literal(value) for name, value in proto.attributes.items()}
        except ProgramError as error:
            raise ProgramError(f"{where}: {error}") from None
        blocks = tuple(self.block(block, scope) for block in proto.blocks)
        return Operation(proto.type, inputs, outputs, blocks, attributes)

    def binding(self, proto: Any, scope: Mapping[str, Value], parameter: str) -> Argument:
        if proto.WhichOneof("binding") == "value":
            return self.literal(proto.value)
        if proto.name not in scope:
            raise ProgramError(f"'{parameter}' is bound to '{proto.name}', which is not defined before it")
        return scope[proto.name]

    def named(self, proto: Any) -> Value:
        return Value(proto.name, self.type(proto.type))

    def type(self, proto: Any) -> ValueType:
        match proto.WhichOneof("type"):
            case "tensorType":
                return self.tensor_type(proto.tensorType)
            case "listType":
                length = self.dimension(proto.listType.length)
                return ListType(self.type(proto.listType.type), length)
            case "tupleType":
                return TupleType(tuple(self.type(t) for t in proto.tupleType.types))
            case "dictionaryType":
                return DictionaryType(
                    self.type(proto.dictionaryType.keyType), self.type(proto.dictionaryType.valueType)
                )
            case "stateType":
                wrapped = self.type(proto.stateType.wrappedType)
                if isinstance(wrapped, TensorType):
                    return StateType(wrapped)
        raise ProgramError("a value has no type, or a state does not wrap a tensor")

    def tensor_type(self, proto: Any) -> TensorType:
        dtype = self.dtypes.get(proto.dataType)
        if dtype is None:
            raise ProgramError(f"a tensor has the unknown element type {proto.dataType}")
        if proto.rank < 0 or any(d.unknown.variadic for d in proto.dimensions if d.HasField("unknown")):
            return TensorType(dtype, None)
        shape: Shape = tuple(self.dimension(d) for d in proto.dimensions)
        if proto.rank != len(shape):
            raise ProgramError(f"a tensor of rank {proto.rank} has {len(shape)} dimensions")
        return TensorType(dtype, shape)

    @staticmethod
    def dimension(proto: Any) -> int | None:
        return int(proto.constant.size) if proto.WhichOneof("dimension") == "constant" else None

    def literal(self, proto: Any) -> Literal:
        kind = self.type(proto.type)
        match proto.WhichOneof("value"):
            case "blobFileValue":
                return self.blob(kind, proto.blobFileValue.fileName, int(proto.blobFileValue.offset))
            case "immediateValue":
                return Literal(kind, self.immediate(kind, proto.immediateValue))
        raise ProgramError(f"a constant of type {kind} has no value")

    def blob(self, kind: ValueType, file: str, offset: int) -> Literal:
        if not is_fixed(kind):
            raise ProgramError(f"a constant of type {kind} in '{file}' needs a fixed shape")
        return Literal(kind, self.read, file, offset)

    def immediate(self, kind: ValueType, proto: Any) -> Any:
        match proto.WhichOneof("value"), kind:
            case "tensor", TensorType():
                return _tensor(kind, proto.tensor)
            case "list", _:
                return [self.literal(value).value for value in proto.list.values]
            case "tuple", _:
                return tuple(self.literal(value).value for value in proto.tuple.values)
            case "dictionary", _:
                return {_key(self.literal(p.key)): self.literal(p.value).value for p in proto.dictionary.values}
        raise ProgramError(f"the value of a constant does not match its type {kind}")


def _define(scope: dict[str, Value], values: tuple[Value, ...], by: str) -> dict[str, Value]:
    for value in values:
        if not value.name:
            raise ProgramError(f"{by}: a value has no name")
        scope[value.name] = value
    return scope


def _key(literal: Literal) -> Any:
    value = literal.value.item() if isinstance(literal.value, np.generic | np.ndarray) else literal.value
    if not isinstance(value, str | int):
        raise ProgramError(f"dictionary keys must be strings or integers, got {literal.type}")
    return value


def _tensor(kind: TensorType, proto: Any) -> Any:
    """The value of a TensorValue: an array of the declared shape, or a str for a scalar string."""
    if kind.shape is None or None in kind.shape:
        raise ProgramError(f"a constant of type {kind} needs a fixed shape")
    shape = tuple(d for d in kind.shape if d is not None)
    field = proto.WhichOneof("value")
    if field == "strings":
        strings = list(proto.strings.values)
        if shape == () and len(strings) == 1:
            return strings[0]
        array = np.array(strings, dtype=object)
    elif field == "bytes":
        array = unpack_elements(proto.bytes.values, kind.dtype, math.prod(shape))
    elif field in _FIELDS:
        if kind.dtype is DataType.STRING:
            raise ProgramError(f"a constant of type {kind} is stored as {field}")
        array = np.array(getattr(proto, field).values, dtype=_FIELDS[field]).astype(kind.dtype.numpy)
    else:
        array = np.zeros(0, kind.dtype.numpy)
    if array.size != math.prod(shape):
        raise ProgramError(f"a constant of type {kind} has {array.size} elements")
    return array.reshape(shape)
