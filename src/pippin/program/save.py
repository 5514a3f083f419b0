"""Save: an opened model as a compiled model, the `.mlmodelc` folder that loads without the package it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..format.asset import Asset, weight_path
from ..format.compiled import write_compiled
from .ir import Literal, Program
from .mil import mil_text
from .read import read_program


def save_compiled(asset: Asset, path: Path) -> None:
    """Write the model as the folder `path`. Raises the errors of FormatError where the model is unsound."""
    if asset.specification.WhichOneof("Type") != "mlProgram":
        write_compiled(path, asset.specification, {}, None)
        return
    program = read_program(asset)
    files = sorted({literal.file for literal in _literals(program) if literal.file is not None})
    write_compiled(path, asset.specification, {weight_path(f): asset.weights(f) for f in files}, mil_text(program))


def _literals(program: Program) -> Iterator[Literal]:
    for function in program.functions.values():
        for operation in function.block.walk():
            yield from operation.attributes.values()
            for bound in operation.inputs.values():
                yield from (argument for argument in bound if isinstance(argument, Literal))
