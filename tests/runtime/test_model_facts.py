"""Facts: what a model says about itself, how it and its outputs are shown, and what a load logs."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
import pippin
from pippin.features.outputs import Outputs
from pippin.format.description import SizeRange
from support import hostile_names
from support.small_models import converted, saved_program

FAST = pippin.Configuration(hints=pippin.Hints("fast_load"))
ALLOWED = {"table", "caption", "thead", "tbody", "tr", "th", "td", "code", "img"}


class Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes.update(attributes)

    def handle_data(self, data):
        self.text += data


def check_shown(thing):
    """One printable line, and HTML of a few tags."""
    line = repr(thing)
    assert line.isprintable() and len(line) < 2000, line
    page = Tags(thing._repr_html_())
    assert page.tags <= ALLOWED
    assert {name for name, _ in page.attributes} <= {"style", "alt", "src"}
    assert not re.search(hostile_names.RAW, page.text)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("facts"), lambda x: mb.relu(x=x, name="y"), x=(2, 3))


@pytest.mark.parametrize("kind", ["classifier", "program"])
def test_hostile_names_are_text(kind, tmp_path):
    path = hostile_names.saved(getattr(hostile_names, kind)(), tmp_path)
    model = pippin.load(path, FAST, lazy=True)
    check_shown(model)
    model.load()
    (name,) = model.inputs
    outputs = model.predict({name: np.ones(len(hostile_names.NAMES), np.float32)})
    for thing in (model, model.compute_plan, Outputs(list(outputs.items())[:5])):
        check_shown(thing)
    Tags(outputs._repr_html_())
    assert set(model.outputs) == set(outputs)
    assert model.labels == (tuple(hostile_names.NAMES.values()) if kind == "classifier" else None)
    model.close()
    check_shown(model)


def test_a_model_describes_itself(package):
    model = pippin.load(package, FAST)
    assert model.name == "model.mlpackage" and model.labels is None
    (x,), (y,) = model.inputs.values(), model.outputs.values()
    assert (x.name, x.dtype, x.shape, x.range, x.shapes, x.optional, x.default) == (
        "x", "float32", (2, 3), None, None, False, None,
    )  # fmt: skip
    assert (y.name, y.dtype) == ("y", "float32") and str(x.type) == "MultiArray (float32, 2 x 3)"
    assert repr(model) == (
        "<pippin.Model 'model.mlpackage': x: MultiArray (float32, 2 x 3) -> y: MultiArray (float32, 2 x 3);"
        f" {model.engine} float32 on cpu, prepare and cache>"
    )
    assert (
        repr(model.compute_plan)
        == f"<ComputePlan 'main': 1 operation, {model.engine} float32 on cpu, not measured; 1 other candidate>"
    )


def test_ranges_and_defaults():
    spec = converted(lambda x, b: mb.add(x=x, y=b, name="y"), x=(2,), b=(2,)).get_spec()
    second = next(f for f in spec.description.input if f.name == "b")
    second.type.isOptional, second.type.multiArrayType.floatDefaultValue = True, 10
    second.type.multiArrayType.shapeRange.sizeRanges.add(lowerBound=2, upperBound=2)
    found = pippin.load(spec, FAST).inputs["b"]
    assert (found.optional, found.default, found.range) == (True, 10.0, (SizeRange(2, 2),))


def test_a_lazy_model_is_shown_without_being_loaded(package):
    model = pippin.load(package, FAST, lazy=True)
    assert repr(model) == "<pippin.Model 'model.mlpackage', not loaded>"
    assert "not loaded" in model._repr_html_()
    assert list(model.inputs) == ["x"]
    model.close()
    assert repr(model) == "<pippin.Model 'model.mlpackage', closed>"


VALUES = {
    "few numbers": (np.array([[1, 2.5, np.nan]], np.float32), "<float32 (1, 3): 1, 2.5, nan>"),
    "many": (np.arange(8, dtype=np.float16), "<float16 (8,): 0 to 7>"),
    "integers": (np.arange(8, dtype=np.int32) - 3, "<int32 (8,): -3 to 4>"),
    "not finite": (np.array([np.nan, np.inf, *range(8)]), "<float64 (10,): 0 to 7, 2 not finite>"),
    "nothing finite": (np.full(9, np.nan), "<float64 (9,): nothing finite>"),
    "empty": (np.zeros((0, 4), np.float32), "<float32 (0, 4)>"),
    "picture": (PIL.Image.new("RGB", (4, 2)), "<image RGB 4 x 2>"),
    "depth": (PIL.Image.new("F", (4, 2)), "<image F 4 x 2>"),
    "label": ("tabby\n", r"'tabby\n'"),
    "number": (3, "3"),
    "probabilities": ({"a": 0.1, "b": 0.75, "c": 0.05, "d": 0.1}, "{'b': 0.75, 'a': 0.1, 'd': 0.1, ... 1 more}"),
    "integer keys": ({1: 0.5, 2: float("nan")}, "{1: 0.5, 2: nan}"),
    "texts": (["a"] * 9, "['a', 'a', 'a', 'a', 'a', 'a', ... 3 more]"),
    "long": ("n" * 100, repr("n" * 60 + "...")),
}


@pytest.mark.parametrize("name", VALUES)
def test_outputs_are_shown_on_a_line(name):
    value, expected = VALUES[name]
    assert repr(Outputs(y=value)) == f"{{'y': {expected}}}"
    check_shown(Outputs(y=value))


def test_outputs_are_a_dictionary(package):
    """Equal to one, copied and pickled as one, and read by json."""
    outputs = pippin.load(package, FAST).predict({"x": np.ones((2, 3))})
    assert isinstance(outputs, dict) and type(outputs) is Outputs and list(outputs) == ["y"]
    plain = Outputs(label="a", p={"a": 1.0})
    assert plain == {"label": "a", "p": {"a": 1.0}}
    for same in (copy.deepcopy(plain), pickle.loads(pickle.dumps(plain)), json.loads(json.dumps(plain))):
        assert same == plain
    (merged,) = pippin.load(package, FAST).predict_batch([{"x": np.ones((2, 3))}])
    assert type(merged) is Outputs


def test_a_picture_is_drawn_in_a_notebook():
    page = Tags(Outputs(y=PIL.Image.new("RGB", (600, 300)))._repr_html_())
    assert "img" in page.tags and any(value.startswith("data:image/png;base64,") for _, value in page.attributes)


def test_a_load_logs_its_decision(package, tmp_path, caplog, monkeypatch):
    """At INFO: where it runs, whether it was cached, and why the others lost. Nothing without a listener."""
    monkeypatch.setattr("pippin.specialization.specializer.prospects", lambda *given: None)  # both are measured
    with caplog.at_level(logging.WARNING, "pippin"):
        pippin.load(package, cache=tmp_path)
    assert not caplog.records
    with caplog.at_level(logging.INFO, "pippin"):
        model = pippin.load(package, cache=tmp_path)
        pippin.load(package, FAST, cache=tmp_path)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"model.mlpackage (cached): {model.engine} float32 on cpu, measured at")
    losers = [candidate for candidate in model.compute_plan.candidates if candidate.note]
    assert losers and all(f"not {candidate}: {candidate.note}" in first for candidate in losers)
    assert second.startswith("model.mlpackage (prepare and cache): ") and "float32 on cpu, not measured; not " in second
    assert second.endswith("not tried: the strategy is fast_load")


def test_an_engine_that_cannot_run_the_model_is_logged(caplog):
    spec = converted(lambda x: mb.relu(x=x, name="y"), x=(2,)).get_spec()
    plan = pippin.load(spec, FAST).compute_plan
    assert not plan.declined
    trees = ct.models.tree_ensemble.TreeEnsembleRegressor([("a", ct.models.datatypes.Double())], "y")
    trees.set_default_prediction_value(1.0)
    trees.add_leaf_node(0, 0, 4.0)
    with caplog.at_level(logging.INFO, "pippin"):
        plan = pippin.load(trees.spec).compute_plan
    assert set(plan.declined) == {"openvino"}
    assert f"openvino cannot run all of it: {plan.declined['openvino']}" in caplog.text


def test_strings_and_members_of_coremltools_name_compute_units(package):
    units = pippin.ComputeUnits.CPU_ONLY
    for given in ("CPU_ONLY", units, ct.ComputeUnit.CPU_ONLY):
        configuration = pippin.Configuration(compute_units=given)
        assert configuration.compute_units is units and configuration == pippin.Configuration(compute_units=units)
    assert pippin.load(package, pippin.Configuration(compute_units="CPU_ONLY", hints=FAST.hints)).engine


MISSING = {
    "model": (lambda d: pippin.load(d / "no.mlpackage"), pippin.PackageError, "no.mlpackage: no such file or folder"),
    "in a missing folder": (lambda d: pippin.load(f"{d}/a/b.mlmodel"), pippin.FormatError, "b.mlmodel: no such file"),
    "report": (
        lambda d: pippin.reporting.performance_report.read_report(d / "r"),
        pippin.ReportError,
        "r: cannot be read: No such file",
    ),
    "trace": (lambda d: pippin.trace.summary.summarize(d / "t"), pippin.TraceError, "t: cannot be read: No such file"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_file_is_a_file_not_found_error_too(name, tmp_path):
    import pippin.reporting.performance_report
    import pippin.trace.summary

    act, kind, message = MISSING[name]
    with pytest.raises(FileNotFoundError, match=message) as caught:
        act(tmp_path)
    assert isinstance(caught.value, kind) and isinstance(caught.value, pippin.MissingFileError)
    assert caught.value.errno == 2 and caught.value.filename.startswith(str(tmp_path))
    assert caught.value.report().endswith(str(caught.value)) and caught.value.code == "io"


def test_missing_weights_are_a_file_not_found_error_too(tmp_path):
    path = saved_program(tmp_path, lambda x: mb.add(x=x, y=np.ones((40, 40), np.float32), name="y"), x=(40, 40))
    (weights,) = path.rglob("weight.bin")
    weights.unlink()
    with pytest.raises(pippin.WeightFileNotFoundError, match=r"weight\.bin' is missing") as caught:
        pippin.load(path, FAST)
    assert isinstance(caught.value, FileNotFoundError) and isinstance(caught.value, pippin.WeightError)
