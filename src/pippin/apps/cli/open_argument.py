"""Model argument: finds the model that a command line names: a file, a folder that holds one, a zip archive."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigurationError, PackageError

if TYPE_CHECKING:
    from ...format.asset import Asset

_SUFFIXES = (".mlpackage", ".mlmodel", ".mlmodelc", ".aimodel")
_MARKS = (
    "Manifest.json",
    "coremldata.bin",
    "model.mlmodel",
    "model.mil",
    "main.mlirb",
)  # files of a folder that is a model itself
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_REPOSITORY = re.compile(r"[\w-]+/[\w.-]+")
# What is unpacked of an archive. Weights do not shrink to less than a few hundredths, unless they are few values.
_MOST_FILES, _MOST_BYTES, _MOST_PER_BYTE = 10_000, 256 << 20, 64
_ZIP = b"PK\x03\x04"


def open_argument(given: Path) -> Asset:
    """Open the model that an argument names. Raises ConfigurationError if there is none, FormatError if damaged."""
    from ...program import open_model

    return open_model(model_path(given))


def model_path(given: Path) -> Path:
    """The path of the model that an argument names. Raises ConfigurationError if there is none."""
    if _URL.match(str(given)):
        address = str(given).replace(":/", "://", 1)  # a path has no empty parts
        raise ConfigurationError(
            f"{address} is a URL; Pippin uses no network: download the model and name the file or folder"
        )
    try:
        path = given.expanduser()
        if not path.exists():
            raise ConfigurationError(_missing(given))
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"{str(given)!r} cannot be opened: {error}") from None
    if path.is_file() and _starts_as_zip(path):
        path = _unpacked(path)
    return _model_in(path) if path.is_dir() else path


def _missing(given: Path) -> str:
    if _REPOSITORY.fullmatch(str(given)) and not given.suffix and not given.parent.exists():
        return f"{given}: no such file or folder; Pippin uses no network: download a model of a repository first"
    return f"{given}: no such file or folder"


def _model_in(folder: Path) -> Path:
    """The folder if it is a model, else the only model in it."""
    if folder.suffix in _SUFFIXES or any((folder / name).exists() for name in _MARKS):
        return folder
    models = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and not path.name.startswith("."))
    if len(models) > 1:
        names = ", ".join(path.name for path in models)
        raise ConfigurationError(f"{folder} holds {len(models)} models; name one of them: {names}")
    return models[0] if models else folder


def _starts_as_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_ZIP)) == _ZIP
    except OSError:
        return False  # opening the model reports why


def _unpacked(path: Path) -> Path:
    """Unpack an archive for as long as the command runs. `zipfile` keeps every file inside the folder."""
    folder = Path(tempfile.mkdtemp(prefix="pippin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(archive, path, folder)
            names = [entry for entry in archive.namelist() if not entry.startswith("__MACOSX/")]
            archive.extractall(folder, names)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError) as error:
        raise PackageError(f"{path} cannot be unpacked: {error}") from None
    inside = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    only = inside[0] if len(inside) == 1 else folder  # an archive of a folder that holds the model
    if not (only.suffix in _SUFFIXES if only.is_file() else _holds_model(folder)):
        raise PackageError(f"{path} is a zip archive without a Core ML model")
    return only


def _check_size(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    """Raise PackageError for an archive that holds more than its size can mean, or more than there is room for."""
    entries = archive.infolist()
    size, most = sum(entry.file_size for entry in entries), _MOST_BYTES + _MOST_PER_BYTE * path.stat().st_size
    if len(entries) > _MOST_FILES or size > most:
        limit = f"{_MOST_FILES:,} files of {most:,} bytes"
        raise PackageError(f"{path} holds {len(entries):,} files of {size:,} bytes; at most {limit} are unpacked of it")
    if size > shutil.disk_usage(folder).free:
        raise PackageError(f"{path} holds {size:,} bytes, more than is free in {folder.parent}")


def _holds_model(folder: Path) -> bool:
    return any((folder / name).exists() for name in _MARKS) or any(p.suffix in _SUFFIXES for p in folder.iterdir())
