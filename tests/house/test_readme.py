"""README: its commands work as they are printed, in a new folder, on any photo."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import pippin

pytestmark = pytest.mark.process

SOURCE = Path(pippin.__file__).parents[1]
README = SOURCE.parent / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
# `make` sets up, shows the demo and runs these tests.
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line.startswith("pippin ")]
COPY = next(line for kind, block in BLOCKS for line in block.splitlines() if kind == "sh" and line.startswith("cp "))
PROGRAM = next(block for kind, block in BLOCKS if kind == "python")
SHIM = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {{}}"$@"\n'
WRITES = {  # what a command leaves behind
    "predict": "out/colorized.png", "report": "report.html", "trace": "trace.json", "generate": "model.py",
    "convert-mil": "model.mil", "export": "model.onnx",
}  # fmt: skip


def photos():
    """Photographs as cameras, phones, scanners and painting programs write them: (file name, picture, how it is saved)."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    photo = PIL.Image.fromarray(noise).resize((640, 427))
    clear = photo.copy()
    clear.putalpha(128)
    deep = PIL.Image.fromarray(np.random.default_rng(1).integers(0, 1 << 16, (70, 50)).astype(np.uint16))
    yield "cat.jpg", photo, {}
    yield "large.jpg", photo.resize((4000, 3000)), {}
    yield "tiny.png", photo.resize((1, 1)), {}
    yield "of the right size.png", photo.resize((256, 256)), {}
    yield "turned.jpg", photo, {"exif": exif}
    yield "progressive.jpg", photo, {"progressive": True}
    yield "gray.jpg", photo.convert("L"), {}
    yield "cmyk.jpg", photo.convert("CMYK"), {}
    yield "alpha.png", clear, {}
    yield "gray alpha.png", clear.convert("LA"), {}
    yield "palette.png", photo.convert("P"), {}
    yield "transparent palette.png", photo.convert("P"), {"transparency": 3}
    yield "black and white.png", photo.convert("1"), {}
    yield "16 bits.png", deep, {}
    yield "moving.gif", photo.convert("P"), {"save_all": True, "append_images": [photo.convert("P")]}
    yield "photo.webp", photo, {}
    yield "scan.tif", photo, {"compression": "tiff_lzw"}
    yield "PHOTO.JPG", photo, {"format": "JPEG"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what README says is there, `pippin` and `python` on the path, and a cache of its own."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "src").symlink_to(SOURCE)
    (folder / "bin").mkdir()
    for name, arguments in (("pippin", "-m pippin "), ("python", "")):
        (folder / "bin" / name).write_text(SHIM.format(arguments))
        (folder / "bin" / name).chmod(0o755)
    (folder / "app.py").write_text(PROGRAM)
    (folder / "photos").mkdir()
    for name, picture, how in photos():
        picture.save(folder / "photos" / name, **how)
    (folder / "cat.jpg").write_bytes((folder / "photos" / "turned.jpg").read_bytes())
    assert run(folder, COPY).returncode == 0
    return folder


def environment(folder):
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(SOURCE), "PIPPIN_CACHE": str(folder / "cache"), "BROWSER": "true"}
    return os.environ | own


def run(folder, command):
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=300
    )


def test_there_are_ten_commands():
    assert len(COMMANDS) >= 10
    assert {line.split()[1] for line in COMMANDS[:10]} >= {"predict", "inspect", "plan", "report", "generate", "studio"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [line for line in COMMANDS if not line.startswith("pippin studio")],
    ids=lambda line: " ".join(line.partition("#")[0].split()[1:4]),
)
def test_a_command_of_the_readme(command, folder):
    done = run(folder, command)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    written = WRITES.get(command.split()[1])
    assert written is None or (folder / written).stat().st_size > 100


@pytest.mark.slow
def test_the_studio_of_the_readme(folder):
    """It prints its address, and ends with Ctrl-C."""
    pytest.importorskip("nicegui")
    (command,) = (line for line in COMMANDS if line.startswith("pippin studio"))
    arguments = shlex.split(command, comments=True)
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment(folder), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores Ctrl-C
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("http://127.0.0.1:" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
    finally:
        process.kill()
        process.communicate()


def test_any_photo(folder):
    """One line for each, and no error."""
    command = "pippin predict model.mlpackage --strategy fast_load --input photo=photos"
    done = run(folder, command)
    assert done.returncode == 0, done.stderr
    missing = [name for name, _, _ in photos() if name not in done.stdout]
    assert not missing, done.stdout


def test_a_photo_that_is_not_read_is_refused_in_a_line(folder):
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(1000))
    done = run(folder, "pippin predict model.mlpackage --input photo=phone.heic")
    assert done.returncode == 2
    assert "phone.heic' cannot be read as an image: HEIC is not read; convert it to JPEG or PNG" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
