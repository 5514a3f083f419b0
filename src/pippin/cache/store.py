"""Store: keeps specializations as entries on disk: atomic, verified, bounded, shared between processes.

    entries/KEY/entry.json     checksum, key ingredients, size and checksum of each file
    entries/KEY/session.json   what a session needs besides the artifacts
    entries/KEY/plan.json      the compute plan
    entries/KEY/segmentN/      the artifact of a segment, written by its engine
    entries/KEY/sources/       the paths the model was loaded from
    aside/KEY                  temporary folder of an entry that is being written or removed
    locks/                     256 lock files, one for all keys with the same first two digits
    index/                     digests of model files, with their timestamps
    calibration.json           measured speed of the devices
    rates.json                 measured rates of the engines on the CPU, by kind of operation

Any number of threads and processes may share a cache. An entry is written to a temporary folder and then renamed. To
delete an entry, it is first renamed to a temporary folder. Readers verify every byte, so a damaged or partly removed
entry is a miss. A temporary folder belongs to the holder of the key's lock; the next holder may delete it. Locks are
operating system locks (flock), which the death of a process releases. Nothing in an entry is unpickled or executed.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import CacheError
from ..support.mapped_parts import mapped_parts
from ..support.regular_files import open_regular, read_regular
from .key import Ingredients

_ENTRY = "entry.json"
_SOURCES = "sources"
_POLL = 0.02  # seconds between attempts to get a lock
_MIN_MAPPED = 1 << 17  # bytes; smaller files are read instead of memory-mapped
_FOLDERS = ("entries", "aside", "locks", "index")
_RESERVE = 0.02  # fraction of the disk to keep free
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of Pippin; it may be deleted at any time.\n"
DEFAULT_LIMIT = 8 * 2**30


def warn(message: str, *arguments: object) -> None:
    """Log a warning to "pippin.cache"; silent unless the application configures logging."""
    import logging

    log = logging.getLogger("pippin.cache")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    log.warning(message, *arguments)


_warned: set[Path] = set()


def warn_unusable(folder: Path, message: str, *arguments: object) -> None:
    """Log that a cache cannot be used and, once per folder, issue a UserWarning: without a cache each load is slow, and
    nobody would know why."""
    warn(f"%s {message}", folder, *arguments)
    if folder in _warned:
        return
    import warnings

    _warned.add(folder)
    warnings.warn(f"{folder} {message % arguments}; models are not cached there", UserWarning, stacklevel=2)


@dataclass(frozen=True)
class Entry:
    """A specialization on disk."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def key(self) -> str:
        return self.folder.name

    @cached_property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(int(size) for size, _ in self.manifest["files"].values()) + len(json.dumps(self.manifest))

    @property
    def used(self) -> float:
        """Time of last use, in seconds since 1970."""
        try:
            return (self.folder / _ENTRY).stat().st_mtime
        except OSError:
            return 0.0

    @property
    def sources(self) -> list[Path]:
        """The paths the model was loaded from; empty for a model in memory."""
        try:
            return [Path(read_regular(file).decode()) for file in sorted((self.folder / _SOURCES).iterdir())]
        except (OSError, ValueError):
            return []

    def read(self, name: str) -> bytes:
        """The verified contents of a file. Raises CacheError if it is damaged."""
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        if [len(data), _checksum(data)] != self.manifest["files"].get(name):
            raise CacheError(f"{path} is damaged")
        return data

    def damage(self) -> str | None:
        """Why the entry is damaged; None if all files are intact."""
        for name, (size, checksum) in self.manifest["files"].items():
            path = self.folder / name
            try:
                with open_regular(path) as file:
                    if os.fstat(file.fileno()).st_size != size:
                        return f"{name} has {os.fstat(file.fileno()).st_size} bytes instead of {size}"
                    if _mapped_checksum(file) != checksum:
                        return f"{name} has the wrong checksum"
            except OSError as error:
                return f"{name} cannot be read: {error.strerror}"
        return None


