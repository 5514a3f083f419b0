"""Asset: opens a model from a path or from memory; provides its specification and weight files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import (
    ConfigurationError,
    ModelNotFoundError,
    PackageError,
    SpecificationError,
    UnsupportedModelError,
    UnsupportedVersionError,
    WeightFileNotFoundError,
)
from ..support.boundary import boundary
from ..support.regular_files import exists, is_regular, read_regular
from .aimodel import AIModelFile, describe, is_aimodel, open_aimodel
from .coremldata import FILE, read_coremldata
from .description import ModelDescription, read_description
from .git_lfs_pointer import POINTER, is_pointer
from .mlmodelc import PROGRAM, Compiled, is_compiled, open_compiled, own_specification, pipeline_models
from .mlpackage import SPECIFICATION, Package, inside, open_package
from .onnx_file import SUFFIX as ONNX
from .onnx_file import OnnxFile, open_onnx
from .onnx_file import describe as describe_onnx
from .schema import messages
from .weight_blob import BlobFile

NEWEST_SPECIFICATION = 10
"""Newest known specification version (iOS 26)."""

Weights: TypeAlias = Mapping[str, bytes] | os.PathLike[str] | str | None
_LINKS = 64  # a longer chain of linked models is a cycle
_MODEL_PATH = "@model_path/"
_BLOCK = 512  # the unit of st_blocks

# Models of other tools, by file extension, and the way to a model that can be opened.
_FROM_TORCH = "coremltools converts the traced or exported module: coremltools.convert(module, ...)"
_FROM_KERAS = "coremltools converts the model of TensorFlow's Keras: coremltools.convert(model, ...)"
_FROM_SOURCE = "coremltools does not convert it: convert the model that it was made from"
_OTHER_KINDS = {
    ".pt": ("a PyTorch model", _FROM_TORCH),
    ".pt2": ("a PyTorch model", _FROM_TORCH),
    ".pth": ("a PyTorch model", _FROM_TORCH),
    ".tflite": ("a TensorFlow Lite model", _FROM_SOURCE),
    ".h5": ("a Keras model", _FROM_KERAS),
    ".keras": ("a Keras model", _FROM_KERAS),
    ".safetensors": ("a weight file without a model", "load the weights into their model, and convert that"),
    ".gguf": ("a GGUF model", _FROM_SOURCE),
}


@dataclass(frozen=True)
class Asset:
    """An opened model, not yet parsed. `specification` is a `Model` message of coremltools' schema.

    If the program is MIL text, `text` is its file and the specification has no program until `program.open_model`
    adds it. `submodels` are the models of a pipeline that have their own folders.
    """

    name: str
    path: Path | None
    specification: Any = field(repr=False)
    _package: Package | None = field(default=None, repr=False)
    _weights: Weights = field(default=None, repr=False)
    text: Path | None = None
    submodels: tuple[Asset, ...] = field(default=(), repr=False)
    _opened: dict[str, BlobFile] = field(default_factory=dict, repr=False)
    _linked: list[str] = field(default_factory=list, repr=False)

    @cached_property
    def description(self) -> ModelDescription:
        with boundary(SpecificationError, f"{self.name}: invalid model description"):
            if isinstance(self.specification, AIModelFile):
                return describe(self.specification)
            if isinstance(self.specification, OnnxFile):
                return describe_onnx(self.specification)
            return read_description(self.specification)

    def weights(self, file_name: str) -> BlobFile:
        """The weight file that programs refer to as `file_name`, e.g. "@model_path/weights/weight.bin".

        Raises WeightError if it is invalid or (WeightFileNotFoundError) missing, PackageError if the path points
        outside the package.
        """
        if file_name not in self._opened:  # two threads may both open it; one of the mappings is dropped
            self._opened[file_name] = self._open(weight_path(file_name))
        return self._opened[file_name]

    def size(self) -> int:
        """Bytes that the model takes on disk, without holes of sparse files; in memory, those of the parts opened."""
        if self.path is None:
            return int(self.specification.ByteSize()) + sum(len(blob) for blob in list(self._opened.values()))
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        stats = [file.stat() for file in files if is_regular(file)]
        return sum(min(stat.st_size, _BLOCK * getattr(stat, "st_blocks", stat.st_size)) for stat in stats)

    def opened(self) -> list[str]:
        """Names of the weight files and linked models opened so far; paths for those on disk."""
        own = [*(blob.name for blob in list(self._opened.values())), *self._linked]
        if isinstance(self.specification, OnnxFile):
            own += [str(file) for file in self.specification.external_files.values()]
        return own + [name for part in self.submodels for name in part.opened()]

    def linked(self) -> Asset:
        """The target of a linked model, which must lie in the folder of this one. Raises PackageError, and
        ModelNotFoundError with the searched folders."""
        link = self.specification.linkedModel.linkedModelFile
        name, where = link.linkedModelFileName.defaultValue, link.linkedModelSearchPath.defaultValue
        if not Path(name).name or self.path is None:
            raise PackageError(
                f"{self.name}: cannot resolve the linked model '{name}': the link needs a file name, and this"
                " model must be opened from a path"
            )
        looked = [self.path.parent / self._within(folder) for folder in (where or ".").split(":")]
        self._within(name)
        for folder in looked:
            # The link names the compiled model; the package or file it was compiled from works too.
            for path in [folder / name, *((folder / name).with_suffix(s) for s in (".mlpackage", ".mlmodel"))]:
                if exists(path):
                    if not path.resolve().is_relative_to(self.path.parent.resolve()):
                        raise PackageError(f"{self.name}: the linked model '{path}' leads out of {self.path.parent}")
                    self._linked.append(str(path))
                    if len(self._linked) > _LINKS:
                        raise PackageError(f"{self.name}: cyclic link to the model '{name}'")
                    return replace(open_asset(path), _linked=self._linked)
        folders = ", ".join(map(str, looked))
        raise ModelNotFoundError(f"{self.name}: the linked model '{name}' was not found in {folders}", name)

    def _within(self, relative: str) -> str:
        """A name or search path of a link, as written. Raises PackageError if it could lead out of the folder."""
        if Path(relative).is_absolute() or ".." in Path(relative).parts or "\0" in relative:
            raise PackageError(
                f"{self.name}: the path {relative!r} of the linked model leads out of the folder of this model;"
                " it must be relative, without '..'"
            )
        return relative

    def parts(self) -> list[Asset]:
        """The models of a pipeline, in order. They share its weight files."""
        if self.submodels or isinstance(self.specification, AIModelFile | OnnxFile):
            return list(self.submodels)
        models = pipeline_models(self.specification)
        return [replace(self, name=f"{self.name} model{i}", specification=model) for i, model in enumerate(models)]

    def _open(self, relative: str) -> BlobFile:
        if self._package is not None:
            found = self._package.find(relative)
            if found is not None:
                return BlobFile.open(found)
        elif isinstance(self._weights, Mapping):
            if relative in self._weights:
                return BlobFile.from_bytes(self._weights[relative], relative)
        elif self._weights is not None:
            folder = Path(self._weights)
            for candidate in (folder / relative, folder / Path(relative).name):
                if is_regular(inside(folder, candidate)):
                    return BlobFile.open(candidate)
        raise WeightFileNotFoundError(f"{self.name}: weight file '{relative}' is missing{self._where()}", relative)

    def _where(self) -> str:
        if self._package is not None:
            return " from the package"
        if self._weights is None:
            return ": pass `weights` with the specification"
        if isinstance(self._weights, Mapping):
            return f" from `weights` (it has: {', '.join(sorted(self._weights)) or 'none'})"
        return f" from {os.fspath(self._weights)}"


def weight_path(file_name: str) -> str:
    """The path inside the model for a program's file name, e.g. "@model_path/weights/weight.bin"."""
    return file_name.removeprefix(_MODEL_PATH)


