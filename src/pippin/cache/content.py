"""Content: a digest of a model's files, independent of their location, with an index that avoids hashing them again.

The index stores size, timestamps and inode of each file with the digest. If a file was modified less than two seconds
before it was hashed, nothing is indexed, because a later change could leave its timestamps the same.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PackageError
from ..format.mlpackage import SPECIFICATION, open_package
from ..support.atomic_write import atomic_write
from ..support.mapped_parts import mapped_parts
from ..support.regular_files import is_regular, open_regular, read_regular

_MIN_AGE = 2_000_000_000  # nanoseconds
_MANIFEST = "Manifest.json"
_CHUNK = 1 << 21
SPECIALIZATIONS = "specializations"
"""The folder in a compiled model that holds its specializations; not part of its content."""

Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Content:
    """A digest of a model's files at one point in time."""

    digest: str
    stamps: Mapping[str, Stamp]
    """Size, timestamps and inode of each file, to detect later changes."""

    def covers(self, files: Iterable[str]) -> bool:
        """Whether the digest includes all of these files."""
        known = {Path(path).resolve() for path in self.stamps}
        return all(Path(file).resolve() in known for file in files)

    def unchanged(self) -> bool:
        return all(_stamp(Path(path)) == stamp for path, stamp in self.stamps.items())


def content_of(path: Path, weights: Path | None, index: Path | None) -> Content:
    """The digest of a model on disk: its specification and weights, with their paths inside the model.

    The manifest is excluded because its identifiers are random. `index` is the index folder; None means always hash.
    Raises PackageError if `path` is not a model or a file cannot be read.
    """
    known = _read(index, path, weights)
    if known is not None and all(_stamp(Path(file)) == tuple(stamp) for file, stamp in known["watched"].items()):
        return Content(known["digest"], {file: tuple(stamp) for file, stamp in known["watched"].items()})
    began = _now(index)
    files = dict(_files(path, weights))
    watched = {str(file): _stamp(file) for file in (*files.values(), *_watched(path, weights))}
    lines = [f"{_hash(file)}  {name}\n" for name, file in sorted(files.items())]
    stamps = {file: stamp for file, stamp in watched.items() if stamp is not None}
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    old_enough = began is not None and all(max(stamp[1], stamp[2]) + _MIN_AGE < began for stamp in stamps.values())
    if index is not None and old_enough:
        _write(index, path, weights, {"digest": digest, "watched": stamps})
    return Content(digest, stamps)


def stamps_of(path: Path) -> Mapping[str, Stamp | None]:
    """Size, timestamps and inode of the files of a model, which need not be one. They are not read."""
    files = [Path(root) / name for root, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    return {str(file): _stamp(file) for file in files if SPECIALIZATIONS not in file.parts}


def content_of_bytes(parts: Iterable[tuple[str, bytes | memoryview]]) -> Content:
    """The digest of a model in memory, given as (name, data) parts."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(parts)]
    return Content(hashlib.sha256("".join(lines).encode()).hexdigest(), {})


def _files(path: Path, weights: Path | None) -> Iterable[tuple[str, Path]]:
    if is_regular(path / _MANIFEST):
        package = open_package(path)
        yield "model", package.specification
        for item in package.items:
            yield from _below(item.path, item.name or item.path.name)
        yield from _below(package.specification.parent / "weights", "beside")
    elif path.is_dir():
        below = _below(path, "compiled")
        yield from ((name, file) for name, file in below if not name.startswith(f"compiled/{SPECIALIZATIONS}/"))
    else:
        yield "model", path
        for folder in (weights,) if weights is not None else (path.parent / "weights",):
            yield from _below(folder, "weights")
        if weights is None:
            yield from ((f"beside/{file.name}", file) for file in path.parent.glob("*.bin"))
            if path.suffix.lower() == ".onnx":  # its weights are beside it as model.onnx.data or model.onnx_data
                others = (file for file in path.parent.glob(f"{glob.escape(path.stem)}.*") if file != path)
                yield from ((f"beside/{file.name}", file) for file in others if is_regular(file))
        if path.suffix == ".mil" and is_regular(path.parent / SPECIFICATION):
            yield f"beside/{SPECIFICATION}", path.parent / SPECIFICATION


def _below(folder: Path, name: str) -> Iterable[tuple[str, Path]]:
    if is_regular(folder):
        yield name, folder
    for root, _, files in os.walk(folder):
        for file in files:
            at = Path(root) / file
            yield f"{name}/{at.relative_to(folder).as_posix()}", at


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev


def _watched(path: Path, weights: Path | None) -> Iterator[Path]:
    """Paths that determine which files belong to a model: its manifest, and folders to which files could be added."""
    if not path.is_dir():
        yield from (weights or path.parent / "weights",)
        return
    for root, folders, _ in os.walk(path):
        if SPECIALIZATIONS in folders:
            folders.remove(SPECIALIZATIONS)  # adding it does not change the model
        elif Path(root) != path or not (path / SPECIALIZATIONS).exists():
            yield Path(root)
    if is_regular(path / _MANIFEST):
        yield path / _MANIFEST


def _hash(path: Path) -> str:
    """SHA-256 over the SHA-256 digests of 2 MiB chunks, which are hashed in parallel."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= _CHUNK:
                return hashlib.sha256(hashlib.sha256(file.read()).digest()).hexdigest()
            digests = [digest for part in mapped_parts(file.fileno(), size) for digest in _hash_chunks(part)]
            return hashlib.sha256(b"".join(digests)).hexdigest()
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from None


def _hash_chunks(part: memoryview) -> list[bytes]:
    from concurrent.futures import ThreadPoolExecutor

    chunks = [part[at : at + _CHUNK] for at in range(0, len(part), _CHUNK)]
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(lambda chunk: hashlib.sha256(chunk).digest(), chunks))
    for chunk in chunks:
        chunk.release()
    return digests


def _entry(index: Path, path: Path, weights: Path | None) -> Path:
    name = f"{path.absolute()}\0{weights.absolute() if weights else ''}"
    return index / hashlib.sha256(name.encode()).hexdigest()[:32]


def _read(index: Path | None, path: Path, weights: Path | None) -> dict[str, Any] | None:
    """The index record; None if it is missing or invalid."""
    if index is None:
        return None
    try:
        check, _, text = read_regular(_entry(index, path, weights)).decode().partition("\n")
        if check != hashlib.sha256(text.encode()).hexdigest():
            return None
        record = json.loads(text)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"digest", "watched"} <= record.keys() else None


def _now(index: Path | None) -> int | None:
    """The current time by the file system's clock, from a probe file; None if it cannot be written."""
    if index is None:
        return None
    try:
        probe = index / f".{os.getpid()}"
        probe.write_bytes(b"")
        try:
            return probe.stat().st_mtime_ns
        finally:
            probe.unlink(missing_ok=True)
    except OSError:
        return None


def _write(index: Path, path: Path, weights: Path | None, record: dict[str, Any]) -> None:
    text = json.dumps(record)
    target = _entry(index, path, weights)
    # Without an index record, the files are hashed again.
    with suppress(OSError), atomic_write(target) as temporary:
        temporary.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}", encoding="utf-8")
