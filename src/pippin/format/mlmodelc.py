"""Compiled model: reads `.mlmodelc` folders written by Apple's compiler or by Pippin; writes Pippin's own.

Pippin writes                                     Apple's compiler writes
    model.mlmodel   the specification                 coremldata.bin          kind and description
    model.mil       the program of an ML Program      model.mil               the same
    weights/...     its weight files                  weights/weight.bin      the same
                                                      model.espresso.*        the layers of a neural network
                                                      model0/, model1/ ...    the models of a pipeline

Pippin stores the program only in `model.mil`, so that an edited text is what gets loaded. Older folders have it in
`model.mlmodel` too; there `model.mlmodel` takes precedence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PackageError
from ..support.atomic_write import atomic_write
from ..support.regular_files import is_regular
from .coremldata import FILE, read_coremldata
from .espresso import read_espresso
from .espresso_files import NETWORK
from .mlpackage import SPECIFICATION

if TYPE_CHECKING:
    from .weight_blob import BlobFile

PROGRAM = "model.mil"
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Compiled:
    """A folder written by Apple's compiler. `specification` is a `Model` message without its program."""

    folder: Path
    specification: Any
    text: Path | None
    """File of the program, for an ML Program."""
    parts: tuple[Compiled, ...] = ()


def own_specification(path: Path) -> Path | None:
    """The specification file in a folder written by `write_compiled`; None for any other folder."""
    file = path / SPECIFICATION
    return file if path.suffix == ".mlmodelc" and is_regular(file) else None


def is_compiled(path: Path) -> bool:
    """Whether a folder was, or claims to be, written by Apple's compiler."""
    return path.suffix == ".mlmodelc" or is_regular(path / FILE)


def open_compiled(path: Path, depth: int = 0) -> Compiled:
    """Read a folder written by Apple's compiler. Raises PackageError if a file is missing, SpecificationError if one
    is damaged, UnsupportedModelError for an unknown neural network layer."""
    if not is_regular(path / FILE):
        if is_regular(path / NETWORK) or not is_regular(path / PROGRAM):
            raise PackageError(f"{path} is not a compiled model: {FILE} is missing")
        return Compiled(path, None, path / PROGRAM)
    network = path / NETWORK
    specification = read_espresso(path) if is_regular(network) else read_coremldata(path / FILE)
    kind = specification.WhichOneof("Type")
    if kind == "mlProgram":
        text = path / PROGRAM
        if not is_regular(text):
            raise PackageError(f"{path}: program {PROGRAM} is missing")
        return Compiled(path, specification, text)
    if kind.startswith("neuralNetwork") and not getattr(specification, kind).layers:
        raise PackageError(f"{path}: neural network layers ({NETWORK}) are missing")
    models = pipeline_models(specification)
    if not models or all(model.WhichOneof("Type") for model in models):
        return Compiled(path, specification, None)
    if depth >= _DEEPEST:
        raise PackageError(f"{path}: pipelines are nested more than {_DEEPEST} levels deep")
    parts = tuple(_part(path / f"model{number}", depth) for number in range(len(models)))
    for model, part in zip(models, parts, strict=True):
        model.CopyFrom(part.specification)
    return Compiled(path, specification, None, parts)


def pipeline_models(specification: Any) -> Any:
    """The models of a pipeline, as a mutable list; empty for other kinds of model."""
    kind = specification.WhichOneof("Type") or ""
    if not kind.startswith("pipeline"):
        return ()
    return (specification.pipeline if kind == "pipeline" else getattr(specification, kind).pipeline).models


def _part(path: Path, depth: int) -> Compiled:
    if not is_regular(path / FILE):
        raise PackageError(f"{path.parent}: pipeline model {path.name} is missing")
    return open_compiled(path, depth + 1)


def write_compiled(path: Path, specification: Any, weights: Mapping[str, BlobFile], text: str | None) -> None:
    """Write the folder `path`, which must not exist yet. `weights` are weight files by path inside it."""
    with atomic_write(path) as temporary:
        temporary.mkdir(parents=True)
        (temporary / SPECIFICATION).write_bytes(specification.SerializeToString())
        if text is not None:
            (temporary / PROGRAM).write_text(text, encoding="utf-8", newline="\n")
        for relative, blob in weights.items():
            file = temporary / relative
            file.parent.mkdir(parents=True, exist_ok=True)
            blob.save(file)
