"""Classical models on the command line: strings, integers and dictionaries go in and come out."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lowering.classical.specs import DOUBLE, INT, INTS, STRING, STRINGS, model, pipeline
from lowering.classical.test_tree_ensemble import many_trees
from pippin.apps.cli import app

TYPES = {"d": DOUBLE, "i": INT, "s": STRING, "t": STRINGS, "n": INTS, "w": "[string]"}


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    return done.exit_code, done.output or str(done.exception)


@pytest.fixture
def identity(tmp_path):
    path = tmp_path / "identity.mlmodel"
    path.write_bytes(model("identity", TYPES, TYPES).SerializeToString())
    return path


def given(**values):
    return [argument for name, value in values.items() for argument in ("--input", f"{name}={value}")]


VALUES = {"d": "1.5", "i": "4", "s": "a [b]", "t": '{"x": 2, "y": 0.5}', "n": '{"7": 1}', "w": '["p", "q"]'}


def test_values_in_and_out(identity):
    code, out = run("predict", identity, *given(**VALUES), "--json")
    assert code == 0, out
    outputs = json.loads(out)["outputs"]
    assert outputs == {
        "d": 1.5, "i": 4, "s": "a [b]", "t": {"x": 2.0, "y": 0.5}, "n": {"7": 1.0}, "w": ["p", "q"],
    }  # fmt: skip


def test_for_people(identity):
    code, out = run("predict", identity, *given(**VALUES))
    assert code == 0 and "a [b]" in out and "value" in out and "probability" in out


def test_all_inputs_of_one_file(identity, tmp_path):
    path = tmp_path / "in.json"
    path.write_text(json.dumps({"d": 1, "i": 2, "s": "x", "t": {}, "n": {"-3": 2}, "w": []}))
    code, out = run("predict", identity, "--input", path, "--json")
    assert code == 0 and json.loads(out)["outputs"]["n"] == {"-3": 2.0}


def test_keys_that_are_no_integers(identity):
    code, out = run("predict", identity, *given(**{**VALUES, "n": '{"a": 1}'}))
    assert code != 0 and "must have integer keys" in out


def test_inspect(tmp_path):
    path = tmp_path / "trees.mlmodel"
    scaler = model("scaler", {"x": (3,)}, {"x": (3,)})
    path.write_bytes(pipeline([scaler, many_trees(12)], {"x": (3,)}, {"y": DOUBLE}).SerializeToString())
    code, out = run("inspect", path, "--json")
    assert code == 0, out
    first, second = json.loads(out)["models"]
    assert (first["kind"], second["kind"]) == ("scaler", "treeEnsembleRegressor")
    assert second["counts"]["trees"] == 12 and second["counts"]["features"] == 3
    code, out = run("inspect", path)
    assert code == 0 and "trees 12" in out
