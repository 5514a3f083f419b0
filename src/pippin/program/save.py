"""Save: writes an opened model as a compiled model (`.mlmodelc`) or as a package (`.mlpackage`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import ProgramError, UnsupportedModelError
from ..format.aimodel import AIModelFile
from ..format.asset import Asset, weight_path
from ..format.mlmodelc import pipeline_models, write_compiled
from ..format.mlpackage import write_package
from ..format.weight_blob import BlobFile
from .ir import Literal, Program
from .mil_writer import mil_text
from .protobuf_reader import read_program


def save_compiled(asset: Asset, path: Path) -> None:
    """Write the model as the `.mlmodelc` folder `path`. Raises FormatError if the model is invalid."""
    _check_kind(asset, ".mlmodelc")
    specification, text = asset.specification, None
    if specification.WhichOneof("Type") == "mlProgram":
        program = read_program(asset)
        try:
            text = mil_text(program)
        except ProgramError:
            pass  # a name is not valid in MIL text: keep the program in the specification
        else:
            specification = type(specification)()
            specification.CopyFrom(asset.specification)
            specification.mlProgram.Clear()
            specification.mlProgram.SetInParent()
    write_compiled(path, specification, weight_files(asset), text)


def save_package(asset: Asset, path: Path) -> None:
    """Write the model as the `.mlpackage` folder `path`. Raises FormatError if the model is invalid."""
    _check_kind(asset, ".mlpackage")
    write_package(path, asset.specification, weight_files(asset))


def _check_kind(asset: Asset, suffix: str) -> None:
    """Raise UnsupportedModelError for a Core AI model, whose operations Core ML's files cannot hold."""
    if isinstance(asset.specification, AIModelFile):
        raise UnsupportedModelError(f"{asset.name} is a Core AI model; it cannot be written as {suffix}")


def weight_files(asset: Asset) -> dict[str, BlobFile]:
    """The weight files used by the programs of a model, by path inside the model.

    Raises ProgramError if two models of a pipeline have different files with the same name.
    """
    if asset.specification.WhichOneof("Type") == "mlProgram":
        return {weight_path(file): asset.weights(file) for file in file_names(read_program(asset))}
    found: dict[str, BlobFile] = {}
    for part in asset.parts() if pipeline_models(asset.specification) else ():
        for name, blob in weight_files(part).items():
            if name in found and found[name].name != blob.name:
                raise ProgramError(
                    f"{asset.name}: two models of the pipeline have different weight files named '{name}'"
                )
            found[name] = blob
    return found


def file_names(program: Program) -> list[str]:
    """The weight files of a program, by the names it uses."""
    return sorted({literal.file for literal in _literals(program) if literal.file is not None})


def _literals(program: Program) -> Iterator[Literal]:
    for function in program.functions.values():
        for operation in function.block.walk():
            yield from operation.attributes.values()
            for bound in operation.inputs.values():
                yield from (argument for argument in bound if isinstance(argument, Literal))
