"""Faults: killed, crowded, full, damaged, replaced: never a wrong prediction, a stuck lock, or a leftover."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from pippin.cache.store import Cache
from support.small_models import saved_program

X = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
KILLS = 200
DAMAGES = 500


def saved(folder, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    weight = np.random.default_rng(seed).standard_normal((64, 64)).astype(np.float32)
    np.save(folder / "weight.npy", weight)
    return saved_program(folder, lambda x: mb.relu(x=mb.linear(x=x, weight=weight), name="y"), x=(4, 64))


def right(package):
    return np.maximum(X @ np.load(package.parent / "weight.npy").T, 0)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("faults"))


def worker(what, package, cache, count):
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "fault_worker.py", what, package, cache, str(count)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.process
def test_killed_at_any_point(package, tmp_path):
    found = worker("kills", package, tmp_path / "cache", KILLS)
    assert not found["wrong"]
    assert found["afterwards"] == [0, 0]
    assert not found["left"]
    assert sum(found["stages"].values()) == KILLS
    hit = [stage for stage in ("read", "lower", "compile", "measure", "store") if found["stages"][stage]]
    assert len(hit) >= 3, found["stages"]


@pytest.mark.process
def test_sixteen_processes_at_once(package, tmp_path):
    found = worker("crowd", package, tmp_path / "cache", 16)
    assert found["ends"] == [0] * 16
    assert all(predicted for _, predicted in found["loads"])
    assert sorted(label for label, _ in found["loads"]) == ["cached"] * 15 + ["prepare and cache"]


@pytest.mark.process
@pytest.mark.parametrize("limit", [0, 100, 3_000, 10_000])
def test_no_room_for_a_file(package, tmp_path, limit):
    cache = tmp_path / "cache"
    Cache(cache).prepare()
    found = worker("full", package, cache, limit)
    assert found == {"end": 0, "load": ["prepare and cache", True]}
    assert not Cache(cache).entries()
    assert not list((cache / "aside").iterdir())


@pytest.mark.process
def test_a_full_disk(package, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        for _ in range(3):
            loaded = pippin.load(package, cache=disk / "cache")
            assert loaded.load_label == "prepare and cache"
            np.testing.assert_allclose(loaded.predict({"x": X})["y"], right(package), atol=1e-4)
        assert not Cache(disk / "cache").entries()
        assert not list((disk / "cache" / "aside").iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture(scope="module")
def filled(package, tmp_path_factory):
    """A cache with one entry, its key, and the files of the entry."""
    cache = Cache(tmp_path_factory.mktemp("filled"))
    pippin.load(package, cache=cache)
    (entry,) = cache.entries()
    return cache, entry.key, ["entry.json", *entry.manifest["files"]]


def damaged(data, random):
    """Some bytes changed, cut off, or put in."""
    start = int(random.integers(0, len(data)))
    length = int(random.integers(1, 65))
    match random.integers(0, 3):
        case 0:
            noise = bytes(b ^ int(random.integers(1, 256)) for b in data[start : start + length])
            return data[:start] + noise + data[start + length :]
        case 1:
            return data[:start]
    return data[:start] + random.bytes(length) + data[start:]


@pytest.mark.parametrize("part", range(4))
def test_every_damaged_byte_range_is_a_miss(filled, tmp_path, part):
    cache, key, names = filled
    random = np.random.default_rng(part)
    shutil.copytree(cache.folder, tmp_path / "copy")
    copy = Cache(tmp_path / "copy")
    folder = copy.folder / "entries" / key
    for number in range(DAMAGES // 4):
        name = names[number % len(names)]
        original = (folder / name).read_bytes()
        (folder / name).write_bytes(damaged(original, random))
        assert copy.get(key) is None, f"{name} is damaged, and nobody saw it"
        assert not folder.exists()  # it is gone
        shutil.copytree(cache.folder / "entries" / key, folder)


@pytest.mark.parametrize("name", ["entry.json", "session.json", "segment0"])
def test_a_damaged_entry_is_reported_and_replaced(package, filled, tmp_path, caplog, name):
    cache, key, names = filled
    shutil.copytree(cache.folder, tmp_path / "copy")
    copy = Cache(tmp_path / "copy")
    file = copy.folder / "entries" / key / next(n for n in names if n.startswith(name))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x55
    file.write_bytes(data)
    loaded = pippin.load(package, cache=copy)
    assert loaded.load_label == "prepare and cache"
    assert (key in caplog.text and "damaged" in caplog.text) or "bytes" in caplog.text or "checksum" in caplog.text
    np.testing.assert_allclose(loaded.predict({"x": X})["y"], right(package), atol=1e-4)
    assert pippin.load(package, cache=copy).load_label == "cached"


def replace_by(package, other):
    """As an editor or a sync does it: the new package is renamed into place."""
    package.rename(package.with_name("old.mlpackage"))
    shutil.copytree(other, package)
    shutil.copy(other.parent / "weight.npy", package.parent / "weight.npy")


@pytest.mark.parametrize("stage", ["read", "lower", "compile", "store"])
def test_the_source_is_replaced_during_the_load(tmp_path, stage):
    package, other = saved(tmp_path / "one", 1), saved(tmp_path / "two", 2)
    first = tmp_path / "first"
    shutil.copytree(package.parent, first)
    done = []

    def progress(report):
        if report.stage == stage and not done:
            done.append(stage)
            replace_by(package, other)

    loaded = pippin.load(package, cache=tmp_path / "cache", progress=progress)
    assert done
    np.testing.assert_allclose(loaded.predict({"x": X})["y"], right(other), atol=1e-4)
    again = first / package.name
    np.testing.assert_allclose(
        pippin.load(again, cache=tmp_path / "cache").predict({"x": X})["y"], right(again), atol=1e-4
    )


def test_a_source_that_never_stays_the_same(tmp_path):
    package = saved(tmp_path / "one", 1)
    weights = next(package.rglob("weight.bin"))

    def progress(report):
        if report.stage == "compile":
            copy = weights.with_name("aside")
            shutil.copy(weights, copy)
            copy.replace(weights)

    with pytest.raises(pippin.errors.PackageError, match="being written"):
        pippin.load(package, cache=tmp_path / "cache", progress=progress)
    assert not Cache(tmp_path / "cache").entries()


def test_the_clock_was_moved_back(tmp_path):
    """Times of a file say nothing alone: another content of the same size and times is another model."""
    package, other = saved(tmp_path / "one", 1), saved(tmp_path / "two", 2)
    weights, others = (next(p.rglob("weight.bin")) for p in (package, other))
    assert weights.stat().st_size == others.stat().st_size
    for file in package.rglob("*"):
        os.utime(file, (10**9, 10**9))  # 2001: long ago, and so trusted
    cache = Cache(tmp_path / "cache")
    pippin.load(package, cache=cache)
    pippin.load(package, cache=cache)
    before = weights.stat()
    weights.write_bytes(others.read_bytes())
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    np.save(package.parent / "weight.npy", np.load(other.parent / "weight.npy"))
    np.testing.assert_allclose(pippin.load(package, cache=cache).predict({"x": X})["y"], right(other), atol=1e-4)


def test_entries_from_the_future_are_used(package, tmp_path):
    cache = Cache(tmp_path / "cache")
    pippin.load(package, cache=cache)
    (entry,) = cache.entries()
    os.utime(entry.folder / "entry.json", (2**33, 2**33))
    assert pippin.load(package, cache=cache).load_label == "cached"
