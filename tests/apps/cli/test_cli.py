"""The command line: every kind of value and file in, every kind of output out."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import wave

import numpy as np
import onnx
import onnx.reference
import PIL.Image
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
from pippin.apps import cli
from pippin.apps.cli.option_names import in_options
from support.small_models import converted, saved_program

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(
        tmp_path_factory.mktemp("cli"),
        lambda x: (mb.relu(x=x, name="y"), mb.reduce_sum(x=x, axes=[0, 1], keep_dims=True, name="sum")),
        x=(2, 3),
    )


@pytest.fixture
def pippin(capsys, monkeypatch):
    """Runs the command line: the exit status, and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pippin", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return stop.value.code, printed.out, printed.err

    return run


def test_a_script_is_a_file(pippin, tmp_path):
    os.mkfifo(tmp_path / "script.py")  # which nobody writes
    for path in (tmp_path / "script.py", "/dev/zero"):
        status, _, said = pippin("run", path)
        assert status == 2 and "neither a file nor a folder" in said.replace("\n", " ")


def write_wav(path, width):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, width, 8000, 0, "NONE", ""))
        top = {1: 128, 2: 32768, 4: 2**31}[width]
        numbers = (X.reshape(-1) / 4 * top).round() + (128 if width == 1 else 0)
        file.writeframes(numbers.astype({1: np.uint8, 2: np.int16, 4: np.int32}[width]).tobytes())


def saved(name):
    """A way to write X as a file of this name, and the factor by which it comes back."""

    def write(folder):
        path = folder / name
        match path.suffix:
            case ".npy":
                np.save(path, X.astype(np.float64 if "double" in name else np.float32))
            case ".npz":
                np.savez(path, **({"x": X, "other": X * 9} if "two" in name else {"anything": X}))
            case ".json":
                path.write_text(json.dumps(X.tolist()))
            case ".csv":
                np.savetxt(path, X, delimiter=",")
            case ".wav":
                write_wav(path, int(name[1]))
        return path

    return write


FILES = ["a.npy", "double.npy", "one.npz", "two.npz", "a.json", "a.csv", "w1.wav", "w2.wav", "w4.wav"]


@pytest.mark.parametrize("name", FILES)
def test_files(name, package, pippin, tmp_path):
    path = saved(name)(tmp_path)
    status, out, _ = pippin("predict", package, "--input", f"x={path}", "--json")
    assert status == 0
    found = json.loads(out)["outputs"]
    scale = 4 if name.endswith(".wav") else 1
    np.testing.assert_allclose(np.array(found["y"]) * scale, np.maximum(X, 0), atol=0.05 if name == "w1.wav" else 1e-3)


VALUES = {
    "[[1, -2, 3], [-4, 5, -6]]": [[1, 0, 3], [0, 5, 0]],
    "zeros": np.zeros((2, 3)),
    "ones": np.ones((2, 3)),
    "random:3": np.maximum(np.random.default_rng(3).standard_normal((2, 3)), 0),
    "random": np.maximum(np.random.default_rng(0).standard_normal((2, 3)), 0),
}


@pytest.mark.parametrize("value", VALUES)
def test_values(value, package, pippin):
    status, out, _ = pippin("predict", package, "--input", f"x={value}", "--json")
    assert status == 0
    np.testing.assert_allclose(json.loads(out)["outputs"]["y"], VALUES[value], atol=1e-5)


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_file_of_all_inputs(suffix, package, pippin, tmp_path):
    path = tmp_path / f"all.{suffix}"
    if suffix == "npz":
        np.savez(path, x=X)
    else:
        path.write_text(json.dumps({"x": X.tolist()}))
    status, out, _ = pippin("predict", package, "--input", path, "--json")
    assert status == 0 and json.loads(out)["outputs"]["sum"] == [[pytest.approx(X.sum())]]


