"""Package: what coremltools' package writer laid out is found again; every defect of a manifest is told."""

from __future__ import annotations

import json

import pytest
from coremltools.libmodelpackage import ModelPackage

from pippin.errors import PackageError
from pippin.format.mlpackage import open_package

ROOT = {"path": "com.apple.CoreML/model.mlmodel", "name": "model.mlmodel", "author": "com.apple.CoreML"}
WEIGHTS = {"path": "com.apple.CoreML/weights", "name": "weights", "author": "com.apple.CoreML"}
FILES = ("com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights/weight.bin")


def manifest(entries=None, **changes):
    entries = {"A": ROOT, "B": WEIGHTS} if entries is None else entries
    found = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": "A"} | changes
    return {key: value for key, value in found.items() if value is not None}


def lay_out(path, content, files=FILES):
    """A package with this manifest (JSON, or text as it is) and these files below `Data`; a file holds its own path."""
    for name in files:
        file = path / "Data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    path.mkdir(exist_ok=True)
    (path / "Manifest.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_reads_what_coremltools_wrote(tmp_path):
    (tmp_path / "spec.mlmodel").write_text("the model")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "weight.bin").write_text("the weights")
    writer = ModelPackage(str(tmp_path / "m.mlpackage"))
    writer.setRootModel(str(tmp_path / "spec.mlmodel"), "model.mlmodel", "com.apple.CoreML", "the specification")
    writer.addItem(str(tmp_path / "blobs"), "weights", "com.apple.CoreML", "the weights")
    del writer
    package = open_package(tmp_path / "m.mlpackage")
    assert package.specification.read_text() == "the model"
    assert package.find("weights/weight.bin").read_text() == "the weights"
    assert [item.name for item in package.items] == ["weights"]