class Cache:
    """A folder of cache entries, readable only by the user."""

    def __init__(self, folder: os.PathLike[str] | str, limit: int = DEFAULT_LIMIT, wait: float = 120.0) -> None:
        """`limit`: maximum size of all entries in bytes; `wait`: seconds to wait for another process to specialize."""
        self.folder = Path(folder)
        self.limit = limit
        self.wait = wait

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.json"

    def prepare(self) -> bool:
        """Create the folders that are missing. Returns False, and warns, if they cannot be created or are not to be
        trusted; False also for a folder that can only be read."""
        try:
            if not all((self.folder / name).is_dir() for name in _FOLDERS):
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._check_owner()
                for name in _FOLDERS:
                    (self.folder / name).mkdir(mode=0o700, exist_ok=True)
                (self.folder / "CACHEDIR.TAG").write_text(_TAG, encoding="utf-8")
            self._check_owner()
            return os.access(self.folder, os.W_OK)
        except OSError as error:
            warn_unusable(self.folder, "cannot be used as a cache: %s", error.strerror)
        except CacheError as error:
            warn_unusable(self.folder, "is not used as a cache: %s", error)
        return False

    def is_readable(self) -> bool:
        """Whether entries may be read, though perhaps not written."""
        try:
            self._check_owner()
            return self.folder.is_dir()
        except (OSError, CacheError):
            return False

    def _check_owner(self) -> None:
        """Raise CacheError if another user may have planted entries: they would be loaded as this user's models."""
        if not hasattr(os, "geteuid"):
            return
        owner, user = self.folder.stat(), os.geteuid()
        if owner.st_uid != user and owner.st_mode & stat.S_IWOTH:
            raise CacheError(f"it belongs to user {owner.st_uid}, and every user may write to it")
        for name in ("entries", "index"):
            with suppress(FileNotFoundError):
                found = (self.folder / name).stat().st_uid
                if found not in (user, owner.st_uid):
                    raise CacheError(f"its folder '{name}' belongs to user {found}")

    def get(self, key: str) -> Entry | None:
        """The entry, now the most recently used; None for a miss. A damaged entry is removed and counts as a miss."""
        folder = self.folder / "entries" / key
        manifest = _read_manifest(folder)
        if manifest is None:
            if folder.exists():
                self._report_damage(key, f"{_ENTRY} is damaged")
            return None
        entry = Entry(folder, manifest)
        damage = entry.damage()
        if damage is not None:
            self._report_damage(key, damage)
            return None
        with suppress(OSError):  # a read-only cache is still usable
            os.utime(folder / _ENTRY)
        return entry

    def entries(self) -> list[Entry]:
        """All entries with a valid manifest, most recently used first. Does not verify their files."""
        try:
            folders = list((self.folder / "entries").iterdir())
        except OSError:
            return []
        entries = [Entry(folder, m) for folder in folders if (m := _read_manifest(folder)) is not None]
        return sorted(entries, key=lambda entry: entry.used, reverse=True)

    @contextmanager
    def lock(self, key: str, waiting: Callable[[], object] = lambda: None, wait: float | None = None) -> Iterator[bool]:
        """Hold the lock of a key. Yields False if another process holds it for `wait` seconds, by default those of the
        cache, or if locking fails.

        Deletes what a previous holder left unfinished. Calls `waiting` at each retry.
        """
        import shutil

        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "locks" / f"{key[:2]}.lock", mode=0o600, thread_local=False)
        deadline = time.monotonic() + (self.wait if wait is None else wait)
        while True:
            try:
                lock.acquire(timeout=0)
                break
            except Timeout:
                waiting()
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(_POLL)
            except OSError as error:
                warn_unusable(self.folder, "cannot be used as a cache: cannot lock: %s", error)
                yield False
                return
        try:
            shutil.rmtree(self._temporary(key), ignore_errors=True)
            yield True
        finally:
            lock.release()

    def begin(self, key: str) -> Path:
        """Create a temporary folder for a new entry; requires the lock. Raises OSError."""
        temporary = self._temporary(key)
        temporary.mkdir(mode=0o700)
        return temporary

    def abandon(self, key: str) -> None:
        """Delete what was written since `begin`."""
        import shutil

        shutil.rmtree(self._temporary(key), ignore_errors=True)

    def commit(self, ingredients: Ingredients, session: str, plan: str, source: Path | None) -> Entry:
        """Turn what was written since `begin` into the entry. Raises OSError, or CacheError if it exceeds the limit."""
        key, temporary = ingredients.key, self._temporary(ingredients.key)
        (temporary / "session.json").write_text(session, encoding="utf-8")
        (temporary / "plan.json").write_text(plan, encoding="utf-8")
        files: dict[str, tuple[int, str]] = {}
        for path in sorted(p for p in temporary.rglob("*") if p.is_file()):
            path.chmod(0o600)
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                files[path.relative_to(temporary).as_posix()] = (size, _mapped_checksum(file))
        size = sum(size for size, _ in files.values())
        if size > self.limit:
            raise CacheError(f"the entry has {size} bytes, more than the cache limit of {self.limit} bytes")
        manifest = {"ingredients": dict(ingredients.values), "files": files, "created": time.time()}
        text = json.dumps(manifest)
        (temporary / _ENTRY).write_text(f"{_checksum(text.encode())}\n{text}", encoding="utf-8")
        (temporary / _ENTRY).chmod(0o600)
        if source is not None:
            (temporary / _SOURCES).mkdir(mode=0o700)
            _note_source(temporary, source)
        target = self.folder / "entries" / key
        self._remove(target)
        temporary.rename(target)
        self._shrink(keep=key)
        return Entry(target, json.loads(text))

    def note_source(self, entry: Entry, source: Path) -> None:
        """Record another path the model of an entry was loaded from."""
        with suppress(OSError):  # optional: it only keeps `prune` from removing the entry when the first path is gone
            _note_source(entry.folder, source)

    def remove(self, key: str) -> bool:
        return self._remove(self.folder / "entries" / key)

    def clear(self) -> int:
        """Remove all entries and the index. Returns the number of entries removed."""
        try:
            folders = list((self.folder / "entries").iterdir())
        except OSError:
            return 0
        count = sum(1 for folder in folders if self._remove(folder))
        with suppress(OSError):
            for file in self.index.iterdir():
                file.unlink(missing_ok=True)
        self._sweep()
        return count

    def prune(self, versions: Mapping[str, str], unchanged: Callable[[Entry], bool]) -> dict[str, str]:
        """Remove entries that can no longer be used, and return {key: reason}.

        `versions` are the installed engine versions. `unchanged` returns whether an entry has an unmodified source.
        """
        removed = {}
        entries = self.folder / "entries"
        for folder in list(entries.iterdir()) if entries.is_dir() else []:
            manifest = _read_manifest(folder)
            reason = "its manifest is damaged" if manifest is None else None
            if manifest is not None:
                engines = {k[7:]: v for k, v in manifest["ingredients"].items() if k.startswith("engine.")}
                updated = [name for name, version in engines.items() if versions.get(name) != version]
                entry = Entry(folder, manifest)
                if updated:
                    reason = f"{updated[0]} was updated or removed"
                elif entry.sources and not unchanged(entry):
                    reason = "its source was deleted or modified"
            if reason is not None and self._remove(folder):
                removed[folder.name] = reason
        removed |= self._shrink(keep="")
        return removed

    def _shrink(self, keep: str) -> dict[str, str]:
        """Remove least recently used entries until the cache is within its limit and the disk has enough free space."""
        import shutil

        self._sweep()
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        removed = {}
        for entry in reversed(entries):
            disk = shutil.disk_usage(self.folder)
            short = disk.free < _RESERVE * disk.total
            if total <= self.limit and not short:
                break
            if entry.key == keep:
                continue
            total -= entry.size
            if self._remove(entry.folder):
                removed[entry.key] = "the disk is almost full" if short else "least recently used; over the size limit"
        return removed

    def _sweep(self) -> None:
        """Delete temporary folders of killed processes, that is those whose lock is free."""
        import shutil

        from filelock import FileLock, Timeout

        aside = self.folder / "aside"
        for temporary in aside.iterdir() if aside.is_dir() else ():
            lock = FileLock(self.folder / "locks" / f"{temporary.name[:2]}.lock", mode=0o600, thread_local=False)
            try:
                with lock.acquire(timeout=0):
                    shutil.rmtree(temporary, ignore_errors=True)
            except (Timeout, OSError):
                continue

    def _remove(self, folder: Path) -> bool:
        """Rename an entry first, so that no reader sees it partly deleted, then delete it."""
        import shutil
        from uuid import uuid4

        renamed = self.folder / "aside" / f"{folder.name}-{uuid4().hex}"
        try:
            folder.rename(renamed)
        except OSError:
            return False
        shutil.rmtree(renamed, ignore_errors=True)
        return True

    def _temporary(self, key: str) -> Path:
        return self.folder / "aside" / key

    def _report_damage(self, key: str, damage: str) -> None:
        warn("%s: %s; specializing the model again", self.folder / "entries" / key, damage)
        self._remove(self.folder / "entries" / key)


