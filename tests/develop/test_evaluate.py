"""Evaluate: figures equal those of the original libraries, an interrupted run goes on, conditions decide the status."""

import contextlib
import io
import json
import math
import os
import subprocess
import sys

os.environ.setdefault("TQDM_DISABLE", "1")

import jiwer
import numpy as np
import PIL.Image
import pytest
import sklearn.metrics
from coremltools.converters.mil.mil import Builder as mb
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import coremltools as ct
import pippin
from pippin.develop.data import Dataset, Example
from pippin.develop.evaluate.boxes import average_precision
from pippin.develop.evaluate.metrics import METRICS
from pippin.develop.evaluate.run import _evaluation
from pippin.develop.evaluate.significance import mcnemar
from pippin.errors import DataError, UnsupportedError, UnsupportedModelError
from support.small_models import saved_program

DIGITS = load_digits()
X, Y = DIGITS.data.astype(np.float32), DIGITS.target


def classifier(folder, name, noise=0.0):
    """Logistic regression on handwritten digits, as an ML Program; its weights are disturbed by noise."""
    fitted = LogisticRegression(max_iter=200).fit(X[:1000] / 16, Y[:1000])
    random = np.random.default_rng(0)
    weight = (fitted.coef_ + random.normal(0, 1, fitted.coef_.shape) * noise).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec((1, 64))], opset_version=ct.target.iOS17)
    def program(x):
        scores = mb.linear(
            x=mb.mul(x=x, y=np.float32(1 / 16)), weight=weight, bias=fitted.intercept_.astype(np.float32)
        )
        return mb.softmax(x=scores, axis=-1, name="p")

    config = ct.ClassifierConfig([str(n) for n in range(10)])
    model = ct.convert(
        program,
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
        classifier_config=config,
    )
    path = folder / f"{name}.mlpackage"
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [classifier(folder, "good"), classifier(folder, "worse", 0.7)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.csv"
    head = ",".join([f"p{n}" for n in range(64)] + ["digit"])
    rows = [",".join(map(str, [*x.astype(int), y])) for x, y in zip(X[1000:], Y[1000:], strict=True)]
    path.write_text("\n".join([head, *rows]))
    return path


@pytest.fixture(scope="module")
def found(models, table):
    return pippin.evaluate(models, table, costs=False)


def answers(path):
    model = pippin.load(path)
    return [model.predict({"x": x[None]}) for x in X[1000:]]


def test_figures_of_a_classifier(found, models):
    truth = [str(y) for y in Y[1000:]]
    assert (found.task, found.count, found.classes) == ("classification", 797, tuple("0123456789"))
    for variant, path in zip(found.variants, models, strict=True):
        outputs = answers(path)
        labels = [o["classLabel"] for o in outputs]
        p = [[o["classLabel_probs"][c] for c in "0123456789"] for o in outputs]
        expected = {
            "accuracy": sklearn.metrics.accuracy_score(truth, labels),
            "macro_f1": sklearn.metrics.f1_score(truth, labels, average="macro"),
            "top5": sklearn.metrics.top_k_accuracy_score(truth, p, k=5),
            "log_loss": sklearn.metrics.log_loss(truth, p),
        }
        for name, value in expected.items():
            figure = variant.figures[name]
            assert figure.value == pytest.approx(value, abs=1e-6)
            assert figure.low < figure.value < figure.high
        assert np.array_equal(variant.confusion, sklearn.metrics.confusion_matrix(truth, labels))
        assert (
            len(variant.mistakes) == sum(a != b for a, b in zip(truth, labels, strict=True))
            or len(variant.mistakes) == 100
        )
        assert {m.truth != m.answer for m in variant.mistakes} == {True}
        assert 0 < variant.calibration < 0.3


def test_two_models_differ(found):
    accuracy = found.differences[0]
    assert (accuracy.metric, accuracy.test) == ("accuracy", "exact McNemar")
    assert accuracy.value < 0 and accuracy.high < 0 and accuracy.p < 0.01
    assert found.disagreements and all(len(row) == 4 and len(set(row[2:])) == 2 for row in found.disagreements)
    assert "digits.csv" in repr(found)


@pytest.mark.parametrize("b, c", [(0, 0), (3, 3), (1, 9), (30, 12), (0, 6)])
def test_mcnemar(b, c):
    first = np.array([True] * b + [False] * c + [True] * 5)
    second = np.array([False] * b + [True] * c + [True] * 5)
    n = b + c
    tail = sum(math.comb(n, k) for k in range(min(b, c) + 1)) / 2**n
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))


