"""Conftest: fixtures that several folders of tests use, and the marks that `make test-quick` goes by.

Real models of other people are not part of the repository. The tests look for them in the folder that the environment
variable PIPPIN_SHARED_MODELS names, else in `shared/models` beside the repository, and skip if that folder is missing.
"""

from __future__ import annotations

import gc
import importlib.util
import os
from pathlib import Path

import pytest

from pippin.specialization import contention
from support.browser import chromium as chromium
from support.browser import page as page

pytest_plugins = ["support.sampling"]

# The user's cache is left alone; tests of the cache name a folder.
os.environ["PIPPIN_CACHE"] = "off"
# Tests run side by side, so a wait for an uncontended machine would only time out.
contention.MAX_WAIT = 0.0

FOLDER = Path(os.environ.get("PIPPIN_SHARED_MODELS") or Path(__file__).parents[2] / "shared" / "models")
ABSENT = f"no shared models in {FOLDER} (set PIPPIN_SHARED_MODELS)"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of the real models."""
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    return FOLDER


@pytest.fixture(scope="session")
def basic_pitch() -> Path:
    """The folder of the package basic-pitch that holds the same network as .mlpackage and as .onnx."""
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None or spec.origin is None:
        pytest.skip("basic-pitch is not installed (make test installs it)")
    return Path(spec.origin).parent / "saved_models" / "icassp_2022"


def model_paths() -> list[Path]:
    """Every package and every model file that lies outside a package."""
    packages = sorted(FOLDER.rglob("*.mlpackage"))
    files = [path for path in sorted(FOLDER.rglob("*.mlmodel")) if not any(p in path.parents for p in packages)]
    return packages + files


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses the browser is marked by its fixtures."""
    for item in items:
        if {"chromium", "page"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")


def pytest_collection_finish() -> None:
    """coremltools runs the garbage collector at every conversion; keep the collected tests out of its way."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the argument `shared_model` runs once for each real model."""
    if "shared_model" not in metafunc.fixturenames:
        return
    rows = [pytest.param(path, id=str(path.relative_to(FOLDER))) for path in model_paths()]
    absent = [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=ABSENT))]
    metafunc.parametrize("shared_model", rows or absent)