def cache_of(chosen: Cache | os.PathLike[str] | str | bool) -> Cache | None:
    """The cache that a caller chose: the user's (True), that of a folder, or none (False)."""
    if isinstance(chosen, bool):
        return default_cache() if chosen else None
    return chosen if isinstance(chosen, Cache) else Cache(chosen)


def default_cache() -> Cache | None:
    """The user's cache: the folder in the environment variable PIPPIN_CACHE, else the platform's cache folder. None if
    PIPPIN_CACHE is "off"."""
    setting = os.environ.get("PIPPIN_CACHE")
    if setting is not None and setting.lower() in ("off", "0", ""):
        return None
    if setting is not None:
        return Cache(Path(setting).expanduser())
    from platformdirs import user_cache_path

    return Cache(user_cache_path("pippin", appauthor=False))


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        checksum, _, text = read_regular(folder / _ENTRY).decode().partition("\n")
        if checksum != _checksum(text.encode()):
            return None
        manifest = json.loads(text)
    except (OSError, ValueError):
        return None
    valid = isinstance(manifest, dict) and {"ingredients", "files"} <= manifest.keys()
    return manifest if valid else None


def _note_source(folder: Path, source: Path) -> None:
    path = str(source.absolute())
    file = folder / _SOURCES / _checksum(path.encode())
    if not file.exists():
        file.write_text(path, encoding="utf-8")


def _checksum(data: bytes) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(data)


def _mapped_checksum(file: Any) -> str:
    import xxhash

    size = os.fstat(file.fileno()).st_size
    if size < _MIN_MAPPED:
        return xxhash.xxh3_128_hexdigest(file.read())
    checksum = xxhash.xxh3_128()
    for part in mapped_parts(file.fileno(), size):
        checksum.update(part)
    return checksum.hexdigest()
