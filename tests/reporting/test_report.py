"""Report: its figures are those of a stopwatch around the same calls, on a clock that only the calls move; it is
written and read; it is compared; the page needs nothing from elsewhere."""

from __future__ import annotations

import csv
import json
import re
import statistics
import subprocess
import sys
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from pippin.errors import FeatureError, ReportError
from pippin.reporting.compare import changes, counterpart, judge
from pippin.reporting.fail_conditions import Condition
from pippin.reporting.measure import Effort, described, measure, measure_all, timed
from pippin.reporting.performance_report import Report, read_report
from pippin.reporting.results import Memory, Numerics, Operation, Result, Statistics, figures
from support.small_models import saved_program

FAST = pippin.Configuration(hints=pippin.Hints("fast_load"))
QUICK = Effort(seconds=0.0, least=7, cached=4, uncached=2, memory=False)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(
        tmp_path_factory.mktemp("report"), lambda x: mb.relu(x=mb.add(x=x, y=1.0, name="sum"), name="y"), x=(2, 3)
    )


def test_how_results_are_shown():
    """On one line, not all of the measurements; as a table in notebooks, where no name is HTML."""
    times = Statistics.of([0.001 * n for n in range(1, 1001)])
    numerics = Numerics("float32", "", {})
    name = "<b>\x1b[31m\n'" + "n" * 300
    result = Result(
        name, "", "main", "mlProgram", "openvino", 1, times, None, times, None, {}, (), None, {}, None, numerics, ()
    )  # fmt: skip
    assert repr(times) == "<Statistics median 500 ms, from 1.00 ms to 1.00 s, of 1000>"
    for shown in (repr(result), repr(Report((result, result)))):
        assert shown.isprintable() and len(shown) < 300 and "openvino: 500 ms" in shown
    page = Report((result,))._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;\\x1b[31m\\n" in page and "\x1b" not in page
    assert repr(Report(())) == "<Report of nothing>"


class Clock:
    """Stands still unless `work` moves it."""

    def __init__(self):
        self.now = 1000.0
        self._lock = threading.Lock()

    def __call__(self):
        return self.now

    def work(self, seconds):
        with self._lock:
            self.now += seconds


def ignore(what, share):
    pass


def test_the_figures_are_those_of_a_stopwatch(package, monkeypatch):
    """Predictions and loads take what a seeded generator says; the stopwatch notes what the clock says around each."""
    clock, random = Clock(), np.random.default_rng(3)
    stopwatch = {"predict": [], "cached": [], "prepare and cache": []}
    predict, load = pippin.Model.predict, pippin.runtime.model.load

    def slow_predict(self, *arguments, **how):
        before = clock()
        clock.work(float(random.uniform(0.001, 0.01)))
        found = predict(self, *arguments, **how)
        stopwatch["predict"].append(clock() - before)
        return found

    def slow_load(*arguments, **how):
        before = clock()
        clock.work(float(random.uniform(0.1, 0.2)))
        model = load(*arguments, **how)
        stopwatch[model.load_label].append(clock() - before)
        return model

    monkeypatch.setattr(pippin.Model, "predict", slow_predict)
    monkeypatch.setattr("pippin.reporting.measure.load", slow_load)
    found = measure(package, FAST, None, QUICK, ignore, clock)
    rows = [
        (found.prediction, stopwatch["predict"][:7]),
        (found.load_uncached, stopwatch["prepare and cache"][1:]),  # the first one fills the cache
        (found.load_cached, stopwatch["cached"][:4]),
    ]
    for statistic, times in rows:
        assert statistic.values == pytest.approx(times)
        assert statistic.average == pytest.approx(np.mean(times))
        assert statistic.median == pytest.approx(np.median(times))
        assert (statistic.first, statistic.minimum, statistic.maximum) == pytest.approx(
            (times[0], min(times), max(times))
        )
        assert statistic.deviation == pytest.approx(np.std(times, ddof=1))


def test_throughput_is_predictions_over_time(package, monkeypatch):
    """Each prediction moves the clock by a hundredth of a second, however many are in flight."""
    clock = Clock()
    monkeypatch.setattr(pippin.Model, "predict", lambda self, features, state=None: clock.work(0.01))
    found = measure(package, FAST, None, replace(QUICK, seconds=0.995), ignore, clock)
    assert list(found.throughput) == ["1", "2", "4", "8"]
    assert all(rate == pytest.approx(100) for rate in found.throughput.values())
    assert len(found.prediction.values) == 100


@pytest.mark.parametrize("seconds, least, most, count", [(0, 5, 10, 5), (1, 5, 100, 10), (100, 5, 20, 20)])
def test_how_often_is_predicted(seconds, least, most, count):
    clock = Clock()
    found = timed(lambda: clock.work(0.1), Effort(seconds - 1e-9, least, most), clock)
    assert len(found.values) == count


def test_a_whole_report(package):
    told = []
    found = measure_all([package], [FAST], None, QUICK, lambda what, share: told.append((what, share)))
    (result,) = found.results
    assert (result.model, result.configuration, result.function) == ("model.mlpackage", "fast_load", "main")
    assert result.engine in ("openvino", "onnxruntime")
    assert [op.kind for op in result.operations] == ["add", "relu"]
    for op in result.operations:
        assert (op.planned, op.actual) == ("cpu", "cpu")
        assert op.estimated == pytest.approx(op.share * result.prediction.median)
        assert {"gpu", "neuralEngine"} <= set(op.supported) | set(op.reasons), (
            "each device can run it, or a reason is given"
        )
    assert sum(op.share for op in result.operations) == pytest.approx(1)
    assert result.size == sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    assert set(result.stages) >= {"read", "lower", "compile"}
    assert result.compilation is not None
    assert result.numerics.precision == "float32"
    assert [share for _, share in told] == sorted(share for _, share in told) and told[-1] == ("done", 1.0)
    assert found.machine["pippin"] == pippin.__version__


def test_memory_of_a_process_of_its_own(package):
    found = measure(package, FAST, None, replace(QUICK, memory=True), ignore)
    assert found.memory is not None
    assert 0 < found.memory.before < found.memory.loaded <= found.memory.peak
    assert found.memory.steady <= found.memory.peak


def test_given_inputs_are_used(package, monkeypatch):
    seen = []
    predict = pippin.Model.predict
    monkeypatch.setattr(
        pippin.Model, "predict", lambda self, f, state=None: seen.append(f["x"]) or predict(self, f, state=state)
    )
    x = np.ones((2, 3), np.float32)
    measure(package, FAST, {"x": x}, QUICK, ignore)
    assert seen and all(one is x for one in seen)
    with pytest.raises(FeatureError):
        measure(package, FAST, {"x": np.ones((9, 9))}, QUICK, ignore)


def statistics_of(*values):
    return Statistics.of(values)


def made(model="m.mlpackage", configuration="", prediction=0.01, peak=100_000_000, rate=200.0, noise=None):
    operation = Operation("<conv>", "conv", 0, "e", "cpu", "cpu", 1.0, prediction, 0.009, ("cpu",), {"gpu": 'no "gpu"'})
    return Result(
        model, configuration, "main", "mlProgram", "onnxruntime", 1234, statistics_of(prediction, prediction * 1.5, prediction),
        statistics_of(0.02, 0.03), statistics_of(0.5), None, {"read": 0.1, "compile": 0.4}, (operation,), 0.001,
        {"1": rate, "2": 2 * rate}, Memory(1, 2, 3, peak), Numerics("float32", "as declared", noise or {}), ("a: chosen",),
    )  # fmt: skip


REPORT = Report((made(), made(configuration="CPU_ONLY", noise={"y": 45.5})), {"pippin": "1"})


def test_statistics():
    found = Statistics.of([3.0, 1.0, 2.0, 6.0])
    assert (found.average, found.first, found.median, found.minimum, found.maximum) == (3, 3, 2.5, 1, 6)
    assert found.deviation == statistics.stdev([3, 1, 2, 6])
    assert Statistics.of([2.0]).deviation == 0
    values = np.random.default_rng(0).lognormal(size=37)
    found = Statistics.of(values.tolist())
    np.testing.assert_allclose([found.p90, found.p95, found.p99], np.percentile(values, [90, 95, 99]))
    assert Statistics.of([2.0]).p99 == 2


def test_json_comes_back(tmp_path):
    REPORT.write_json(tmp_path / "r.json")
    assert read_report(tmp_path / "r.json") == REPORT
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 1}', '{"format": 99}', '{"format": 1, "results": [{}], "machine": {}}']
)
def test_what_is_no_report(text, tmp_path):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ReportError, match=r"r\.json is not a report"):
        read_report(tmp_path / "r.json")


