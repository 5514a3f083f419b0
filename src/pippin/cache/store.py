"""Store: entries on disk.

    entries/KEY/entry.json     checksum; ingredients, files with size and checksum, the session
    entries/KEY/plan.json      the compute plan
    entries/KEY/segmentN/      what the engine of a segment wrote
    entries/KEY/sources/       the paths that the model was loaded from
    aside/KEY                  an entry that is being written by the holder of the key's lock, or being removed
    locks/                     a fixed number of lock files, one for all keys with the same first two digits
    index/                     digests of model files, by their times
    calibration.json           how fast the devices are, by small measurements

Any number of threads and processes may use one cache. An entry is written aside and renamed, and removed by renaming it
away first; whoever reads one checks every byte, so that a damaged or half-removed entry is a miss. What lies aside
belongs to the holder of the lock: whoever gets the lock may remove it. Locks are the operating system's (flock), which
a killed process cannot leave behind. Nothing in an entry is unpickled or executed.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import CacheError
from .key import Ingredients

_ENTRY = "entry.json"
_SOURCES = "sources"
_POLL = 0.02  # seconds between two looks at a lock that another process holds
_WORTH_MAPPING = 1 << 17
_RESERVE = 0.02  # of the disk that stays free
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of Pippin; it may be deleted at any time.\n"
DEFAULT_LIMIT = 8 * 2**30


def warn(message: str, *arguments: object) -> None:
    """Tell the logger "pippin.cache": silent, unless the application listens."""
    import logging

    log = logging.getLogger("pippin.cache")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    log.warning(message, *arguments)


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
        """When it was last used, in seconds since 1970."""
        try:
            return (self.folder / _ENTRY).stat().st_mtime
        except OSError:
            return 0.0

    @property
    def sources(self) -> list[Path]:
        """The paths that its model was loaded from; none for a model in memory."""
        try:
            return [Path(file.read_text(encoding="utf-8")) for file in sorted((self.folder / _SOURCES).iterdir())]
        except (OSError, ValueError):
            return []

    def read(self, name: str) -> bytes:
        """One of its files, checked. Raises CacheError where it is damaged."""
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        if [len(data), _checksum(data)] != self.manifest["files"].get(name):
            raise CacheError(f"{path}: is damaged")
        return data

    def damage(self) -> str | None:
        """What is wrong with its files; None where each has the bytes that were written."""
        for name, (size, checksum) in self.manifest["files"].items():
            path = self.folder / name
            try:
                with path.open("rb") as file:
                    if os.fstat(file.fileno()).st_size != size:
                        return f"{name} has {os.fstat(file.fileno()).st_size} bytes; {size} were written"
                    if _mapped_checksum(file) != checksum:
                        return f"{name} does not hold the bytes that were written"
            except OSError as error:
                return f"{name} cannot be read: {error.strerror}"
        return None


class Cache:
    """A folder of specializations. Its files are private to the user."""

    def __init__(self, folder: os.PathLike[str] | str, limit: int = DEFAULT_LIMIT, wait: float = 120.0) -> None:
        """`limit`: bytes that the entries may have; `wait`: seconds to wait for another process's specialization."""
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
        """Make the folders; False where that cannot be done, and so nothing can be cached."""
        try:
            if not self.index.is_dir():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                for name in ("entries", "aside", "locks", "index"):
                    (self.folder / name).mkdir(mode=0o700, exist_ok=True)
                (self.folder / "CACHEDIR.TAG").write_text(_TAG, encoding="utf-8")
            return os.access(self.folder, os.W_OK)
        except OSError as error:
            warn("%s: cannot be used as a cache: %s", self.folder, error.strerror)
            return False

    def get(self, key: str) -> Entry | None:
        """A sound entry, now the most recently used; None for a miss. A damaged one is a miss, and is removed."""
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
        with suppress(OSError):  # a cache that cannot be written to is still read
            os.utime(folder / _ENTRY)
        return entry

    def entries(self) -> list[Entry]:
        """Every entry with a sound manifest, the most recently used first; their files are not checked."""
        try:
            folders = list((self.folder / "entries").iterdir())
        except OSError:
            return []
        found = [Entry(folder, m) for folder in folders if (m := _read_manifest(folder)) is not None]
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    @contextmanager
    def lock(self, key: str, waiting: Callable[[], object] = lambda: None) -> Iterator[bool]:
        """Hold the lock of a key, after what its last holder left half-written is gone; False where another process
        held it all the time. `waiting` is called at each look."""
        import shutil

        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "locks" / f"{key[:2]}.lock", mode=0o600, thread_local=False)
        deadline = time.monotonic() + self.wait
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
                warn("%s: no lock: %s", self.folder, error)
                yield False
                return
        try:
            shutil.rmtree(self._aside(key), ignore_errors=True)
            yield True
        finally:
            lock.release()

    def begin(self, key: str) -> Path:
        """A new folder to write an entry into; for the holder of the lock. Raises OSError."""
        aside = self._aside(key)
        aside.mkdir(mode=0o700)
        return aside

    def abandon(self, key: str) -> None:
        """Remove what was written since `begin`."""
        import shutil

        shutil.rmtree(self._aside(key), ignore_errors=True)

    def commit(self, ingredients: Ingredients, session: str, plan: str, source: Path | None) -> Entry:
        """What was written since `begin` becomes the entry. Raises OSError, and CacheError where it does not fit."""
        key, aside = ingredients.key, self._aside(ingredients.key)
        (aside / "session.json").write_text(session, encoding="utf-8")
        (aside / "plan.json").write_text(plan, encoding="utf-8")
        files: dict[str, tuple[int, str]] = {}
        for path in sorted(p for p in aside.rglob("*") if p.is_file()):
            path.chmod(0o600)
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                files[path.relative_to(aside).as_posix()] = (size, _mapped_checksum(file))
        size = sum(size for size, _ in files.values())
        if size > self.limit:
            raise CacheError(f"the entry has {size} bytes; the cache may have {self.limit}")
        manifest = {"ingredients": dict(ingredients.values), "files": files, "created": time.time()}
        text = json.dumps(manifest)
        (aside / _ENTRY).write_text(f"{_checksum(text.encode())}\n{text}", encoding="utf-8")
        (aside / _ENTRY).chmod(0o600)
        if source is not None:
            (aside / _SOURCES).mkdir(mode=0o700)
            _note_source(aside, source)
        target = self.folder / "entries" / key
        self._remove(target)
        aside.rename(target)
        self._shrink(keep=key)
        return Entry(target, json.loads(text))

    def note_source(self, entry: Entry, source: Path) -> None:
        """Remember another path that the model of an entry was loaded from."""
        with suppress(OSError):  # it only spares the entry when the first path is gone
            _note_source(entry.folder, source)

    def remove(self, key: str) -> bool:
        return self._remove(self.folder / "entries" / key)

    def clear(self) -> int:
        """Remove every entry and the index; returns how many there were."""
        try:
            folders = list((self.folder / "entries").iterdir())
        except OSError:
            return 0
        count = sum(1 for folder in folders if self._remove(folder))
        for file in self.index.iterdir():
            file.unlink(missing_ok=True)
        self._sweep()
        return count

    def prune(self, versions: Mapping[str, str], unchanged: Callable[[Entry], bool]) -> dict[str, str]:
        """Remove what is of no use any more: {key: reason}. `versions` are the engines' installed ones; `unchanged`
        says whether a source of an entry is still there as it was."""
        removed = {}
        entries = self.folder / "entries"
        for folder in list(entries.iterdir()) if entries.is_dir() else []:
            manifest = _read_manifest(folder)
            reason = "its manifest is damaged" if manifest is None else None
            if manifest is not None:
                made = {k[7:]: v for k, v in manifest["ingredients"].items() if k.startswith("engine.")}
                updated = [name for name, version in made.items() if versions.get(name) != version]
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
        """Remove the least recently used entries until the rest fits the limit and the disk."""
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
                removed[entry.key] = "the disk runs short" if short else "least recently used, over the size limit"
        return removed

    def _sweep(self) -> None:
        """Remove what killed processes left aside: what nobody holds the lock of."""
        import shutil

        from filelock import FileLock, Timeout

        for aside in (self.folder / "aside").iterdir():
            lock = FileLock(self.folder / "locks" / f"{aside.name[:2]}.lock", mode=0o600, thread_local=False)
            try:
                with lock.acquire(timeout=0):
                    shutil.rmtree(aside, ignore_errors=True)
            except (Timeout, OSError):
                continue

    def _remove(self, folder: Path) -> bool:
        """Rename an entry away, so that nobody reads half of it, and then delete it."""
        import shutil
        from uuid import uuid4

        away = self.folder / "aside" / f"{folder.name}-{uuid4().hex}"
        try:
            folder.rename(away)
        except OSError:
            return False
        shutil.rmtree(away, ignore_errors=True)
        return True

    def _aside(self, key: str) -> Path:
        return self.folder / "aside" / key

    def _report_damage(self, key: str, damage: str) -> None:
        warn("%s: %s; the model is specialized again", self.folder / "entries" / key, damage)
        self._remove(self.folder / "entries" / key)


def default_cache() -> Cache | None:
    """The user's cache: the folder that the environment variable PIPPIN_CACHE names, else that of the platform; None
    where PIPPIN_CACHE is "off"."""
    named = os.environ.get("PIPPIN_CACHE")
    if named is not None and named.lower() in ("off", "0", ""):
        return None
    if named is not None:
        return Cache(Path(named).expanduser())
    from platformdirs import user_cache_path

    return Cache(user_cache_path("pippin", appauthor=False))


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        checksum, _, text = (folder / _ENTRY).read_text(encoding="utf-8").partition("\n")
        if checksum != _checksum(text.encode()):
            return None
        manifest = json.loads(text)
    except (OSError, ValueError):
        return None
    sound = isinstance(manifest, dict) and {"ingredients", "files"} <= manifest.keys()
    return manifest if sound else None


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

    if os.fstat(file.fileno()).st_size < _WORTH_MAPPING:
        return xxhash.xxh3_128_hexdigest(file.read())
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as mapped:
        return xxhash.xxh3_128_hexdigest(mapped)
