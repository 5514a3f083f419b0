"""Commands as processes: each works in a fresh interpreter, where nothing else has imported what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import PIL.Image
import pytest
from coremltools.converters.mil import Builder as mb

import coremltools as ct
from pippin.apps.cli import app
from support.small_models import saved_program

pytestmark = pytest.mark.process

# Arguments, where MODEL is the package and OUT a folder, and what the output must contain.
COMMANDS = {
    "predict": (["predict", "MODEL", "--input", "x=ones", "--json"], '"y"'),
    "inspect": (["inspect", "MODEL"], "relu"),
    "devices": (["devices"], "cpu"),
    "plan": (["plan", "MODEL"], "relu"),
    "compile": (["compile", "MODEL", "-o", "OUT/model.mlmodelc"], "model.mlmodelc"),
    "report": (["report", "MODEL", "--seconds", "0"], "median"),
    "generate": (["generate", "MODEL"], "class "),
    "export": (["export", "MODEL", "OUT/model.onnx"], "opset"),
    "convert": (["convert", "--help"], "estimator"),
    "convert-mil": (["convert-mil", "MODEL"], "func main"),
    "ops": (["ops", "--search", "relu"], "leaky_relu"),
    "compare": (["compare", "MODEL"], "signal to noise"),
    "bisect": (["bisect", "MODEL"], "no operation is under 40 dB"),
    "check": (["check", "MODEL", "--portable"], "nothing found"),
    "evaluate": (["evaluate", "--help"], "baseline"),
    "compress": (["compress", "--help"], "size=4x"),
    "cache": (["cache", "ls", "--cache", "OUT/cache"], "entries: 0"),
    "trace": (["trace", "summary", "OUT/t.json"], "recorded"),
    "run": (["run", "OUT/script.py"], "ran"),
    "demo": (["demo", "--help"], "gallery"),
    "studio": (["studio", "--help"], "page"),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("process"), lambda x: mb.relu(x=x, name="y"), x=(2, 3))


def pippin(*arguments):
    return subprocess.run([sys.executable, "-m", "pippin", *arguments], capture_output=True, text=True)


def test_every_command_is_here():
    names = {command.name for command in app.registered_commands} | {
        g.typer_instance.info.name for g in app.registered_groups
    }
    assert names == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_command(name, package, tmp_path):
    (tmp_path / "script.py").write_text("print('ran')")
    if name == "trace":
        (tmp_path / "empty.py").write_text("import pippin")
        assert (
            pippin("trace", "-o", str(tmp_path / "t.json"), "--", sys.executable, str(tmp_path / "empty.py")).returncode
            == 0
        )
    arguments, expected = COMMANDS[name]
    done = pippin(*(argument.replace("MODEL", str(package)).replace("OUT", str(tmp_path)) for argument in arguments))
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout + done.stderr


def test_rows_through_pipes(package):
    """A table on standard input, and one line for each row."""
    arguments = [sys.executable, "-m", "pippin", "predict", str(package), "--input", "-", "--format", "csv"]
    table = '"x"\n"[[1, -2, 3], [-4, 5, -6]]"\n"[[0, 0, 0], [1, 1, 1]]"\n'
    done = subprocess.run(arguments, input=table, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "row,y_0,y_1,y_2,y_3,y_4,y_5",
        "1,1.0,0.0,3.0,0.0,5.0,0.0",
        "2,0.0,0.0,0.0,1.0,1.0,1.0",
    ]


def test_an_annotated_picture(tmp_path):
    """Of a model that makes a picture: that picture."""
    model = saved_program(
        tmp_path,
        lambda image: mb.sub(x=255.0, y=image, name="made"),
        inputs=[ct.ImageType("image", (1, 3, 8, 8))],
        outputs=[ct.ImageType("made")],
        image=(1, 3, 8, 8),
    )
    PIL.Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / "in.png")
    done = pippin("predict", str(model), "--input", f"image={tmp_path}/in.png", "--output", str(tmp_path / "out.png"))
    assert done.returncode == 0 and "wrote" in done.stdout, done.stderr
    assert PIL.Image.open(tmp_path / "out.png").getpixel((0, 0)) == (245, 235, 225)


# The words on the line, the number of the one to complete, and what it may become.
COMPLETIONS = {
    "pippin pre": (1, ["predict"]),
    "pippin predict --comp": (2, ["--compute-units"]),
    "pippin plan --engine o": (3, ["openvino", "onnxruntime"]),
    "pippin report --precision b": (3, ["bfloat16"]),
}


@pytest.mark.parametrize("line", COMPLETIONS)
def test_completion_of_the_shell(line):
    place, expected = COMPLETIONS[line]
    asked = {"_PIPPIN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(place)}
    done = subprocess.run([sys.executable, "-m", "pippin"], capture_output=True, text=True, env=os.environ | asked)
    assert done.returncode == 0 and done.stdout.split() == expected, done.stderr


def test_ops_lists_all_operations():
    found = json.loads(pippin("ops", "--json").stdout)
    assert found["count"] >= 168


# Each in turn, with MODEL and OUT as above, and what is printed.
CACHE_COMMANDS = (
    ("compile MODEL", "prepare and cache"),
    ("cache ls --json", '"key"'),
    ("cache show KEY", '"key"'),
    ("cache explain MODEL", "hit"),
    ("cache verify", "intact"),
    ("cache export OUT/all.tar", "entries written: 1"),
    ("cache clear", "entries removed: 1"),
    ("cache import OUT/all.tar", "entries imported: 1"),
    ("cache prune", "entries removed: 0"),
)


@pytest.mark.slow
def test_cache_commands(package, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPPIN_CACHE", str(tmp_path / "cache"))
    (group,) = [g.typer_instance for g in app.registered_groups if g.typer_instance.info.name == "cache"]
    assert {command.name for command in group.registered_commands} == {
        line.split()[1] for line, _ in CACHE_COMMANDS if line.startswith("cache ")
    }
    places = {"MODEL": str(package), "OUT": str(tmp_path), "KEY": ""}
    for line, expected in CACHE_COMMANDS:
        for word, place in places.items():
            line = line.replace(word, place)
        done = pippin(*line.split())
        assert done.returncode == 0 and expected in done.stdout + done.stderr, (line, done.stdout, done.stderr)
        if line == "cache ls --json":
            places["KEY"] = json.loads(done.stdout)[0]["key"]
