"""Start-up: what is imported, when, and what is left behind."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from support.small_models import saved_program

pytestmark = pytest.mark.process

HEAVY = {
    "coremltools",
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "openvino_telemetry",
    "PIL",
    "typer",
    "rich",
    "google",
}


def imported(code, **environment):
    """The top-level modules that are imported after `code` ran in a fresh interpreter."""
    report = "import json, sys; print(json.dumps(sorted({m.partition('.')[0] for m, known in [*sys.modules.items()] if known})))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, env=os.environ | environment
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_import_is_light():
    found = imported("import pippin")
    assert not found & HEAVY
    assert len(found - imported("import numpy")) <= 20, "import pippin costs little more than import numpy"


def test_what_is_imported_later_is_there():
    """`Cache`, `ComputePlan` and `Progress` are listed, and imported when they are asked for."""
    code = """import sys, pippin
names = {"Cache": "cache.store", "ComputePlan": "specialization.compute_plan", "Progress": "specialization.progress"}
for name, module in names.items():
    assert name in dir(pippin) and f"pippin.{module}" not in sys.modules, name
for name in names:
    assert getattr(pippin, name).__name__ == name and name in vars(pippin)
from pippin import Cache, ComputePlan, Progress
"""
    imported(code)


def test_every_error_is_exported():
    import pippin

    errors = {name: kind for name, kind in vars(pippin.errors).items() if isinstance(kind, type)}
    assert len(errors) > 30 and all(issubclass(kind, pippin.PippinError) for kind in errors.values())
    assert {name: getattr(pippin, name) for name in errors} == errors
    assert all(re.search(rf"\b{name}\b", pippin.errors.__doc__) for name in errors)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("import"), lambda x: mb.relu(x=x), x=(2, 3))


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["predict", "--help"]])
def test_command_line_without_engines(arguments):
    code = f"import sys\nfrom pippin.apps.cli import main\nsys.argv = ['pippin', *{arguments!r}]\ntry:\n    main()\nexcept SystemExit:\n    pass"
    assert not imported(code) & {"coremltools", "torch", "onnx", "onnxruntime", "openvino"}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_prediction_needs_neither_coremltools_nor_torch_nor_the_network(package, engine, tmp_path):
    """No file appears in the home folder either, and no connection is tried."""
    code = f"""
import socket, sys
def refuse(*a, **k): raise AssertionError("a connection was tried")
socket.socket.connect = socket.create_connection = refuse
from pippin.apps.cli import main
sys.argv = ["pippin", "predict", {str(package)!r}, "--input", "x=zeros", "--engine", {engine!r}]
try:
    main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
"""
    found = imported(code, HOME=str(tmp_path))
    assert not found & {"coremltools", "torch", "openvino_telemetry"}
    assert engine in found
    assert list(tmp_path.iterdir()) == []


def test_coremltools_can_still_be_imported_afterwards(package):
    code = f"import pippin; pippin.load({str(package)!r}); import coremltools; coremltools.utils.load_spec({str(package)!r})"
    assert "coremltools" in imported(code)


def test_the_prediction_is_right(package):
    import pippin

    x = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)
    (found,) = pippin.load(package).predict({"x": x}).values()
    np.testing.assert_array_equal(found, np.maximum(x, 0))


def test_a_cached_load_reads_no_model(package, tmp_path):
    """Neither protobuf nor ONNX is imported, and of OpenVINO only its extension module."""
    load = f"import pippin\nmodel = pippin.load({str(package)!r}, cache={str(tmp_path)!r})"
    imported(load)
    found = imported(f"{load}\nassert model.load_label == 'cached'")
    assert not found & {"google", "onnx", "openvino_telemetry", "coremltools", "torch", "PIL", "filelock", "anyio"}


@pytest.mark.parametrize("first", ["pippin", "openvino"])
def test_openvino_can_be_imported_beside(package, first):
    """Its package finds the extension that is there already, in whichever order the two come."""
    load = f"import pippin\nmodel = pippin.load({str(package)!r}, pippin.Configuration(engine='openvino'), cache=False)"
    use = "import openvino\nassert openvino.Core().available_devices"
    predict = "import numpy as np\n(name,) = (f.name for f in model.description.function().inputs)\nmodel.predict({name: np.ones((2, 3))})"
    imported("\n".join([load, use, predict] if first == "pippin" else [use, load, predict]))
