"""Models that are uploaded to the studio: what is taken, where it lies, and what an archive may not do."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest

from pippin.apps.studio import uploads
from pippin.errors import FormatError
from pippin.format.asset import open_asset


def archived(folder, under="", more=()):
    """A zip of a package's files below `under`, and further members as (name or ZipInfo, bytes)."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{under}{path.relative_to(folder)}")
        for name, content in more:
            archive.writestr(name, content)
    return data.getvalue()


def received(name, data):
    file = uploads.new_file(name)
    file.write_bytes(data)
    return file


ARCHIVES = {
    "its folder": "arrays.mlpackage/",
    "inside another": "models/mine/arrays.mlpackage/",
    "its content alone": "",
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_zipped_package(name, models):
    rubbish = [("__MACOSX/._x", b""), (".DS_Store", b""), ("readme.txt", b"")] if name == "its folder" else []
    file = received("sent.zip", archived(models("arrays"), ARCHIVES[name], rubbish))
    path = uploads.model_in(file)
    assert path.name == ("sent.mlpackage" if name == "its content alone" else "arrays.mlpackage")
    assert open_asset(path).description.kind == "mlProgram" and not file.exists()
    for part in (path, file.parent, file.parent.parent):
        assert part == path or stat.S_IMODE(part.stat().st_mode) == 0o700


def test_a_model_file(models):
    data = models("table").read_bytes()
    one, other = received("../../t[/b]able.mlmodel", data), received("../../t[/b]able.mlmodel", data)
    assert one.parent != other.parent and one.name == "b_able.mlmodel"
    assert uploads.model_in(one) == one
    zipped = received("x.ZIP", archived(models("table").parent / "nothing", more=[("a/t.mlmodel", data)]))
    assert uploads.model_in(zipped).read_bytes() == data


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def huge(monkeypatch):
    monkeypatch.setattr(uploads, "_MOST_BYTES", 1000)
    return archived(uploads._folder() / "none", more=[("x.mlmodel", b"\0" * 1001)])


def many(monkeypatch):
    monkeypatch.setattr(uploads, "_MOST_FILES", 2)
    return archived(uploads._folder() / "none", more=[(f"{n}.mlmodel", b"") for n in range(3)])


def of(*members):
    return lambda monkeypatch: archived(uploads._folder() / "none", more=members)


WRONG = {
    "leads outside": of(("x.mlpackage/../../../up.mlmodel", b"")),
    "'/etc/up.mlmodel' is a link, or leads outside": of(("/etc/up.mlmodel", b"")),
    r"'..\\up.mlmodel' is a link, or leads outside".replace("\\\\", "\\"): of(("..\\up.mlmodel", b"")),
    "'x.mlmodel' is a link": of((link("x.mlmodel"), b"/etc/passwd")),
    "it holds: none": of(("readme.txt", b"")),
    "it holds: a.mlmodel, b.mlpackage": of(("a.mlmodel", b""), ("b.mlpackage/Manifest.json", b"{}")),
    "cannot be unpacked": lambda monkeypatch: b"PK\x03\x04 nothing more",
    "files of 1.0 KB": huge,
    "holds 3 files": many,
}


@pytest.mark.parametrize("message", WRONG)
def test_archives_that_are_refused(message, monkeypatch):
    file = received("sent.zip", WRONG[message](monkeypatch))
    with pytest.raises(FormatError) as raised:
        uploads.model_in(file)
    assert message.replace("/", "/") in str(raised.value).replace("\\\\", "\\")
    assert not file.parent.exists()


def test_files_of_another_kind():
    with pytest.raises(FormatError, match=r"x.onnx is neither an .mlmodel nor a .zip"):
        uploads.new_file("x.onnx")
