"""pippin convert: from the files of the libraries, without running what is in them unless it is asked to."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

import pippin

pytest.importorskip("sklearn", "1.9", reason="needs the scikit-learn of the extra 'estimators'")
lightgbm = pytest.importorskip("lightgbm", reason="needs the extra 'estimators'")
xgboost = pytest.importorskip("xgboost", "3", reason="needs the XGBoost of the extra 'estimators'")
catboost = pytest.importorskip("catboost", reason="needs the extra 'estimators'")
skops_io = pytest.importorskip("skops.io", reason="needs the extra 'estimators'")

import joblib
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from develop.estimator_cases import numbers, targets
from pippin.apps import cli

X = numbers(0, 200)
TABLE, Y = pd.DataFrame(X, columns=list("abcdef")), targets(X, "three")


def run(*arguments, fails=0):
    """What the command prints; as a process would, errors of Pippin become exit statuses."""
    old = sys.argv
    sys.argv = ["pippin", *map(str, arguments)]
    try:
        result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    finally:
        sys.argv = old
    if fails:
        return result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def estimator():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(TABLE, Y)


def test_a_joblib_file_only_with_trust(tmp_path):
    source, target = tmp_path / "model.joblib", tmp_path / "model.mlmodel"
    joblib.dump(estimator(), source)
    error = run("convert", source, "-o", target, fails=1)
    assert isinstance(error, pippin.ConfigurationError)
    assert "runs the code that is in it; use --trust" in str(error)
    assert not target.exists()
    shown = run("convert", source, "-o", target, "--trust")
    assert "Pipeline of scikit-learn" in shown
    assert "a (double)" in shown
    assert "checked: predicts what the estimator predicts on made-up rows" in shown
    features = dict(zip("abcdef", X[0], strict=True))
    found = pippin.load(target, cache=False).predict(features)
    assert found["classLabel"] == estimator().predict(TABLE[:1])[0]


def test_rows_of_a_csv_file(tmp_path):
    joblib.dump(estimator(), tmp_path / "model.pkl")
    rows = tmp_path / "rows.csv"
    TABLE.assign(more=1).to_csv(rows, index=False)
    shown = run("convert", tmp_path / "model.pkl", "-o", tmp_path / "m.mlmodel", "--trust", "--check", rows)
    assert f"on the rows of {rows}" in shown
    TABLE[["a", "b"]].to_csv(rows, index=False)
    error = run("convert", tmp_path / "model.pkl", "-o", tmp_path / "n.mlmodel", "--trust", "--check", rows, fails=1)
    assert "has no column 'c'" in str(error)


def files(folder):
    booster = xgboost.XGBClassifier(n_estimators=4, n_jobs=1).fit(X, Y)
    booster.save_model(folder / "model.json")
    booster.save_model(folder / "model.ubj")
    lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(X, Y).booster_.save_model(folder / "model.txt")
    trained = catboost.CatBoostClassifier(iterations=4, verbose=False, allow_writing_files=False).fit(X, Y)
    trained.save_model(str(folder / "model.cbm"))
    skops_io.dump(estimator(), folder / "model.skops")


@pytest.mark.parametrize("suffix", [".json", ".ubj", ".txt", ".cbm", ".skops"])
def test_files_that_run_no_code(suffix, tmp_path):
    files(tmp_path)
    target = tmp_path / "out.mlmodel"
    assert "checked:" in run("convert", tmp_path / f"model{suffix}", "-o", target)
    model = pippin.load(target, cache=False)
    names = [feature.name for feature in model.description.function().inputs]
    features = {"input": X[0]} if names == ["input"] else dict(zip("abcdef", X[0], strict=True))
    assert sum(model.predict(features)["classProbability"].values()) == pytest.approx(1)


def test_names_for_a_file_without_any(tmp_path):
    files(tmp_path)
    run("convert", tmp_path / "model.ubj", "-o", tmp_path / "out.mlmodel", "--inputs", "u, v, w, x, y, z")
    found = pippin.load(tmp_path / "out.mlmodel", cache=False)
    assert [feature.name for feature in found.description.function().inputs] == list("uvwxyz")


@pytest.mark.parametrize(
    ("name", "content", "output", "message"),
    [
        ("model.json", "{", "out.mlmodel", "cannot be read by xgboost"),
        ("model.txt", "nothing", "out.mlmodel", "cannot be read by lightgbm"),
        ("model.skops", "nothing", "out.mlmodel", "cannot be read by skops"),
        ("model.parquet", "nothing", "out.mlmodel", "a file of this kind is not converted"),
        ("absent.json", None, "out.mlmodel", "no such file"),
        ("model.json", "{", "out.onnx", "the output must be an .mlmodel or .mlpackage"),
    ],
)
def test_wrong_files(name, content, output, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    error = run("convert", tmp_path / name, "-o", tmp_path / output, fails=1)
    assert isinstance(error, pippin.PippinError)
    assert message in str(error)
    assert "\n" not in str(error)