def random_boxes(seed, images=12):
    random = np.random.default_rng(seed)
    records = []
    for _ in range(images):
        truth, answer = [], []
        for _ in range(random.integers(0, 5)):
            left, top = random.uniform(0, 200, 2)
            width, height = random.uniform(5, 150, 2)
            label = random.choice(["a", "b", "c"])
            truth.append((label, left, top, left + width, top + height))
            for _ in range(random.integers(0, 3)):
                shift = random.normal(0, 0.15, 4) * [width, height, width, height]
                box = np.array([left, top, left + width, top + height]) + shift
                answer.append([random.choice(["a", label]), *box, float(random.uniform())])
        records.append((truth, answer))
    return records


def pycocotools(records, classes):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbers = {name: n for n, name in enumerate(classes, 1)}
    truth, found = [], []
    for image, (boxes, answer) in enumerate(records, 1):
        for label, x, y, r, b in boxes:
            truth.append({"id": len(truth) + 1, "image_id": image, "category_id": numbers[label], "iscrowd": 0,
                          "bbox": [x, y, r - x, b - y], "area": (r - x) * (b - y)})  # fmt: skip
        for label, x, y, r, b, score in answer:
            found.append(
                {"image_id": image, "category_id": numbers[label], "bbox": [x, y, r - x, b - y], "score": score}
            )
    right = COCO()
    right.dataset = {
        "images": [{"id": n + 1} for n in range(len(records))],
        "annotations": truth,
        "categories": [{"id": n, "name": name} for name, n in numbers.items()],
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        right.createIndex()
        evaluation = COCOeval(right, right.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:2]


@pytest.mark.parametrize("seed", range(6))
def test_average_precision(seed):
    records = random_boxes(seed)
    found = average_precision(records, "abc")
    assert [found["map"], found["map50"]] == pytest.approx(pycocotools(records, "abc"), abs=1e-6)


def evaluation(task, records, classes=()):
    """The evaluation of answers that are there already."""
    data = Dataset("data", task, classes, len(records), lambda: iter(()))
    return _evaluation(data, ["model"], ([str(n) for n in range(len(records))], [records]), "auto", [None]).variants[0]


def test_boxes_have_intervals():
    figures = evaluation("detection", random_boxes(3), ("a", "b", "c")).figures
    assert all(f.low <= f.value <= f.high for f in figures.values())


def test_labels_that_only_the_model_knows():
    truth, labels = ["a", "b", "a", "b"], ["a", "c", "a", "b"]
    records = [(t, {"label": a, "top": [a], "truth": None}) for t, a in zip(truth, labels, strict=True)]
    variant = evaluation("classification", records, ("a", "b"))
    assert variant.figures["macro_f1"].value == pytest.approx(sklearn.metrics.f1_score(truth, labels, average="macro"))
    assert np.array_equal(variant.confusion, sklearn.metrics.confusion_matrix(truth, labels))


SPOKEN = [
    ("the cat sat", "the cat sat"),
    ("on a mat", "on mat"),
    ("it is fine today", "it was a fine day"),
    ("yes", ""),
]


def test_word_errors():
    figure = evaluation("transcription", SPOKEN).figures["wer"]
    assert figure.value == pytest.approx(jiwer.wer([t for t, _ in SPOKEN], [a for _, a in SPOKEN]))
    assert not figure.more_is_better


def test_regression():
    random = np.random.default_rng(0)
    truth = random.normal(size=200)
    answer = truth + random.normal(0, 0.3, 200)
    figures = evaluation("regression", [(t, [a]) for t, a in zip(truth, answer, strict=True)]).figures
    expected = {
        "mae": sklearn.metrics.mean_absolute_error(truth, answer),
        "rmse": sklearn.metrics.root_mean_squared_error(truth, answer),
        "r2": sklearn.metrics.r2_score(truth, answer),
    }
    assert {name: f.value for name, f in figures.items()} == pytest.approx(expected)


def test_segmentation(tmp_path):
    """A network that marks what is bright, on images of two sizes."""
    path = saved_program(tmp_path, lambda x: mb.reduce_mean(x=x, axes=[1], keep_dims=True, name="y"), x=(1, 3, 8, 8),
                         inputs=[ct.ImageType("x", shape=(1, 3, 8, 8), scale=1 / 255)])  # fmt: skip
    random = np.random.default_rng(0)
    truths, answers = [], []
    for number in range(5):
        bright = random.uniform(size=(8, 8)) > 0.5
        mask = bright ^ (random.uniform(size=(8, 8)) > 0.8)
        for kind, array in (("images", np.repeat(bright[..., None], 3, 2) * 255), ("masks", mask * 255)):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(array.astype(np.uint8)).save(tmp_path / "data" / kind / f"{number}.png")
        truths.append(mask.ravel())
        answers.append(bright.ravel())
    variant = pippin.evaluate(path, tmp_path / "data", costs=False).variants[0]
    truth, answer = np.concatenate(truths), np.concatenate(answers)
    iou = sklearn.metrics.jaccard_score(truth, answer, average=None)
    assert variant.figures["mean_iou"].value == pytest.approx(iou.mean())
    assert variant.figures["pixel_accuracy"].value == pytest.approx((truth == answer).mean())
    assert [c.figures["iou"] for c in variant.classes] == pytest.approx(iou)


def test_a_metric_of_ones_own(models, table):
    def same(truth, answer):
        return float(str(truth) == answer["label"])

    figure = pippin.evaluate(models[0], table, same, costs=False, limit=50).variants[0].figures["same"]
    assert figure.value == np.mean(
        [o["classLabel"] == str(y) for o, y in zip(answers(models[0])[:50], Y[1000:1050], strict=True)]
    )


def test_costs_are_those_of_the_report(models, table):
    cost = pippin.evaluate(models[0], table, limit=5).variants[0].cost
    assert type(cost) is type(pippin.report(models[0], seconds=0).results[0])
    assert cost.size > 0 and cost.prediction.median > 0 and cost.memory.steady > 0


CHILD = """
import os, sys, pippin
def progress(done, total, left):
    if done == int(sys.argv[4]):
        os._exit(9)
found = pippin.evaluate(sys.argv[1], sys.argv[2], costs=False, resume=sys.argv[3], progress=progress)
print(found.to_json())
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_killed_run_goes_on(models, tmp_path):
    data = tmp_path / "many.jsonl"
    with data.open("w") as file:
        for number in range(10_000):
            row = number % len(X)
            file.write(json.dumps({**{f"p{n}": float(v) for n, v in enumerate(X[row])}, "digit": str(Y[row])}) + "\n")
    kept = tmp_path / "answers.jsonl"

    def run(until):
        return subprocess.run(
            [sys.executable, "-c", CHILD, models[0], data, kept, str(until)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert run(4_000).returncode == 9
    assert len(kept.read_bytes().splitlines()) == 4_001
    with kept.open("ab") as file:
        file.write(b'[0, "row 4001", {"lab')  # as a process leaves it that dies while it writes
    found = run(-1)
    assert found.returncode == 0, found.stderr
    assert len(kept.read_bytes().splitlines()) == 10_001
    whole = pippin.evaluate(models[0], data, costs=False)
    assert json.loads(found.stdout) == json.loads(whole.to_json())


def test_answers_of_another_model_are_not_used(models, table, tmp_path):
    kept = tmp_path / "answers.jsonl"
    pippin.evaluate(models[0], table, costs=False, limit=3, resume=kept)
    with pytest.raises(DataError, match="answers of other models or other data"):
        pippin.evaluate(models[1], table, costs=False, limit=3, resume=kept)
    kept.write_text("nonsense\n")
    with pytest.raises(DataError, match="line 1: not an answer"):
        pippin.evaluate(models[0], table, costs=False, limit=3, resume=kept)


def test_what_does_not_fit(models, table, tmp_path):
    with pytest.raises(UnsupportedError, match=r"no metric 'map' for classification \(there are: accuracy"):
        pippin.evaluate(models[0], table, "map", costs=False, limit=3)
    with pytest.raises(UnsupportedModelError, match="no output 'z'"):
        pippin.evaluate(models[0], table, costs=False, output="z")
    (tmp_path / "t.csv").write_text("a,b,label\n1,red,2\n")
    with pytest.raises(DataError, match="row 1: not all columns are numbers"):
        pippin.evaluate(models[0], tmp_path / "t.csv", costs=False)


STATUS = {
    "nothing fails": ([], 0),
    "a bound": (["accuracy < 0.99"], 1),
    "a bound that holds": (["accuracy < 0.5"], 0),
    "the second is worse": (["accuracy < baseline - 0.01"], 1),
    "an unknown figure": (["loss < 1"], 1),
}


@pytest.mark.process
@pytest.mark.parametrize("name", STATUS)
def test_the_command(name, models, table, tmp_path):
    conditions, status = STATUS[name]
    arguments = [*models, "--data", table, "--no-costs", "--limit", "200", "--html", tmp_path / "page.html"]
    fails = [each for condition in conditions for each in ("--fail-if", condition)]
    found = subprocess.run(
        [sys.executable, "-m", "pippin", "evaluate", *map(str, arguments), *fails],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == status, found.stderr
    assert "exact McNemar" in found.stdout and "accuracy" in found.stdout
    assert "<h2>worse.mlpackage</h2>" in (tmp_path / "page.html").read_text()


def test_a_page_of_hostile_names(models):
    image = "<script>alert(1)</script>"
    data = Dataset(image, "classification", ("0", "1"), 1, lambda: iter([Example(image, X[0][None], "1")]))
    page = pippin.evaluate(models[0], data, costs=False).to_html()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_every_metric_has_a_row_for_each_example():
    assert all(len({metric.name for metric in listed}) == len(listed) for listed in METRICS.values())