def open_asset(source: Any, weights: Weights = None) -> Asset:
    """Open a model: the path of an `.mlpackage`, `.mlmodel`, `.mlmodelc`, `.mil`, `.aimodel` or `.onnx`, or a
    specification in memory.

    A specification in memory is bytes or a `Model` message. Pass its weight files as `weights`: either
    {"weights/weight.bin": bytes} or the folder that contains them. An Asset is returned unchanged.
    Raises PackageError, ModelNotFoundError, SpecificationError, UnsupportedVersionError; UnsupportedModelError if the
    model is not a Core ML model or uses an unknown compiled format; ConfigurationError if `weights` is passed with a
    package or an Asset, which have their own.
    """
    if isinstance(source, Asset):
        _reject_weights(weights, source.name)
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return Asset("model in memory", None, _parse(bytes(source), "model in memory"), None, weights)
    if isinstance(source, str | os.PathLike):
        with boundary(PackageError, f"{os.fspath(source)!r} cannot be opened"):
            return _open_path(Path(source), weights)
    if hasattr(source, "SerializeToString") and hasattr(source, "specificationVersion"):
        return Asset("model in memory", None, _checked(source, "model in memory"), None, weights)
    raise PackageError(f"a model must be a path, bytes or a Model message, got {type(source).__name__}")


