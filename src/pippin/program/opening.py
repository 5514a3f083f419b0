"""Opening: a model, with what only its program can tell where that is text.

`format` opens the folder and the description; here the text is parsed, and becomes the protobuf that every other model
has from the start, so that nothing behind it needs to know.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import PackageError, SpecificationError, UnsupportedModelError
from ..format.asset import Asset, Weights, open_asset
from ..format.mlmodelc import pipeline_models
from .infer_description import describe
from .ir import Function, Program
from .parser import parse_program
from .protobuf_writer import write_program


def open_model(source: Any, weights: Weights = None) -> Asset:
    """Open a model: the path of an `.mlpackage`, `.mlmodel`, `.mlmodelc` or `.mil`, or a specification in memory.

    `open_asset` says what `source` and `weights` may be. A text that lies beside a description (in a compiled model) is
    a model with that description; one that stands alone describes itself. Raises what `open_asset` does, and
    ProgramError, with the line and the column, for a text that is no program.
    """
    return completed(open_asset(source, weights))


def edited(text: Path, like: Asset) -> Asset:
    """The model `like` with the program of a text in place of its own: with its description and its weight files."""
    if like.specification.WhichOneof("Type") != "mlProgram":
        raise UnsupportedModelError(f"{like.name} is a {like.description.kind} model; only an ML Program has a text")
    return completed(replace(like, name=text.name, text=text))


def completed(asset: Asset) -> Asset:
    """The asset with its program in the specification."""
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
        return path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from None


def _ordered(program: Program, description: Any, path: Path) -> Program:
    """The inputs of each function in the order of the description; Apple's text has them by the alphabet."""
    described = {f.name: f for f in description.functions} or {"main": description}
    functions = dict(program.functions)
    for name, features in described.items():
        if name not in functions:
            found = ", ".join(functions)
            raise SpecificationError(f"{path}: has no function '{name}', which the model describes (it has: {found})")
        functions[name] = _in_order(functions[name], features, path)
    return Program(functions, program.version, program.attributes)


def _in_order(function: Function, described: Any, path: Path) -> Function:
    order = {feature.name: number for number, feature in enumerate([*described.input, *described.state])}
    stray = next((value.name for value in function.inputs if value.name not in order), None)
    if stray is not None:
        raise SpecificationError(
            f"{path}: '{function.name}' takes '{stray}', which the model does not describe"
            f" (it describes: {', '.join(order) or 'no input'})"
        )
    return replace(function, inputs=tuple(sorted(function.inputs, key=lambda value: order[value.name])))