def test_outputs_are_written(package, pippin, tmp_path):
    status, out, _ = pippin("predict", package, "--input", "x=ones", "--output", tmp_path / "new" / "folder")
    assert status == 0
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == ["sum.npy", "y.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "folder" / "y.npy"), np.ones((2, 3)))
    assert "y.npy" in out.replace("\n", "") and "predicted in" in out


def test_json_has_no_nan(package, pippin):
    status, out, _ = pippin(
        "predict", package, "--input", "x=[[NaN, Infinity, 1], [1, 1, 1]]", "--engine", "onnxruntime", "--json"
    )
    assert status == 0 and json.loads(out)["outputs"]["y"][0][1] == "inf"


@pytest.fixture(scope="module")
def image_package(tmp_path_factory):
    model = converted(
        lambda x: mb.sub(x=255.0, y=x, name="y"), inputs=[ct.ImageType("x", (1, 3, 6, 4))], x=(1, 3, 6, 4)
    )
    spec = model.get_spec()
    spec.description.output[0].type.imageType.CopyFrom(spec.description.input[0].type.imageType)
    path = tmp_path_factory.mktemp("cli") / "image.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_images(suffix, image_package, pippin, tmp_path):
    PIL.Image.new("RGB", (4, 6), (10, 20, 30)).save(tmp_path / f"in.{suffix}", quality=100)
    status, out, _ = pippin(
        "predict", image_package, "--input", f"x={tmp_path}/in.{suffix}", "--output", tmp_path / "out"
    )
    assert status == 0 and "image RGB 4 x 6" in out
    found = np.asarray(PIL.Image.open(tmp_path / "out" / "y.png")).astype(int)
    assert np.abs(found - [245, 235, 225]).max() <= (0 if suffix == "png" else 4)


RESIZED = {  # the file, the options, and what is said on standard error; the exit status is 2 if that is an error
    "a picture": ("png", [], "x: resized 40 x 60 to 4 x 6"),
    "a picture, cropped": ("png", ["--resize", "center_crop"], "x: resized 40 x 60 to 4 x 6"),
    "a picture, strict": ("png", ["--resize", "error"], "got 40 x 60 (width x height); --resize scale_fill"),
    "an array": ("npy", [], "got 40 x 60 (width x height); --resize scale_fill"),
    "an array, stretched": ("npy", ["--resize", "scale_fill"], "x: resized 40 x 60 to 4 x 6"),
}


@pytest.mark.parametrize("case", RESIZED)
def test_resizing(case, image_package, pippin, tmp_path):
    suffix, options, said = RESIZED[case]
    picture = PIL.Image.new("RGB", (40, 60), (10, 20, 30))
    picture.save(tmp_path / "in.png")
    np.save(tmp_path / "in.npy", np.asarray(picture))
    status, out, err = pippin(
        "predict", image_package, "--input", f"x={tmp_path}/in.{suffix}", "--output", tmp_path / "out", *options
    )
    assert said in err.replace("\n", " ") and "ImageInput" not in err
    assert status == (2 if "got" in said else 0)
    if status == 0:
        assert "image RGB 4 x 6" in out
        assert set(PIL.Image.open(tmp_path / "out" / "y.png").getdata()) == {(245, 235, 225)}


def test_many_files(image_package, pippin, tmp_path):
    """A folder, and an input that is repeated: one row and one folder of outputs each."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for value, name in ((10, "a.png"), (20, "b[red].png")):
        PIL.Image.new("RGB", (4, 6), (value,) * 3).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    status, out, _ = pippin("predict", image_package, "--input", f"x={folder}", "--output", tmp_path / "out")
    assert status == 0 and "a.png" in out and "b[red].png" in out and "2 predictions" in out
    assert PIL.Image.open(tmp_path / "out" / "1-b[red].png" / "y.png").getpixel((0, 0)) == (235,) * 3
    twice = ["--input", f"x={folder}/a.png", "--input", f"x={folder}/b[red].png"]
    rows = json.loads(pippin("predict", image_package, *twice, "--json")[1])["rows"]
    assert [row["file"].rpartition("/")[2] for row in rows] == ["a.png", "b[red].png"]
    status, _, err = pippin("predict", image_package, *twice[:2], "--input", "x=no.png")
    assert status == 2 and "file not found: no.png" in err


@pytest.mark.parametrize("kind", ["json", "npy"])
def test_standard_input(kind, package, pippin, monkeypatch):
    stream = io.BytesIO()
    np.save(stream, X) if kind == "npy" else stream.write(json.dumps(X.tolist()).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stream.getvalue())))
    status, out, _ = pippin("predict", package, "--input", "x=-", "--json")
    assert status == 0
    np.testing.assert_allclose(json.loads(out)["outputs"]["y"], np.maximum(X, 0), atol=1e-3)


def test_messages_name_options():
    """What the library says of its arguments, as the command line has them."""
    said = "onnxruntime can: choose engine='onnxruntime', or name no engine"
    assert in_options(said) == "onnxruntime can: choose --engine onnxruntime, or name no engine"
    resize = 'resize it, or let pippin.ImageInput(image, resize="scale_fill") do so'
    assert in_options(resize) == "resize it, or let --resize scale_fill do so"


def test_nan_is_said(package, pippin):
    status, out, _ = pippin("predict", package, "--input", "x=[[NaN, 1, 1], [1, 1, 1]]", "--engine", "onnxruntime")
    assert status == 0 and "y: 1 of 6 numbers is NaN" in out and "sum: 1 of 1 numbers is NaN" in out


def test_models_in_folders_and_archives(package, pippin, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    shutil.copytree(package, tmp_path / "home" / "m.mlpackage")
    shutil.make_archive(str(tmp_path / "m.mlpackage"), "zip", tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given in ("~/m.mlpackage", "~", tmp_path / "m.mlpackage.zip"):
        status, out, err = pippin("predict", given, "--input", "x=ones", "--json")
        assert status == 0, err
        assert json.loads(out)["outputs"]["sum"] == [[6]]
    for given in (("generate",), ("convert-mil",), ("cache", "explain", "--cache", tmp_path / "c"), ("inspect",)):
        status, out, err = pippin(*given, tmp_path / "m.mlpackage.zip")
        assert status == 0 and out, err
    shutil.copytree(package, tmp_path / "home" / "n.mlpackage")
    status, _, err = pippin("predict", "~", "--input", "x=ones")
    assert status == 2 and "m.mlpackage, n.mlpackage" in err.replace("\n", " ")


TAKE_MODELS = ("predict", "inspect", "plan", "compile", "report", "generate", "convert-mil", "studio")
WRONG_USE = [
    (["predict", "PACKAGE"], "'x' is missing"),
    (["predict", "PACKAGE", "--input", "z=1"], "no input 'z'"),
    (["predict", "PACKAGE", "--input", "x=[1, 2]"], "must have the shape 2 x 3"),
    (["predict", "PACKAGE", "--input", "x=ones", "--output", "/proc/no"], "cannot be written"),
    (["predict", "PACKAGE", "--input", "x=ones", "--threads", "0"], "--threads must be"),
    (["predict", "PACKAGE", "--input", "x=ones", "--strategy", "best"], "--strategy must be one of default"),
    (["predict", "PACKAGE", "--function", "other"], "no function 'other'"),
    (["plan", "PACKAGE", "--engine", "tensorflow"], "--engine must be one of openvino"),
    (["plan", "PACKAGE", "--require", "cpu>=1.0.0"], "--require must be"),
    (["plan", "PACKAGE", "--function", "other"], "no function 'other'"),
    (["export", "PACKAGE", "/nowhere/at/all.onnx"], "cannot be written"),
    (["export", "PACKAGE", "x.onnx", "--precision", "float8"], "--precision must be"),
    (["compile", "PACKAGE", "-o", "/nowhere/m.mlmodelc"], "there is no folder /nowhere"),
    (["compile", "PACKAGE", "--threads", "0"], "--threads must be"),
    (["generate", "PACKAGE", "-o", "/nowhere/m.py"], "there is no folder /nowhere"),
    (["convert-mil", "PACKAGE", "-o", "/nowhere/m.mil"], "there is no folder /nowhere"),
    (["report", "PACKAGE", "--json", "/nowhere/m.json"], "--json /nowhere/m.json cannot be written"),
    (["report", "PACKAGE", "--function", "other"], "no function 'other'"),
    (["report", "PACKAGE", "--seconds", "-1"], "--seconds"),
    *[([name, "https://example.org/m.mlpackage"], "https://example.org/m.mlpackage is a URL") for name in TAKE_MODELS],
    *[([name, "apple/resnet"], "download a model of a repository first") for name in TAKE_MODELS],
    (["cache", "explain", "https://example.org/m.mlpackage"], "is a URL"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_USE)
def test_wrong_use_is_said_before_anything_is_compiled(arguments, message, package, pippin, monkeypatch):
    for compiling in ("pippin.runtime.model.load", "pippin.specialization.specializer.lower_function"):
        monkeypatch.setattr(compiling, lambda *given, **how: pytest.fail("compiled"))
    status, _, err = pippin(*(str(package) if a == "PACKAGE" else a for a in arguments))
    assert status == 2 and message in err.replace("\n", " ")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    model = converted(lambda x: mb.softmax(x=x, axis=-1, name="p"), x=(1, 3))
    spec = model.get_spec()
    from lowering.test_classify import _with_classify

    del spec.description.output[:]
    block = next(iter(spec.mlProgram.functions["main"].block_specializations))
    spec.mlProgram.functions["main"].opset = block
    kept = spec.mlProgram.functions["main"].block_specializations[block]
    spec.mlProgram.functions["main"].block_specializations["CoreML5"].CopyFrom(kept)
    spec.mlProgram.functions["main"].opset = "CoreML5"
    _with_classify(spec, ["cat", "dog", "bird"])
    spec.description.output.add(name="label").type.stringType.SetInParent()
    spec.description.output.add(name="scores").type.dictionaryType.stringKeyType.SetInParent()
    spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName = "label", "scores"
    path = tmp_path_factory.mktemp("cli") / "classifier.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return path


def test_the_top_labels_of_a_classifier(classifier, pippin):
    status, out, _ = pippin("predict", classifier, "--input", "x=[[1, 3, 2]]", "--top", "2")
    assert status == 0 and "dog" in out and "bird" in out and "cat" not in out
    assert pippin("predict", classifier, "--input", "x=[[1, 3, 2]]", "--top", "0")[0] == 2


def test_a_classifier(classifier, pippin, tmp_path):
    status, out, _ = pippin("predict", classifier, "--input", "x=[[1, 3, 2]]", "--output", tmp_path)
    assert status == 0 and "dog" in out and "0.6652" in out
    assert json.loads((tmp_path / "scores.json").read_text())["dog"] == pytest.approx(0.6652, abs=1e-4)
    assert json.loads((tmp_path / "label.json").read_text()) == "dog"


def test_inspect(package, pippin):
    status, out, _ = pippin("inspect", package)
    assert status == 0
    for text in ("mlProgram", "iOS 17", "MultiArray (float32, 2 x 3)", "relu 1", "reduce_sum 1"):
        assert text in out
    status, out, _ = pippin("inspect", package, "--json")
    found = json.loads(out)
    assert found["functions"][0]["operations"] == {"reduce_sum": 1, "relu": 1}
    assert found["bytes"] > 0 and found["specification_version"] == 8


def test_shell_completion(pippin, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    status, out, _ = pippin("--show-completion", "bash")
    assert status == 0 and "_PIPPIN_COMPLETE" in out


def test_inspect_text(package, pippin):
    status, out, _ = pippin("inspect", package, "--text")
    assert status == 0
    assert "func main<CoreML7>(tensor<fp32, [2, 3]> x) {" in out
    assert "tensor<fp32, [2, 3]> y = relu(x = x);" in out
    assert "} -> (y, sum);" in out


def test_inspect_a_network_names_its_custom_layers(shared_models, pippin):
    path = shared_models / "network" / "style-starry-night-custom-layers.mlmodel"
    status, out, _ = pippin("inspect", path)
    assert status == 0 and "custom (ResCropBlockLambda)" in out
    status, out, _ = pippin("inspect", path, "--json")
    operations = json.loads(out)["functions"][0]["operations"]
    assert operations["custom (ResCropBlockLambda)"] == 5 and operations["convolution"] == 16


def test_inspect_a_model_of_another_kind(shared_models, pippin):
    status, out, _ = pippin("inspect", shared_models / "classical" / "spam-glm.mlmodel")
    assert status == 0 and "glmClassifier" in out and "8713" in out
    status, _, err = pippin("inspect", "--text", shared_models / "classical" / "spam-glm.mlmodel")
    assert status == 1 and "only an ML Program" in err


def test_export(package, pippin, tmp_path):
    path = tmp_path / "model.onnx"
    assert pippin("export", package, path)[0] == 0
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    y, total = onnx.reference.ReferenceEvaluator(model).run(["y", "sum"], {"x": X})
    np.testing.assert_allclose(y, np.maximum(X, 0))
    np.testing.assert_allclose(total, [[X.sum()]], rtol=1e-6)
    status, _, err = pippin("export", package, path)
    assert status == 2 and "--force" in err
    assert pippin("export", package, path, "--force")[0] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_export_of_a_large_model(shared_models, pippin, tmp_path, monkeypatch):
    """Its weights lie beside it; 2 GiB are brought down to nothing here."""
    source = shared_models / "program" / "mnist.mlpackage"
    assert pippin("export", source, tmp_path / "whole.onnx")[0] == 0
    monkeypatch.setattr("pippin.lowering.external_data._LIMIT", 0)
    assert pippin("export", source, tmp_path / "parts.onnx")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parts.onnx", "parts.onnx.data", "whole.onnx"]
    x = {"Input": np.random.default_rng(0).uniform(0, 255, (1, 1, 28, 28)).astype(np.float32)}
    whole, parts = (
        onnx.reference.ReferenceEvaluator(onnx.load(tmp_path / f"{n}.onnx")).run(None, x) for n in ("whole", "parts")
    )
    np.testing.assert_array_equal(whole[0], parts[0])


def test_ops(pippin):
    status, out, _ = pippin("ops", "--json")
    found = json.loads(out)
    assert status == 0 and found["count"] == 168
    assert all(row["lowered"] for row in found["operations"])
    status, out, _ = pippin("ops", "--family", "conv")
    assert status == 0 and "conv_transpose" in out and "3 operations" in out


def test_version(pippin):
    status, out, _ = pippin("--version")
    assert status == 0 and out.startswith("pippin 0.1.0 (openvino ")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["predict", "nothing.mlpackage"], 2, "no such file"),
        (["inspect", "nothing.mlpackage"], 2, "no such file"),
        (["frobnicate"], 2, "No such command"),
        (["predict"], 2, "Missing argument"),
        (["predict", "PACKAGE"], 2, "'x' is missing"),
        (["predict", "PACKAGE", "--input", "z=1"], 2, "no input 'z'"),
        (["predict", "PACKAGE", "--input", "x"], 2, "file not found: x"),
        (["predict", "PACKAGE", "--input", "x=nothing.npy"], 2, "file not found: nothing.npy"),
        (["predict", "PACKAGE", "--input", "x=hello"], 2, "neither a known file type nor a value"),
        (["predict", "PACKAGE", "--input", "x=[1, 2]"], 2, "must have the shape 2 x 3"),
        (["predict", "PACKAGE", "--input", "x=random:a"], 2, "the seed must be"),
        (["predict", "PACKAGE", "--engine", "tensorflow"], 2, "openvino, onnxruntime"),
        (["predict", "PACKAGE", "--precision", "float8"], 2, "float8"),
        (["predict", "PACKAGE", "--function", "other"], 2, "no function 'other'"),
        (["inspect", "PACKAGE", "--text", "--function", "other"], 2, "no function 'other'"),
        (["export", "PACKAGE", "/nowhere/at/all.onnx"], 2, "cannot be written"),
        (["predict", "PACKAGE", "--input", "x=ones", "--output", "/proc/no"], 2, "cannot be written"),
    ],
)
def test_errors_are_one_message(arguments, status, message, package, pippin):
    found, out, err = pippin(*(str(package) if a == "PACKAGE" else a for a in arguments))
    assert (found, out) == (status, "")
    assert message in err.replace("\n", " ") and "Traceback" not in err


def test_a_defect_is_one_message(package, pippin, monkeypatch):
    monkeypatch.setattr("pippin.lowering.lower_model.read_program", lambda asset: 1 / 0)
    status, _, err = pippin("predict", package, "--input", "x=ones")
    assert status == 1 and "ZeroDivisionError" in err and "Traceback" not in err


def test_convert_mil_prints_and_rereads(pippin, package, tmp_path):
    """Text alone needs the model it came from for its weights; a compiled model and a package hold all."""
    text, compiled, again = tmp_path / "x.mil", tmp_path / "y.mlmodelc", tmp_path / "z.mlpackage"
    assert pippin("convert-mil", package, "-o", text)[0] == 0
    code, printed, _ = pippin("convert-mil", package)
    assert code == 0 and printed == text.read_text() and printed.startswith("program(1.0)\n")
    assert pippin("convert-mil", text, "--like", package, "-o", compiled)[0] == 0
    assert pippin("convert-mil", compiled, "-o", again)[0] == 0
    for model in (compiled, again):
        assert pippin("convert-mil", model)[1] == printed
    code, _, error = pippin("convert-mil", package, "-o", text)
    assert code == 2 and "--force" in error
    text.write_text(printed.replace("relu(x = x)", "relu(x = q)"))
    code, _, error = pippin("convert-mil", text, "-o", tmp_path / "w.mlpackage")
    assert code == 1 and "line 5, column 47: " in error and "'q' is used" in error
    assert not (tmp_path / "w.mlpackage").exists()
