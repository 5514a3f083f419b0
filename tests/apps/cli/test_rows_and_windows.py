"""Many predictions of one command: rows of tables, windows of sounds, chosen shapes; as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
import wave

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol

import coremltools as ct
from support.small_models import saved_program

FAST = ("--engine", "onnxruntime", "--strategy", "fast_load")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Sums of numbers and of sounds, so that each expected value is a sum."""
    folder = tmp_path_factory.mktemp("rows")

    def total(x):
        return mb.reduce_sum(x=x, axes=[1], keep_dims=True, name="sum")

    def two(x, y):
        return mb.add(x=total(x), y=y, name="both"), mb.mul(x=x, y=2.0, name="twice")

    def remembered(audio, memory_in):
        return mb.add(x=mb.reduce_sum(x=audio, axes=[1], keep_dims=True, name="now"), y=memory_in, name="memory_out")

    def sound(audio):
        return mb.reduce_sum(x=audio, axes=[1], keep_dims=True, name="sum")

    batch = [ct.TensorType("x", (ct.RangeDim(1, 8, default=1), 3), np.float32)]
    return {
        "two": saved_program(folder, two, name="two", x=(1, 3), y=(1, 1)),
        "sound": saved_program(folder, sound, name="sound", audio=(1, 400)),
        "memory": saved_program(folder, remembered, name="memory", audio=(1, 400), memory_in=(1, 1)),
        "batch": saved_program(folder, total, name="batch", inputs=batch, x=(get_new_symbol(), 3)),
        "log": saved_program(folder, lambda x: mb.add(x=mb.log(x=x, name="lg"), y=1.0, name="y"), name="log", x=(1, 2)),
    }


TABLES = {
    "columns": ("t.csv", "x_0,x_1,x_2,y\n1,2,3,10\n4,5,6,20\n"),
    "lists": ("t.csv", 'y,x\n10,"[1, 2, 3]"\n20,"[[4, 5, 6]]"\n'),
    "semicolons": ("t.csv", "\ufeffx_0;x_1;x_2;y\n1;2;3;10\n\n4;5;6;20\n"),
    "tabs": ("t.tsv", "x_0\tx_1\tx_2\ty\n1\t2\t3\t10\n4\t5\t6\t20"),
    "JSON lines": ("t.jsonl", '{"x": [1, 2, 3], "y": 10}\n{"x": [[4, 5, 6]], "y": [[20]]}\n'),
    "a JSON list": ("t.json", '[{"x": [1, 2, 3], "y": 10}, {"x": [4, 5, 6], "y": 20}]'),
}


@pytest.mark.parametrize("case", TABLES)
@pytest.mark.parametrize("through", ["file", "-"])
def test_rows(case, through, models, command, tmp_path, monkeypatch):
    name, text = TABLES[case]
    (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    given = tmp_path / name if through == "file" else "-"
    status, out, err = command("predict", models["two"], "--input", given, "--format", "jsonl", *FAST)
    assert status == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["row"] for row in rows] == [1, 2]
    assert [row["outputs"]["both"] for row in rows] == [[[16]], [[35]]]


def test_a_value_for_all_rows_and_columns_that_are_no_inputs(models, command, tmp_path):
    (tmp_path / "t.csv").write_text("x_0,x_1,x_2,truth\n1,2,3,a\n4,5,6,b\n")
    status, out, err = command("predict", models["two"], "--input", tmp_path / "t.csv", "--input", "y=[[1]]", *FAST)
    assert status == 0 and "not used: truth" in err
    assert "row 1" in out and "both 7" in out and "both 16" in out and "2 predictions" in out


@pytest.mark.parametrize("to", ["stdout", "file"])
def test_results_as_csv(to, models, command, tmp_path):
    """Arrays have the columns that the inputs of another model may have."""
    (tmp_path / "t.csv").write_text(TABLES["columns"][1])
    how = ("--format", "csv") if to == "stdout" else ("--output", tmp_path / "r.csv")
    status, out, _ = command("predict", models["two"], "--input", tmp_path / "t.csv", *how, *FAST)
    text = out if to == "stdout" else (tmp_path / "r.csv").read_text()
    assert status == 0 and sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "t.csv"][to == "stdout" :]
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"row": "1", "both": "16.0", "twice_0": "2.0", "twice_1": "4.0", "twice_2": "6.0"},
        {"row": "2", "both": "35.0", "twice_0": "8.0", "twice_1": "10.0", "twice_2": "12.0"},
    ]


