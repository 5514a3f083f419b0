"""Weights: those of a program that can be stored in another way, and the program in which they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import UnsupportedModelError
from ...format.asset import Asset, weight_path
from ...format.weight_blob import BlobFile
from ...format.weight_blob_writer import BlobWriter
from ...program.ir import Block, Literal, Operation, Program
from ...program.protobuf_reader import read_program
from ...program.protobuf_writer import write_program
from ...types import DataType, TensorType
from .methods import Stored

LEAST = 512
"""Elements: what is smaller stays as it is."""
_FILE = "@model_path/weights/weight.bin"
_FLOATS = (DataType.FLOAT16, DataType.FLOAT32)
_IOS16, _IOS18 = 7, 9  # specification versions
_INLINE = 64  # bytes: smaller arrays stand in the program


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant that can be compressed."""

    name: str
    dtype: DataType
    array: np.ndarray
    """In float32."""
    readers: tuple[str, ...]
    """Kinds of the operations that read it."""

    @property
    def bytes(self) -> int:
        return self.array.size * self.dtype.bits // 8


def compressible(asset: Asset) -> list[Weight]:
    """The weights in the order of the program; a weight of several functions appears once. Raises
    UnsupportedModelError if the model is no ML Program, or one for iOS 15."""
    if asset.specification.WhichOneof("Type") != "mlProgram":
        raise UnsupportedModelError(
            f"the kind of {asset.name} is {asset.description.kind}; only the weights of ML Programs can be compressed"
            + (
                " (`pippin convert` makes one of it)"
                if asset.description.kind == "onnx"
                else " (convert it for iOS 16)"
            )
        )
    if asset.specification.specificationVersion < _IOS16:
        raise UnsupportedModelError(
            f"{asset.name} is for iOS 15, which knows no compressed weights: convert it for iOS 16"
        )
    found: dict[str, Weight] = {}
    for function in read_program(asset).functions.values():
        readers: dict[str, set[str]] = {}
        for operation in function.block.walk():
            for arguments in operation.inputs.values():
                for argument in arguments:
                    if not isinstance(argument, Literal):
                        readers.setdefault(argument.name, set()).add(operation.kind)
        for operation in function.block.walk():
            kind = operation.outputs[0].type if operation.kind == "const" and operation.outputs else None
            if not isinstance(kind, TensorType) or kind.dtype not in _FLOATS or len(kind.shape or ()) < 2:
                continue
            array = np.asarray(operation.attributes["val"].value)
            if array.size >= LEAST:
                kinds = tuple(sorted(readers.get(operation.name, ())))
                found.setdefault(operation.name, Weight(operation.name, kind.dtype, array.astype(np.float32), kinds))
    return list(found.values())


def is_ios18(asset: Asset) -> bool:
    return int(asset.specification.specificationVersion) >= _IOS18


def weight_bytes(asset: Asset) -> int:
    """Bytes of all constants as they are stored."""
    total = 0
    for function in read_program(asset).functions.values():
        for operation in function.block.walk():
            for literal in _literals(operation):
                if isinstance(literal.type, TensorType) and isinstance(literal.value, np.ndarray):
                    total += literal.value.size * literal.type.dtype.bits // 8
    return total


def float32_bytes(asset: Asset) -> int:
    """Bytes of all weights if each were float32."""
    total = 0
    for function in read_program(asset).functions.values():
        for operation in function.block.walk():
            kind = operation.outputs[0].type if operation.constant and operation.outputs else None
            if isinstance(kind, TensorType) and kind.dtype in _FLOATS and kind.shape is not None:
                total += 4 * int(np.prod([size or 1 for size in kind.shape]))
    return total


def _literals(operation: Operation) -> Iterator[Literal]:
    yield from (literal for name, literal in operation.attributes.items() if name != "name")
    for arguments in operation.inputs.values():
        yield from (argument for argument in arguments if isinstance(argument, Literal))


def with_values(asset: Asset, values: Mapping[str, np.ndarray]) -> Asset:
    """The model with other values in some of its constants, in memory."""

    def edit(operation: Operation) -> Operation:
        if operation.name not in values or operation.kind != "const":
            return operation
        old = operation.attributes["val"]
        assert isinstance(old.type, TensorType)
        new = Literal(old.type, values[operation.name].astype(old.type.dtype.numpy))
        return replace(operation, attributes={**operation.attributes, "val": new})

    return replace(asset, specification=_specification(asset, _edited(read_program(asset), edit)))


def compressed(asset: Asset, choices: Mapping[str, Stored]) -> tuple[Any, dict[str, BlobFile]]:
    """The specification and the weight files of the model in which these weights are stored as chosen."""
    writer = BlobWriter()
    known: dict[tuple[str | None, int, str], int] = {}

    def placed(literal: Literal, always: bool) -> Literal:
        """The literal in the new weight file, if it is in one now or large."""
        kind = literal.type
        if literal.file is None and not always:
            return literal
        value = literal.value
        if not isinstance(kind, TensorType) or not isinstance(value, np.ndarray) or value.nbytes < _INLINE:
            return Literal(kind, value)
        key = (literal.file, literal.offset if literal.file else id(literal), kind.dtype.name)
        if key not in known:
            known[key] = writer.add(value, kind.dtype)
        return Literal(kind, value, _FILE, known[key])

    def edit(operation: Operation) -> Operation:
        chosen = choices.get(operation.name) if operation.kind == "const" else None
        if chosen is not None:
            operation = _stored(operation, chosen, is_ios18(asset))
        attributes = {n: placed(each, chosen is not None and n != "name") for n, each in operation.attributes.items()}
        inputs = {
            name: tuple(placed(each, chosen is not None) if isinstance(each, Literal) else each for each in arguments)
            for name, arguments in operation.inputs.items()
        }
        return replace(operation, inputs=inputs, attributes=attributes)

    program = _edited(read_program(asset), edit)
    return _specification(asset, program), {weight_path(_FILE): writer.file("weights")}


def _stored(operation: Operation, chosen: Stored, ios18: bool) -> Operation:
    """The operation that makes the constant. Before iOS 18 its parameters are attributes, since then inputs."""
    made = {name: Literal(TensorType(dtype, array.shape), array) for name, (array, dtype) in chosen.parameters.items()}
    name = {"name": operation.attributes["name"]} if "name" in operation.attributes else {}
    if ios18:
        return Operation(chosen.kind, {key: (each,) for key, each in made.items()}, operation.outputs, (), name)
    return Operation(chosen.kind, {}, operation.outputs, (), {**name, **made})


def _specification(asset: Asset, program: Program) -> Any:
    made = type(asset.specification)()
    made.CopyFrom(asset.specification)
    made.mlProgram.CopyFrom(write_program(program))
    return made


def _edited(program: Program, edit: Callable[[Operation], Operation]) -> Program:
    functions = {name: replace(each, block=_block(each.block, edit)) for name, each in program.functions.items()}
    return replace(program, functions=functions)


def _block(block: Block, edit: Callable[[Operation], Operation]) -> Block:
    inner = (replace(o, blocks=tuple(_block(b, edit) for b in o.blocks)) if o.blocks else o for o in block.operations)
    return Block(block.inputs, tuple(edit(operation) for operation in inner), block.outputs)
