"""Opening: opens a model from any source as an `Asset` with a complete specification.

`format` opens the files and the description. If the program is MIL text, it is parsed here and converted to the
protobuf form, so later stages handle only protobufs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import PackageError, ProgramError, SpecificationError, UnsupportedModelError
from ..format.asset import Asset, Weights, open_asset
from ..format.mlmodelc import pipeline_models
from ..support.boundary import boundary
from ..support.regular_files import read_regular
from .infer_description import describe
from .ir import Function, Program
from .parser import parse_program
from .protobuf_writer import write_program


def open_model(source: Any, weights: Weights = None) -> Asset:
    """Open a model: the path of an `.mlpackage`, `.mlmodel`, `.mlmodelc` or `.mil`, or a specification in memory.

    See `open_asset` for `source` and `weights`. MIL text uses the description in its folder (a compiled model); without
    one, the description is inferred from the program. Raises the errors of `open_asset`, and ProgramError with line and
    column if the text is not a valid program.
    """
    asset = open_asset(source, weights)
    with boundary(ProgramError, f"{asset.name}: the program cannot be read"):
        return completed(asset)


def edited(text: Path, like: Asset) -> Asset:
    """The model `like` with its program replaced by MIL text; keeps its description and weight files."""
    if like.specification.WhichOneof("Type") != "mlProgram":
        raise UnsupportedModelError(f"{like.name} is a {like.description.kind} model; only an ML Program has MIL text")
    return completed(replace(like, name=text.name, text=text))


def completed(asset: Asset) -> Asset:
    """The asset with its program in the specification, parsed from text if necessary."""
    if asset.submodels:
        parts = tuple(completed(part) for part in asset.submodels)
        specification = _copy(asset.specification)
        models = pipeline_models(specification)
        del models[:]
        models.extend(part.specification for part in parts)
        return replace(asset, specification=specification, submodels=parts)
    if asset.text is None:
        return asset
    program = parse_program(_read(asset.text), str(asset.text), asset.weights)
    specification = _copy(asset.specification)
    if not specification.specificationVersion:
        describe(program, specification)
    specification.mlProgram.CopyFrom(write_program(_ordered(program, specification.description, asset.text)))
    return replace(asset, specification=specification, text=None)


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from None


def _ordered(program: Program, description: Any, path: Path) -> Program:
    """Sort the inputs of each function as in the description; Apple's text lists them alphabetically."""
    described = {f.name: f for f in description.functions} or {"main": description}
    functions = dict(program.functions)
    for name, features in described.items():
        if name not in functions:
            found = ", ".join(functions)
            raise SpecificationError(f"{path}: function '{name}' of the model description is missing (it has: {found})")
        functions[name] = _in_order(functions[name], features, path)
    return Program(functions, program.version, program.attributes)


def _in_order(function: Function, described: Any, path: Path) -> Function:
    order = {feature.name: number for number, feature in enumerate([*described.input, *described.state])}
    stray = next((value.name for value in function.inputs if value.name not in order), None)
    if stray is not None:
        raise SpecificationError(
            f"{path}: input '{stray}' of function '{function.name}' is not in the model description"
            f" (it has: {', '.join(order) or 'no inputs'})"
        )
    return replace(function, inputs=tuple(sorted(function.inputs, key=lambda value: order[value.name])))
