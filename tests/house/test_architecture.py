"""Architecture: no import cycles, few names at the top, short files, and old module names that still import."""

from __future__ import annotations

import graphlib
import importlib
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import grimp
import pytest

import pippin
from pippin.support.moved_modules import _FOLDERS, _MODULES, new_name

SOURCE = Path(pippin.__file__).parent
NOT_COUNTED = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}


@pytest.mark.parametrize("package", ["pippin", "conformance"])
def test_no_import_cycle(package):
    """Imports inside functions count, those for type checkers alone do not."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    graphlib.TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    ).prepare()  # raises CycleError, with the cycle


def test_a_cycle_would_be_found(tmp_path, monkeypatch):
    package = tmp_path / "circle"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("def f():\n    from . import two\n")
    (package / "two.py").write_text("from .one import f\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(graphlib.CycleError):
        test_no_import_cycle("circle")


def test_few_names_at_the_top():
    names = {path.name for path in SOURCE.iterdir()} - NOT_COUNTED
    assert len(names) <= 24, sorted(names)


def test_each_folder_says_what_enters_and_leaves_it():
    folders = [path for path in SOURCE.iterdir() if path.is_dir() and path.name not in NOT_COUNTED]
    undocumented = [path.name for path in folders if not (path / "__init__.py").read_text().startswith('"""')]
    assert not undocumented


def test_short_files():
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > 450}


def test_moved_modules_lead_to_modules():
    for name in (*_MODULES, *_FOLDERS):
        assert importlib.util.find_spec(f"pippin.{new_name(name)}"), name
        assert not (SOURCE / f"{name.replace('.', '/')}.py").exists(), f"{name} is there, and is said to have moved"


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("pippin.model", "pippin.runtime.model", "load"),
        ("pippin.session", "pippin.runtime.session", "Session"),
        ("pippin.flow.control", "pippin.runtime.flow.flow_control", "FlowControl"),
        ("pippin.flow.stream", "pippin.runtime.flow.stream", "stream"),
        ("pippin.custom_layers", "pippin.extend.custom_layers", "custom_layer"),
        ("pippin.quantities", "pippin.support.units", "format_bytes"),
    ],
)
def test_an_old_name_still_imports(old, new, name):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        module = importlib.import_module(old)
    assert getattr(module, name) is getattr(importlib.import_module(new), name)


def test_an_old_name_is_an_attribute_too():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert pippin.model.load is pippin.load
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_this_name'"):
        _ = pippin.nothing_of_this_name
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pippin.nothing_of_this_name")


@pytest.mark.process
def test_nothing_of_ours_uses_an_old_name():
    code = "import pippin, pippin.apps.cli, pippin.coremltools.libcoremlpython, pippin.apps.studio.page"
    done = subprocess.run(
        [sys.executable, "-W", "error:pippin:DeprecationWarning", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
