"""Folders: a folder for each class, and images beside their masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import DataError
from ...support.regular_files import is_regular
from .dataset import Dataset, Example

PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SOUNDS = frozenset({".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".wav"})
TEXTS = frozenset({".txt"})
_KNOWN = PICTURES | SOUNDS | TEXTS


def class_folders(path: Path) -> Dataset:
    """The files in one folder for each class; those of another kind are left out."""
    classes = tuple(sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")))
    listed = [(name, file) for name in classes for file in _files(path / name)]
    if not listed:
        raise DataError(f"{path}: its folders hold no pictures, sounds or texts ({', '.join(sorted(_KNOWN))})")
    empty = [name for name in classes if not any(each == name for each, _ in listed)]
    if empty:
        raise DataError(f"{path}: no files in the folder of the class {', '.join(map(repr, empty))}")

    def examples() -> Iterator[Example]:
        for name, file in listed:
            yield Example(str(file.relative_to(path)), value_of(file), name)

    return Dataset(path.name, "classification", classes, len(listed), examples, path)


def value_of(file: Path) -> Path | str:
    """The file itself, or the text in it."""
    if file.suffix.lower() not in TEXTS:
        return file
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as text: {error}") from None


def mask_folders(path: Path) -> Dataset:
    """images/ and masks/ with files of the same names."""
    masks = {file.stem: file for file in _files(path / "masks")}
    pairs = [(file, masks.get(file.stem)) for file in _files(path / "images")]
    alone = [file.name for file, mask in pairs if mask is None]
    if alone:
        raise DataError(f"{path}: {len(alone)} images have no mask of the same name, the first is {alone[0]}")
    if not pairs:
        raise DataError(f"{path / 'images'}: no pictures")

    def examples() -> Iterator[Example]:
        for file, mask in pairs:
            yield Example(str(file.relative_to(path)), file, mask)

    return Dataset(path.name, "segmentation", (), len(pairs), examples, path)


def _files(path: Path) -> list[Path]:
    found = (each for each in path.rglob("*") if each.suffix.lower() in _KNOWN and not each.name.startswith("."))
    return sorted(each for each in found if is_regular(each))
