"""Archive: exports cache entries to a tar file and imports them on another machine of the same kind."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..errors import CacheError
from ..support.atomic_write import atomic_write
from ..support.regular_files import open_regular
from .key import Ingredients
from .store import Cache, Entry, _read_manifest


def export_entries(cache: Cache, keys: Iterable[str], path: Path) -> list[str]:
    """Write entries to a tar file and return their keys. Raises CacheError if one is missing or damaged."""
    written = []
    try:
        with atomic_write(path) as temporary, tarfile.open(temporary, "w") as archive:
            for key in keys:
                entry = cache.get(key)
                if entry is None:
                    raise CacheError(f"{cache.folder} has no valid entry {key}")
                for name in ("entry.json", *entry.manifest["files"]):
                    archive.add(entry.folder / name, f"{key}/{name}", recursive=False)
                written.append(key)
    except OSError as error:
        raise CacheError(f"{path}: cannot be written: {error.strerror}") from None
    return written


def import_entries(cache: Cache, path: Path) -> list[str]:
    """Import the entries of a file written by `export_entries` and return their keys. Raises CacheError.

    Accepts only regular files that an entry's manifest lists, with matching checksums. The artifacts are parsed by the
    engines, so import only files you trust.
    """
    if not cache.prepare():
        raise CacheError(f"{cache.folder} is not writable")
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file) as archive:
            members: dict[str, list[tarfile.TarInfo]] = {}
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if not member.isfile() or len(parts) < 2 or ".." in parts or not parts[0].isalnum():
                    raise CacheError(f"{path}: '{member.name}' is not part of a cache entry")
                members.setdefault(parts[0], []).append(member)
            return [key for key, files in members.items() if _import(cache, archive, key, files, path)]
    except (OSError, tarfile.TarError) as error:
        raise CacheError(f"{path}: cannot be read: {error}") from None


def _import(cache: Cache, archive: tarfile.TarFile, key: str, members: list[tarfile.TarInfo], path: Path) -> bool:
    with cache.lock(key) as held:
        if not held:
            return False
        temporary = cache.begin(key)
        try:
            for member in members:
                target = temporary.joinpath(*PurePosixPath(member.name).parts[1:])
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                target.chmod(0o600)
            manifest = _read_manifest(temporary)
            damage = "its manifest is missing or damaged" if manifest is None else Entry(temporary, manifest).damage()
            listed = set() if manifest is None else {*manifest["files"], "entry.json"}
            extra = {"/".join(PurePosixPath(m.name).parts[1:]) for m in members} - listed
            if manifest is not None and Ingredients(manifest["ingredients"]).key != key:
                damage = "its ingredients do not match the key"
            if damage or extra:
                raise CacheError(f"{path}: entry {key} is invalid: {damage or f'unexpected file {min(extra)}'}")
            cache.remove(key)
            temporary.rename(cache.folder / "entries" / key)
        finally:
            cache.abandon(key)
    return True
