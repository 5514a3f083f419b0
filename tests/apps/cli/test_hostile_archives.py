"""Archives on the command line: what is not unpacked is told, and nothing leaves the folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pippin import errors
from pippin.apps.cli.open_argument import model_path

MODEL = b"a model, as far as its name says"


def archive(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return path


def damaged(path):
    """The compressed bytes of the model are others."""
    data = bytearray(archive(path, ("m.mlmodel", MODEL * 50)).read_bytes())
    data[45:60] = b"\xff" * 15
    path.write_bytes(data)
    return path


def cut(path):
    path.write_bytes(archive(path, ("m.mlmodel", MODEL)).read_bytes()[:40])
    return path


REFUSED = {
    "damaged": (damaged, "cannot be unpacked"),
    "cut": (cut, "cannot be unpacked"),
    "a bomb": (lambda path: archive(path, ("m.mlmodel", MODEL), ("big", bytes(300 << 20))), "bytes are unpacked of it"),
    "too many files": (
        lambda path: archive(path, *((f"{number}.mlmodel", b"") for number in range(10_001))),
        "at most 10,000 files",
    ),
    "a name too long": (lambda path: archive(path, ("m.mlmodel", MODEL), ("a" * 5000, b"")), "cannot be unpacked"),
    "no model": (lambda path: archive(path, ("readme.txt", b"")), "without a Core ML model"),
    "an archive in an archive": (lambda path: archive(path, ("m.zip", b"PK\x03\x04")), "without a Core ML model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(errors.PackageError, match=message):
        model_path(make(tmp_path / "m.zip"))


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out"])
def test_nothing_leaves_the_folder(name, tmp_path):
    found = model_path(archive(tmp_path / "m.zip", ("m.mlmodel", MODEL), (name, b"x")))
    assert (found if found.is_file() else found / "m.mlmodel").read_bytes() == MODEL
    assert [path.name for path in tmp_path.iterdir()] == ["m.zip"] and not Path("/out").exists()
