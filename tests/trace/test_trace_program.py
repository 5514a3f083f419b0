"""Trace program: a whole program is recorded, by the command or the environment; and OpenTelemetry gets the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import anyio
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import pippin
from support.small_models import saved_program

FAST = pippin.Configuration(hints=pippin.Hints("fast_load"))
X = {"x": np.ones((2, 3), np.float32)}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("program"), lambda x: mb.relu(x=x, name="y"), x=(2, 3))


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pippin", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def events_in(path):
    entries = json.loads(path.read_text())["traceEvents"]
    return [e["args"]["event"] for e in entries if e["ph"] == "X"]


@pytest.fixture
def script(package, tmp_path):
    path = tmp_path / "app.py"
    path.write_text(
        "import sys, numpy, pippin\n"
        f"with pippin.load({str(package)!r}) as model:\n"
        "    for _ in range(int(sys.argv[1])):\n"
        "        model.predict({'x': numpy.ones((2, 3), numpy.float32)})\n"
        "print(sys.argv[2:])\n"
        "sys.exit(5)\n"
    )
    return path


@pytest.mark.process
@pytest.mark.parametrize("python", [[], [sys.executable]])
def test_a_program_is_recorded(script, tmp_path, python):
    found = command("trace", "-o", tmp_path / "t.json", "--", *python, script, 3, "-o", "--json")
    assert (found.returncode, found.stdout) == (5, "['-o', '--json']\n"), "its arguments, output and status are its own"
    assert events_in(tmp_path / "t.json").count("prediction") == 3

    found = command("trace", "summary", tmp_path / "t.json", "--json")
    summary = json.loads(found.stdout)
    assert (summary["predictions"], summary["concurrency"]) == (3, 1)
    assert command("trace", "summary", tmp_path / "t.json").stdout.count("prepare and cache") == 1


@pytest.mark.process
def test_the_environment_variable(package, tmp_path):
    found = command("predict", package, "--input", "x=zeros", PIPPIN_TRACE=str(tmp_path / "t.json"))
    assert found.returncode == 0, found.stderr
    assert "prediction" in events_in(tmp_path / "t.json")


@pytest.mark.process
def test_processes_that_a_program_starts_write_beside_it(script, tmp_path):
    code = f"import pippin, subprocess, sys\nsubprocess.run([sys.executable, {str(script)!r}, '2'])"
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PIPPIN_TRACE": str(tmp_path / "t.json")}, check=True
    )
    (child,) = (path for path in tmp_path.glob("t.*.json"))
    assert events_in(child).count("prediction") == 2
    assert events_in(tmp_path / "t.json") == []


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments, words, status",
    [
        (["-o", "absent/t.json", "--", "true"], "does not exist", 2),
        (["--", "no-such-program"], "cannot be run", 2),
        (["summary", "absent.json"], "cannot be read", 1),
    ],
)
def test_wrong_uses(arguments, words, status, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = command("trace", *arguments)
    assert found.returncode == status
    assert words in found.stderr and "Traceback" not in found.stderr


@pytest.mark.process
def test_a_program_without_models(tmp_path):
    found = command("trace", "-o", tmp_path / "t.json", "--", sys.executable, "-c", "pass")
    assert found.returncode == 0
    assert "did not import pippin" in found.stderr


@pytest.fixture
def spans():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    pippin.trace.instrument(provider)
    yield exporter, provider.get_tracer("test")
    pippin.trace.uninstrument()


def by_name(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def test_opentelemetry(package, spans):
    exporter, tracer = spans
    model = pippin.load(package, FAST)
    with tracer.start_as_current_span("request"):
        model.predict(X)
    found = by_name(exporter)
    load, prediction, compute = (found[f"pippin {name}"] for name in ("load", "prediction", "compute"))
    assert load.attributes["pippin.label"] == "prepare and cache"
    assert found["pippin compile"].parent.span_id == load.context.span_id
    assert prediction.parent.span_id == found["request"].context.span_id
    assert compute.parent.span_id == prediction.context.span_id
    assert compute.attributes["pippin.device"] == "cpu"
    assert prediction.start_time <= compute.start_time <= compute.end_time <= prediction.end_time
    pippin.trace.uninstrument()
    count = len(exporter.get_finished_spans())
    model.predict(X)
    assert len(exporter.get_finished_spans()) == count


def test_opentelemetry_from_a_thread_of_the_model(package, spans):
    """A prediction that another thread computes stands in the request of the task that asked for it."""
    exporter, tracer = spans
    model = pippin.load(package, FAST)

    async def request():
        with tracer.start_as_current_span("request"):
            await model.predict_async(X)

    anyio.run(request)
    found = by_name(exporter)
    assert found["pippin prediction"].parent.span_id == found["request"].context.span_id


def test_opentelemetry_of_a_failure(package, spans):
    exporter, _ = spans
    with pytest.raises(pippin.errors.FeatureError):
        pippin.load(package, FAST).predict({"x": "nothing"})
    span = by_name(exporter)["pippin prediction"]
    assert not span.status.is_ok
    assert span.attributes["pippin.error"] == "FeatureTypeError"