def test_a_failed_run_leaves_the_results_before_it(models, command, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(TABLES["columns"][1])
    (tmp_path / "r.csv").write_text("kept")
    monkeypatch.setattr("pippin.runtime.model.Model.predict", lambda *a, **k: 1 / 0)
    assert (
        command("predict", models["two"], "--input", tmp_path / "t.csv", "--output", tmp_path / "r.csv", *FAST)[0] == 1
    )
    assert (tmp_path / "r.csv").read_text() == "kept" and len(list(tmp_path.iterdir())) == 2


def write_wav(path, samples, rate, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(np.asarray(samples) * 32768, channels).astype("<i2").tobytes())


def windows(command, model, path, *options):
    status, out, err = command("predict", model, "--input", f"audio={path}", "--format", "jsonl", *options, *FAST)
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()], err


def test_a_long_sound_in_windows(models, command, tmp_path):
    samples = np.arange(1000) % 7 / 16
    write_wav(tmp_path / "a.wav", samples, 8000)
    rows, err = windows(command, models["sound"], tmp_path / "a.wav", "--sample-rate", 8000)
    assert [(row["from"], row["to"]) for row in rows] == [(0, 0.05), (0.05, 0.1), (0.1, 0.125)]
    expected = [samples[start : start + 400].sum() for start in (0, 400, 800)]
    np.testing.assert_allclose([row["outputs"]["sum"][0][0] for row in rows], expected, rtol=1e-5)
    assert "3 windows of 0.05 s" in err and "the last window ends with 200 samples of silence" in err
    rows, _ = windows(command, models["sound"], tmp_path / "a.wav", "--sample-rate", 8000, "--overlap", 0.5)
    assert [row["from"] for row in rows] == [0, 0.025, 0.05, 0.075]
    expected = [samples[start : start + 400].sum() for start in (0, 200, 400, 600)]
    np.testing.assert_allclose([row["outputs"]["sum"][0][0] for row in rows], expected, rtol=1e-5)
    status, out, _ = command("predict", models["sound"], "--input", f"audio={tmp_path}/a.wav", *FAST)
    assert status == 0 and "0.05-0.10 s  sum " in out


def test_what_is_done_to_a_sound_is_said(models, command, tmp_path):
    """Another rate, two channels, no stated rate, too short."""
    write_wav(tmp_path / "a.wav", np.full(400, 0.25), 16000, channels=2)
    rows, err = windows(command, models["sound"], tmp_path / "a.wav", "--sample-rate", 8000)
    assert "resampled 16 kHz to 8 kHz" in err and "averaged 2 channels" in err and "200 samples of silence" in err
    assert rows[0]["outputs"]["sum"][0][0] == pytest.approx(50, rel=0.05)
    rows, err = windows(command, models["sound"], tmp_path / "a.wav")
    assert "16 kHz, as it is: the model states no sample rate" in err and "silence" not in err
    assert rows[0]["outputs"]["sum"][0][0] == pytest.approx(100)


def test_a_model_that_remembers_hears_the_windows_in_order(models, command, tmp_path):
    """Each file begins anew."""
    for name, count in (("a.wav", 800), ("b.wav", 1200)):
        write_wav(tmp_path / name, np.full(count, 0.5), 8000)
    rows, _ = windows(command, models["memory"], tmp_path, "--input", "memory_in=zeros", "--sample-rate", 8000)
    assert [row["outputs"]["memory_out"][0][0] for row in rows] == [200, 400, 200, 400, 600]
    assert [row["file"][-5:] for row in rows] == ["a.wav"] * 2 + ["b.wav"] * 3
    arguments = ("--input", f"audio={tmp_path}/a.wav", "--input", "memory_in=zeros", "--overlap", 0.5)
    status, _, err = command("predict", models["memory"], *arguments)
    assert status == 2 and "windows cannot overlap" in err


def test_chosen_shapes(models, command, tmp_path):
    for option in (("--batch", 4), ("--shape", "x=4,3"), ("--shape", "4x3")):
        status, out, _ = command("predict", models["batch"], *option, "--input", "x=ones", "--json", *FAST)
        assert status == 0 and json.loads(out)["outputs"]["sum"] == [[3]] * 4
    status, out, _ = command("plan", models["batch"], "--batch", 8, "--measure", "--json", *FAST)
    assert status == 0 and json.loads(out)["measured"]


def test_a_report_of_a_batch(models, command, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "pippin.reporting.measure.resident", lambda path, configuration, cache, features: seen.append(features)
    )
    status, out, _ = command(
        "report", models["batch"], "--batch", 4, "--threads", 1, "--seconds", 0, "--engine", "onnxruntime"
    )
    assert status == 0 and seen[0]["x"].shape == (4, 3) and "1 threads" in out