def test_csv(tmp_path):
    REPORT.write_csv(tmp_path / "r.csv")
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    by = {(row["configuration"], row["figure"]): row for row in rows}
    assert float(by["", "prediction.median"]["value"]) == 0.01 and by["", "prediction.median"]["unit"] == "s"
    assert float(by["CPU_ONLY", "signal_to_noise"]["value"]) == 45.5
    assert float(by["", "throughput[2]"]["value"]) == 400
    assert float(by["", "operation <conv>.measured"]["value"]) == 0.009


class Page(HTMLParser):
    """What is open, and every attribute that could ask for something from elsewhere."""

    VOID = frozenset({"meta", "line", "rect", "polyline", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.links, self.text, self.tags = [], [], "", set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page(tmp_path):
    REPORT.write_html(tmp_path / "r.html", Report((made(prediction=0.02),)))
    text = (tmp_path / "r.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == [] and page.links == [] and not page.tags & {"script", "link", "img", "iframe"}
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme:dark" in text
    assert text.count("<svg") == 8
    for words in ("Side by side", "10.0 ms", "400.0/s", "45.5 dB", "<conv>", "Compared with the baseline", "better"):
        assert words in page.text or words in text, words
    assert "<conv>" in page.text and "<conv>" not in text, "names are escaped"


HOLDS = {
    "prediction.median > 5 * ms": True,
    "prediction.median > 1.1 * baseline": True,
    "prediction.median > 2.1 * baseline": False,
    "1.1 * baseline < prediction.median": True,
    "prediction.median / baseline >= 2": True,
    "prediction.median > baseline.prediction.maximum": True,
    "memory.peak > 99 * MB and throughput[2] < 500": True,
    "memory.peak > 101 * MB or load.cached.first == 20 * ms": True,
    "not (size < 1 * KB)": True,
    "-1 * size < -1000": True,
    "0 < prediction.median < 1 * s": True,
    "memory.peak > baseline": False,
}


@pytest.mark.parametrize("text", HOLDS)
def test_conditions(text):
    report, baseline = Report((made(),)), Report((made(prediction=0.005),))
    (verdict,) = judge(report.results, baseline.results if baseline else (), [Condition(text)])
    assert verdict.failed is HOLDS[text]


WRONG = [
    "", "1 +", "prediction.median", "__import__('os').system('x') > 1", "open('x') > 1", "[1] > 1", "x := 1 > 0",
    "'a' > 'b'", "2 ** 99 > 1", "(lambda: 1) > 1", "prediction.median > True", "size if 1 > 0 else 2", "{} == 1",
    "size > 1; size > 2", "f'{size}' > 1", "size in (1, 2)", "size[1:2] > 1", "(" * 500 + "1" + ")" * 500 + " > 0", "1 > 0" + " " * 1000,
    "~size > 1", "size % 2 > 1", "prediction.median[size] > 1",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_condition(text):
    with pytest.raises(ReportError, match="the condition"):
        Condition(text).holds({"size": 1.0, "prediction.median": 1.0})


@pytest.mark.parametrize(
    "text, words",
    [
        ("speed > 1", "has no 'speed'"),
        ("prediction.__class__ > 1", "has no"),
        ("size > baseline", "no baseline"),
        ("1 / (size - size) > 1", "divides by zero"),
        ("baseline > 1", "no baseline"),
    ],
)
def test_figures_that_there_are_not(text, words):
    with pytest.raises(ReportError, match=re.escape(words)):
        Condition(text).holds({"size": 1.0})


def test_which_figure_of_the_baseline_is_meant():
    with pytest.raises(ReportError, match="needs a figure"):
        Condition("baseline > 1").holds({"size": 1.0}, {"size": 1.0})


def test_changes():
    before, now = (
        made(prediction=0.01, peak=100, rate=100, noise={"y": 50}),
        made(prediction=0.02, peak=103, rate=150, noise={"y": 40}),
    )
    found = {change.figure: change.verdict for change in changes(now, before)}
    assert found["prediction.median"] == "worse"
    assert found["memory.peak"] == "level"
    assert found["throughput[2]"] == "better"
    assert found["signal_to_noise"] == "worse"


def test_the_counterpart():
    assert counterpart(made(configuration="CPU_ONLY"), REPORT.results, 0).configuration == "CPU_ONLY"
    assert counterpart(made(model="renamed"), REPORT.results, 1) is REPORT.results[1]
    assert counterpart(made(model="another"), REPORT.results, 5) is None


def test_configurations_are_described():
    assert described(pippin.Configuration()) == ""
    how = pippin.Configuration("f", pippin.ComputeUnits.CPU_ONLY, "float32", "openvino", 2, pippin.Hints("fast_load"))
    assert described(how) == "f, CPU_ONLY, float32, openvino, 2 threads, fast_load"


@pytest.fixture(scope="module")
def ran(package, tmp_path_factory):
    """A run of the command, with every file."""
    folder = tmp_path_factory.mktemp("ran")
    files = [f"--{kind}={folder / f'r.{kind}'}" for kind in ("json", "csv", "html")]
    found = command(package, "--engine", "onnxruntime", "--engine", "openvino", *files)
    assert found.returncode == 0, found.stderr
    return folder, found.stdout


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pippin", "report", "--seconds", "0", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.mark.process
def test_the_command(ran):
    folder, printed = ran
    for words in (
        "prediction",
        "load, cached",
        "load, uncached",
        "throughput",
        "memory",
        "relu",
        "side by side",
        "not on gpu",
    ):
        assert words in printed
    results = json.loads((folder / "r.json").read_text())["results"]
    assert [result["configuration"] for result in results] == ["onnxruntime", "openvino"]
    assert all(result["memory"]["peak"] > 0 for result in results)
    assert (folder / "r.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.process
@pytest.mark.parametrize("condition, status", [("prediction.median > 1e6 * baseline", 0), ("size >= baseline", 1)])
def test_the_verdict_is_the_exit_status(package, ran, condition, status):
    folder, _ = ran
    found = command(package, "--engine", "onnxruntime", "--baseline", folder / "r.json", "--fail-if", condition)
    assert found.returncode == status, found.stderr
    assert "against the baseline" in found.stdout
    assert ("failed: " in found.stderr) is bool(status)


@pytest.mark.process
def test_a_wrong_condition_fails_before_anything_is_measured(tmp_path):
    found = command(tmp_path / "absent.mlpackage", "--fail-if", "import os")
    assert found.returncode == 2 and "the condition 'import os': it cannot be parsed" in found.stderr


@pytest.mark.process
def test_inputs_are_those_of_predict(package, tmp_path):
    found = command(package, "--engine", "onnxruntime", "--inputs", "x=ones", "--json", tmp_path / "r.json")
    assert found.returncode == 0, found.stderr
    found = command(package, "--engine", "onnxruntime", "--inputs", f"x={Path('nowhere.npy')}")
    assert found.returncode == 2 and "nowhere.npy" in found.stderr


def test_every_figure_has_a_unit():
    assert {unit for _, _, unit in figures(made(noise={"y": 1}))} == {"s", "1/s", "B", "dB"}
