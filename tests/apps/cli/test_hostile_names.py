"""Names are text: models, files and messages full of markup, escapes and HTML, through every command."""

from __future__ import annotations

import ast
import html
import io
import json
import re
import sys

import numpy as np
import pytest

import pippin
from pippin.apps import cli
from pippin.apps.cli import terminal
from pippin.apps.cli.print_outputs import write_outputs
from pippin.format.asset import open_asset
from pippin.support.visible_text import spreadsheet_cell, visible
from pippin.trace.summary import read
from support import hostile_names
from support.hostile_names import NAMES, RAW

FAST = ("--engine", "onnxruntime", "--strategy", "fast_load")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """{kind: path} of a classifier and a program."""
    kinds = {"classifier": hostile_names.classifier, "program": hostile_names.program}
    return {kind: hostile_names.saved(make(), tmp_path_factory.mktemp(kind)) for kind, make in kinds.items()}


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command that must succeed; gives what it printed, in which nothing may act on a terminal."""

    def command(*arguments, status=0):
        monkeypatch.setattr(sys, "argv", ["pippin", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        assert stop.value.code == status, printed.out + printed.err
        raw = re.findall(f".{{0,20}}{RAW}.{{0,20}}", printed.out + printed.err)
        assert raw == []
        return printed.out + printed.err

    return command


def values(path):
    """A file with the input."""
    name = open_asset(path).description.function().inputs[0].name
    file = path.parent / "inputs.npz"
    np.savez(file, **{name: np.arange(len(NAMES), dtype=np.float32) / 9})
    return file


def folded(text):
    """Printed text without the breaks and frames of tables, to look for names in it."""
    return re.sub(r"\s+", "", text)


KINDS = ("classifier", "program")
SEEN = ["a[/b]z", "[link=https://elsewhere.example]L[/link]", ":smile:", "pip install 'pippin[mnn]'", r"\x1b[31mred"]
COMMANDS = {
    "inspect": lambda path, folder: ("inspect", path),
    "inspect --json": lambda path, folder: ("inspect", path, "--json"),
    "plan": lambda path, folder: ("plan", path, *FAST),
    "plan --json": lambda path, folder: ("plan", path, *FAST, "--json"),
    "predict": lambda path, folder: ("predict", path, "--input", values(path), "--output", folder / "out"),
    "predict --json": lambda path, folder: ("predict", path, "--input", values(path), "--json"),
    "compile": lambda path, folder: ("compile", path, *FAST, "--output", folder / "[/b]\x1b[1m.mlmodelc"),
    "compile into the cache": lambda path, folder: ("compile", path, *FAST, "--cache", folder / "[/b]\x1b[1m"),
    "cache explain": lambda path, folder: ("cache", "explain", path, *FAST, "--cache", folder / "[/b]\x1b[1m"),
    "export": lambda path, folder: ("export", path, folder / "[/b]\x1b[1m\u202e.onnx"),
    "generate": lambda path, folder: ("generate", path),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name, kind, hostile, run, tmp_path):
    (tmp_path / "[").mkdir()  # with what the command writes: [/b]
    out = run(*COMMANDS[name](hostile[kind], tmp_path))
    if "json" in name:
        json.loads(out)
    elif name in ("inspect", "plan"):
        assert [text for text in SEEN if folded(text) not in folded(out)] == []
    elif name == "generate":
        ast.parse(out)


@pytest.mark.parametrize("command", ["inspect", "plan"])
def test_a_name_of_a_million_characters(command, run, tmp_path):
    """Only its beginning is printed, on a few lines; OpenVINO, which crashes on its own file, is not given it."""
    path = hostile_names.saved(hostile_names.of_one_name("n" * 1_000_000), tmp_path)
    out = run(command, path, *(FAST if command == "plan" else ()))
    assert "nnn... (1,000,0" in folded(out).replace("...(", "... (") and len(out) < 20_000


@pytest.mark.parametrize("kind", KINDS)
def test_commands_on_a_cache(kind, hostile, run, tmp_path):
    cache = ("--cache", tmp_path / "[red]\x1b[1m")
    run("compile", hostile[kind], *FAST, *cache)
    assert r"\x1b[31m\u202e\n<imgsrc=xonerror=alert(1)>" in folded(run("cache", "ls", *cache))
    for command in (("ls", "--json"), ("verify",), ("export", tmp_path / "[b].tar"), ("prune",), ("clear",)):
        run("cache", *command, *cache)
    run("cache", "show", "[/b]\x1b[1m", *cache, status=1)


def test_text_of_a_program(hostile, run):
    assert r"\x1b[31mred\x1b[0m" in run("inspect", hostile["program"], "--text")
    assert "[/link]x' is not valid in MIL text" in run("convert-mil", hostile["program"], status=1)


@pytest.mark.slow
def test_a_report(hostile, run, tmp_path):
    files = {kind: tmp_path / f"r.{kind}" for kind in ("json", "csv", "html")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", path)]
    out = run("report", hostile["classifier"], "--seconds", "0.01", *FAST, *options[:2])
    again = ("--baseline", files["json"], "--fail-if", "prediction.median < 0")
    out += run("report", hostile["classifier"], "--seconds", "0.01", *FAST, *options[2:], *again)
    assert folded(out).count("a[/b]z") == 2
    page = files["html"].read_text()
    assert not re.search(RAW, page)
    assert set(re.findall(r"<(script|img)\b", page)) == set()
    assert html.escape(visible(NAMES["script"])) in page
    assert json.loads(files["json"].read_text())["results"]


def test_a_trace(hostile, run, tmp_path):
    path = tmp_path / "trace.json"
    with pippin.trace.record(path), pippin.load(hostile["classifier"], pippin.Configuration(engine="onnxruntime")) as m:
        m.predict(dict(np.load(values(hostile["classifier"]))))
    assert not re.search(RAW, path.read_text())
    model = f"b]{hostile_names.FILE}.mlmodel"
    assert model in {entry["args"].get("name") for entry in read(path)}
    assert visible(model).replace(" ", "") in folded(run("trace", "summary", path))


@pytest.mark.parametrize("name", NAMES)
def test_messages(name, run, tmp_path):
    """A name in an error, where a tag once ended the command."""
    path = tmp_path / NAMES[name][:200].strip()
    said = run("inspect", path, status=2)
    assert visible(str(path)) in said.replace("\n  ", r"\n")
    assert said.count("\nerror:") == 0, "a line of a name is not a message of ours"


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal(name):
    """On a terminal, the only escapes are our own styles."""
    file = io.StringIO()
    console = terminal.new_console(file=file, force_terminal=True, width=5000, color_system="standard")
    rows = terminal.table("name", NAMES[name], title=NAMES[name])
    rows.add_row(NAMES[name], terminal.styled((NAMES[name], "bold")))
    console.print(rows)
    console.print(NAMES[name], style="dim")
    console.print(terminal.styled((NAMES[name], "bold"), NAMES[name]))
    shown = file.getvalue()
    assert not re.search(RAW, re.sub(r"\x1b\[[0-9;]*m", "", shown)) and "\x1b]" not in shown
    assert not re.search(r"\x1b\[3[0-9]m", shown), "a colour that nobody asked for"
    if name not in ("line", "triple quotes", "long"):  # broken into lines
        assert shown.count(visible(NAMES[name])) >= 5


VISIBLE = {
    "plain": ("Grüße, 你好 👩‍👩‍👧 می‌خواهم", "Grüße, 你好 👩‍👩‍👧 می‌خواهم"),
    "escape": ("\x1b[1m", r"\x1b[1m"),
    "line": ("a\nb\r\tc", r"a\nb\r\tc"),
    "reversed": ("\u202e", r"\u202e"),
    "tag": ("\U000e0041", r"\U000e0041"),
    "not UTF-8": ("a\udcff", r"a\udcff"),
}


@pytest.mark.parametrize("name", VISIBLE)
def test_visible(name):
    text, expected = VISIBLE[name]
    assert visible(text) == expected
    expected.encode()


CELLS = {"=1+1": "'=1+1", "-1.5": "-1.5", "+2": "+2", "-a": "'-a", "@x": "'@x", "a=b": "a=b", "": "", "-inf": "-inf"}


def test_cells_of_a_spreadsheet():
    assert {text: spreadsheet_cell(text) for text in CELLS} == CELLS


def test_files_of_outputs(tmp_path):
    """Each output has a file of its own, in the folder, whatever its name."""
    written = write_outputs(
        {name: np.zeros(2) for name in (*NAMES.values(), "a/b", "a b", "..", "", "A" * 300)}, tmp_path
    )
    assert len(set(written.values())) == len(written) == len(list(tmp_path.iterdir()))
    assert all(path.parent == tmp_path and not path.name.startswith(".") for path in written.values())