def test_arrays_in_a_folder(models, command, tmp_path):
    for number, name in enumerate(("b.npy", "a.npy")):
        np.save(tmp_path / name, np.full((1, 3), number, np.float32))
    (tmp_path / "notes.txt").write_text("not an array")
    given = ("predict", models["two"], "--input", "y=zeros", "--json", *FAST)
    for inputs in ([f"x={tmp_path}"], [f"x={tmp_path}/a.npy", f"x={tmp_path}/b.npy"]):
        status, out, err = command(*given, *(word for each in inputs for word in ("--input", each)))
        assert status == 0, err
        found = [(row["file"][-5:], row["outputs"]["both"]) for row in json.loads(out)["rows"]]
        assert found == [("a.npy", [[3]]), ("b.npy", [[0]])]


def test_a_report_hears_a_sound_at_the_rate_of_the_model(models, command, monkeypatch, tmp_path):
    write_wav(tmp_path / "a.wav", np.full(1000, 0.25), 8000, channels=2)
    monkeypatch.setattr(
        "pippin.reporting.report", lambda *models, **how: pytest.fail(str(how["inputs"]["audio"].shape))
    )
    with pytest.raises(pytest.fail.Exception, match=r"\(1, 400\)"):
        command("report", models["sound"], "--inputs", f"audio={tmp_path}/a.wav")


def test_where_a_nan_arises(models, command, tmp_path):
    """Said once, for the first prediction that has one; not searched for if an input holds it."""
    status, out, _ = command("predict", models["log"], "--input", "x=[[-1, 2]]", *FAST)
    assert status == 0 and "y: 1 of 2 numbers is NaN" in out and "the first NaN is made by 'lg' (log)" in out
    (tmp_path / "t.csv").write_text("x_0,x_1\n1,2\n0,0\n-1,1\n")
    found = json.loads(command("predict", models["log"], "--input", tmp_path / "t.csv", "--json", *FAST)[1])
    assert [row.get("warnings", []) for row in found["rows"]] == [
        [],
        ["y: 2 of 2 numbers are infinite", "the first infinity is made by 'lg' (log)"],
        ["y: 1 of 2 numbers is NaN"],
    ]
    status, out, _ = command("predict", models["log"], "--input", "x=[[NaN, 1]]", *FAST)
    assert status == 0 and "the input x: 1 of 2 numbers is NaN" in out


WRONG = {
    "a cell": (["two", "--input", "T:x_0,x_1,x_2,y\n1,2,three,4\n"], "row 1: 'x_2': 'three' is not a number"),
    "an empty cell": (["two", "--input", "T:x_0,x_1,x_2,y\n1,2,3,4\n1,,3,4"], "row 2: 'x_1' is empty"),
    "a missing column": (["two", "--input", "T:x_0,x_2,y\n1,2,3\n"], "the column 'x_1' is missing"),
    "a short row": (["two", "--input", "T:x_0,x_1\n1\n"], "row 1: 1 cells under 2 columns"),
    "no rows": (["two", "--input", "T:x_0,x_1\n"], "must have a header"),
    "too few numbers": (["two", "--input", "T:x_0,x_1,y\n1,2,3\n"], "must have the shape 1 x 3"),
    "an input without a column": (["two", "--input", "T:x\n[1 2 3]\n"], "row 1: 'x'"),
    "two tables": (["two", "--input", "T:y\n1\n", "--input", "T:y\n1\n"], "only one --input can have several"),
    "a picture of numbers": (["two", "--input", "T:x_0,x_1,x_2,y\n1,2,3,4\n", "--output", "O.png"], "no result to draw"),
    "an input as output": (["two", "--input", "T:x_0,x_1,x_2,y\n1,2,3,4\n", "--output", "T.csv"], "is an input"),
    "two formats": (["two", "--input", "x=ones", "--input", "y=ones", "--output", "O.csv", "--json"], "leave out"),
    "no folder": (["two", "--input", "x=ones", "--input", "y=ones", "--output", "no/O.csv"], "there is no folder"),
    "a rate without a sound": (["two", "--input", "x=ones", "--input", "y=ones", "--sample-rate", "8000"], "no input is one"),
    "a shape that is fixed": (["two", "--shape", "x=2,3"], "the model does not accept it"),
    "a shape without sizes": (["two", "--shape", "x=a"], "--shape must be NAME=SIZES"),
    "a batch of a fixed model": (["two", "--batch", "2"], "the first axis of no input accepts it"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_said_before_anything_is_compiled(case, models, command, tmp_path, monkeypatch):
    monkeypatch.setattr("pippin.runtime.model.load", lambda *given, **how: pytest.fail("compiled"))
    monkeypatch.chdir(tmp_path)
    (name, *options), message = WRONG[case]
    given = []
    for number, option in enumerate(options):
        if option.startswith("T:"):
            (tmp_path / f"T{number}.csv").write_text(option[2:])
            option = f"T{number}.csv"
        given.append("T1.csv" if option == "T.csv" else option)
    status, out, err = command("predict", models[name], *given)
    assert (status, out) == (2, "") and message in err.replace("\n  ", " "), err
