"""Cache: hits, misses and their explanations, the size limit, purging, moving entries to another machine."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
import warnings
from dataclasses import replace

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from pippin import Configuration
from pippin.cache.archive import export_entries, import_entries
from pippin.cache.explain import explain
from pippin.cache.store import Cache, default_cache
from pippin.engines import all_engines
from pippin.errors import CacheError
from pippin.runtime import loading
from pippin.runtime.loading import Source, key_of
from support.small_models import saved_program

X = np.arange(12, dtype=np.float32).reshape(3, 4) - 5


@pytest.fixture
def package(tmp_path):
    return saved_program(tmp_path, lambda x: mb.relu(x=x, name="y"), x=(3, 4))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def label(package, cache, configuration=None):
    model = pippin.load(package, configuration, cache=cache)
    np.testing.assert_array_equal(model.predict({"x": X})["y"], np.maximum(X, 0))
    return model.load_label


def explained(package, cache, configuration=None):
    wanted, _ = key_of(Source(package), configuration or Configuration(), cache.index)
    return explain(cache, wanted, package)


def test_the_second_load_is_cached(package, cache):
    assert label(package, cache) == "prepare and cache"
    assert label(package, cache) == "cached"


def test_a_cached_model_is_the_same_model(package, cache):
    first, second = (pippin.load(package, cache=cache) for _ in range(2))
    assert first.description == second.description
    assert first.compute_plan == second.compute_plan
    assert (first.engine, first.function_name) == (second.engine, second.function_name)


def test_a_moved_and_a_copied_model_hit(package, cache, tmp_path):
    label(package, cache)
    shutil.copytree(package, tmp_path / "copy.mlpackage")
    assert label(tmp_path / "copy.mlpackage", cache) == "cached"
    package.rename(tmp_path / "moved.mlpackage")
    assert label(tmp_path / "moved.mlpackage", cache) == "cached"
    assert len(cache.entries()) == 1


def test_a_specification_in_memory(package, cache):
    data = next(package.rglob("model.mlmodel")).read_bytes()
    assert label(data, cache) == "prepare and cache"
    assert label(data, cache) == "cached"


def test_no_cache(package, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPPIN_CACHE", str(tmp_path / "named"))
    assert label(package, False) == "prepare and cache"
    assert not (tmp_path / "named").exists()
    assert label(package, True) == "prepare and cache"
    assert label(package, True) == "cached"
    monkeypatch.setenv("PIPPIN_CACHE", "off")
    assert default_cache() is None
    assert label(package, True) == "prepare and cache"


def test_files_are_private_to_the_user(package, cache):
    label(package, cache)
    for path in [cache.folder, *cache.folder.rglob("*")]:
        private = path.name not in ("CACHEDIR.TAG",) and path.parent != cache.index and path.parent.name != "sources"
        if private:
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_folder_that_cannot_be_written(package, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.warns(UserWarning, match="cannot be used as a cache: Not a directory"):
        assert label(package, Cache(blocked / "cache")) == "prepare and cache"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a second load says nothing
        assert label(package, Cache(blocked / "cache")) == "prepare and cache"


@pytest.mark.parametrize("name", ["entries", "aside", "locks", "index"])
def test_a_folder_of_the_cache_is_removed(package, cache, name):
    label(package, cache)
    shutil.rmtree(cache.folder / name)
    label(package, cache)
    assert label(package, cache) == "cached"


@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a folder", "nothing but a link"])
@pytest.mark.parametrize("name", ["entry.json", "session.json", "plan.json", "digest"])
def test_a_file_of_the_cache_is_no_file(package, cache, name, kind):
    """It is not opened, and written again."""
    label(package, cache)
    (entry,) = cache.entries()
    path = next(cache.index.iterdir(), None) if name == "digest" else entry.folder / name
    if path is None:
        pytest.skip("the model is too new for its digest to be kept")
    path.unlink()
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "a device" else path.name)
    assert label(package, cache) == ("cached" if name == "digest" else "prepare and cache")
    assert label(package, cache) == "cached"


PLANTED = {
    "a world-writable folder": (lambda folder: folder.chmod(0o777), "every user may write to it"),
    "a folder of entries": (lambda folder: os.chown(folder / "entries", 65534, 65534), "'entries' belongs to user 65534"),
    "a folder of digests": (lambda folder: os.chown(folder / "index", 65534, 65534), "'index' belongs to user 65534"),
}  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("name", PLANTED)
def test_what_another_user_may_have_planted_is_not_trusted(package, cache, name):
    plant, message = PLANTED[name]
    label(package, cache)
    if name == "a world-writable folder":
        os.chown(cache.folder, 65534, 65534)
        assert label(package, cache) == "cached"  # another user's, but only that user's
    plant(cache.folder)
    with pytest.warns(UserWarning, match=message):
        assert label(package, cache) == "prepare and cache"
    assert label(package, cache) == "prepare and cache"


# The seven staged cases: what changed, and the ingredient that is named.


def _other_model(package, monkeypatch):
    shutil.rmtree(package)
    saved_program(package.parent, lambda x: mb.relu(x=mb.abs(x=x), name="y"), x=(3, 4))
    return Configuration()


def _engine_update(package, monkeypatch):
    monkeypatch.setattr(type(all_engines()["openvino"]), "version", property(lambda self: "1999.1"))
    pippin.devices.detect._cpu.cache_clear()
    return Configuration()


def _other_processor(package, monkeypatch):
    monkeypatch.setattr("pippin.devices.cpu.name", lambda: "Another CPU")
    pippin.devices.detect._cpu.cache_clear()
    return Configuration()


def _other_pippin(package, monkeypatch):
    monkeypatch.setattr("pippin.cache.key.__version__", "0.0.1")
    return Configuration()


CHANGES = {
    "model": _other_model,
    "configuration.precision": lambda *_: Configuration(precision="float32"),
    "configuration.threads": lambda *_: Configuration(threads=1),
    "function": lambda *_: Configuration(function_name="main"),
    "engine.openvino": _engine_update,
    "device.cpu": _other_processor,
    "pippin": _other_pippin,
}


@pytest.fixture
def devices():
    """What a test pretends of the devices is forgotten afterwards."""
    yield
    pippin.devices.detect._cpu.cache_clear()
    pippin.devices.detect.all_compute_devices.cache_clear()


@pytest.mark.parametrize("ingredient", CHANGES)
def test_explain_names_what_changed(package, cache, ingredient, devices):
    label(package, cache)
    assert explained(package, cache).hit
    with pytest.MonkeyPatch.context() as monkeypatch:
        pippin.devices.detect.all_compute_devices.cache_clear()
        found = explained(package, cache, CHANGES[ingredient](package, monkeypatch))
    assert not found.hit
    assert list(found.changed) == [ingredient]
    assert ingredient in found.reason


def test_explain_an_unknown_model_and_a_damaged_entry(package, cache):
    cache.prepare()
    assert "not specialized here before" in explained(package, cache).reason
    label(package, cache)
    (entry,) = cache.entries()
    (entry.folder / "session.json").write_text("{}")
    assert "session.json" in explained(package, cache).reason
    (entry.folder / "entry.json").write_text("{}")
    assert "damaged" in explained(package, cache).reason


def test_the_least_recently_used_go_first(package, cache):
    configurations = [Configuration(threads=n) for n in (1, 2, 3)]
    for number, configuration in enumerate(configurations):
        label(package, cache, configuration)
        newest = cache.entries()[0]
        os.utime(newest.folder / "entry.json", (1000 + number, 1000 + number))
    label(package, cache, configurations[0])  # used again: now the newest
    size = max(entry.size for entry in cache.entries())
    small = Cache(cache.folder, limit=3 * size + size // 2)
    label(package, small, Configuration(threads=4))
    kept = {entry.manifest["ingredients"]["configuration.threads"] for entry in small.entries()}
    assert kept == {1, 3, 4}
    assert sum(entry.size for entry in small.entries()) <= small.limit


def test_what_is_larger_than_the_cache_is_not_kept(package, cache):
    small = Cache(cache.folder, limit=100)
    assert label(package, small) == "prepare and cache"
    assert not small.entries()
    assert not list((small.folder / "aside").iterdir())


def test_prune(package, cache, tmp_path):
    shutil.copytree(package, tmp_path / "kept.mlpackage")
    label(package, cache)
    label(tmp_path / "kept.mlpackage", cache)
    label(package, cache, Configuration(threads=1))
    package.rename(tmp_path / "gone")
    (reason,) = loading.prune(cache).values()
    assert "deleted or modified" in reason
    assert [e.manifest["ingredients"]["configuration.threads"] for e in cache.entries()] == [None]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(type(all_engines()["openvino"]), "version", property(lambda self: "1999.1"))
        (reason,) = loading.prune(cache).values()
    assert "openvino was updated" in reason
    assert not cache.entries()


def test_export_and_import(package, cache, tmp_path):
    label(package, cache)
    (key,) = export_entries(cache, [entry.key for entry in cache.entries()], tmp_path / "entries.tar")
    other = Cache(tmp_path / "other")
    assert import_entries(other, tmp_path / "entries.tar") == [key]
    assert label(package, other) == "cached"
    with pytest.raises(CacheError, match="no valid entry"):
        export_entries(cache, ["nothing"], tmp_path / "more.tar")
    assert not (tmp_path / "more.tar").exists()


def replace_name(member, name):
    member.name = name
    return member


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: replace_name(m, "../outside") if m.name.endswith("plan.json") else m, "not part of a cache entry"),
        (lambda m: replace_name(m, m.name + "x") if m.name.endswith("plan.json") else m, "is invalid"),
        (lambda m: None if m.name.endswith("plan.json") else m, "is invalid"),
        (lambda m: replace_name(m, "f" * 40 + m.name[40:]), "do not match the key"),
    ],
    ids=["leads out", "other file", "missing file", "other key"],
)
def test_an_unsound_import_changes_nothing(package, cache, tmp_path, change, message):
    label(package, cache)
    (entry,) = cache.entries()
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for name in ("entry.json", *entry.manifest["files"]):
            archive.add(entry.folder / name, f"{entry.key}/{name}", filter=change)
    other = Cache(tmp_path / "other")
    with pytest.raises(CacheError, match=message):
        import_entries(other, tmp_path / "bad.tar")
    assert not other.entries()
    assert not list((other.folder / "aside").iterdir())


def test_an_import_that_is_no_archive(tmp_path, cache):
    (tmp_path / "x.tar").write_text("no archive")
    with pytest.raises(CacheError, match="cannot be read"):
        import_entries(cache, tmp_path / "x.tar")


def test_a_stale_index_is_not_believed(package, cache):
    label(package, cache)
    for file in cache.index.iterdir():
        file.write_text(json.dumps({"damaged": True}))
    assert label(package, cache) == "cached"


def test_clear(package, cache):
    label(package, cache)
    assert cache.clear() == 1
    assert not cache.entries()
    assert label(package, cache) == "prepare and cache"


def test_a_model_that_is_none(tmp_path, cache):
    (tmp_path / "x.mlmodel").write_bytes(b"nothing")
    with pytest.raises(pippin.errors.SpecificationError):
        pippin.load(tmp_path / "x.mlmodel", cache=cache)
    with pytest.raises(pippin.errors.PackageError, match="no such file"):
        pippin.load(tmp_path / "absent.mlpackage", cache=cache)
    assert not cache.entries()
    assert not list((cache.folder / "aside").iterdir())


@pytest.mark.parametrize("change", [{}, {"threads": 1}, {"precision": "float32"}, {"engine": "onnxruntime"}])
def test_each_configuration_has_an_entry(package, cache, change):
    label(package, cache)
    configuration = replace(Configuration(), **change)
    assert label(package, cache, configuration) == ("prepare and cache" if change else "cached")
    assert label(package, cache, configuration) == "cached"


def test_weights_that_lie_elsewhere(tmp_path, cache):
    """A bare specification whose weights are in a folder that nobody looks into is not cached: they could change."""
    random = np.random.default_rng(0)

    def weighted(folder):
        weight = random.standard_normal((64, 64)).astype(np.float32)
        return saved_program(folder, lambda x: mb.linear(x=x, weight=weight, name="y"), x=(3, 64)), weight

    x = random.standard_normal((3, 64)).astype(np.float32)
    bare = tmp_path / "bare"
    (bare / "weights").mkdir(parents=True)
    for number in range(2):
        (tmp_path / f"{number}").mkdir()
        package, weight = weighted(tmp_path / f"{number}")
        shutil.copy(next(package.rglob("model.mlmodel")), bare / "model.mlmodel")
        shutil.copy(next(package.rglob("weight.bin")), bare / "weights" / "weight.bin")
        model = pippin.load(bare / "model.mlmodel", cache=cache)
        np.testing.assert_allclose(model.predict({"x": x})["y"], x @ weight.T, rtol=1e-4, atol=1e-4)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("pippin.cache.content._files", lambda *_: [("model", bare / "model.mlmodel")])
            count = len(cache.entries())
            pippin.load(bare / "model.mlmodel", cache=cache)
            assert len(cache.entries()) == count
