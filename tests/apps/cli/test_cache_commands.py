"""The commands about devices, plans and the cache."""

from __future__ import annotations

import json
import sys

import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

from pippin.apps import cli
from support.small_models import saved_program


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("cli"), lambda x: mb.relu(x=x, name="y"), x=(2, 3))


@pytest.fixture
def pippin(capsys, monkeypatch, tmp_path):
    """Runs the command line with a cache of its own: the exit status, and what it printed."""
    monkeypatch.setenv("PIPPIN_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pippin", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return run


def test_devices(pippin):
    found = json.loads(pippin("devices", "--json")[1])
    assert [device["kind"] for device in found] == ["cpu", "gpu", "neuralEngine"]
    assert found[0]["available"] and found[0]["cores"] >= 1
    assert {"openvino", "onnxruntime"} <= found[0]["engines"].keys()
    for device in found[1:]:
        assert device["available"] or device["absent"], "an absent device has a reason"
    text = pippin("devices")[1]
    assert all(word in text for word in ("cpu", "gpu", "neuralEngine", found[0]["name"]))


def test_plan(pippin, package):
    status, out, _ = pippin("plan", package, "--json", "--require", "cpu>=0.9")
    plan = json.loads(out)
    assert status == 0
    assert [op["kind"] for op in plan["operations"]] == ["relu"]
    assert plan["candidates"] and plan["segments"][0]["device"] == "cpu"
    status, _, err = pippin("plan", package, "--require", "gpu>=0.5")
    assert (status, "gpu>=0.5" in err) == (1, True)
    assert pippin("plan", package, "--require", "nonsense")[0] == 2
    assert "relu" in pippin("plan", package, "--measure")[1]


def test_a_life_in_the_cache(pippin, package, tmp_path):
    assert json.loads(pippin("cache", "ls", "--json")[1]) == []
    assert "not specialized here before" in pippin("cache", "explain", package)[1]
    assert "prepare and cache" in pippin("compile", package)[1]
    assert "hit" in pippin("cache", "explain", package)[1]
    assert "cached" in pippin("compile", package)[1]
    (entry,) = json.loads(pippin("cache", "ls", "--json")[1])
    assert entry["key"][:12] in pippin("cache", "ls")[1]
    assert json.loads(pippin("cache", "show", entry["key"][:8])[1]) == entry
    changed = json.loads(pippin("cache", "explain", package, "--precision", "float32", "--json")[1])["changed"]
    assert changed == {"configuration.precision": {"there": "auto", "now": "float32"}}
    assert pippin("cache", "verify")[0] == 0
    assert "entries written: 1" in pippin("cache", "export", tmp_path / "all.tar")[1]
    assert "entries removed: 1" in pippin("cache", "clear")[1]
    assert "entries imported: 1" in pippin("cache", "import", tmp_path / "all.tar")[1]
    assert "cached" in pippin("compile", package)[1]
    (tmp_path / "cache" / "entries" / entry["key"] / "session.json").write_text("{}")
    assert pippin("cache", "verify")[0] == 1
    assert "damaged" in pippin("cache", "explain", package)[1]
    assert "entries removed: 0" in pippin("cache", "prune")[1]


def test_compile_into_a_folder(pippin, package, tmp_path):
    assert pippin("compile", package, "-o", tmp_path / "m.mlmodelc")[0] == 0
    assert pippin("predict", tmp_path / "m.mlmodelc", "--input", "x=ones", "--json")[0] == 0
    status, _, err = pippin("compile", package, "-o", tmp_path / "m.mlmodelc")
    assert status == 2 and "already exists" in err


def test_the_folder_that_compile_writes_to_meanwhile_is_not_named(pippin, tmp_path):
    builder = NeuralNetworkBuilder([("x", datatypes.Array(4))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_softmax("l", "x", "y")
    builder.spec.neuralNetwork.layers[0].ClearField("softmax")
    (tmp_path / "m.mlmodel").write_bytes(builder.spec.SerializeToString())
    (tmp_path / "file").touch()
    for output in (tmp_path / "out.mlmodelc", tmp_path / "file" / "out.mlmodelc"):
        status, _, err = pippin("compile", tmp_path / "m.mlmodel", "-o", output)
        assert status == (2 if output.parent.is_file() else 1) and "out.mlmodelc" in err and ".out-" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cache", "show", "nothing"], "0 entries"),
        (["cache", "export", "x.tar", "nothing"], "0 entries"),
        (["cache", "import", "absent.tar"], "cannot be read"),
        (["cache", "explain", "absent.mlpackage"], "no such file"),
        (["plan", "absent.mlpackage"], "no such file"),
        (["compile", "absent.mlpackage"], "no such file"),
    ],
)
def test_errors(pippin, arguments, message):
    status, _, err = pippin(*arguments)
    assert status == (1 if arguments[1] in ("show", "export", "import") else 2) and message in err


def test_a_cache_that_is_off(pippin, monkeypatch):
    monkeypatch.setenv("PIPPIN_CACHE", "off")
    status, _, err = pippin("cache", "ls")
    assert status == 1 and "--cache" in err
