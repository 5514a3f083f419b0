"""Package: reads and writes the `.mlpackage` layout: Manifest.json and the files it lists.

Source of the format: coremltools' `modelpackage` (public): keys `fileFormatVersion`, `itemInfoEntries` (identifier to
{path, name, author, description}), `rootModelIdentifier`; paths are relative to the folder `Data`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import PackageError
from ..support.atomic_write import atomic_write
from ..support.regular_files import is_regular, read_regular

if TYPE_CHECKING:
    from .weight_blob import BlobFile

SPECIFICATION = "model.mlmodel"
"""File name of the specification in the packages and compiled models that Pippin writes."""
_MANIFEST = "Manifest.json"
_DATA = "Data"
_MAJOR = "1"
_AUTHOR = "com.apple.CoreML"


@dataclass(frozen=True, slots=True)
class Item:
    """A file or folder listed in the manifest. Its name may differ from the last part of its path."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Package:
    """An `.mlpackage` on disk: the specification file and the items that may contain weight files."""

    path: Path
    specification: Path
    items: tuple[Item, ...]

    def find(self, relative: str) -> Path | None:
        """The file at a path such as `weights/weight.bin`, found through the manifest's items; None if it is missing.

        Raises PackageError for a path that points outside the package.
        """
        parts = Path(relative).parts
        candidates = [self.specification.parent / relative]
        for item in self.items:
            candidates.append(item.path / relative)
            # an item named "weights" contains "weights/weight.bin"
            names = {item.name, item.path.name}.intersection(parts)
            candidates.extend(item.path.joinpath(*parts[parts.index(name) + 1 :]) for name in sorted(names))
        for candidate in candidates:
            inside(self.path, candidate)
            if is_regular(candidate):
                return candidate
        return None


def open_package(path: Path) -> Package:
    """Read the manifest. Raises PackageError if the layout is invalid."""
    manifest = _read_manifest(path)
    version = str(manifest.get("fileFormatVersion", ""))
    if version.split(".")[0] != _MAJOR:
        raise PackageError(f"{path}: unsupported manifest format version '{version}'; expected {_MAJOR}.x")
    entries = manifest.get("itemInfoEntries")
    root = manifest.get("rootModelIdentifier")
    if not isinstance(entries, dict) or not entries:
        raise PackageError(f"{path}: the manifest lists no items ('itemInfoEntries')")
    if not isinstance(root, str) or root not in entries:
        raise PackageError(f"{path}: 'rootModelIdentifier' {root!r} is not among the manifest's items")
    items = {identifier: _item(path, identifier, entry) for identifier, entry in entries.items()}
    specification = items[root].path
    if not is_regular(specification):
        raise PackageError(f"{path}: model specification {specification.relative_to(path)} is missing")
    return Package(path, specification, tuple(item for key, item in items.items() if key != root))


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / _MANIFEST
    try:
        manifest = json.loads(read_regular(file))
    except FileNotFoundError:
        raise PackageError(f"{path} is not a model package: {_MANIFEST} is missing") from None
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{file} is not valid JSON: {error}") from None
    except OSError as error:
        raise PackageError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(manifest, dict):
        raise PackageError(f"{file} must contain a JSON object, got {type(manifest).__name__}")
    return manifest


def _item(path: Path, identifier: str, entry: Any) -> Item:
    relative = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(relative, str) or not relative or "\0" in relative:
        raise PackageError(f"{path}: manifest item '{identifier}' has no path")
    name = entry.get("name")
    return Item(name if isinstance(name, str) else "", inside(path, path / _DATA / relative))


def inside(root: Path, path: Path) -> Path:
    """Check that `path`, as written, stays inside `root`. Links are followed: download caches store files elsewhere."""
    lexical = Path(os.path.normpath(path))
    if "\0" in str(path) or not lexical.is_relative_to(os.path.normpath(root)):
        raise PackageError(f"{root}: path {str(path)!r} points outside the package")
    return path


def write_package(path: Path, specification: Any, weights: Mapping[str, BlobFile]) -> None:
    """Write the folder `path`, which must not exist yet. `weights` are weight files by path inside the model."""
    with atomic_write(path) as temporary:
        folder = temporary / _DATA / _AUTHOR
        folder.mkdir(parents=True)
        (folder / SPECIFICATION).write_bytes(specification.SerializeToString())
        for relative, blob in weights.items():
            file = inside(folder, folder / relative)
            file.parent.mkdir(parents=True, exist_ok=True)
            blob.save(file)
        items = {SPECIFICATION: "CoreML Model Specification"}
        items |= dict.fromkeys(sorted({Path(relative).parts[0] for relative in weights}), "CoreML Model Weights")
        entries = {
            str(uuid4()).upper(): {
                "author": _AUTHOR, "description": what, "name": name, "path": f"{_AUTHOR}/{name}",
            }
            for name, what in items.items()
        }  # fmt: skip
        manifest = {
            "fileFormatVersion": "1.0.0",
            "itemInfoEntries": entries,
            "rootModelIdentifier": next(iter(entries)),
        }
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=4), encoding="utf-8")