# name: (items of the manifest, files below Data, what is asked for, the file that is meant)
LAYOUTS = {
    "usual": ({"A": ROOT, "B": WEIGHTS}, FILES, "weights/weight.bin", FILES[1]),
    "other-author": (
        {"A": {"path": "me/net.mlmodel", "name": "net"}, "B": {"path": "me/weights", "name": "weights"}},
        ("me/net.mlmodel", "me/weights/weight.bin"),
        "weights/weight.bin",
        "me/weights/weight.bin",
    ),
    "model-and-weights-apart": (
        {"A": {"path": "m.mlmodel", "name": "m"}, "B": {"path": "deep/er/weights", "name": "weights"}},
        ("m.mlmodel", "deep/er/weights/weight.bin"),
        "weights/weight.bin",
        "deep/er/weights/weight.bin",
    ),
    "found-by-the-name-of-the-item": (
        {"A": ROOT, "B": {"path": "blobs/0f3a", "name": "weights"}},
        (FILES[0], "blobs/0f3a/weight.bin"),
        "weights/weight.bin",
        "blobs/0f3a/weight.bin",
    ),
    "a-file-as-item": (
        {"A": ROOT, "B": {"path": "elsewhere/weight.bin", "name": "weight.bin"}},
        (FILES[0], "elsewhere/weight.bin"),
        "weights/weight.bin",
        "elsewhere/weight.bin",
    ),
    "a-file-by-its-name": (
        {"A": ROOT, "B": {"path": "elsewhere/17", "name": "weight.bin"}},
        (FILES[0], "elsewhere/17"),
        "weights/weight.bin",
        "elsewhere/17",
    ),
    "a-folder-around-the-weights": (
        {"A": ROOT, "B": {"path": "all", "name": "all"}},
        (FILES[0], "all/weights/weight.bin"),
        "weights/weight.bin",
        "all/weights/weight.bin",
    ),
    "nested-below-the-weights": (
        {"A": ROOT, "B": WEIGHTS},
        (FILES[0], "com.apple.CoreML/weights/model1/weight.bin"),
        "weights/model1/weight.bin",
        "com.apple.CoreML/weights/model1/weight.bin",
    ),
    "several-files": (
        {"A": ROOT, "B": WEIGHTS},
        (*FILES, "com.apple.CoreML/weights/1-weight.bin"),
        "weights/1-weight.bin",
        "com.apple.CoreML/weights/1-weight.bin",
    ),
    "several-items": (
        {"A": ROOT, "C": {"path": "x/other", "name": "other"}, "B": WEIGHTS},
        (*FILES, "x/other/weight.bin"),
        "other/weight.bin",
        "x/other/weight.bin",
    ),
    "not-listed-but-there": ({"A": ROOT}, FILES, "weights/weight.bin", FILES[1]),
    "absent": ({"A": ROOT, "B": WEIGHTS}, FILES, "weights/other.bin", None),
    "absent-folder": ({"A": ROOT, "B": WEIGHTS}, FILES[:1], "weights/weight.bin", None),
    "a-folder-is-no-file": ({"A": ROOT, "B": WEIGHTS}, FILES, "weights", None),
    "empty-name": ({"A": ROOT, "B": WEIGHTS}, FILES, "", None),
    "without-names": ({"A": {"path": ROOT["path"]}, "B": {"path": WEIGHTS["path"]}}, FILES, "weights/weight.bin", FILES[1]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_finds_a_file_wherever_the_manifest_put_it(name, tmp_path):
    entries, files, wanted, meant = LAYOUTS[name]
    package = open_package(lay_out(tmp_path / "m.mlpackage", manifest(entries), files))
    assert package.specification.read_text() == entries["A"]["path"]
    found = package.find(wanted)
    assert (found and found.read_text()) == meant


@pytest.mark.parametrize("version", ["1.0.0", "1.0", "1.7.3"])
def test_reads_the_first_format_version(version, tmp_path):
    package = open_package(lay_out(tmp_path / "m", manifest(fileFormatVersion=version)))
    assert package.specification.name == "model.mlmodel"


def test_reads_json_with_a_byte_order_mark(tmp_path):
    content = b"\xef\xbb\xbf" + json.dumps(manifest()).encode()
    assert open_package(lay_out(tmp_path / "m", content)).specification.is_file()


def test_reads_through_a_link_to_the_package(tmp_path):
    lay_out(tmp_path / "real.mlpackage", manifest())
    (tmp_path / "link.mlpackage").symlink_to("real.mlpackage")
    assert open_package(tmp_path / "link.mlpackage").find("weights/weight.bin").read_text() == FILES[1]


# name: (the manifest, what the message says)
DEFECTS = {
    "not-json": (b"{", "is not valid JSON"),
    "empty": (b"", "is not valid JSON"),
    "bad-utf8": (b'{"a": "\xff\xff"}', "is not valid JSON"),
    "deep": (b"[" * 100_000, "is not valid JSON"),
    "a-list": ([], "must contain a JSON object, got list"),
    "a-string": ("x", "must contain a JSON object, got str"),
    "no-version": (manifest(fileFormatVersion=None), "format version ''"),
    "version-2": (manifest(fileFormatVersion="2.0.0"), "format version '2.0.0'; expected 1.x"),
    "version-10": (manifest(fileFormatVersion="10.0.0"), "format version '10.0.0'"),
    "no-items": (manifest(itemInfoEntries=None), "lists no items"),
    "empty-items": (manifest({}), "lists no items"),
    "items-a-list": (manifest([ROOT]), "lists no items"),
    "no-root": (manifest(rootModelIdentifier=None), "'rootModelIdentifier' None is not among the manifest's items"),
    "unknown-root": (manifest(rootModelIdentifier="Z"), "'rootModelIdentifier' 'Z' is not among the manifest's items"),
    "root-a-list": (manifest(rootModelIdentifier=["A"]), "is not among the manifest's items"),
    "item-a-string": (manifest({"A": ROOT, "B": "weights"}), "item 'B' has no path"),
    "item-without-path": (manifest({"A": ROOT, "B": {"name": "weights"}}), "item 'B' has no path"),
    "item-path-empty": (manifest({"A": ROOT, "B": {"path": ""}}), "item 'B' has no path"),
    "item-path-a-number": (manifest({"A": ROOT, "B": {"path": 3}}), "item 'B' has no path"),
    "item-path-null-byte": (manifest({"A": ROOT, "B": {"path": "a\0b"}}), "item 'B' has no path"),
    "root-missing": (manifest({"A": {"path": "gone.mlmodel"}}), "specification Data/gone.mlmodel is missing"),
    "root-a-folder": (manifest({"A": WEIGHTS}), "specification Data/com.apple.CoreML/weights is missing"),
    "root-outside": (manifest({"A": {"path": "../../m.mlmodel"}}), "points outside the package"),
    "root-absolute": (manifest({"A": {"path": "/etc/hostname"}}), "points outside the package"),
    "item-outside": (manifest({"A": ROOT, "B": {"path": "../../weights"}}), "points outside the package"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_of_the_manifest(name, tmp_path):
    content, message = DEFECTS[name]
    path = lay_out(tmp_path / "m.mlpackage", content)
    (tmp_path / "m.mlmodel").write_text("outside")
    with pytest.raises(PackageError, match=message) as raised:
        open_package(path)
    assert str(path) in str(raised.value)


def test_a_folder_that_is_no_package(tmp_path):
    with pytest.raises(PackageError, match=r"is not a model package: Manifest\.json is missing"):
        open_package(tmp_path)


def test_a_manifest_that_is_a_folder(tmp_path):
    (tmp_path / "Manifest.json").mkdir()
    with pytest.raises(PackageError, match=r"Manifest\.json cannot be read: Is a directory"):
        open_package(tmp_path)


@pytest.mark.parametrize("relative", ["../../../../secret", "weights/../../../../secret", "/etc/hostname", "a\0b"])
def test_a_weight_path_may_not_leave_the_package(relative, tmp_path):
    (tmp_path / "secret").write_text("outside")
    package = open_package(lay_out(tmp_path / "m.mlpackage", manifest()))
    with pytest.raises(PackageError, match=r"points outside the package"):
        package.find(relative)


def test_dots_that_stay_inside_are_fine(tmp_path):
    package = open_package(lay_out(tmp_path / "m.mlpackage", manifest()))
    assert package.find("weights/../weights/./weight.bin").read_text() == FILES[1]


def test_a_link_out_of_the_package_is_followed(tmp_path):
    """Download caches keep files by their content and link to them."""
    (tmp_path / "blob").write_text("elsewhere")
    path = lay_out(tmp_path / "m.mlpackage", manifest())
    (path / "Data" / "com.apple.CoreML" / "weights" / "link.bin").symlink_to(tmp_path / "blob")
    assert open_package(path).find("weights/link.bin").read_text() == "elsewhere"


def test_a_link_inside_the_package_is_followed(tmp_path):
    path = lay_out(tmp_path / "m.mlpackage", manifest())
    (path / "Data" / "com.apple.CoreML" / "weights" / "link.bin").symlink_to("weight.bin")
    assert open_package(path).find("weights/link.bin").read_text() == FILES[1]


def test_a_link_to_itself(tmp_path):
    path = lay_out(tmp_path / "m.mlpackage", manifest(), FILES[1:])
    loop = path / "Data" / FILES[0]
    loop.symlink_to(loop.name)
    with pytest.raises(PackageError, match="is missing"):
        open_package(path)