def _reject_weights(weights: Weights, name: str) -> None:
    if weights is not None:
        raise ConfigurationError(f"{name} has its own weights; omit `weights`")


def _open_path(path: Path, weights: Weights) -> Asset:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFoundError(f"{path}: no such file or folder", path) from None
    except (OSError, ValueError) as error:
        raise PackageError(f"{str(path)!r} cannot be opened: {error}") from None
    if path.suffix.lower() in _OTHER_KINDS:
        kind, way = _OTHER_KINDS[path.suffix.lower()]
        raise UnsupportedModelError(
            f"{path} is {kind}; expected an .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx. {way}"
        )
    if path.is_dir():
        if is_aimodel(path):
            _reject_weights(weights, str(path))
            return Asset(path.name, path, open_aimodel(path))
        own = own_specification(path)
        if own is not None:
            _reject_weights(weights, str(path))
            return _open_own(path, own)
        if is_compiled(path):
            _reject_weights(weights, str(path))
            return _compiled(open_compiled(path), path.name)
        package = open_package(path)
        _reject_weights(weights, str(path))
        specification = _parse(_read(package.specification), str(package.specification))
        return Asset(path.name, path, specification, package)
    if path.suffix == ".mil":
        return _open_text(path, weights)
    data = _read(path)
    if is_pointer(data):
        raise PackageError(f"{path} {POINTER}")
    if data[:4] == b"PK\x03\x04":
        raise PackageError(f"{path} is a zip archive; unpack it and open the model inside")
    if path.suffix.lower() == ONNX:
        _reject_weights(weights, str(path))
        return Asset(path.name, path, open_onnx(path))
    if path.name == "Manifest.json":
        raise PackageError(f"{path} is the manifest of a package; open the folder {path.parent}")
    return Asset(path.name, path, _parse(data, str(path)), None, path.parent if weights is None else weights)


def _open_own(path: Path, file: Path) -> Asset:
    """Open a folder written by Pippin."""
    specification = _parse(_read(file), str(file))
    is_program = specification.WhichOneof("Type") == "mlProgram"
    text = path / PROGRAM if is_program and not specification.mlProgram.functions else None
    return Asset(path.name, path, specification, None, path, text)


def _compiled(compiled: Compiled, name: str) -> Asset:
    """Open a folder written by Apple's compiler."""
    specification = compiled.specification
    if specification is None:
        return Asset(name, compiled.folder, _empty_program(), None, compiled.folder, compiled.text)
    parts = tuple(_compiled(part, f"{name} {part.folder.name}") for part in compiled.parts)
    _checked(specification, str(compiled.folder))
    return Asset(name, compiled.folder, specification, None, compiled.folder, compiled.text, parts)


def _open_text(path: Path, weights: Weights) -> Asset:
    """Open MIL text, with the description from the same folder if there is one."""
    folder = path.parent
    beside = path.parent if weights is None else weights
    if is_regular(folder / FILE):
        specification = _checked(read_coremldata(folder / FILE), str(folder / FILE))
    elif is_regular(folder / SPECIFICATION):
        specification = _parse(_read(folder / SPECIFICATION), str(folder / SPECIFICATION))
    else:
        return Asset(path.name, path, _empty_program(), None, beside, path)
    if specification.WhichOneof("Type") != "mlProgram":
        raise PackageError(
            f"{path}: its folder describes a {specification.WhichOneof('Type')} model, not an ML Program"
        )
    return Asset(path.name, path, specification, None, beside, path)


def _empty_program() -> Any:
    """The placeholder specification of MIL text without a description; `program` infers one later."""
    model = messages("Model").Model()
    model.mlProgram.SetInParent()
    return model


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from None


def _parse(data: bytes, name: str) -> Any:
    from google.protobuf.message import DecodeError

    if not data:
        raise SpecificationError(f"{name}: the model specification is empty")
    try:
        return _checked(messages("Model").Model.FromString(data), name)
    except DecodeError as error:
        raise SpecificationError(f"{name} is not a model specification, or is damaged: {error}") from None


def _checked(specification: Any, name: str) -> Any:
    version = specification.specificationVersion
    if not 1 <= version <= NEWEST_SPECIFICATION:
        if version > NEWEST_SPECIFICATION:
            raise UnsupportedVersionError(
                f"{name}: specification version {version} is too new; supported up to {NEWEST_SPECIFICATION}"
            )
        raise SpecificationError(f"{name}: invalid specification version {version}; not a model, or damaged")
    if specification.WhichOneof("Type") is None:
        raise SpecificationError(f"{name}: no model of a known kind in the specification; it may be truncated")
    return specification
