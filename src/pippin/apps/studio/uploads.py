"""Uploads: models dropped on the start page. A file enters; a model's path in a private folder of this server leaves.

The folder can be read by nobody else and is removed when the server ends. Packages are folders, which browsers do not
send, so they come zipped.
"""

from __future__ import annotations

import atexit
import shutil
import stat
import tempfile
import zipfile
import zlib
from functools import cache
from pathlib import Path, PurePosixPath

from ...errors import FormatError, PackageError
from ...support.units import format_bytes

MODELS = (".mlmodel", ".zip")
_FOLDERS = (".mlpackage", ".mlmodelc", ".aimodel")
# A file by which the content of a package or compiled model is recognized where its own folder was left out.
_CONTENTS = {"Manifest.json": ".mlpackage", "coremldata.bin": ".mlmodelc", "main.mlirb": ".aimodel"}
_MOST_FILES = 10_000
_MOST_BYTES = 4 << 30  # after unpacking
_MOST_DEPTH = 32
_LONGEST = 100  # characters of a file's name that are kept
_IGNORED = ("__MACOSX", ".DS_Store")


def new_file(name: str) -> Path:
    """A path for an uploaded file, in a new folder of its own. Raises FormatError for a file of another kind."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in MODELS:
        raise FormatError(f"{name} is neither an .mlmodel nor a .zip of an .mlpackage, .mlmodel, .mlmodelc or .aimodel")
    stem = "".join(c if c.isalnum() or c in " ._-" else "_" for c in PurePosixPath(name).stem)
    folder = Path(tempfile.mkdtemp(dir=_folder()))
    return folder / f"{stem[:_LONGEST].strip(' .') or 'model'}{suffix}"


def model_in(file: Path) -> Path:
    """The model of an uploaded file: itself, or the only one of the archive, which is unpacked beside it and removed.

    Raises PackageError for an archive that is damaged, too large, points outside itself, or has no or several models.
    """
    if file.suffix != ".zip":
        return file
    try:
        with zipfile.ZipFile(file) as archive:
            found = _unpacked(archive, file)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise PackageError(f"{file.name} cannot be unpacked: {error}") from None
    except PackageError:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise
    file.unlink()
    return found


def _unpacked(archive: zipfile.ZipFile, file: Path) -> Path:
    members = [m for m in archive.infolist() if not m.is_dir() and not set(_parts(m, file)) & set(_IGNORED)]
    size = sum(member.file_size for member in members)
    if len(members) > _MOST_FILES or size > _MOST_BYTES:
        raise PackageError(
            f"{file.name} holds {len(members):,} files of {format_bytes(size)}; at most {_MOST_FILES:,} files of"
            f" {format_bytes(_MOST_BYTES)} are unpacked"
        )
    paths = {_parts(member, file): member for member in members}
    prefix = next(((f"{file.stem}{suffix}",) for name, suffix in _CONTENTS.items() if (name,) in paths), ())
    models = sorted({found for parts in paths if (found := _model_of((*prefix, *parts)))})
    if len(models) != 1:
        names = ", ".join("/".join(parts) for parts in models[:5]) or "none"
        raise PackageError(f"{file.name} must hold one .mlpackage, .mlmodel, .mlmodelc or .aimodel; it holds: {names}")
    for parts, member in paths.items():
        target = file.parent.joinpath(*prefix, *parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("xb") as written:
            shutil.copyfileobj(source, written, 1 << 20)  # the reader ends at the size that was checked
    return file.parent.joinpath(*models[0])


def _parts(member: zipfile.ZipInfo, file: Path) -> tuple[str, ...]:
    """The parts of a member's path. Raises PackageError if it is a link or leads outside."""
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    kind = stat.S_IFMT(member.external_attr >> 16)
    outside = not parts or ".." in parts or parts[0].startswith("/") or len(parts) > _MOST_DEPTH
    if outside or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise PackageError(f"{file.name}: '{member.filename}' is a link, or leads outside the archive")
    return parts


def _model_of(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The path of the model that a file belongs to; () for other files."""
    for number, part in enumerate(parts):
        suffix = PurePosixPath(part).suffix.lower()
        if suffix in _FOLDERS or (suffix == ".mlmodel" and number == len(parts) - 1):
            return parts[: number + 1]
    return ()


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pippin-studio-"))  # for this user alone
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
