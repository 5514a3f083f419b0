"""Custom and linked models: classes of the program's own inside pipelines, and files beside files."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace

import numpy as np
import pytest

import pippin
from lowering.classical.specs import DOUBLE, INT, model, pipeline, predict
from lowering.classical.test_pipelines import renamed
from lowering.classical.test_vectors import EVERY_TYPE, EVERY_VALUE, scaler
from pippin.errors import PackageError, PredictionError, UnsupportedModelError, UnsupportedOperationError
from pippin.extend.custom_models import GROUP


@pippin.custom_model("Affine")
class Affine:
    def __init__(self, parameters, description):
        self.scale, self.shift = parameters["scale"], np.frombuffer(parameters["shift"], "<f8")
        assert [f.name for f in description.inputs] == ["x"]

    def predict(self, features):
        return {"y": features["x"] * self.scale + self.shift}


@pippin.custom_model("Echo")
class Echo:
    def __init__(self, parameters, description):
        self.parameters = parameters

    def predict(self, features):
        self.parameters.get("seen", []).append(features)
        return features


class Answers:
    """Gives whatever a test wants."""

    answer: object = None

    def __init__(self, parameters, description):
        if parameters.get("broken"):
            raise KeyError("a parameter")

    def predict(self, features):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def custom(name, inputs, outputs, **parameters):
    made = model("customModel", inputs, outputs)
    made.customModel.className = name
    fields = {float: "doubleValue", str: "stringValue", bytes: "bytesValue", bool: "boolValue", int: "longValue"}
    for key, value in parameters.items():
        setattr(made.customModel.parameters[key], fields[type(value)], value)
    return made


def affine(name="Affine"):
    return custom(name, {"x": (3,)}, {"y": (3,)}, scale=2.0, shift=np.array([1.0, 2, 3]).tobytes())


def test_alone():
    found = pippin.load(affine(), cache=False)
    assert found.engine == "python"
    np.testing.assert_array_equal(found.predict({"x": [1, 2, 3]})["y"], [3, 6, 9])


def test_every_kind_of_feature():
    found = predict(custom("Echo", EVERY_TYPE, EVERY_TYPE), **EVERY_VALUE)
    for name, value in EVERY_VALUE.items():
        np.testing.assert_array_equal(found[name], value)
        assert type(found[name]) is type(value)


@pippin.custom_model("Inner")
class Inner(Affine):
    def __init__(self, parameters, description):
        super().__init__(parameters, SimpleNamespace(inputs=[SimpleNamespace(name="x")]))
        assert [f.name for f in description.outputs] == ["y1"]

    def predict(self, features):
        return {"y1": super().predict({"x": features["x1"]})["y"]}


def joined():
    before, after = renamed(scaler([1], [1], (3,), (3,)), y="x1"), renamed(scaler([], [-1], (3,), (3,)), x="y1")
    middle = renamed(affine("Inner"), x="x1", y="y1")
    return pipeline([before, middle, after], {"x": (3,)}, {"y": (3,), "y1": (3,)})


def test_inside_a_pipeline(tmp_path):
    path = tmp_path / "joined.mlmodel"
    path.write_bytes(joined().SerializeToString())
    for label in ("prepare and cache", "cached"):
        found = pippin.load(path, cache=tmp_path / "cache")
        assert (found.load_label, found.engine) == (label, "onnxruntime+python")
        outputs = found.predict({"x": [0, 1, 2]})
        np.testing.assert_array_equal(outputs["y1"], [3, 6, 9])
        np.testing.assert_array_equal(outputs["y"], [-3, -6, -9])


def test_a_class_that_is_not_there():
    with pytest.raises(UnsupportedModelError, match=r"class 'Nowhere' is not registered .*custom_model\('Nowhere'\)"):
        pippin.load(custom("Nowhere", {"x": DOUBLE}, {"y": DOUBLE}), cache=False)


def test_an_entry_point(monkeypatch):
    entry = importlib.metadata.EntryPoint("FromAPackage", "lowering.classical.test_custom_and_linked:Echo", GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: [entry] if name == entry.name else [])
    assert predict(custom("FromAPackage", {"x": INT}, {"x": INT}), x=4) == {"x": 4}


BAD = {
    "an exception": (ValueError("no"), r"\[Answers\] 'customModel': ValueError: no"),
    "no dictionary": (3, "returned int; it must return one value for each output"),
    "an output is missing": ({"z": 1}, r"returned no 'y' \(it returned: z\)"),
    "another kind": ({"y": {"a": 1.0}}, "output 'y'"),
    "another type": ({"y": "text"}, "output 'y'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_class_that_does_wrong(name, monkeypatch):
    answer, message = BAD[name]
    pippin.custom_model("Answers")(Answers)
    monkeypatch.setattr(Answers, "answer", answer)
    with pytest.raises(PredictionError, match=message):
        predict(custom("Answers", {"x": DOUBLE}, {"y": DOUBLE}), x=1.0)


def test_a_class_that_cannot_be_made():
    pippin.custom_model("Answers")(Answers)
    with pytest.raises(UnsupportedOperationError, match=r"the custom model 'Answers' cannot be created: KeyError"):
        pippin.load(custom("Answers", {"x": DOUBLE}, {"y": DOUBLE}, broken=True), cache=False)


def linked(tmp_path, name, search="."):
    made = model("linkedModel", {"x": (4,)}, {"y": (4,)})
    made.linkedModel.linkedModelFile.linkedModelFileName.defaultValue = name
    made.linkedModel.linkedModelFile.linkedModelSearchPath.defaultValue = search
    path = tmp_path / "link.mlmodel"
    path.write_bytes(made.SerializeToString())
    return path


def test_linked(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "scale.mlmodel").write_bytes(scaler([1], [2]).SerializeToString())
    path = linked(tmp_path, "scale.mlmodelc", "elsewhere:parts")
    for _ in range(2):  # what lies outside of the model is not in its key: it is not cached
        found = pippin.load(path, cache=tmp_path / "cache")
        assert found.load_label == "prepare and cache"
        np.testing.assert_array_equal(found.predict({"x": [0, 1, 2, 3]})["y"], [2, 4, 6, 8])


def test_links_to_nowhere(tmp_path):
    with pytest.raises(PackageError, match=r"the linked model 'gone.mlmodelc' was not found in .*models"):
        pippin.load(linked(tmp_path, "gone.mlmodelc", "models"), cache=False)
    with pytest.raises(PackageError, match=r"cyclic link"):
        pippin.load(linked(tmp_path, "link.mlmodel"), cache=False)
